package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// notServed is how the gateway answers a request that it does not serve.
type notServed struct {
	Status                                     int
	Kind, Code, Detail, Path, Group, Operation string
}

// notServedRequests are requests for what the contract does not have.
func notServedRequests() []notServedRequest {
	const (
		of    = "/api/atlas/v2/groups/{groupId}"
		part  = "; it serves the part of Atlas's API that snapshot exports need."
		other = "This gateway serves the part of Atlas's API that snapshot exports need, below /api/atlas. The path is not one of Atlas's API: look at the base URL."
	)
	refused := func(operation, path string) notServed {
		return notServed{403, "not_served", "OPERATION_NOT_SERVED", "This gateway does not serve " + operation + part, path, group, "none"}
	}
	mean := func(want notServed, path string) notServed {
		want.Detail += " Did you mean " + path + "?"
		return want
	}
	without := func(want notServed) notServed {
		want.Group = ""
		return want
	}
	tokens := notServed{403, "not_served", "OPERATION_NOT_SERVED", "This gateway does not serve POST /api/oauth/token as it was asked: it gives out tokens where its configuration lists callers, and at this path without a query.", "/api/oauth/token", "", "none"}
	strange := notServed{403, "not_served", "OPERATION_NOT_SERVED", other, "other", "", "none"}
	return []notServedRequest{
		{"GET", v2Group + "/databaseUsers", refused("GET "+of+"/databaseUsers", of+"/databaseUsers")},
		{"HEAD", v2Group + "/databaseUsers", refused("HEAD "+of+"/databaseUsers", of+"/databaseUsers")},
		{"POST", v2Group + "/databaseUsers", refused("POST "+of+"/databaseUsers", of+"/databaseUsers")},
		{"GET", v2Group + "/databaseUsers/admin/c4na7y", refused("GET "+of+"/databaseUsers/{databaseName}/{username}", of+"/databaseUsers/{databaseName}/{username}")},
		{"DELETE", v2Clusters + "/orders/backup/restoreJobs/" + jobID, refused("DELETE "+of+"/clusters/{clusterName}/backup/restoreJobs/{restoreJobId}", of+"/clusters/{clusterName}/backup/restoreJobs/{restoreJobId}")},
		{"GET", v2Group + "/flexClusters", refused("GET "+of+"/flexClusters", of+"/flexClusters")},
		{"DELETE", v2Group + "/flexClusters/orders", refused("DELETE "+of+"/flexClusters/{name}", of+"/flexClusters/{name}")},
		{"GET", v2Group + "/c4na7y/c4na7y", refused("GET "+of+"/*", of+"/*")},
		{"GET", strings.Replace(v2Group, group, "c4na7y", 1) + "/databaseUsers", without(refused("GET "+of+"/databaseUsers", of+"/databaseUsers"))},
		{"GET", "/api/atlas/v2/orgs", without(refused("GET /api/atlas/v2/orgs", "/api/atlas/v2/orgs"))},
		{"GET", "/api/atlas/v3/groups", without(refused("GET /api/atlas/*", "/api/atlas/*"))},
		{"POST", "/api/private/unauth/account/device/authorize", without(refused("POST /api/private/unauth/account/device/authorize", "/api/private/unauth/account/device/authorize"))},
		{"POST", "/api/oauth/token?c4na7y=1", tokens},
		{"C4NA7Y", v2Group + "/databaseUsers", refused("this method of "+of+"/databaseUsers", of+"/databaseUsers")},
		// A misspelt word, and a path of Atlas's API in another place.
		{"GET", strings.ToLower(v2Buckets), mean(refused("GET "+of+"/backup/*", of+"/backup/*"), of+"/backup/exportBuckets")},
		{"GET", strings.TrimSuffix(v2Exports, "s"), mean(refused("GET "+of+"/clusters/{clusterName}/backup/*", of+"/clusters/{clusterName}/backup/*"), of+"/clusters/{clusterName}/backup/exports")},
		{"GET", strings.ToUpper(v2Exports), mean(notServed{403, "not_served", "OPERATION_NOT_SERVED", "This gateway does not serve this path" + part, "other", "", "none"}, of+"/clusters/{clusterName}/backup/exports")},
		{"GET", "/c4na7y" + v2Exports, strange},
		{"GET", "/", strange},
		// A method that a path of the contract does not have.
		{"PUT", v2Exports, notServed{405, "method_not_allowed", "METHOD_NOT_ALLOWED", "This gateway does not serve PUT " + of + "/clusters/{clusterName}/backup/exports; it serves GET, HEAD, POST of this path.", of + "/clusters/{clusterName}/backup/exports", group, "none"}},
	}
}

