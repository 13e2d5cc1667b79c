package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// An answer that can't be relayed whole is a 502 in the form of an ApiError.
func TestUpstreamAnswersThatAreNotRelayed(t *testing.T) {
	second, reached := gatewaytest.Tap(t)
	tests := []struct {
		name, answer, kind, detail string
		status                     int
	}{
		{"a redirect", fmt.Sprintf("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://%s/\r\nContent-Length: 0\r\n\r\n", second), "upstream_response", "redirects are not followed. It is not known whether the request was carried out", 502},
		{"HTML", "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "upstream_response", "answered 503 without JSON. It is not known whether the request was carried out", 502},
		{"no content type", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "upstream_response", "without JSON", 502},
		{"broken JSON", gatewaytest.LastJSON(200, `{"id":`), "upstream_response", "JSON that is broken", 502},
		{"a truncated body", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}", "upstream_response", "response ended early. It is not known whether the request was carried out", 502},
		{"truncated chunks", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "upstream_response", "response ended early. It is not known whether the request was carried out", 502},
		{"a declared size beyond the limit", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{}", "upstream_response", "larger than 4096 bytes. It is not known whether the request was carried out", 502},
		{"chunks beyond the limit", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1800\r\n\"" + strings.Repeat("a", 0x17ff) + "\r\n", "upstream_response", "larger than 4096 bytes. It is not known whether the request was carried out", 502},
		{"a part", gatewaytest.LastJSON(206, "{}", "Content-Range: bytes 0-1/100"), "upstream_response", "answered with a part, which nobody asked for. It is not known whether the request was carried out", 502},
		{"an encoding", gatewaytest.LastJSON(200, "{}", "Content-Encoding: gzip"), "upstream_response", "encoding", 502},
		{"huge header fields", gatewaytest.LastJSON(200, "{}", "X: "+strings.Repeat("a", 1<<17)), "upstream_unreachable", "", 502},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n", "upstream_unreachable", "", 502},
		{"nothing", "", "upstream_unreachable", "not known whether the request was carried out", 502},
		{"a 401 without a challenge", gatewaytest.LastJSON(401, `{"error":401,"errorCode":"UNEXPECTED_ERROR"}`, "Set-Cookie: a=b", "Server: secret"), "upstream_credential", "credential", 502},
		{"Basic alone", gatewaytest.LastJSON(401, `{"error":401,"errorCode":"UNEXPECTED_ERROR"}`, `WWW-Authenticate: Basic realm="x"`), "upstream_credential", "credential", 502},
		{"the key is not of the group", gatewaytest.LastJSON(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+gatewaytest.Challenge, "X-Error-Code: NOT_IN_GROUP"), "upstream_credential", "credential", 502},
		{"every signature refused", gatewaytest.LastJSON(401, `{"error":401,"errorCode":"UNEXPECTED_ERROR"}`, "WWW-Authenticate: "+gatewaytest.Challenge), "upstream_credential", "credential", 502},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(test.answer))
			g := gatewaytest.StartFor(t, upstream.URL, "limits: {response_body: 4096}")
			got := g.Send(t, "POST", v2Exports, createHeader, export)
			if got.Status != test.status || got.Header.Get("Gateway-Error") != test.kind || !strings.Contains(got.Body, test.detail) {
				t.Errorf("got %d %s %s", got.Status, got.Header.Get("Gateway-Error"), got.Body)
			}
			if got.Header.Get("Content-Type") != "application/json" || !strings.Contains(got.Body, fmt.Sprintf(`"error":%d`, test.status)) {
				t.Errorf("not an ApiError: %s %s", got.Header.Get("Content-Type"), got.Body)
			}
			for _, name := range []string{"Www-Authenticate", "Set-Cookie", "Server", "Location"} {
				if value := got.Header.Get(name); value != "" {
					t.Errorf("%s: %s reached the caller", name, value)
				}
			}
			if strings.Contains(got.Body, "nonce") || strings.Contains(got.Body, sim.PrivateKey) {
				t.Errorf("the answer says too much: %s", got.Body)
			}
		})
	}
	if reached.Load() > 0 {
		t.Error("the redirect was followed")
	}
}

