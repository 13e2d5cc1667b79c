package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// eachSnapshotWait runs a test for both generations and both kinds of clusters, with a snapshot
// that was just taken.
func eachSnapshotWait(t *testing.T, test func(t *testing.T, atlas *sim.Server, taken *client.Snapshot, wait func(context.Context, client.SnapshotWaitOptions) (*client.Snapshot, error))) {
	ways(t, sim.Config{Now: func() time.Time { return later }}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		for name, generation := range map[string]generation{"v2": c, "v1.0": c.V1()} {
			for _, clusterName := range []string{cluster, sim.EventsCluster} {
				t.Run(name+" "+clusterName, func(t *testing.T) {
					taken, err := generation.TakeSnapshot(t.Context(), group, clusterName, client.SnapshotRequest{RetentionInDays: 1})
					if err != nil {
						t.Fatal(err)
					}
					test(t, atlas, taken, func(ctx context.Context, o client.SnapshotWaitOptions) (*client.Snapshot, error) {
						o.Interval, o.MaxInterval = time.Millisecond, time.Millisecond
						return generation.WaitForSnapshot(ctx, group, clusterName, taken.ID, o)
					})
				})
			}
		}
	})
}

// A snapshot is followed until it is completed.
func TestWaitForSnapshot(t *testing.T) {
	eachSnapshotWait(t, func(t *testing.T, atlas *sim.Server, taken *client.Snapshot, wait func(context.Context, client.SnapshotWaitOptions) (*client.Snapshot, error)) {
		var statuses []client.SnapshotStatus
		got, err := wait(t.Context(), client.SnapshotWaitOptions{Progress: func(p client.SnapshotProgress) {
			if p.Err != nil || p.Snapshot.Status.Ended() != (p.Next == 0) {
				t.Errorf("%+v", p)
			}
			if statuses = append(statuses, p.Snapshot.Status); len(statuses) == 1 {
				atlas.Advance(2 * time.Minute)
			} else {
				atlas.Advance(time.Hour)
			}
		}})
		if err != nil || got.ID != taken.ID || !got.Exportable() {
			t.Fatal(got, err)
		}
		if diff := cmp.Diff([]client.SnapshotStatus{client.SnapshotQueued, client.SnapshotInProgress, client.SnapshotCompleted}, statuses); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A snapshot that fails is an error, and so is a context that ends first, with what was seen
// last.
func TestWaitForSnapshotFails(t *testing.T) {
	eachSnapshotWait(t, func(t *testing.T, atlas *sim.Server, taken *client.Snapshot, wait func(context.Context, client.SnapshotWaitOptions) (*client.Snapshot, error)) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got, err := wait(ctx, client.SnapshotWaitOptions{Progress: func(client.SnapshotProgress) { cancel() }})
		var stopped *client.WaitError
		if !errors.As(err, &stopped) || got != nil || stopped.Job != nil || stopped.Snapshot == nil || stopped.Snapshot.ID != taken.ID ||
			err.Error() != "client: stopped waiting for the snapshot, last seen as queued: context canceled" {
			t.Errorf("%v, %v", got, err)
		}
		if err := atlas.EndSnapshot(taken.ID, "failed"); err != nil {
			t.Fatal(err)
		}
		got, err = wait(t.Context(), client.SnapshotWaitOptions{})
		var failed *client.SnapshotError
		if !errors.As(err, &failed) || got != nil || failed.Snapshot.ID != taken.ID || kindOf(t, err) != "snapshot failed" || err.Error() != "client: snapshot "+taken.ID+" is failed" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A snapshot that another one is in the way of is a conflict. One whose answer is lost may have
// been taken, and the error says where to look.
func TestTakeSnapshotOnce(t *testing.T) {
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		for name, generation := range map[string]generation{"v2": c, "v1.0": c.V1()} {
			before := len(atlas.Snapshots())
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultResetAfter, Count: 1})
			_, err := generation.TakeSnapshot(t.Context(), group, cluster, client.SnapshotRequest{})
			var unknown *client.UnknownOutcomeError
			if !errors.As(err, &unknown) || kindOf(t, err) != "unknown outcome" || len(atlas.Snapshots()) != before+1 {
				t.Errorf("%s: %v", name, err)
			}
			if want := "before you repeat it, look for the snapshot in the list of the cluster's snapshots"; err == nil || err.Error()[len(err.Error())-len(want):] != want {
				t.Errorf("%s: %v", name, err)
			}
			_, err = generation.TakeSnapshot(t.Context(), group, cluster, client.SnapshotRequest{})
			if diff := cmp.Diff(failure{Kind: "conflict", Status: 400, Code: "UNFINISHED_ON_DEMAND_SNAPSHOT"}, failureOf(t, err)); diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
			}
			atlas.Advance(time.Hour)
		}
	})
}