// A notServedRequest is a request, and how it is answered.
type notServedRequest struct {
	method, target string
	want           notServed
}

// A request that the contract does not have is answered to whoever is let in, and named in the
// log. It is never 404, which Terraform's provider takes for the news that the thing was deleted.
func TestNotServed(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	// The second caller has no grants: what is not served is served to nobody.
	nightly, nobody := gatewaytest.Issue(t, "nightly", everything), gatewaytest.Issue(t, "nobody", "[]")
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly, nobody)
	n := 0
	for _, test := range notServedRequests() {
		for _, caller := range []*gatewaytest.Caller{nightly, nobody} {
			got := g.Send(t, test.method, test.target, as(caller.Bearer()), "")
			answer := notServed{Status: got.Status, Kind: got.Header.Get("Gateway-Error"), Code: got.Header.Get("X-Error-Code")}
			var body struct{ Detail, ErrorCode, Reason string }
			if json.Unmarshal([]byte(got.Body), &body); test.method == "HEAD" {
				answer.Detail = test.want.Detail
			} else if answer.Detail = body.Detail; body.ErrorCode != answer.Code || body.Reason == "" {
				t.Errorf("%s %s: %s", test.method, test.target, got.Body)
			}
			var logged struct{ Path, Group, Operation, Caller string }
			if err := json.Unmarshal([]byte(g.Record(t, n)), &logged); err != nil {
				t.Fatal(err)
			}
			n++
			answer.Path, answer.Group, answer.Operation = logged.Path, logged.Group, logged.Operation
			if diff := cmp.Diff(test.want, answer); diff != "" || logged.Caller != caller.Name {
				t.Errorf("%s %s of %s (-want +got):\n%s", test.method, test.target, logged.Caller, diff)
			}
		}
	}
	if n := atlas.Counts().Requests; n > 0 {
		t.Errorf("Atlas received %d requests", n)
	}
	if strings.Contains(g.Log.String(), "c4na7y") || strings.Contains(g.Metrics(t), "c4na7y") {
		t.Error("what a caller wrote is in the log or the metrics")
	}
	if metrics, want := g.Metrics(t), `atlas_gateway_not_served_total{method="GET",path="/api/atlas/v2/groups/{groupId}/databaseUsers"} 4`; !strings.Contains(metrics, want+"\n") {
		t.Errorf("the metrics lack %s", want)
	}
}

// Who is not let in learns nothing of what is served: every path is answered alike.
func TestNotServedToStrangers(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "", gatewaytest.Issue(t, "nightly", everything))
	for _, target := range []string{v2Exports, v2Group + "/databaseUsers", v2Group + "/flexClusters/orders/backup/snapshots", "/api/private/ipinfo", "/", "/api/oauth/token?a=1"} {
		for _, method := range []string{"GET", "PUT", "POST"} {
			for _, authorization := range []string{"", "Bearer wrong"} {
				got := g.Send(t, method, target, as(authorization), "")
				var body struct{ ErrorCode string }
				json.Unmarshal([]byte(got.Body), &body)
				if got.Status != 401 || got.Header.Get("Www-Authenticate") == "" || body.ErrorCode != "UNEXPECTED_ERROR" {
					t.Errorf("%s %s with %q: %d %s", method, target, authorization, got.Status, got.Body)
				}
			}
		}
	}
	for line := range strings.Lines(g.Metrics(t)) {
		if strings.HasPrefix(line, "atlas_gateway_not_served_total{") {
			t.Errorf("a stranger has made a series: %s", line)
		}
	}
}

