package gateway_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

const (
	acceptLatest = "Accept: " + latest
	contentJSON  = "Content-Type: application/json"

	getExports  = "GET " + v2Exports
	postExports = "POST " + v2Exports
)

// An invalidRequest is a request that the contract forbids.
type invalidRequest struct {
	name, request string
	status        int
	kind          string // "" if net/http answers itself
}

// invalidTargets are wrong in the target or the method.
var invalidTargets = []invalidRequest{
	{"an escaped slash in a name", request("GET "+strings.Replace(v2Exports, "orders", "C0%2f..%2fOther", 1), "", acceptLatest), 400, "invalid_target"},
	{"escaped dots", request("GET "+strings.Replace(v2Exports, "orders", "%2e%2e", 1), "", acceptLatest), 400, "invalid_target"},
	{"dots", request("GET "+strings.Replace(v2Exports, "orders", "..", 1), "", acceptLatest), 400, "invalid_target"},
	{"one dot", request("GET /api/./atlas", "", acceptLatest), 400, "invalid_target"},
	{"two slashes", request("GET /api//atlas", "", acceptLatest), 400, "invalid_target"},
	{"a semicolon", request(getExports+";x", "", acceptLatest), 400, "invalid_target"},
	{"a backslash", request(getExports+`\`, "", acceptLatest), 400, "invalid_target"},
	{"an escaped letter", request("GET "+strings.Replace(v2Exports, "exports", "%65xports", 1), "", acceptLatest), 400, "invalid_target"},
	{"an escaped NUL", request(getExports+"%00", "", acceptLatest), 400, "invalid_target"},
	{"a double escape", request(getExports+"%252f", "", acceptLatest), 400, "invalid_target"},
	{"an overlong escape", request(getExports+"%c0%ae", "", acceptLatest), 400, "invalid_target"},
	{"a bad escape", request(getExports+"%zz", "", acceptLatest), 400, ""},
	{"the absolute form", request("POST http://evil.example"+v2Exports, export, acceptLatest, contentJSON), 400, "invalid_target"},
	{"a network path", request("GET //evil.example"+v2Exports, "", acceptLatest), 400, "invalid_target"},
	{"other case", request("GET "+strings.ToUpper(v2Exports), "", acceptLatest), 403, "not_served"},
	{"another path", request("GET "+v2Clusters+"/orders/processArgs", "", acceptLatest), 403, "not_served"},
	{"clusters in v1.0", request("GET "+strings.Replace(v2Clusters, "v2", "v1.0", 1), "", "Accept: application/json"), 403, "not_served"},
	{"the root", request("GET /", "", acceptLatest), 403, "not_served"},
	{"deleting a schedule", request("DELETE "+v2Schedule, "", acceptLatest), 405, "method_not_allowed"},
	{"escaped dots for a name", request("GET "+v2ByName+"%2e%2e", "", acceptLatest), 400, "invalid_target"},
	{"dots for a name", request("GET "+v2ByName+"..", "", acceptLatest), 400, "invalid_target"},
	{"an escaped letter in a name", request("GET "+v2ByName+"%61", "", acceptLatest), 400, "invalid_target"},
	{"an escape behind a name", request("GET "+v2ByName+"a/%20", "", acceptLatest), 400, "invalid_target"},
	{"an escape in front of a name", request("GET "+strings.Replace(v2ByName, "byName", "b%20Name", 1)+"a", "", acceptLatest), 400, "invalid_target"},
	{"another method", request("PUT "+v2Exports, export, acceptLatest, contentJSON), 405, "method_not_allowed"},
	{"TRACE", request("TRACE "+v2Exports, "", acceptLatest), 405, "method_not_allowed"},
	{"OPTIONS", request("OPTIONS *", "", acceptLatest), 400, "invalid_target"},
	{"CONNECT", request("CONNECT evil.example:443", "", acceptLatest), 400, "invalid_target"},
	{"lower case", request("get "+v2Exports, "", acceptLatest), 405, "method_not_allowed"},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_target"},
}

// invalidHeaders are wrong in the header, or too large.
var invalidHeaders = []invalidRequest{
	{"no version", request(getExports, ""), 406, "invalid_version"},
	{"plain JSON", request(getExports, "", "Accept: application/json"), 406, "invalid_version"},
	{"a date before the first", request(getExports, "", "Accept: application/vnd.atlas.2022-01-01+json"), 406, "invalid_version"},
	{"preview", request(getExports, "", "Accept: application/vnd.atlas.preview+json"), 406, "invalid_version"},
	{"upcoming", request(getExports, "", "Accept: application/vnd.atlas.2030-01-01.upcoming+json"), 406, "invalid_version"},
	{"another content type", request(postExports, export, acceptLatest, "Content-Type: text/plain"), 415, "unsupported_media_type"},
	{"no content type", request(postExports, export, acceptLatest), 415, "unsupported_media_type"},
	{"another charset", request(postExports, export, acceptLatest, "Content-Type: application/json; charset=utf-16"), 415, "unsupported_media_type"},
	{"an encoding", request(postExports, export, acceptLatest, contentJSON, "Content-Encoding: gzip"), 415, "unsupported_media_type"},
	{"a body too large", request(postExports, strings.Repeat("a", 4097), acceptLatest, contentJSON), 413, "request_too_large"},
	{"chunks too large", request(postExports, "", acceptLatest, contentJSON, "Transfer-Encoding: chunked") + "2000\r\n" + strings.Repeat("a", 0x2000) + "\r\n0\r\n\r\n", 413, "request_too_large"},
	{"a header too large", request(getExports, "", acceptLatest, "X: "+strings.Repeat("a", 1<<16)), 431, ""},
}

// invalidContent is wrong in the content, the parameters or the framing.
var invalidContent = []invalidRequest{
	{"no body", request(postExports, "", acceptLatest, contentJSON), 401, "unauthorized"},
	{"no body with a credential", request(postExports, "", acceptLatest, contentJSON, "Authorization: Digest username=\"x\""), 400, "invalid_request"},
	{"a body on GET", request(getExports, export, acceptLatest, contentJSON), 400, "invalid_request"},
	{"a body on DELETE", request("DELETE "+v2Buckets+"/"+bucketID, "{}", acceptLatest, contentJSON), 400, "invalid_request"},
	{"a second value", request(postExports, export+export, acceptLatest, contentJSON), 400, "invalid_request"},
	{"a repeated member", request(postExports, `{"snapshotId":"`+snapshot+`",`+export[1:], acceptLatest, contentJSON), 400, "invalid_request"},
	{"an unknown member", request(postExports, `{"snapshotID":"`+snapshot+`",`+export[1:], acceptLatest, contentJSON), 400, "invalid_request"},
	{"null", request(postExports, `null`, acceptLatest, contentJSON), 400, "invalid_request"},
	{"a repeated parameter", request(getExports+"?pageNum=1&pageNum=2", "", acceptLatest), 400, "invalid_request"},
	{"an unknown parameter", request(getExports+"?PAGENUM=1", "", acceptLatest), 400, "invalid_request"},
	{"a parameter of another list", request(getExports+"?includeDeletedWithRetainedBackups=true", "", acceptLatest), 400, "invalid_request"},
	{"a flag in another form", request("GET "+v2Clusters+"?includeDeletedWithRetainedBackups=True", "", acceptLatest), 400, "invalid_request"},
	{"an escape in a parameter", request(getExports+"?%zz", "", acceptLatest), 400, "invalid_request"},
	{"a semicolon in a parameter", request(getExports+"?pageNum=3;x", "", acceptLatest), 400, "invalid_request"},
	{"a bad id", request("GET "+strings.Replace(v2Exports, group, group[1:], 1), "", acceptLatest), 400, "invalid_request"},
	{"two lengths", "POST " + v2Exports + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
	{"an escaped slash in the name of a group", request("GET "+v2ByName+"a%2f..%2fb", "", acceptLatest), 400, "invalid_request"},
	{"a double escape in the name of a group", request("GET "+v2ByName+"a%252fb", "", acceptLatest), 400, "invalid_request"},
	{"an escaped line end in the name of a group", request("GET "+v2ByName+"a%0d%0aX:%20y", "", acceptLatest), 400, "invalid_request"},
	{"an overlong escape in the name of a group", request("GET "+v2ByName+"%c0%ae%c0%ae", "", acceptLatest), 400, "invalid_request"},
	{"no host", "GET " + v2Exports + " HTTP/1.1\r\n\r\n", 400, ""},
	{"a websocket", request("GET /ws", "", "Upgrade: websocket", "Connection: Upgrade"), 403, "not_served"},
}

// A request that the contract forbids is refused, and the upstream hears nothing of it.
func TestInvalidRequestsNeverReachTheUpstream(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "limits: {request_body: 4096, request_header: 4096}")
	for _, test := range slices.Concat(invalidTargets, invalidHeaders, invalidContent) {
		checkRefused(t, test, g.Raw(t, test.request))
	}
	if n := upstream.Total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests, want none", n)
	}
}

// checkRefused checks the answer to an invalid request.
func checkRefused(t *testing.T, test invalidRequest, answer string) {
	t.Helper()
	status, rest, _ := strings.Cut(strings.TrimPrefix(answer, "HTTP/1.1 "), " ")
	if status != fmt.Sprint(test.status) {
		t.Errorf("%s: %.300s, want %d", test.name, answer, test.status)
		return
	}
	if strings.Contains(rest, "Location:") {
		t.Errorf("%s: redirected: %s", test.name, rest)
	}
	if test.kind == "" {
		return
	}
	head, body, _ := strings.Cut(rest, "\r\n\r\n")
	var e struct {
		Error     int
		ErrorCode string
		Reason    string
		Detail    string
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Errorf("%s: not an ApiError: %s", test.name, body)
		return
	}
	if !strings.Contains(head, "Gateway-Error: "+test.kind+"\r\n") || !strings.Contains(head, "Content-Type: application/json\r\n") ||
		!strings.Contains(head, "X-Error-Code: "+e.ErrorCode) || !strings.Contains(head, "Gateway-Request-Id: ") {
		t.Errorf("%s: header %s", test.name, head)
	}
	if e.Error != test.status || e.ErrorCode == "" || e.Reason == "" || e.Detail == "" {
		t.Errorf("%s: %+v", test.name, e)
	}
	allow := "Allow: GET, HEAD, POST\r\n"
	if strings.Contains(test.request, "/schedule ") {
		allow = "Allow: GET, HEAD, PATCH\r\n"
	}
	if test.status == 405 && !strings.Contains(head, allow) {
		t.Errorf("%s: no Allow: %s", test.name, head)
	}
}

// One 400 names all mistakes of a body.
func TestEveryViolationIsNamed(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	body := `{"snapshotId":"latest","exportBucketID":"` + bucketID + `","customData":[{"key":"a","value":1}]}`
	got := g.Send(t, "POST", v2Exports, createHeader, body)
	type field struct{ Field, Description string }
	var e struct {
		Error            int
		ErrorCode        string
		Detail           string
		Parameters       []string
		BadRequestDetail struct{ Fields []field }
	}
	if err := json.Unmarshal([]byte(got.Body), &e); err != nil {
		t.Fatal(err)
	}
	want := []field{
		{"/customData/0/value", "is 1; expected a string"},
		{"/exportBucketID", "is not a known member; did you mean exportBucketId?"},
		{"/snapshotId", `is "latest"; expected 24 hexadecimal digits in lower case`},
		{"/exportBucketId", "is required"},
	}
	if diff := cmp.Diff(want, e.BadRequestDetail.Fields); diff != "" {
		t.Error(diff)
	}
	if got.Status != 400 || e.Error != 400 || e.ErrorCode != "VALIDATION_ERROR" || e.Detail != "The request breaks the contract in 4 places: /customData/0/value, /exportBucketID, /snapshotId, /exportBucketId." {
		t.Errorf("%d %s %s", got.Status, e.ErrorCode, e.Detail)
	}
	if n := upstream.Total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests, want none", n)
	}
	if strings.Contains(g.Log.String(), "latest") || strings.Contains(g.Log.String(), "exportBucketID") {
		t.Errorf("what was submitted is in the log: %s", g.Log)
	}
}

// A single violation is worded as Atlas words it.
func TestErrorsAreAtlas(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "")
	tests := []struct{ target, body, code, detail, parameters string }{
		{v2Exports, `{"snapshotId":"` + snapshot + `"}`, "MISSING_ATTRIBUTE", "The required attribute exportBucketId was not specified.", `["exportBucketId"]`},
		{v2Exports, strings.Replace(export, snapshot, "x", 1), "INVALID_ATTRIBUTE", "Invalid attribute snapshotId specified.", `["snapshotId"]`},
		{v2Buckets, `{"cloudProvider":"IBM"}`, "INVALID_ENUM_VALUE", `/cloudProvider is "IBM"; expected one of AWS, AZURE, GCP.`, `["/cloudProvider"]`},
		{v2Exports, `{`, "INVALID_JSON", "The body is not valid JSON at line 1, column 2: the text ends early.", ``},
		{v2Exports + "?prety=true", export, "INVALID_QUERY_PARAMETER", "prety is not a parameter of createBackupExport; did you mean pretty?", `["prety"]`},
		{v2Exports + "?pretty=1", export, "INVALID_QUERY_PARAMETER", `pretty is "1"; expected true or false.`, `["pretty"]`},
		{strings.Replace(v2Exports, "orders", "-", 1), export, "INVALID_PATH_PARAMETER", `clusterName is "-"; expected a cluster name of letters, digits and hyphens that starts with a letter or digit.`, `["clusterName"]`},
	}
	for _, test := range tests {
		got := g.Send(t, "POST", test.target, createHeader, test.body)
		var e struct {
			ErrorCode, Detail string
			Parameters        json.RawMessage
		}
		if err := json.Unmarshal([]byte(got.Body), &e); err != nil {
			t.Fatal(err)
		}
		if got.Status != 400 || e.ErrorCode != test.code || e.Detail != test.detail || string(e.Parameters) != test.parameters {
			t.Errorf("%s %s:\n got %d %s %s %s", test.target, test.body, got.Status, e.ErrorCode, e.Detail, e.Parameters)
		}
	}
}

// Errors come in an envelope, and indented, if the caller asks for that.
func TestErrorsInAnEnvelope(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "")
	got := g.Send(t, "GET", v2Exports+"?envelope=true&pretty=true&pageNum=0", readHeader, "")
	var e struct {
		Status  int
		Content struct{ Error int }
	}
	if err := json.Unmarshal([]byte(got.Body), &e); err != nil {
		t.Fatal(err)
	}
	if got.Status != 400 || e.Status != 400 || e.Content.Error != 400 || !strings.Contains(got.Body, "\n  \"status\": 400") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

// The outbound request is built from nothing: it has the validated bytes and the resolved
// version, and no field of the caller's.
func TestOutboundRequest(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	body := " {\n \"exportBucketId\" : \"" + bucketID + "\", \"snapshotId\":\"\\u0036" + snapshot[1:] + "\"}\n"
	answer := g.Raw(t, request("POST "+strings.Replace(v2Exports, "exports", "exports/", 1)+"?pretty=true", body,
		"Accept: text/plain, application/vnd.atlas.2024-11-13+json;q=1", "Content-Type: application/json; charset=utf-8",
		"Authorization: Basic Y2FuYXJ5", "Proxy-Authorization: canary", "Cookie: canary=1", "X-Forwarded-For: canary", "X_Forwarded_For: canary",
		"Forwarded: for=canary", "X-HTTP-Method-Override: DELETE", "Idempotency-Key: canary", "X-Idempotency-Key: canary", "TE: trailers",
		"Upgrade: h2c", "HTTP2-Settings: canary", "Accept-Encoding: gzip", "Expect: 100-continue", "User-Agent: canary", "Traceparent: canary", "X-Anything: canary"))
	if !strings.Contains(answer, "HTTP/1.1 200 OK") || strings.Contains(answer, "101 ") {
		t.Fatalf("answer: %s", answer)
	}
	received := upstream.Received.String()
	got := received[strings.LastIndex(received, "POST "):] // the signed request
	if strings.Contains(strings.ToLower(received), "canary") {
		t.Errorf("a field of the caller went upstream:\n%s", got)
	}
	head, content, _ := strings.Cut(got, "\r\n\r\n")
	if content != body {
		t.Errorf("content:\n got %q\nwant %q", content, body)
	}
	lines := strings.Split(head, "\r\n")
	if want := "POST " + v2Exports + "?pretty=true HTTP/1.1"; lines[0] != want {
		t.Errorf("request line %q, want %q", lines[0], want)
	}
	fields := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		fields[name] = value
	}
	if !strings.HasPrefix(fields["Authorization"], `Digest username="`+sim.PublicKey+`"`) {
		t.Errorf("Authorization: %s", fields["Authorization"])
	}
	delete(fields, "Authorization")
	want := map[string]string{
		"Host": strings.TrimPrefix(upstream.URL, "http://"), "User-Agent": "atlas-export-gateway",
		"Accept": "application/vnd.atlas.2023-01-01+json", "Content-Type": "application/vnd.atlas.2023-01-01+json",
		"Content-Length": fmt.Sprint(len(body)),
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

// A request that can be refused by its header is refused before its content is asked for.
func TestContentIsNotAskedFor(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "")
	for name, fields := range map[string]string{
		"too large":        "Accept: " + latest + "\r\nContent-Type: application/json\r\nContent-Length: 999999999",
		"of another type":  "Accept: " + latest + "\r\nContent-Type: text/plain\r\nContent-Length: 10",
		"of no version":    "Content-Type: application/json\r\nContent-Length: 10",
		"in some encoding": "Accept: " + latest + "\r\nContent-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 10",
	} {
		answer := g.Raw(t, "POST "+v2Exports+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"+fields+"\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// Bytes behind a chunked request are not read as another request: a proxy in front of the gateway
// may have gone by a Content-Length that net/http drops.
func TestNothingIsReadBehindChunks(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	answer := g.Raw(t, "POST "+v2Exports+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n"+
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(export), export)+"DELETE "+v2Buckets+"/"+bucketID+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\n\r\n")
	if n := strings.Count(answer, "HTTP/1.1 "); n != 1 || upstream.Signed.Load() != 1 || !strings.Contains(answer, "Connection: close") {
		t.Errorf("%d responses, %d requests upstream: %s", n, upstream.Signed.Load(), answer)
	}
	// HTTP/1.0 has no chunks, but a proxy in front of the gateway may know them.
	upstream.Signed.Store(0)
	answer = g.Raw(t, "POST "+v2Exports+" HTTP/1.0\r\nConnection: keep-alive\r\nHost: localhost\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\n"+
		fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s", len(export), export)+"DELETE "+v2Buckets+"/"+bucketID+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\n\r\n")
	if n := strings.Count(answer, "HTTP/1."); n != 1 || upstream.Signed.Load() != 1 || !strings.Contains(answer, "Connection: close") {
		t.Errorf("HTTP/1.0: %d responses, %d requests upstream: %s", n, upstream.Signed.Load(), answer)
	}
}

// A body with mistakes is answered 400, and Atlas receives no request.
func TestMistakesCostNoUpstreamRequest(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	if got := g.Send(t, "GET", v2Exports, createHeader, ""); got.Status != 200 {
		t.Fatal(got)
	}
	before := atlas.Counts()
	got := g.Send(t, "POST", v2Exports, createHeader, `{"snapshotId":"latest","exportBucketId":7,"customdata":[]}`)
	for _, pointer := range []string{`"/snapshotId"`, `"/exportBucketId"`, `"/customdata"`} {
		if !strings.Contains(got.Body, `"field":`+pointer) {
			t.Errorf("%s is not named: %s", pointer, got.Body)
		}
	}
	if diff := cmp.Diff(before, atlas.Counts()); got.Status != 400 || diff != "" {
		t.Errorf("%d:\n%s", got.Status, diff)
	}
}
