package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const export = `{"snapshotId":"` + snapshot + `","exportBucketId":"` + bucketID + `"}`

// request writes a request as bytes; the connection is closed after the answer.
func request(line, body string, fields ...string) string {
	head := line + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	for _, field := range fields {
		head += field + "\r\n"
	}
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

// What the contract forbids is refused, and the upstream hears nothing of it.
func TestInvalidRequestsNeverReachTheUpstream(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := start(t, upstream.url, "public", privateKey, "limits: {request_body: 4096, request_header: 4096}")
	accept, content := "Accept: "+latest, "Content-Type: application/json"
	post := "POST " + v2Exports
	get := "GET " + v2Exports
	tests := []struct {
		name, request string
		status        int
		kind          string // "" where net/http answers itself
	}{
		{"an escaped slash in a name", request("GET "+strings.Replace(v2Exports, "orders", "C0%2f..%2fOther", 1), "", accept), 400, "invalid_target"},
		{"escaped dots", request("GET "+strings.Replace(v2Exports, "orders", "%2e%2e", 1), "", accept), 400, "invalid_target"},
		{"dots", request("GET "+strings.Replace(v2Exports, "orders", "..", 1), "", accept), 400, "invalid_target"},
		{"one dot", request("GET /api/./atlas", "", accept), 400, "invalid_target"},
		{"two slashes", request("GET /api//atlas", "", accept), 400, "invalid_target"},
		{"a semicolon", request(get+";x", "", accept), 400, "invalid_target"},
		{"a backslash", request(get+`\`, "", accept), 400, "invalid_target"},
		{"an escaped letter", request("GET "+strings.Replace(v2Exports, "exports", "%65xports", 1), "", accept), 400, "invalid_target"},
		{"an escaped NUL", request(get+"%00", "", accept), 400, "invalid_target"},
		{"a double escape", request(get+"%252f", "", accept), 400, "invalid_target"},
		{"an overlong escape", request(get+"%c0%ae", "", accept), 400, "invalid_target"},
		{"a bad escape", request(get+"%zz", "", accept), 400, ""},
		{"the absolute form", request("POST http://evil.example"+v2Exports, export, accept, content), 400, "invalid_target"},
		{"a network path", request("GET //evil.example"+v2Exports, "", accept), 400, "invalid_target"},
		{"other case", request("GET "+strings.ToUpper(v2Exports), "", accept), 404, "not_found"},
		{"another path", request("GET "+v2Clusters+"/orders", "", accept), 404, "not_found"},
		{"clusters in v1.0", request("GET "+strings.Replace(v2Clusters, "v2", "v1.0", 1), "", "Accept: application/json"), 404, "not_found"},
		{"the root", request("GET /", "", accept), 404, "not_found"},
		{"a change of a schedule", request("PATCH "+v2Clusters+"/orders/backup/schedule", "{}", accept, content), 405, "method_not_allowed"},
		{"another method", request("PUT "+v2Exports, export, accept, content), 405, "method_not_allowed"},
		{"TRACE", request("TRACE "+v2Exports, "", accept), 405, "method_not_allowed"},
		{"OPTIONS", request("OPTIONS *", "", accept), 400, "invalid_target"},
		{"CONNECT", request("CONNECT evil.example:443", "", accept), 400, "invalid_target"},
		{"lower case", request("get "+v2Exports, "", accept), 405, "method_not_allowed"},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_target"},
		{"no version", request(get, ""), 406, "invalid_version"},
		{"plain JSON", request(get, "", "Accept: application/json"), 406, "invalid_version"},
		{"a date before the first", request(get, "", "Accept: application/vnd.atlas.2022-01-01+json"), 406, "invalid_version"},
		{"preview", request(get, "", "Accept: application/vnd.atlas.preview+json"), 406, "invalid_version"},
		{"upcoming", request(get, "", "Accept: application/vnd.atlas.2030-01-01.upcoming+json"), 406, "invalid_version"},
		{"another content type", request(post, export, accept, "Content-Type: text/plain"), 415, "unsupported_media_type"},
		{"no content type", request(post, export, accept), 415, "unsupported_media_type"},
		{"another charset", request(post, export, accept, "Content-Type: application/json; charset=utf-16"), 415, "unsupported_media_type"},
		{"an encoding", request(post, export, accept, content, "Content-Encoding: gzip"), 415, "unsupported_media_type"},
		{"a body too large", request(post, strings.Repeat("a", 4097), accept, content), 413, "request_too_large"},
		{"chunks too large", request(post, "", accept, content, "Transfer-Encoding: chunked") + "2000\r\n" + strings.Repeat("a", 0x2000) + "\r\n0\r\n\r\n", 413, "request_too_large"},
		{"a header too large", request(get, "", accept, "X: "+strings.Repeat("a", 1<<16)), 431, ""},
		{"no body", request(post, "", accept, content), 401, "unauthorized"},
		{"no body with a credential", request(post, "", accept, content, "Authorization: Digest username=\"x\""), 400, "invalid_request"},
		{"a body on GET", request(get, export, accept, content), 400, "invalid_request"},
		{"a body on DELETE", request("DELETE "+v2Buckets+"/"+bucketID, "{}", accept, content), 400, "invalid_request"},
		{"a second value", request(post, export+export, accept, content), 400, "invalid_request"},
		{"a repeated member", request(post, `{"snapshotId":"`+snapshot+`",`+export[1:], accept, content), 400, "invalid_request"},
		{"an unknown member", request(post, `{"snapshotID":"`+snapshot+`",`+export[1:], accept, content), 400, "invalid_request"},
		{"null", request(post, `null`, accept, content), 400, "invalid_request"},
		{"a repeated parameter", request(get+"?pageNum=1&pageNum=2", "", accept), 400, "invalid_request"},
		{"an unknown parameter", request(get+"?PAGENUM=1", "", accept), 400, "invalid_request"},
		{"a parameter of another list", request(get+"?includeDeletedWithRetainedBackups=true", "", accept), 400, "invalid_request"},
		{"a flag in another form", request("GET "+v2Clusters+"?includeDeletedWithRetainedBackups=True", "", accept), 400, "invalid_request"},
		{"an escape in a parameter", request(get+"?%zz", "", accept), 400, "invalid_request"},
		{"a semicolon in a parameter", request(get+"?pageNum=3;x", "", accept), 400, "invalid_request"},
		{"a bad id", request("GET "+strings.Replace(v2Exports, group, group[1:], 1), "", accept), 400, "invalid_request"},
		{"two lengths", "POST " + v2Exports + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		{"no host", "GET " + v2Exports + " HTTP/1.1\r\n\r\n", 400, ""},
		{"a websocket", request("GET /ws", "", "Upgrade: websocket", "Connection: Upgrade"), 404, "not_found"},
	}
	for _, test := range tests {
		answer := raw(t, g.address, test.request)
		status, rest, _ := strings.Cut(strings.TrimPrefix(answer, "HTTP/1.1 "), " ")
		if status != fmt.Sprint(test.status) {
			t.Errorf("%s: %.300s, want %d", test.name, answer, test.status)
			continue
		}
		if strings.Contains(rest, "Location:") {
			t.Errorf("%s: redirected: %s", test.name, rest)
		}
		if test.kind == "" {
			continue
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
			continue
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
			allow = "Allow: GET, HEAD\r\n"
		}
		if test.status == 405 && !strings.Contains(head, allow) {
			t.Errorf("%s: no Allow: %s", test.name, head)
		}
	}
	if n := upstream.total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests, want none", n)
	}
}

// Three mistakes in one body come back as one 400 that names all three.
func TestEveryViolationIsNamed(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := start(t, upstream.url, "public", privateKey)
	body := `{"snapshotId":"latest","exportBucketID":"` + bucketID + `","customData":[{"key":"a","value":1}]}`
	got := send(t, "POST", g.url+v2Exports, map[string]string{"Accept": latest, "Content-Type": "application/json"}, body)
	type field struct{ Field, Description string }
	var e struct {
		Error            int
		ErrorCode        string
		Detail           string
		Parameters       []string
		BadRequestDetail struct{ Fields []field }
	}
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
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
	if got.status != 400 || e.Error != 400 || e.ErrorCode != "VALIDATION_ERROR" || e.Detail != "The request breaks the contract in 4 places: /customData/0/value, /exportBucketID, /snapshotId, /exportBucketId." {
		t.Errorf("%d %s %s", got.status, e.ErrorCode, e.Detail)
	}
	if n := upstream.total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests, want none", n)
	}
	if strings.Contains(g.logs.String(), "latest") || strings.Contains(g.logs.String(), "exportBucketID") {
		t.Errorf("what was submitted is in the log: %s", g.logs)
	}
}

// A single violation is worded as Atlas words it.
func TestErrorsAreAtlas(t *testing.T) {
	g := start(t, "http://127.0.0.1:9", "public", privateKey)
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
		got := send(t, "POST", g.url+test.target, map[string]string{"Accept": latest, "Content-Type": "application/json"}, test.body)
		var e struct {
			ErrorCode, Detail string
			Parameters        json.RawMessage
		}
		if err := json.Unmarshal([]byte(got.body), &e); err != nil {
			t.Fatal(err)
		}
		if got.status != 400 || e.ErrorCode != test.code || e.Detail != test.detail || string(e.Parameters) != test.parameters {
			t.Errorf("%s %s:\n got %d %s %s %s", test.target, test.body, got.status, e.ErrorCode, e.Detail, e.Parameters)
		}
	}
}

// Errors come in an envelope, and indented, when the caller asks for it.
func TestErrorsInAnEnvelope(t *testing.T) {
	g := start(t, "http://127.0.0.1:9", "public", privateKey)
	got := send(t, "GET", g.url+v2Exports+"?envelope=true&pretty=true&pageNum=0", map[string]string{"Accept": latest}, "")
	var e struct {
		Status  int
		Content struct{ Error int }
	}
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
		t.Fatal(err)
	}
	if got.status != 400 || e.Status != 400 || e.Content.Error != 400 || !strings.Contains(got.body, "\n  \"status\": 400") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// What goes upstream is made from nothing: the validated bytes, the resolved version, and
// no field of the caller's.
func TestOutboundRequest(t *testing.T) {
	var got string
	u := startRawBytes(t, &got)
	g := start(t, u, "public", privateKey)
	body := " {\n \"exportBucketId\" : \"" + bucketID + "\", \"snapshotId\":\"\\u0036" + snapshot[1:] + "\"}\n"
	answer := raw(t, g.address, request("POST "+strings.Replace(v2Exports, "exports", "exports/", 1)+"?pretty=true", body,
		"Accept: text/plain, application/vnd.atlas.2024-11-13+json;q=1", "Content-Type: application/json; charset=utf-8",
		"Authorization: Basic Y2FuYXJ5", "Proxy-Authorization: canary", "Cookie: canary=1", "X-Forwarded-For: canary", "X_Forwarded_For: canary",
		"Forwarded: for=canary", "X-HTTP-Method-Override: DELETE", "Idempotency-Key: canary", "X-Idempotency-Key: canary", "TE: trailers",
		"Upgrade: h2c", "HTTP2-Settings: canary", "Accept-Encoding: gzip", "Expect: 100-continue", "User-Agent: canary", "Traceparent: canary", "X-Anything: canary"))
	if !strings.Contains(answer, "HTTP/1.1 200 OK") || strings.Contains(answer, "101 ") {
		t.Fatalf("answer: %s", answer)
	}
	if strings.Contains(strings.ToLower(got), "canary") {
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
	if !strings.HasPrefix(fields["Authorization"], `Digest username="public"`) {
		t.Errorf("Authorization: %s", fields["Authorization"])
	}
	delete(fields, "Authorization")
	want := map[string]string{
		"Host": strings.TrimPrefix(u, "http://"), "User-Agent": "atlas-export-gateway",
		"Accept": "application/vnd.atlas.2023-01-01+json", "Content-Type": "application/vnd.atlas.2023-01-01+json",
		"Content-Length": fmt.Sprint(len(body)),
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

// startRawBytes is an upstream that keeps the bytes of the signed request, as they came.
func startRawBytes(t testing.TB, got *string) string {
	t.Helper()
	l := listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					text := string(buffer[:n])
					if !strings.Contains(text, "Authorization: Digest") {
						fmt.Fprintf(conn, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s\r\nContent-Length: 0\r\n\r\n", challenge)
						continue
					}
					for !strings.HasSuffix(text, "}\n") {
						if n, err = conn.Read(buffer); err != nil {
							return
						}
						text += string(buffer[:n])
					}
					*got = text
					io.WriteString(conn, jsonAnswer(200, job))
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// A request that does not arrive in time is a 408.
func TestSlowBody(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := start(t, upstream.url, "public", privateKey, "timeouts: {request: 100ms, header: 50ms}")
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", v2Exports, latest)
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || upstream.total.Load() != 0 {
		t.Errorf("%s, upstream %d", answer, upstream.total.Load())
	}
}

// What the header alone condemns is refused before the content is asked for.
func TestContentIsNotAskedFor(t *testing.T) {
	g := start(t, "http://127.0.0.1:9", "public", privateKey)
	for name, fields := range map[string]string{
		"too large":        "Accept: " + latest + "\r\nContent-Type: application/json\r\nContent-Length: 999999999",
		"of another type":  "Accept: " + latest + "\r\nContent-Type: text/plain\r\nContent-Length: 10",
		"of no version":    "Content-Type: application/json\r\nContent-Length: 10",
		"in some encoding": "Accept: " + latest + "\r\nContent-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 10",
	} {
		answer := raw(t, g.address, "POST "+v2Exports+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"+fields+"\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// Unknown paths and operators' endpoints are not on each other's listener.
func TestManagementIsSeparate(t *testing.T) {
	g := start(t, "http://127.0.0.1:9", "public", privateKey)
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/"} {
		if got := send(t, "GET", g.url+path, nil, ""); got.status != 404 {
			t.Errorf("the callers' listener answers %s with %d", path, got.status)
		}
	}
	if got := send(t, "GET", g.management+v2Exports, nil, ""); got.status != 404 {
		t.Errorf("the management listener answers the API with %d", got.status)
	}
	if got := send(t, "GET", g.management+"/debug/pprof/", nil, ""); got.status != 404 {
		t.Errorf("the management listener answers pprof with %d", got.status)
	}
}

// Every log line is one JSON object, whatever a caller sends.
func TestLogLinesAreJSON(t *testing.T) {
	g := start(t, "http://127.0.0.1:9", "public", privateKey)
	raw(t, g.address, request("GET /a\x1b[31m\x01", ""))
	raw(t, g.address, request("G\x7fET /", ""))
	raw(t, g.address, request("GET /api", "", "Accept: \x1b[2J"))
	raw(t, g.address, request("GET "+v2Exports, "", "Accept: application/vnd.atlas.submitted-value+json"))
	raw(t, g.address, request("GET /\xff\xfe", ""))
	raw(t, g.address, request("G'ET"+strings.Repeat("x", 1000)+" /%1b[31m", ""))
	raw(t, g.address, request("submitted-value /", ""))
	raw(t, g.address, "\x16\x03\x01\x00\r\n\r\n")
	if strings.Contains(g.logs.String(), "submitted-value") {
		t.Errorf("what was submitted is in the log: %s", g.logs)
	}
	lines := strings.Split(strings.TrimSpace(g.logs.String()), "\n")
	if len(lines) < 3 {
		t.Errorf("only %d lines", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) || strings.Contains(line, "\x1b") {
			t.Errorf("not a clean line: %q", line)
		}
	}
}
