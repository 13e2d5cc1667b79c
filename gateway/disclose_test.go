package gateway_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/gatewaytest"

	"github.com/google/go-cmp/cmp"
	icholy "github.com/icholy/digest"
)

const (
	v2ByName   = "/api/atlas/v2/groups/byName/"
	otherGroup = "64f0c1a2b3d4e5f6071829ff"
)

// named is what Atlas answers to the name of a group.
func named(r *http.Request) string {
	_, name, _ := strings.Cut(r.URL.Path, "/byName/")
	body := map[string]string{
		"mine":      `{"name":"mine","id":"` + group + `"}`,
		"theirs":    `{"name":"theirs","id":"` + otherGroup + `"}`,
		"spelt":     `{"name":"spelt","ID":"` + group + `"}`,
		"twice":     `{"id":"` + otherGroup + `","name":"twice","id":"` + group + `"}`,
		"nested":    `{"results":[{"id":"` + group + `"}]}`,
		"both":      `{"id":"` + group + `","content":{"id":"` + otherGroup + `"}}`,
		"number":    `{"id":7}`,
		"broken":    `{"id":"` + group + `"`,
		"longer":    `{"id":"` + group + `0"}`,
		"pattern":   `{"id":"*"}`,
		"wrapped":   `{"status":200,"content":{"id":"` + group + `"}}`,
		"enveloped": `{"status":200,"envelope":{"id":"` + group + `"}}`,
		"missing":   `{"status":404,"content":{"error":404,"errorCode":"GROUP_NOT_FOUND"}}`,
	}[name]
	switch name {
	case "none":
		return gatewaytest.LastJSON(404, `{"error":404,"errorCode":"GROUP_NOT_FOUND","detail":"No group."}`, "X-Error-Code: GROUP_NOT_FOUND")
	case "denied":
		return gatewaytest.LastJSON(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "X-Error-Code: NOT_IN_GROUP", "WWW-Authenticate: "+gatewaytest.Challenge)
	case "gone":
		return gatewaytest.LastJSON(410, `{"error":410,"errorCode":"VERSION_GONE","id":"`+group+`"}`)
	case "address":
		return gatewaytest.LastJSON(403, `{"error":403,"errorCode":"IP_ADDRESS_NOT_ON_ACCESS_LIST"}`)
	case "moved":
		return gatewaytest.LastJSON(301, `{}`, "Location: /api/atlas/v2/groups/"+group)
	case "busy":
		return gatewaytest.LastJSON(429, `{"error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET"}`, "Retry-After: 1")
	case "down":
		return gatewaytest.LastJSON(503, `{"error":503,"errorCode":"SERVICE_UNAVAILABLE"}`)
	}
	return gatewaytest.LastJSON(200, body, "Ratelimit-Limit: 1200")
}

