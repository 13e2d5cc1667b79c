package sim_test

import (
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

func TestRateLimit(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Capacity: 3, Refill: 1, Period: sim.Duration(10 * time.Second)}}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	for _, remaining := range []string{"2", "1", "0"} {
		a := c.do("GET", v2+buckets, "")
		check(t, "status", a.status, 200)
		check(t, "RateLimit-Limit", a.header.Get("RateLimit-Limit"), "3")
		check(t, "RateLimit-Remaining", a.header.Get("RateLimit-Remaining"), remaining)
		check(t, "Retry-After", a.header.Get("Retry-After"), "")
	}
	a := c.do("GET", v1+orders, "") // all operations share the bucket
	check(t, "status", a.status, 429)
	check(t, "body", a.body, `{"detail":"Rate limit exceeded for /api/atlas/v1.0/groups/{groupId}/clusters/{clusterName}/backup/exports. Please retry after 10 seconds. Request capacity: 3. Refill rate: 1 per 10 seconds.",`+
		`"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["/api/atlas/v1.0/groups/{groupId}/clusters/{clusterName}/backup/exports",10,3,1,10],"reason":"Too Many Requests"}`)
	check(t, "Retry-After", a.header.Get("Retry-After"), "10")
	check(t, "RateLimit-Remaining", a.header.Get("RateLimit-Remaining"), "0")
	check(t, "another group", c.do("GET", "/api/atlas/v2/groups/"+sim.EmptyGroupID+buckets, "").status, 200)
	atlas.Advance(9 * time.Second)
	a = c.do("GET", v2+buckets, "")
	check(t, "too early", a.status, 429)
	check(t, "Retry-After", a.header.Get("Retry-After"), "1")
	atlas.Advance(time.Second)
	check(t, "in time", c.do("GET", v2+buckets, "").status, 200)
	if err := atlas.SetSettings(sim.Settings{RateLimit: sim.RateLimit{Capacity: 5}}); err != nil {
		t.Fatal(err)
	}
	check(t, "another capacity", c.do("GET", v2+buckets, "").header.Get("RateLimit-Remaining"), "4")
	if err := atlas.SetSettings(sim.Settings{RateLimit: sim.RateLimit{Capacity: 5}, ParallelExports: true}); err != nil {
		t.Fatal(err)
	}
	check(t, "another setting", c.do("GET", v2+buckets, "").header.Get("RateLimit-Remaining"), "3")
	if err := atlas.SetSettings(sim.Settings{RateLimit: sim.RateLimit{Off: true}}); err != nil {
		t.Fatal(err)
	}
	a = c.do("GET", v2+buckets, "")
	check(t, "off", a.status, 200)
	check(t, "off", a.header.Get("RateLimit-Limit"), "")
}

func TestRateLimitOfAtlas(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	a := c.do("GET", v2+buckets, "")
	check(t, "fields", []string{a.header.Get("RateLimit-Limit"), a.header.Get("RateLimit-Remaining")}, []string{"1200", "1199"})
	for range 1199 {
		a = c.do("GET", v2+buckets, "")
	}
	check(t, "the last one", []string{a.header.Get("RateLimit-Remaining")}, []string{"0"})
	a = c.do("GET", v2+buckets, "")
	check(t, "one more", a.status, 429)
	if !strings.Contains(a.body, `"parameters":["/api/atlas/v2/groups/{groupId}/backup/exportBuckets",1,1200,500,60]`) {
		t.Errorf("body: %s", a.body)
	}
}