// The question for a flex cluster is answered as Atlas answers it for another cluster, whatever
// exists and whatever the caller's grants: the Atlas CLI asks it first, and takes every other
// error of "snapshots watch" for the end of the snapshot.
func TestFlexClusters(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nobody := gatewaytest.Issue(t, "nobody", "[]")
	g := gatewaytest.StartFor(t, atlas.URL(), "", nobody)
	for _, test := range []struct{ method, path, name string }{
		{"GET", "/flexClusters/orders", "orders"},
		{"HEAD", "/flexClusters/orders", "orders"},
		{"GET", "/flexClusters/orders/backup/snapshots", "orders"},
		{"GET", "/flexClusters/orders/backup/snapshots/" + snapshot, "orders"},
		{"GET", "/flexClusters/orders/backup/restoreJobs?includeCount=true", "orders"},
		{"POST", "/flexClusters/orders/backup/restoreJobs", "orders"},
		{"GET", "/flexClusters/no_such.name/backup/snapshots", "no_such.name"},
		{"GET", "/flexClusters/" + strings.Repeat("a", 70) + "/backup/snapshots", strings.Repeat("a", 64)},
	} {
		got := g.Send(t, test.method, v2Group+test.path, as(nobody.Bearer()), "")
		want := fmt.Sprintf(`{"error":400,"errorCode":"CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API","reason":"Bad Request","detail":"Cannot use non-flex cluster %[1]s in the flex API.","parameters":["%[1]s"]}`, test.name)
		if test.method == "HEAD" {
			want = ""
		}
		if got.Status != 400 || got.Header.Get("Gateway-Error") != "not_flex" || strings.TrimSpace(got.Body) != want {
			t.Errorf("%s %s: %d %s", test.method, test.path, got.Status, got.Body)
		}
	}
	// The simulation answers the same from what was recorded.
	own := signer(t, atlas.URL(), &gatewaytest.Caller{Pair: callers.Issued{ID: sim.PublicKey, Secret: secret.New(sim.PrivateKey)}})
	_, recorded := get(t, own, atlas.URL()+v2Group+"/flexClusters/orders/backup/snapshots/"+snapshot)
	answered := g.Send(t, "GET", v2Group+"/flexClusters/orders/backup/snapshots/"+snapshot, as(nobody.Bearer()), "")
	if diff := cmp.Diff(parse(t, recorded), parse(t, answered.Body)); diff != "" {
		t.Errorf("the simulation and the gateway (-want +got):\n%s", diff)
	}
	before := atlas.Counts().Requests
	enveloped := g.Send(t, "GET", v2Group+"/flexClusters/orders/backup/snapshots?envelope=true&pretty=true", as(nobody.Bearer()), "")
	var body struct {
		Status  int
		Content struct{ ErrorCode string }
	}
	if err := json.Unmarshal([]byte(enveloped.Body), &body); err != nil || body.Status != 400 || body.Content.ErrorCode != "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API" || !strings.Contains(enveloped.Body, "\n  ") {
		t.Errorf("in an envelope: %s", enveloped.Body)
	}
	if n := atlas.Counts().Requests - before; n > 0 || before != 2 {
		t.Errorf("Atlas received %d requests, and %d of the gateway", before, n)
	}
	if metrics := g.Metrics(t); strings.Contains(metrics, "atlas_gateway_not_served_total{") || !strings.Contains(metrics, `atlas_gateway_refusals_total{kind="not_flex",operation="none",reason=""} 10`) {
		t.Error("the metrics count them otherwise")
	}
}

// A caller who asks for ever other paths makes no more series than there are.
func TestNotServedIsBounded(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "")
	words := []string{"peers", "containers", "alerts", "apiKeys", "events", "teams", "users", "invites", "limits", "pipelines", "processes", "streams", "c4na7y"}
	sent := 0
	for _, word := range words {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "C4NA7Y", "C4NA7Z"} {
			for _, end := range []string{"", "/" + jobID, fmt.Sprintf("/%s/x%d", jobID, sent)} {
				if got := g.Send(t, method, v2Group+"/"+word+end, readHeader, ""); got.Status != 403 {
					t.Errorf("%s %s%s: %d %s", method, word, end, got.Status, got.Body)
				}
				sent++
			}
		}
	}
	series, counted := 0, 0
	for line := range strings.Lines(g.Metrics(t)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), "} "); strings.HasPrefix(name, "atlas_gateway_not_served_total{") {
			var n int
			fmt.Sscan(value, &n)
			series++
			counted += n
		}
	}
	if series != 101 || counted != sent {
		t.Errorf("%d series count %d of %d requests", series, counted, sent)
	}
}