// An answer of Atlas's is relayed with its status and its body. Of its header only the fields of
// the allow-list are relayed.
func TestRelay(t *testing.T) {
	const notFound = `{ "error" : 404, "errorCode" : "SNAPSHOT_NOT_FOUND", "detail":"\u003cnone\u003e" }`
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(404, notFound,
		"X-Error-Code: SNAPSHOT_NOT_FOUND", "RateLimit-Limit: 1200", "RateLimit-Remaining: 7", "Retry-After: 3",
		"X-MongoDB-Service-Version: gitHash=1", "Deprecation: Mon, 5 Aug 2024 00:00:00 GMT", "Sunset: Thu, 1 Jul 2027 00:00:00 GMT",
		"X-Error-Code: A_SECOND", "Content-Type: text/html", "Set-Cookie: session=1", "Server: mdbws", "X-Frame-Options: DENY", "Strict-Transport-Security: max-age=1", "Location: /x")))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	got := g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, "")
	if got.Status != 404 || got.Body != notFound {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	allowed := map[string]string{
		"Content-Type": "application/json", "X-Error-Code": "SNAPSHOT_NOT_FOUND", "Ratelimit-Limit": "1200", "Ratelimit-Remaining": "7",
		"Retry-After": "3", "X-Mongodb-Service-Version": "gitHash=1", "Deprecation": "Mon, 5 Aug 2024 00:00:00 GMT", "Sunset": "Thu, 1 Jul 2027 00:00:00 GMT",
	}
	for name, value := range allowed {
		if values := got.Header[name]; len(values) != 1 || values[0] != value {
			t.Errorf("%s: %q, want %q", name, values, value)
		}
	}
	for name := range got.Header {
		switch name {
		case "Date", "Content-Length", "Gateway-Request-Id", "Connection":
		default:
			if allowed[name] == "" {
				t.Errorf("%s: %s reached the caller", name, got.Header.Get(name))
			}
		}
	}
}

// A field whose value has another form than the field's own is dropped, and of Content-Type only
// what was checked is relayed. So no caller sees a credential of an upstream that repeats what it
// was sent.
func TestRelayedForms(t *testing.T) {
	const echo = `Digest username="public", realm="MMS Public API", nonce="n", uri="/", response="0123456789abcdef0123456789abcdef"`
	date := "Thu, 1 Jul 2027 00:00:00 GMT"
	for _, test := range []struct{ field, value, want string }{
		{"Content-Type", "application/json", "application/json"},
		{"Content-Type", "application/vnd.atlas.2024-05-30+json;charset=utf-8", "application/vnd.atlas.2024-05-30+json;charset=utf-8"},
		{"Content-Type", "Application/JSON ; q=1; Charset=UTF-8;x=" + echo, "application/json;charset=utf-8"},
		{"Content-Type", "application/json; " + echo, "application/json"},
		{"Content-Type", "application/vnd.atlas.2023-01-01+json;charset=utf-8", "application/vnd.atlas.2023-01-01+json;charset=utf-8"}, // the version asked for
		{"Content-Type", "application/vnd.atlas.2023-01-01+json; " + echo, "application/vnd.atlas.2023-01-01+json"},
		{"Content-Type", "application/vnd.atlas.2023-01-01+json" + echo, "502"},
		{"Content-Type", "application/vnd." + echo + "+json", "502"},
		{"Content-Type", "application/vnd." + strings.Repeat("a", 65) + "+json", "502"},
		{"Content-Type", "application/problem+json", "502"},
		{"X-Error-Code", "CANNOT_ASSUME_ROLE", "CANNOT_ASSUME_ROLE"},
		{"X-Error-Code", echo, ""},
		{"X-Error-Code", "0123456789abcdef0123456789abcdef", ""},
		{"X-Error-Code", strings.Repeat("A", 101), ""},
		{"X-MongoDB-Service-Version", "gitHash=0000000000000000000000000000000000000000; versionString=v20261101", "gitHash=0000000000000000000000000000000000000000; versionString=v20261101"},
		{"X-MongoDB-Service-Version", echo, ""},
		{"X-MongoDB-Service-Version", echo, ""}, // again: it keeps what was right
		{"RateLimit-Limit", "1200", "1200"},
		{"RateLimit-Remaining", "12oo", ""},
		{"RateLimit-Reset", strings.Repeat("1", 13), ""},
		{"RateLimit-Policy", "1200;w=60", "1200;w=60"},
		{"RateLimit-Policy", echo, ""},
		{"Retry-After", "7", "7"},
		{"Retry-After", date, date},
		{"Retry-After", "soon", ""},
		{"Sunset", date, date},
		{"Sunset", echo, ""},
		{"Deprecation", "@1688169599", "@1688169599"},
		{"Deprecation", "true", "true"},
		{"Deprecation", date + echo, ""},
	} {
		fields := "Content-Type: application/json\r\n" + test.field + ": " + test.value + "\r\n"
		if test.field == "Content-Type" {
			fields = test.field + ": " + test.value + "\r\n"
		}
		upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(job), job)))
		g := gatewaytest.StartFor(t, upstream.URL, "")
		got := g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, "")
		if test.want == "502" {
			if got.Status != 502 || got.Header.Get("Gateway-Error") != "upstream_response" || got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %s: %d %v", test.field, test.value, got.Status, got.Header)
			}
		} else if got.Status != 200 || got.Header.Get(test.field) != test.want {
			t.Errorf("%s: %s: %d %q, want %q", test.field, test.value, got.Status, got.Header.Get(test.field), test.want)
		}
	}
}

