package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// The error about a bucket in use says what uses it: exports under way, also those of other
// clusters, and backup schedules.
func TestBucketInUse(t *testing.T) {
	const bucket = "65a9d3e1f20b4c7788990011"
	seed := sim.DefaultSeed()
	seed.Groups[0].Buckets = []sim.Bucket{{ID: bucket, CloudProvider: "AWS", BucketName: "acme-auto", IamRoleID: sim.AWSRole}}
	seed.Groups[0].Clusters[1].AutoExportBucketID = bucket
	seed.Groups[0].Clusters[1].AutoExportFrequency = "weekly"
	ways(t, sim.Config{Seed: seed}, func(t *testing.T, w *world) {
		ended := w.must(t, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot, "--bucket", "acme-auto", "-o", "name")
		w.atlas.Advance(time.Hour)
		other := w.must(t, "buckets", "create", "aws", "--name", "acme-other", "--role", sim.AWSRole, "-o", "name")
		w.must(t, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot3, "--bucket", other)
		running := w.must(t, "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot2, "--bucket", "acme-auto", "-o", "name")
		got := w.run(t, w.owner, "buckets", "delete", "acme-auto", "--yes")
		_, notes, _ := strings.Cut(got.Stderr, "\n")
		want := "  cluster orders: the export " + strings.TrimPrefix(running, "export/") + " is Queued\n" +
			"  cluster events: its backup schedule exports weekly snapshots to the bucket\n" +
			"hint: wait for the exports to the bucket, and take it out of the export policies of the clusters\n"
		if diff := cmp.Diff(want, notes); got.Status != exitConflict || diff != "" || strings.Contains(notes, ended) {
			t.Errorf("exit status %d, -want +got:\n%s", got.Status, diff)
		}

		// What can't be read is said.
		setFaults(t, w, sim.Fault{Kind: sim.FaultUnavailable, Operation: "getBackupSchedule"})
		got = w.run(t, w.owner, "buckets", "delete", "acme-auto", "--yes", "--retries", "0")
		if !regexp.MustCompile(`\n  cluster orders: the export [0-9a-f]{24} is Queued\n  2 of 2 clusters could not be looked at: getBackupSchedule: 50[23] .*\nhint: `).MatchString(got.Stderr) {
			t.Errorf("got %+v", got)
		}
	})
}

// A caller that may only delete buckets is told that nobody looked.
func TestBucketInUseUnseen(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	bucket, _ := (&world{atlas, atlas.URL(), key{sim.PublicKey, sim.PrivateKey}, key{}, nil}).prepare(t)
	caller := gatewaytest.Issue(t, "terraform", `[{operations: [deleteExportBucket], groups: ["*"]}]`)
	w := &world{atlas, gatewaytest.StartFor(t, atlas.URL(), "", caller).URL, key{caller.Pair.ID, caller.Pair.Secret.Reveal()}, key{}, nil}
	got := w.run(t, w.owner, "buckets", "delete", bucket, "--yes", "-o", "json")
	if got.Status != exitConflict || !strings.Contains(got.Stderr, `"notes":["what uses the bucket is not known, since the clusters can't be listed: listClusters: 403 USER_UNAUTHORIZED: `) {
		t.Errorf("got %+v", got)
	}
}
