package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// keeping starts a gateway that keeps keys in front of a simulated Atlas.
func keeping(t *testing.T) (*sim.Server, *gatewaytest.Gateway) {
	t.Helper()
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{ParallelExports: true}})
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	g := gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(atlas.URL(), "creates: {quarantine: 100ms}\n"),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal) },
	})
	return atlas, g
}

// To a gateway that keeps keys, a create is repeated until it is known what became of it, and there
// is one job.
func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	atlas, g := keeping(t)
	var lost atomic.Int32
	c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: true, Transport: &losing{http.DefaultTransport.(*http.Transport).Clone(), &lost}})
	bucket := createBucket(t, c)
	for name, before := range map[string]func(){
		"the answer is lost on the way to the client": func() { lost.Store(2) },
		"the answer is lost on the way to the gateway": func() {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
		},
		"nothing was carried out": func() {
			setFaults(t, atlas, sim.Fault{Kind: sim.FaultReset, Operation: "createBackupExport", Count: 1})
		},
	} {
		made := len(atlas.Jobs())
		before()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		job, err := c.CreateExport(ctx, group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: bucket.ID, CustomData: []client.CustomData{{Key: "case", Value: name}}})
		cancel()
		if jobs := atlas.Jobs(); err != nil || len(jobs) != made+1 || !strings.Contains(jobs[made].ID+jobs[0].ID, job.ID) {
			t.Errorf("%s: %+v, %v, %d jobs more", name, job, err, len(jobs)-made)
		}
	}
}

// losing loses the answers to some exports, after the gateway has sent them.
type losing struct {
	http.RoundTripper
	left *atomic.Int32
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/exports") && l.left.Add(-1) >= 0 {
		response.Body.Close()
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}
	}
	return response, err
}

// A key that is given tells one export from another of the same snapshot.
func TestGivenKeys(t *testing.T) {
	t.Parallel()
	atlas, g := keeping(t)
	c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: true})
	request := client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: createBucket(t, c).ID}
	ids := map[string]string{}
	for _, key := range []string{"monday", "tuesday", "monday"} {
		request.IdempotencyKey = key
		for _, create := range []func(context.Context, string, string, client.ExportRequest) (*client.ExportJob, error){c.CreateExport, c.V1().CreateExport} {
			job, err := create(t.Context(), group, cluster, request)
			if err != nil {
				t.Fatal(err)
			}
			if before := ids[key]; before != "" && before != job.ID {
				t.Errorf("%s: %s, then %s", key, before, job.ID)
			}
			ids[key] = job.ID
		}
	}
	if jobs := atlas.Jobs(); len(jobs) != 2 || ids["monday"] == ids["tuesday"] {
		t.Errorf("%d jobs, %v", len(jobs), ids)
	}
	// Without a key of its own, each call is another export.
	request.IdempotencyKey = ""
	for range 2 {
		if _, err := c.CreateExport(t.Context(), group, cluster, request); err != nil {
			t.Fatal(err)
		}
	}
	if jobs := atlas.Jobs(); len(jobs) != 4 {
		t.Errorf("%d jobs", len(jobs))
	}
}

// Keys that no gateway takes, or that nobody keeps, are refused before anything is sent.
func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	request := client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: sim.OrdersSnapshot, IdempotencyKey: "monday"}
	sent := func(*http.Request) error { return errors.New("sent") }
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:9", BeforeSend: sent})
	if _, err := c.CreateExport(t.Context(), group, cluster, request); err == nil || !strings.Contains(err.Error(), "needs a gateway that keeps keys") {
		t.Errorf("%v", err)
	}
	c = newClient(t, client.Config{BaseURL: "http://127.0.0.1:9", BeforeSend: sent, KeepsKeys: true})
	for _, key := range []string{"a b", `"a"`, "é", strings.Repeat("k", 256), "a\n"} {
		request.IdempotencyKey = key
		if _, err := c.CreateExport(t.Context(), group, cluster, request); err == nil || !strings.Contains(err.Error(), "visible characters") {
			t.Errorf("%q: %v", key, err)
		}
	}
	if _, err := client.New(client.Config{KeepsKeys: true, Credential: key}); err == nil || !strings.Contains(err.Error(), "Atlas takes no keys") {
		t.Errorf("%v", err)
	}
}
