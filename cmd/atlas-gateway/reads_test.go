package main

import (
	"strings"
	"sync"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Rows 35 and 53: what one caller's read has fetched goes to no caller who may not read it,
// however the reads are mixed, and to none who reads after a change.
func TestSharedReads(t *testing.T) {
	gatewaytest.Concurrent(t)
	t.Parallel()
	manager, narrow := gatewaytest.Issue(t, "manager", `[{operations: [manage], groups: ["*"]}]`), gatewaytest.Issue(t, "narrow", `[{operations: [read], groups: ["*"], clusters: [events]}]`)
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, ParallelExports: true}})
	j := &journaled{atlas: atlas, process: serveProcess(t, gatewaytest.YAML(atlas.URL(), withJournal+"reads: {freshness: 1m}\n", manager, narrow), "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)}
	as := func(c *gatewaytest.Caller) map[string]string {
		return map[string]string{"Authorization": c.Bearer()}
	}
	j.bucket = idOf(t, j.post(t, buckets, bucket, as(manager)))
	read := func(c *gatewaytest.Caller, target string) gatewaytest.Response {
		return gatewaytest.Send(t, "GET", j.process.Listener+target, map[string]string{"Authorization": c.Bearer(), "Accept": "application/vnd.atlas.2025-03-12+json"}, "")
	}
	for _, name := range []string{"one", "two"} {
		id := idOf(t, j.post(t, exports, j.export(name), as(manager)))
		var group sync.WaitGroup
		for range 8 {
			for _, target := range []string{exports + "/" + id, exports} {
				group.Go(func() {
					if got := read(manager, target); got.Status != 200 || !strings.Contains(got.Body, id) {
						t.Errorf("after its create: %d %v %s", got.Status, got.Header, got.Body)
					}
				})
				group.Go(func() {
					if got := read(narrow, target); got.Status != 403 || strings.Contains(got.Body, "snapshotId") || got.Header["Age"] != nil {
						t.Errorf("without a grant: %d %v %s", got.Status, got.Header, got.Body)
					}
				})
			}
		}
		group.Wait()
	}
	if n := atlas.Counts().ByOperation["getBackupExport"]; n > 4 {
		t.Errorf("%d reads of two jobs reached Atlas", n)
	}
	j.process.stop(t)
}