// A caller with grants for some groups learns nothing of others from their names: whatever Atlas
// answers for a group of others, for none and for what can't be read, the caller gets one refusal,
// field for field. Only that Atlas can't answer now is not kept from it.
func TestNamesOfOtherGroups(t *testing.T) {
	t.Parallel() // it waits most of the time, for Retry-After
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(named))
	some := gatewaytest.Issue(t, "some", `[{operations: [read], groups: ["`+group+`"], clusters: [orders]}, {operations: [listExportBuckets], groups: ["*"]}]`)
	every := gatewaytest.Issue(t, "every", `[{operations: [getGroupByName], groups: ["*"]}]`)
	buckets := gatewaytest.Issue(t, "buckets", `[{operations: [listExportBuckets], groups: ["*"]}]`)
	g := gatewaytest.StartFor(t, upstream.URL, "", some, every, buckets)
	ask := func(who *gatewaytest.Caller, method, name string) gatewaytest.Response {
		got := g.Send(t, method, v2ByName+name, as(who.Bearer()), "")
		for _, field := range []string{"Date", "Gateway-Request-Id"} {
			got.Header.Del(field)
		}
		return got
	}
	first := ask(some, "GET", "none")
	if want := `"detail":"The caller may not do this: no grant of caller some allows getGroupByName for the group of this name, or there is none; its grants allow groups ` + group + `."`; first.Status != 403 ||
		first.Header.Get("Gateway-Error") != "forbidden" || !strings.Contains(first.Body, want) || !strings.Contains(first.Body, `"errorCode":"USER_UNAUTHORIZED"`) {
		t.Errorf("a name that no group has: %+v", first)
	}
	for _, name := range []string{"theirs", "spelt", "twice", "nested", "both", "number", "broken", "longer", "pattern", "missing", "denied", "gone", "address", "moved"} {
		if diff := cmp.Diff(first, ask(some, "GET", name)); diff != "" {
			t.Errorf("%s is told apart from none:\n%s", name, diff)
		}
	}
	head, none := ask(some, "HEAD", "theirs"), ask(some, "HEAD", "none")
	if diff := cmp.Diff(none, head); diff != "" || head.Status != 403 {
		t.Errorf("HEAD: %d\n%s", head.Status, diff)
	}
	for name, status := range map[string]int{"mine": 200, "wrapped": 200, "enveloped": 200, "busy": 429, "down": 503} {
		if got := ask(some, "GET", name); got.Status != status {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if got := ask(some, "GET", "busy"); got.Header.Get("Retry-After") != "1" {
		t.Errorf("busy: %v", got.Header)
	}
	for name, status := range map[string]int{"mine": 200, "theirs": 200, "none": 404, "denied": 502, "moved": 502, "broken": 502, "address": 403} {
		if got := ask(every, "GET", name); got.Status != status || strings.Contains(got.Body, "no grant") {
			t.Errorf("%s, for a caller with every group: %d %s", name, got.Status, got.Body)
		}
	}
	before := upstream.Total.Load()
	if got := ask(buckets, "GET", "mine"); got.Status != 403 || upstream.Total.Load() != before {
		t.Errorf("a caller without the operation: %d %s", got.Status, got.Body)
	}
	if got := g.Send(t, "GET", v2ByName+"theirs?envelope=true", as(some.Bearer()), ""); got.Status != 403 || !strings.Contains(got.Body, `"status":403,"content"`) {
		t.Errorf("in an envelope: %d %s", got.Status, got.Body)
	}
	v1 := map[string]string{"Accept": plain, "Authorization": some.Bearer()}
	for name, status := range map[string]int{"mine": 200, "theirs": 403, "none": 403} {
		if got := g.Send(t, "GET", strings.Replace(v2ByName, "v2", "v1.0", 1)+name+"/", v1, ""); got.Status != status {
			t.Errorf("v1.0, %s: %d %s", name, got.Status, got.Body)
		}
	}
	if logs := g.Log.String(); !strings.Contains(logs, `"missing":"groups"`) || strings.Contains(logs, "theirs") {
		t.Errorf("logs: %s", logs)
	}
}

// Anonymous callers see what Atlas answers.
func TestNamesForAnonymousCallers(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(named))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	for name, status := range map[string]int{"theirs": 200, "none": 404} {
		if got := g.Send(t, "GET", v2ByName+name, readHeader, ""); got.Status != status {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
}

// A name goes to Atlas as the caller has written it, also in what the gateway signs. Nothing else
// of a path may be written with escapes.
func TestNamesAreForwarded(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{"id":"`+group+`"}`)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	for _, name := range []string{"Project%200", "Production%20(EU)", "Production%20%28EU%29", "%c3%a9t%C3%A9", "a&b+c:d@e,f'g", "a%26b%2Bc%3ad%40e%2cf%27g", url.PathEscape("日本 (1)")} {
		target := v2ByName + name
		answer := g.Raw(t, request("GET "+target+"/?pretty=false", "", acceptLatest))
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Errorf("%s: %s", name, answer)
		}
		if !strings.Contains(upstream.Received.String(), "GET "+target+"?pretty=false HTTP/1.1\r\n") || !strings.Contains(upstream.Last(), `uri="`+target+`?pretty=false"`) {
			t.Errorf("%s: Atlas received %.300s, signed with %s", name, upstream.Received.String(), upstream.Last())
		}
	}
}

// A client signs a name with the escapes that it sends, and the gateway reads it so.
func TestNamesAreSigned(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{"id":"`+group+`"}`)))
	nightly := gatewaytest.Issue(t, "nightly", `[{operations: [read], groups: [`+group+`]}]`)
	g := gatewaytest.StartFor(t, upstream.URL, "", nightly)
	client, err := gen.NewClientWithResponses(g.URL, gen.WithHTTPClient(&http.Client{
		Transport: &icholy.Transport{Username: nightly.Pair.ID, Password: nightly.Pair.Secret.Reveal(), Transport: &http.Transport{DisableKeepAlives: true}}}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.GetGroupByNameWithResponse(t.Context(), "Production (EU), été", nil, accepting(latest))
	if err != nil || got.StatusCode() != 200 {
		t.Errorf("%v %s", err, got.GetBody())
	}
}

// What shows every group is for callers whose grants have every group. Where no credential is for
// every group, the answer says so.
func TestListGroups(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{"results":[]}`)))
	some := gatewaytest.Issue(t, "some", `[{operations: [manage], groups: ["64*"]}]`)
	every := gatewaytest.Issue(t, "every", `[{operations: [read], groups: ["*"], clusters: [orders]}]`)
	g := gatewaytest.StartFor(t, upstream.URL, "", some, every)
	got := g.Send(t, "GET", "/api/atlas/v2/groups", as(some.Bearer()), "")
	if want := "no grant of caller some allows listGroups, which shows every group; its grants allow groups 64*; ask for one of them with getGroup or getGroupByName."; got.Status != 403 || !strings.Contains(got.Body, want) || upstream.Total.Load() != 0 {
		t.Errorf("some groups: %d %s", got.Status, got.Body)
	}
	if got := g.Send(t, "GET", "/api/atlas/v2/groups?pageNum=1", as(every.Bearer()), ""); got.Status != 200 {
		t.Errorf("every group: %d %s", got.Status, got.Body)
	}
	narrow := gatewaytest.Start(t, "callers: {anonymous: true}\nupstream:\n  base_url: "+upstream.URL+"\n  credentials: [{groups: ["+group+"], public_key_env: PUBLIC, private_key_env: PRIVATE}]\n")
	before := upstream.Total.Load()
	for _, target := range []string{"/api/atlas/v2/groups", v2ByName + "mine"} {
		if got := narrow.Send(t, "GET", target, readHeader, ""); got.Status != 502 || got.Header.Get("Gateway-Error") != "no_credential" || !strings.Contains(got.Body, "no credential for every group") {
			t.Errorf("%s with a credential for one group: %d %s", target, got.Status, got.Body)
		}
	}
	if upstream.Total.Load() != before {
		t.Error("Atlas was asked without a credential")
	}
}
