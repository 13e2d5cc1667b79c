package gateway_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// A version past its sunset is forwarded as before, for Atlas to decide about; the record of
// the request is then a warning that says who asked for it and when the sunset was.
func TestSunset(t *testing.T) {
	var now atomic.Pointer[time.Time]
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", `[{operations: [read, listClusters], groups: ["*"]}]`)
	g := startAt(t, func() time.Time { return *now.Load() },
		"upstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n  list:\n"+nightly.yaml,
		"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)

	// record is what a request's line in the log says of it.
	type record struct {
		ID, Level, Msg, Caller, Operation, Version, Sunset string
		Status                                             int
		Upstream                                           int `json:"upstream_status"`
	}
	records := func() (all []record) {
		for line := range strings.Lines(g.logs.String()) {
			var r record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if r.Msg == "request" {
				all = append(all, r)
			}
		}
		return all
	}
	day := time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
	yearLater := day.AddDate(1, 0, 0)
	remove := func() error {
		return atlas.SetSettings(sim.Settings{Removed: map[string][]string{"listExportBuckets": {"2023-01-01"}}})
	}
	fail := func() error { return atlas.SetFaults([]sim.Fault{{Kind: sim.FaultUnavailable, Count: 1}}) }
	const (
		old      = "application/vnd.atlas.2024-05-29+json"
		oldest   = "application/vnd.atlas.2023-01-31+json"
		schedule = v2Clusters + "/orders/backup/schedule"
	)
	for i, test := range []struct {
		at             time.Time
		target, accept string
		before         func() error
		want           record
	}{
		{day.Add(-time.Nanosecond), v2Buckets, old, nil, record{Level: "INFO", Operation: "listExportBuckets", Version: "2023-01-01", Status: 200, Upstream: 200}},
		{day, v2Buckets, old, nil, record{Level: "WARN", Operation: "listExportBuckets", Version: "2023-01-01", Sunset: "2027-07-01", Status: 200, Upstream: 200}},
		{yearLater, v2Clusters, old, nil, record{Level: "WARN", Operation: "listClusters", Version: "2023-02-01", Sunset: "2027-07-01", Status: 200, Upstream: 200}},
		{yearLater, v2Clusters, oldest, nil, record{Level: "WARN", Operation: "listClusters", Version: "2023-01-01", Sunset: "2027-07-01", Status: 200, Upstream: 200}},
		// Other versions of the same operation, one of another, and v1.0 have none.
		{yearLater, v2Buckets, latest, nil, record{Level: "INFO", Operation: "listExportBuckets", Version: "2024-05-30", Status: 200, Upstream: 200}},
		{yearLater, v2Exports, old, nil, record{Level: "INFO", Operation: "listBackupExports", Version: "2023-01-01", Status: 200, Upstream: 200}},
		{yearLater, v1Buckets, plain, nil, record{Level: "INFO", Operation: "v1ListExportBuckets", Status: 200, Upstream: 200}},
		// What the gateway refuses, what it could not do, and what Atlas has removed.
		{yearLater, schedule, old, nil, record{Level: "WARN", Operation: "getBackupSchedule", Version: "2023-01-01", Sunset: "2027-07-01", Status: 403}},
		{yearLater, v2Buckets, old, fail, record{Level: "ERROR", Operation: "listExportBuckets", Version: "2023-01-01", Sunset: "2027-07-01", Status: 502, Upstream: 503}},
		{yearLater, v2Buckets, old, remove, record{Level: "WARN", Operation: "listExportBuckets", Version: "2023-01-01", Sunset: "2027-07-01", Status: 410, Upstream: 410}},
	} {
		now.Store(&test.at)
		if test.before != nil {
			if err := test.before(); err != nil {
				t.Fatal(err)
			}
		}
		got := send(t, "GET", g.url+test.target, map[string]string{"Accept": test.accept, "Authorization": "Bearer " + nightly.token.Secret.Reveal()}, "")
		if got.status != test.want.Status {
			t.Errorf("%s at %s: %d %s", test.accept, test.at, got.status, got.body)
		}
		waitFor(t, "the record", func() bool { return len(records()) > i })
		test.want.ID, test.want.Msg, test.want.Caller = got.header.Get("Gateway-Request-Id"), "request", "nightly"
		if diff := cmp.Diff(test.want, records()[i]); diff != "" {
			t.Errorf("%s at %s (-want +got):\n%s", test.accept, test.at, diff)
		}
	}
}
