package sim_test

import (
	"encoding/json"
	"strings"
	"testing"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// control calls the control listener and reads its JSON.
func control(t testing.TB, atlas *sim.Server, status int, method, path, body string) any {
	t.Helper()
	a := plainly(t, method, atlas.ControlURL()+path, body)
	check(t, method+" "+path, a.status, status)
	check(t, "type", a.header.Get("Content-Type"), "application/json")
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, a.body)
	}
	return v
}

type object = map[string]any

func TestControlRequests(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	c.job(orders, sim.OrdersSnapshot, bucket)

	log := control(t, atlas, 200, "GET", "/requests", "").(object)
	requests := log["requests"].([]any)
	check(t, "requests", len(requests), 3)
	check(t, "dropped", log["dropped"], any(0.0))
	last := requests[2].(object)
	want := atlas.Requests(2)[0]
	check(t, "body", last["body"], any(exportOf(sim.OrdersSnapshot, bucket)))
	for name, value := range (object{"seq": 3.0, "time": "2026-08-20T12:00:00Z", "connection": 1.0, "operation": "createBackupExport", "method": "POST",
		"target": v2 + orders, "status": 200.0, "caller": sim.PublicKey}) {
		check(t, name, last[name], value)
	}
	raw, _ := json.Marshal(want.Raw)
	check(t, "raw", any(last["raw"].(string)), any(strings.Trim(string(raw), `"`)))
	check(t, "fields", len(last["header"].([]any)), len(want.Header))
	check(t, "since", len(control(t, atlas, 200, "GET", "/requests?since=2", "").(object)["requests"].([]any)), 1)

	counts := object{"connections": 1.0, "requests": 3.0, "challenges": 1.0, "malformed": 0.0, "byStatus": object{"200": 2.0, "401": 1.0},
		"byOperation": object{"createExportBucket": 2.0, "createBackupExport": 1.0}, "jobsCreated": 1.0, "snapshotsTaken": 0.0, "schedulesChanged": 0.0, "automaticExports": 0.0}
	check(t, "counts", control(t, atlas, 200, "GET", "/counts", ""), any(counts))
	check(t, "reset", control(t, atlas, 200, "POST", "/reset", "").(object)["requests"], any(0.0))

	index := control(t, atlas, 200, "GET", "/", "").(object)
	check(t, "api", index["api"], any(atlas.URL()))
	check(t, "endpoints", len(index["endpoints"].([]any)), 19)
}

// A key that is deleted opens nothing from then on, also on a connection and with a token from
// before; another key does.
func TestDeleteKey(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	check(t, "a good key", c.do("GET", v2+buckets, "").status, 200)
	issued := basic(t, atlas, "/api/oauth/token", sim.ClientID, sim.ClientSecret, "grant_type=client_credentials", formType)
	token := strings.Split(issued.body, `"`)[3]
	withToken := func() int {
		t.Helper()
		return plainly(t, "GET", atlas.URL()+v2+buckets, "", "Accept: "+latest, "Authorization: Bearer "+token).status
	}
	check(t, "a good token", withToken(), 200)
	for _, id := range []string{sim.PublicKey, sim.ClientID} {
		control(t, atlas, 200, "DELETE", "/keys/"+id, "")
		again := control(t, atlas, 400, "DELETE", "/keys/"+id, "").(object)
		check(t, "again", again["error"], any("there is no key or service account \""+id+"\""))
	}
	check(t, "the deleted key", c.do("GET", v2+buckets, "").status, 401)
	check(t, "its token", withToken(), 401)
	check(t, "the deleted account", basic(t, atlas, "/api/oauth/token", sim.ClientID, sim.ClientSecret, "grant_type=client_credentials", formType).status, 401)
	check(t, "another key", newCaller(t, atlas.URL(), sim.ReadOnlyPublicKey).do("GET", v2+buckets, "").status, 200)
}

func TestControlJobs(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	id := c.job(orders, sim.OrdersSnapshot, bucket)
	jobs := control(t, atlas, 200, "GET", "/jobs", "").([]any)
	check(t, "job", jobs[0].(object)["id"], any(id))
	check(t, "job", jobs[0].(object)["state"], any("Queued"))
	check(t, "clock", control(t, atlas, 200, "GET", "/clock", ""), any(object{"now": "2026-08-20T12:00:00Z"}))
	check(t, "advance", control(t, atlas, 200, "POST", "/clock/advance", `{"by":"12m"}`), any(object{"now": "2026-08-20T12:12:00Z"}))
	check(t, "done", control(t, atlas, 200, "GET", "/jobs", "").([]any)[0].(object)["state"], any("Successful"))
	control(t, atlas, 200, "POST", "/jobs/outcomes", `{"state":"Failed","errorCode":"X","message":"y"}`)
	failing := c.job(orders, sim.OrdersSnapshot, bucket)
	control(t, atlas, 200, "POST", "/clock/advance", `{"by":"12m"}`)
	check(t, "failed", c.read(v2+orders, failing)["stateReason"], any(object{"errorCode": "X", "message": "y"}))
	running := c.job(orders, sim.OrdersSnapshot, bucket)
	control(t, atlas, 200, "POST", "/jobs/"+running+"/end", `{"state":"Cancelled"}`)
	check(t, "cancelled", c.read(v2+orders, running)["state"], any("Cancelled"))
}