// A HEAD request is forwarded as a GET, and answered without content.
func TestHead(t *testing.T) {
	var method atomic.Value
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		method.Store(r.Method)
		return gatewaytest.LastJSON(200, job)
	}))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	got := g.Send(t, "HEAD", v2Exports+"/"+jobID, readHeader, "")
	if got.Status != 200 || got.Body != "" || got.Header.Get("Content-Length") != fmt.Sprint(len(job)) || method.Load() != "GET" {
		t.Errorf("got %d %q %s, upstream %v", got.Status, got.Body, got.Header.Get("Content-Length"), method.Load())
	}
}

// In mode enforce, the answer to a response that breaks the contract is 502. In mode report such a
// response is relayed, counted and logged, without its values.
func TestAnswersAreChecked(t *testing.T) {
	const bad = `{"results":[{"id":"secret value","state":7},{"id":"6a01f3c95be2d84417c0aa01","state":8}]}`
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, bad)))

	enforce := gatewaytest.StartFor(t, upstream.URL, "responses: {check: enforce}")
	got := enforce.Send(t, "GET", v2Exports, readHeader, "")
	if got.Status != 502 || got.Header.Get("Gateway-Error") != "upstream_response" || strings.Contains(got.Body, "secret") {
		t.Errorf("enforce: %d %s", got.Status, got.Body)
	}
	logged := `"msg":"response breaks the contract","id":"` + got.Header.Get("Gateway-Request-Id") + `","operation":"listBackupExports","status":200,"pointers":["/results/*/id","/results/*/state"]}`
	if logs := enforce.Log.String(); !strings.Contains(logs, logged) || strings.Contains(logs, "secret") {
		t.Errorf("enforce: logs %s", logs)
	}

	report := gatewaytest.StartFor(t, upstream.URL, "responses: {check: report, sample: 1}")
	got = report.Send(t, "GET", v2Exports, readHeader, "")
	if got.Status != 200 || got.Body != bad {
		t.Errorf("report: %d %s", got.Status, got.Body)
	}
	if logs := report.Log.String(); !strings.Contains(logs, `"pointers":["/results/*/id","/results/*/state"]`) || strings.Contains(logs, "secret") {
		t.Errorf("report: logs %s", logs)
	}
	for name, g := range map[string]*gatewaytest.Gateway{"enforce": enforce, "report": report} {
		metrics := g.Metrics(t)
		for _, place := range []string{"/results/*/id", "/results/*/state"} {
			if !strings.Contains(metrics, `atlas_gateway_response_violations_total{operation="listBackupExports",pointer="`+place+`"} 1`) {
				t.Errorf("%s: %s was not counted", name, place)
			}
		}
	}

	sampled := gatewaytest.StartFor(t, upstream.URL, "responses: {check: report, sample: 3}")
	for range 7 {
		sampled.Send(t, "GET", v2Exports, readHeader, "")
	}
	if n := strings.Count(sampled.Log.String(), "response breaks the contract"); n != 2 {
		t.Errorf("report: %d of 7 were checked, want one in 3", n)
	}

	off := gatewaytest.StartFor(t, upstream.URL, "responses: {check: off}")
	if got = off.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
		t.Errorf("off: %d %s", got.Status, got.Body)
	}
}
