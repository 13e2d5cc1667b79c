package compat_test

import (
	"context"
	"net/http"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"

	mongodb "github.com/mongodb-forks/digest"
	"go.mongodb.org/atlas/mongodbatlas"
)

// library is a client that reads a job over v1.0, which both clients know.
type library struct {
	name   string
	per100 int64 // requests that Atlas receives for 100 calls, one after the other
	get    func(ctx context.Context, id string) error
}

// libraries returns this project's client, and the legacy client with the digest transport that
// its users have.
func libraries(t testing.TB, atlas *sim.Server) []library {
	t.Helper()
	ours, err := client.New(client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.PublicKey, sim.PrivateKey)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	theirs, err := mongodbatlas.New(&http.Client{Transport: mongodb.NewTransportWithHTTPRoundTripper(sim.PublicKey, sim.PrivateKey, transport)},
		mongodbatlas.SetBaseURL(atlas.URL()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.CloseIdleConnections()
		transport.CloseIdleConnections()
	})
	return []library{
		// One for each call, and one for the first challenge.
		{"client", 101, func(ctx context.Context, id string) error {
			_, err := ours.V1().GetExport(ctx, sim.GroupID, sim.OrdersCluster, id)
			return err
		}},
		{"mongodbatlas", 200, func(ctx context.Context, id string) error {
			_, _, err := theirs.CloudProviderSnapshotExportJobs.Get(ctx, sim.GroupID, sim.OrdersCluster, id)
			return err
		}},
	}
}

// startJob returns a simulated Atlas that has a job, and counts requests without logging them.
func startJob(t testing.TB) (atlas *sim.Server, id string) {
	t.Helper()
	atlas = sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	c, err := client.New(client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.PublicKey, sim.PrivateKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	bucket, err := c.CreateExportBucket(t.Context(), sim.GroupID, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole})
	if err != nil {
		t.Fatal(err)
	}
	job, err := c.CreateExport(t.Context(), sim.GroupID, sim.OrdersCluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: bucket.ID})
	if err != nil {
		t.Fatal(err)
	}
	return atlas, job.ID
}

// Atlas receives a known number of requests for a hundred calls.
func TestUpstreamRequests(t *testing.T) {
	atlas, id := startJob(t)
	for _, library := range libraries(t, atlas) {
		atlas.Reset()
		for range 100 {
			if err := library.get(t.Context(), id); err != nil {
				t.Fatalf("%s: %v", library.name, err)
			}
		}
		if n := atlas.Counts().Requests; n != library.per100 {
			t.Errorf("%s: Atlas received %d requests for 100 calls, not %d", library.name, n, library.per100)
		}
	}
}

// BenchmarkGetJob measures a call to the simulation over loopback. Time and allocations include
// those of the simulation. It also reports the requests that Atlas receives for a call, each of
// which takes a round trip of the network.
func BenchmarkGetJob(b *testing.B) {
	atlas, id := startJob(b)
	for _, library := range libraries(b, atlas) {
		b.Run(library.name, func(b *testing.B) {
			atlas.Reset()
			b.ReportAllocs()
			for b.Loop() {
				if err := library.get(b.Context(), id); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(atlas.Counts().Requests)/float64(b.N), "upstream/op")
		})
	}
}