// PATCH changes the settings that it names, PUT changes all.
func TestControlSettings(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	check(t, "a call", c.do("GET", v2+buckets, "").status, 200)
	control(t, atlas, 200, "PATCH", "/settings", `{"nonces":{"uses":5,"lifetime":"50ms"},"removed":{"listExportBuckets":["2023-01-01"]}}`)
	control(t, atlas, 200, "PATCH", "/settings", `{"nonces":{"rising":true},"rateLimit":{"capacity":10}}`)
	settings := sim.Settings{Nonces: sim.Nonces{Uses: 5, Lifetime: 50e6, Rising: true}, RateLimit: sim.RateLimit{Capacity: 10},
		Removed: map[string][]string{"listExportBuckets": {"2023-01-01"}}}
	check(t, "settings", atlas.Settings(), settings)
	shown, _ := json.Marshal(control(t, atlas, 200, "GET", "/settings", ""))
	var read sim.Settings
	if err := json.Unmarshal(shown, &read); err != nil || !cmp.Equal(read, settings) {
		t.Errorf("%v: %s", err, shown)
	}
	control(t, atlas, 400, "PATCH", "/settings", `{"removed":{"listExportBuckets":["2023-01-02"]}}`)
	control(t, atlas, 400, "PATCH", "/settings", `{"removed":{"listExportBuckets":["2023-01-02", 1]}}`)
	check(t, "settings after an error", atlas.Settings(), settings)
	control(t, atlas, 200, "PUT", "/settings", `{}`)
	check(t, "settings", atlas.Settings(), sim.Settings{})
	control(t, atlas, 200, "DELETE", "/nonces", "")
	atlas.Reset()
	check(t, "a call with a nonce from before", c.do("GET", v2+buckets, "").status, 200)
	check(t, "its challenges", atlas.Counts().Challenges, int64(1))
}

func TestControlFaults(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	faults := control(t, atlas, 200, "PUT", "/faults", `[{"kind":"unavailable","operation":"listBackupExports","count":1,"latency":"1ms"}]`)
	fault := object{"kind": "unavailable", "operation": "listBackupExports", "count": 1.0, "latency": "1ms", "struck": 0.0}
	check(t, "faults", faults, any([]any{fault}))
	check(t, "struck", c.do("GET", v2+orders, "").status, 503)
	fault["struck"] = 1.0
	check(t, "faults", control(t, atlas, 200, "GET", "/faults", ""), any([]any{fault}))
	check(t, "no faults", control(t, atlas, 200, "DELETE", "/faults", ""), any([]any{}))
}

func TestControlErrors(t *testing.T) {
	atlas := start(t, sim.Config{})
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/requests?since=x", "", 400, "since is not a number"},
		{"PATCH", "/settings", `{"nonce":{}}`, 400, "line 1, column 2: /nonce: is not a known member; did you mean nonces?"},
		{"PATCH", "/settings", `{"nonces":{"lifetime":"soon"}}`, 400, "/nonces/lifetime: is not a duration; write it as"},
		{"PATCH", "/settings", `{"nonces":{"refuse":2}}`, 400, "refuse must be a share"},
		{"PATCH", "/settings", `{"nonces":{"uses":-1}}`, 400, "must not be negative"},
		{"PATCH", "/settings", `{"rateLimit":{"refill":-1}}`, 400, "must not be negative"},
		{"PATCH", "/settings", `{"challenge":{"algorithms":["MD4"]}}`, 400, "MD4"},
		{"PATCH", "/settings", `{"removed":{"listAll":[]}}`, 400, "listAll"},
		{"PATCH", "/settings", `{} {}`, 400, "line 1, column 4: not valid JSON"},
		{"PUT", "/settings", ``, 400, "line 1, column 1: the JSON ends early"},
		{"PUT", "/faults", `[{"kind":"x"}]`, 400, "faults[0]: the kind"},
		{"PUT", "/faults", "[{\"kind\":\"reset\",\n\"count\":true}]", 400, "line 2, column 9: /0/count: must be a whole number"},
		{"PUT", "/faults", `{}`, 400, "line 1, column 1: must be an array"},
		{"POST", "/clock/advance", `{"by":"-1s"}`, 400, "does not go back"},
		{"POST", "/clock/advance", `[]`, 400, "line 1, column 1: must be an object"},
		{"POST", "/jobs/outcomes", `{"state":"Lost"}`, 400, "Lost"},
		{"POST", "/jobs/x/end", `{}`, 400, "no active job"},
		{"GET", "/reset", "", 404, "there is no GET /reset"},
		{"GET", v2 + buckets, "", 404, "GET / lists"},
	} {
		got := control(t, atlas, test.status, test.method, test.path, test.body)
		if message, _ := got.(map[string]any)["error"].(string); !strings.Contains(message, test.want) || strings.HasPrefix(message, "sim: ") {
			t.Errorf("%s %s %s: %v", test.method, test.path, test.body, got)
		}
	}
	// The API's port has no controls.
	check(t, "the API's port", plainly(t, "GET", atlas.URL()+"/requests", "").status, 401)
}
