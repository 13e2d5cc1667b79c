package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

const challenge = `Digest realm="MMS Public API", domain="", nonce="abcdefghijklmnopqrstuvwxyz012345", algorithm=MD5, qop="auth", stale=false`

// rawUpstream is an Atlas that speaks bytes: it challenges what is unsigned and answers
// what is signed with the given bytes, after which it closes the connection.
type rawUpstream struct {
	url    string
	close  func()       // closes the listener
	signed atomic.Int64 // requests with a credential
	total  atomic.Int64
}

func startRaw(t testing.TB, answer func(conn net.Conn, request *http.Request)) *rawUpstream {
	t.Helper()
	l := listen(t)
	u := &rawUpstream{url: "http://" + l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for {
					request, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					io.Copy(io.Discard, request.Body)
					u.total.Add(1)
					if request.Header.Get("Authorization") == "" {
						body := `{"error":401,"reason":"Unauthorized","detail":"You are not authorized for this resource.","errorCode":"UNEXPECTED_ERROR"}`
						fmt.Fprintf(conn, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", challenge, len(body), body)
						continue
					}
					u.signed.Add(1)
					answer(conn, request)
					return
				}
			}()
		}
	}()
	u.close = func() { l.Close() }
	t.Cleanup(u.close)
	return u
}

// answering returns an answer function that writes the same bytes every time.
func answering(bytes string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) { io.WriteString(conn, bytes) }
}

func jsonAnswer(status int, body string, fields ...string) string {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n", status, http.StatusText(status))
	for _, field := range fields {
		head += field + "\r\n"
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

const job = `{"id":"6a01f3c95be2d84417c0aa01","state":"Queued"}`

// An answer that can't be relayed whole is a 502 in the form of an ApiError.
func TestUpstreamAnswersThatAreNotRelayed(t *testing.T) {
	second := listen(t)
	defer second.Close()
	var touched atomic.Bool
	go func() {
		for {
			conn, err := second.Accept()
			if err != nil {
				return
			}
			touched.Store(true)
			conn.Close()
		}
	}()
	tests := []struct {
		name, answer, kind, detail string
		status                     int
	}{
		{"a redirect", fmt.Sprintf("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://%s/\r\nContent-Length: 0\r\n\r\n", second.Addr()), "upstream_response", "redirects are not followed. It is not known whether the request was carried out", 502},
		{"HTML", "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", "upstream_response", "answered 503 without JSON. It is not known whether the request was carried out", 502},
		{"no content type", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "upstream_response", "without JSON", 502},
		{"broken JSON", jsonAnswer(200, `{"id":`), "upstream_response", "JSON that is broken", 502},
		{"a truncated body", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}", "upstream_response", "response ended early. It is not known whether the request was carried out", 502},
		{"truncated chunks", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "upstream_response", "response ended early. It is not known whether the request was carried out", 502},
		{"a declared size beyond the limit", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{}", "upstream_response", "larger than 4096 bytes. It is not known whether the request was carried out", 502},
		{"chunks beyond the limit", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1800\r\n\"" + strings.Repeat("a", 0x17ff) + "\r\n", "upstream_response", "larger than 4096 bytes. It is not known whether the request was carried out", 502},
		{"a part", jsonAnswer(206, "{}", "Content-Range: bytes 0-1/100"), "upstream_response", "answered with a part, which nobody asked for. It is not known whether the request was carried out", 502},
		{"an encoding", jsonAnswer(200, "{}", "Content-Encoding: gzip"), "upstream_response", "encoding", 502},
		{"huge header fields", jsonAnswer(200, "{}", "X: "+strings.Repeat("a", 1<<17)), "upstream_unreachable", "", 502},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n", "upstream_unreachable", "", 502},
		{"nothing", "", "upstream_unreachable", "not known whether the request was carried out", 502},
		{"a 401 without a challenge", jsonAnswer(401, `{"error":401,"errorCode":"UNEXPECTED_ERROR"}`, "Set-Cookie: a=b", "Server: secret"), "upstream_credential", "credential", 502},
		{"Basic alone", jsonAnswer(401, `{"error":401,"errorCode":"UNEXPECTED_ERROR"}`, `WWW-Authenticate: Basic realm="x"`), "upstream_credential", "credential", 502},
		{"the key is not of the group", jsonAnswer(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+challenge, "X-Error-Code: NOT_IN_GROUP"), "upstream_credential", "credential", 502},
		{"every signature refused", jsonAnswer(401, `{"error":401,"errorCode":"UNEXPECTED_ERROR"}`, "WWW-Authenticate: "+challenge), "upstream_credential", "credential", 502},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			upstream := startRaw(t, answering(test.answer))
			g := start(t, upstream.url, "public", privateKey, "limits: {response_body: 4096}")
			got := send(t, "POST", g.url+v2Exports, map[string]string{"Accept": latest, "Content-Type": "application/json"}, export)
			if got.status != test.status || got.header.Get("Gateway-Error") != test.kind || !strings.Contains(got.body, test.detail) {
				t.Errorf("got %d %s %s", got.status, got.header.Get("Gateway-Error"), got.body)
			}
			if got.header.Get("Content-Type") != "application/json" || !strings.Contains(got.body, fmt.Sprintf(`"error":%d`, test.status)) {
				t.Errorf("not an ApiError: %s %s", got.header.Get("Content-Type"), got.body)
			}
			for _, name := range []string{"Www-Authenticate", "Set-Cookie", "Server", "Location"} {
				if value := got.header.Get(name); value != "" {
					t.Errorf("%s: %s reached the caller", name, value)
				}
			}
			if strings.Contains(got.body, "nonce") || strings.Contains(got.body, privateKey) {
				t.Errorf("the answer says too much: %s", got.body)
			}
		})
	}
	if touched.Load() {
		t.Error("the redirect was followed")
	}
}

// Answers of Atlas pass through with their status and body; of the header, the fields of
// the allow-list and no others.
func TestRelay(t *testing.T) {
	const notFound = `{ "error" : 404, "errorCode" : "SNAPSHOT_NOT_FOUND", "detail":"\u003cnone\u003e" }`
	upstream := startRaw(t, answering(jsonAnswer(404, notFound,
		"X-Error-Code: SNAPSHOT_NOT_FOUND", "RateLimit-Limit: 1200", "RateLimit-Remaining: 7", "Retry-After: 3",
		"X-MongoDB-Service-Version: gitHash=1", "Deprecation: Mon, 5 Aug 2024 00:00:00 GMT", "Sunset: Thu, 1 Jul 2027 00:00:00 GMT",
		"X-Error-Code: A_SECOND", "Content-Type: text/html", "Set-Cookie: session=1", "Server: mdbws", "X-Frame-Options: DENY", "Strict-Transport-Security: max-age=1", "Location: /x")))
	g := start(t, upstream.url, "public", privateKey)
	got := send(t, "GET", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, "")
	if got.status != 404 || got.body != notFound {
		t.Errorf("got %d %s", got.status, got.body)
	}
	allowed := map[string]string{
		"Content-Type": "application/json", "X-Error-Code": "SNAPSHOT_NOT_FOUND", "Ratelimit-Limit": "1200", "Ratelimit-Remaining": "7",
		"Retry-After": "3", "X-Mongodb-Service-Version": "gitHash=1", "Deprecation": "Mon, 5 Aug 2024 00:00:00 GMT", "Sunset": "Thu, 1 Jul 2027 00:00:00 GMT",
	}
	for name, value := range allowed {
		if values := got.header[name]; len(values) != 1 || values[0] != value {
			t.Errorf("%s: %q, want %q", name, values, value)
		}
	}
	for name := range got.header {
		switch name {
		case "Date", "Content-Length", "Gateway-Request-Id", "Connection":
		default:
			if allowed[name] == "" {
				t.Errorf("%s: %s reached the caller", name, got.header.Get(name))
			}
		}
	}
}

// A field in a form that is not its own is dropped, and of Content-Type only what was checked
// is relayed: an upstream that repeats what it was sent shows no caller a credential.
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
		{"X-MongoDB-Service-Version", echo, ""}, // again: what was seen once is not right for that
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
		upstream := startRaw(t, answering(fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(job), job)))
		g := start(t, upstream.url, "public", privateKey)
		got := send(t, "GET", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, "")
		if test.want == "502" {
			if got.status != 502 || got.header.Get("Gateway-Error") != "upstream_response" || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %s: %d %v", test.field, test.value, got.status, got.header)
			}
		} else if got.status != 200 || got.header.Get(test.field) != test.want {
			t.Errorf("%s: %s: %d %q, want %q", test.field, test.value, got.status, got.header.Get(test.field), test.want)
		}
	}
}

// HEAD is forwarded as its GET and answered without content.
func TestHead(t *testing.T) {
	var method atomic.Value
	upstream := startRaw(t, func(conn net.Conn, request *http.Request) {
		method.Store(request.Method)
		io.WriteString(conn, jsonAnswer(200, job))
	})
	g := start(t, upstream.url, "public", privateKey)
	got := send(t, "HEAD", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, "")
	if got.status != 200 || got.body != "" || got.header.Get("Content-Length") != fmt.Sprint(len(job)) || method.Load() != "GET" {
		t.Errorf("got %d %q %s, upstream %v", got.status, got.body, got.header.Get("Content-Length"), method.Load())
	}
}

// Links that point at the upstream's origin point at the gateway, wherever the contract
// has links; every other byte stays.
func TestLinksAreRewritten(t *testing.T) {
	var answer atomic.Value
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		io.WriteString(conn, jsonAnswer(200, answer.Load().(string)))
	})
	g := start(t, upstream.url, "public", privateKey)
	replace := strings.NewReplacer("UP", upstream.url, "GW", g.url)
	tests := []struct{ name, from, to string }{
		{"at the top", `{"results":[],"links":[{"href":"UP/a?pageNum=1","rel":"self"},{"rel":"next","href":"UP/b"}]}`, `{"results":[],"links":[{"href":"GW/a?pageNum=1","rel":"self"},{"rel":"next","href":"GW/b"}]}`},
		{"in results", `{"results":[{"id":"1","links":[{"href":"UP/a"}]},{"links":[{"href":"UP/b"}]}]}`, `{"results":[{"id":"1","links":[{"href":"GW/a"}]},{"links":[{"href":"GW/b"}]}]}`},
		{"in an envelope", `{"status":200,"content":{"links":[{"href":"UP/a"}]}}`, `{"status":200,"content":{"links":[{"href":"GW/a"}]}}`},
		{"in an envelope in other words", `{"status":200,"envelope":{"links":[{"href":"UP/a"}]}}`, `{"status":200,"envelope":{"links":[{"href":"GW/a"}]}}`},
		{"with escapes and spaces", `{ "links" : [ { "href" : "UP/a\"\\\u0041" } ] }`, `{ "links" : [ { "href" : "GW/a\"\\A" } ] }`},
		{"the origin alone", `{"links":[{"href":"UP"}]}`, `{"links":[{"href":"GW"}]}`},
		{"not in custom data", `{"customData":[{"key":"UP/a","value":"UP/b"}],"links":[]}`, `{"customData":[{"key":"UP/a","value":"UP/b"}],"links":[]}`},
		{"not in other members", `{"links":[{"rel":"UP/a"}],"href":"UP/b","x":{"links":[{"href":"UP/c"}]}}`, `{"links":[{"rel":"UP/a"}],"href":"UP/b","x":{"links":[{"href":"UP/c"}]}}`},
		{"not in names", `{"links":[{"UP/href":"x","href":{"UP":1}}]}`, `{"links":[{"UP/href":"x","href":{"UP":1}}]}`},
		{"not in members with longer names", `{"contents":{"links":[{"href":"UP/a"}]},"contentX":{"links":[{"href":"UP/a"}]},"linksX":[{"href":"UP/b"}]}`, `{"contents":{"links":[{"href":"UP/a"}]},"contentX":{"links":[{"href":"UP/a"}]},"linksX":[{"href":"UP/b"}]}`},
		{"in the list of an envelope", `{"content":{"results":[{"links":[{"href":"UP/a"}]}],"links":[{"href":"UP/b"}]}}`, `{"content":{"results":[{"links":[{"href":"GW/a"}]}],"links":[{"href":"GW/b"}]}}`},
		{"not what is no list, object or text", `{"links":{"href":"UP/a"},"results":{"links":[]},"content":["UP/b"],"x":"UP"}`, `{"links":{"href":"UP/a"},"results":{"links":[]},"content":["UP/b"],"x":"UP"}`},
		{"not what is no text", `{"links":[{"href":7},{"href":["UP/a"]},"UP/b",{"href":"UP/c"}]}`, `{"links":[{"href":7},{"href":["UP/a"]},"UP/b",{"href":"GW/c"}]}`},
		{"not in the middle", `{"links":[{"href":"x?UP/a"}]}`, `{"links":[{"href":"x?UP/a"}]}`},
		{"not for a longer host", `{"links":[{"href":"UP0/a"},{"href":"UP.evil/a"},{"href":"UP@evil/a"}]}`, `{"links":[{"href":"UP0/a"},{"href":"UP.evil/a"},{"href":"UP@evil/a"}]}`},
	}
	for _, test := range tests {
		answer.Store(replace.Replace(test.from))
		got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
		if want := replace.Replace(test.to); got.status != 200 || got.body != want {
			t.Errorf("%s: %d\n got %s\nwant %s", test.name, got.status, got.body, want)
		}
	}
}

// The public URL and the upstream's may be spelt in any way that names the same origin.
func TestLinksOfAnOriginInOtherWords(t *testing.T) {
	var answer atomic.Value
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		io.WriteString(conn, jsonAnswer(200, answer.Load().(string)))
	})
	answer.Store(`{"results":[],"links":[{"href":"` + strings.Replace(upstream.url, "127.0.0.1", "localhost", 1) + `/a"}]}`)
	g := startWith(t, "listener: {public_url: 'HTTP://GW.Internal:80/'}\ncallers: {anonymous: true}\nupstream:\n  base_url: "+strings.Replace(upstream.url, "127.0.0.1", "LocalHost", 1)+
		"/\n  credentials: [{public_key_file: config/testdata/key, private_key_file: config/testdata/key}]\n")
	got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
	if want := `{"results":[],"links":[{"href":"http://gw.internal/a"}]}`; got.body != want {
		t.Errorf("got %d %s, want %s", got.status, got.body, want)
	}
}

// In mode enforce a response that breaks the contract is a 502; in mode report it passes,
// is counted and logged, and its values are not.
func TestAnswersAreChecked(t *testing.T) {
	const bad = `{"results":[{"id":"secret value","state":7},{"id":"6a01f3c95be2d84417c0aa01","state":8}]}`
	upstream := startRaw(t, answering(jsonAnswer(200, bad)))
	url := v2Exports

	enforce := start(t, upstream.url, "public", privateKey, "responses: {check: enforce}")
	got := send(t, "GET", enforce.url+url, map[string]string{"Accept": latest}, "")
	if got.status != 502 || got.header.Get("Gateway-Error") != "upstream_response" || strings.Contains(got.body, "secret") {
		t.Errorf("enforce: %d %s", got.status, got.body)
	}
	logged := `"msg":"response breaks the contract","id":"` + got.header.Get("Gateway-Request-Id") + `","operation":"listBackupExports","status":200,"pointers":["/results/*/id","/results/*/state"]}`
	if logs := enforce.logs.String(); !strings.Contains(logs, logged) || strings.Contains(logs, "secret") {
		t.Errorf("enforce: logs %s", logs)
	}

	report := start(t, upstream.url, "public", privateKey, "responses: {check: report, sample: 1}")
	got = send(t, "GET", report.url+url, map[string]string{"Accept": latest}, "")
	if got.status != 200 || got.body != bad {
		t.Errorf("report: %d %s", got.status, got.body)
	}
	if logs := report.logs.String(); !strings.Contains(logs, `"pointers":["/results/*/id","/results/*/state"]`) || strings.Contains(logs, "secret") {
		t.Errorf("report: logs %s", logs)
	}
	for name, g := range map[string]*running{"enforce": enforce, "report": report} {
		metrics := send(t, "GET", g.management+"/metrics", nil, "").body
		for _, place := range []string{"/results/*/id", "/results/*/state"} {
			if !strings.Contains(metrics, `atlas_gateway_response_violations_total{operation="listBackupExports",pointer="`+place+`"} 1`) {
				t.Errorf("%s: %s was not counted", name, place)
			}
		}
	}

	sampled := start(t, upstream.url, "public", privateKey, "responses: {check: report, sample: 3}")
	for range 7 {
		send(t, "GET", sampled.url+url, map[string]string{"Accept": latest}, "")
	}
	if n := strings.Count(sampled.logs.String(), "response breaks the contract"); n != 2 {
		t.Errorf("report: %d of 7 were checked, want one in 3", n)
	}

	off := start(t, upstream.url, "public", privateKey, "responses: {check: off}")
	if got = send(t, "GET", off.url+url, map[string]string{"Accept": latest}, ""); got.status != 200 {
		t.Errorf("off: %d %s", got.status, got.body)
	}
}

// A create is sent once, whatever the upstream does to the connection and however the
// caller marks the request as repeatable.
func TestCreateIsNeverReplayed(t *testing.T) {
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		conn.(*net.TCPConn).SetLinger(0) // a reset
	})
	g := start(t, upstream.url, "public", privateKey)
	header := map[string]string{"Accept": latest, "Content-Type": "application/json", "Idempotency-Key": "1", "X-Idempotency-Key": "1"}
	got := send(t, "POST", g.url+v2Exports, header, export)
	if got.status != 502 || !strings.Contains(got.body, "not known whether the request was carried out") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if n := upstream.signed.Load(); n != 1 {
		t.Errorf("the upstream got %d signed requests, want 1", n)
	}
}

// A create goes on when its caller hangs up, and the record says how it ended.
func TestCreateOutlivesItsCaller(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		close(arrived)
		<-proceed
		io.WriteString(conn, jsonAnswer(200, job))
	})
	g := start(t, upstream.url, "public", privateKey)
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", v2Exports, latest, len(export), export)
	<-arrived
	conn.Close()
	time.Sleep(50 * time.Millisecond) // for the server to notice
	close(proceed)
	waitFor(t, "the record", func() bool {
		return strings.Contains(g.logs.String(), `"operation":"createBackupExport","status":200`)
	})
}

// An upstream that does not answer is a 504, one that is not there a 502.
func TestUpstreamIsSlowOrGone(t *testing.T) {
	hang := make(chan struct{})
	upstream := startRaw(t, func(net.Conn, *http.Request) { <-hang })
	defer close(hang)
	g := start(t, upstream.url, "public", privateKey, "timeouts: {upstream: 100ms}")
	got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
	if got.status != 504 || got.header.Get("Gateway-Error") != "upstream_timeout" {
		t.Errorf("slow: %d %s", got.status, got.body)
	}
	l := listen(t)
	l.Close()
	g = start(t, "http://"+l.Addr().String(), "public", privateKey)
	got = send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
	if got.status != 502 || got.header.Get("Gateway-Error") != "upstream_unreachable" {
		t.Errorf("gone: %d %s", got.status, got.body)
	}
}

// More requests than limits.in_flight are answered 503 at once.
func TestOverload(t *testing.T) {
	arrived, proceed := make(chan struct{}, 2), make(chan struct{})
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		arrived <- struct{}{}
		<-proceed
		io.WriteString(conn, jsonAnswer(200, job))
	})
	g := start(t, upstream.url, "public", privateKey, "limits: {in_flight: 1}")
	first := make(chan response, 1)
	go func() {
		first <- send(t, "GET", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, "")
	}()
	<-arrived
	got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
	if got.status != 503 || got.header.Get("Retry-After") != "1" || got.header.Get("Gateway-Error") != "overloaded" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	close(proceed)
	if got := <-first; got.status != 200 {
		t.Errorf("the first: %d %s", got.status, got.body)
	}
}

// A gateway that is told to stop reports itself not ready, and ends what is under way.
func TestDrain(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		close(arrived)
		<-proceed
		io.WriteString(conn, jsonAnswer(200, job))
	})
	g := start(t, upstream.url, "public", privateKey, "timeouts: {drain: 300ms}")
	if got := send(t, "GET", g.management+"/readyz", nil, ""); got.status != 200 {
		t.Errorf("readyz: %d", got.status)
	}
	if got := send(t, "GET", g.management+"/healthz", nil, ""); got.status != 200 {
		t.Errorf("healthz: %d", got.status)
	}
	under := make(chan response, 1)
	go func() {
		under <- send(t, "GET", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, "")
	}()
	<-arrived
	g.stop()
	waitFor(t, "readyz to say no", func() bool { return send(t, "GET", g.management+"/readyz", nil, "").status == 503 })
	if answer := raw(t, g.address, "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(answer, "\r\nConnection: close\r\n") {
		t.Errorf("while draining: %s", answer)
	}
	close(proceed)
	if got := <-under; got.status != 200 {
		t.Errorf("the request under way: %d %s", got.status, got.body)
	}
	if err := <-g.stopped; err != nil {
		t.Errorf("stopped with %v", err)
	}
	g.stopped <- nil
}

func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// A service account signs with one token, and its secret rotates in its file without a
// restart.
func TestServiceAccountUpstream(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dir := t.TempDir()
	id, secret := filepath.Join(dir, "id"), filepath.Join(dir, "secret")
	write := func(file, content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(id, sim.ClientID)
	write(secret, "c4na7y-wrong-secret")
	g := startWith(t, "callers: {anonymous: true}\nupstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{client_id_file: "+id+", client_secret_file: "+secret+"}]\n")
	accept := map[string]string{"Accept": latest}
	for range 3 {
		got := send(t, "GET", g.url+v2Exports, accept, "")
		if got.status != 502 || got.header.Get("Gateway-Error") != "upstream_credential" {
			t.Errorf("with a wrong secret: %d %s", got.status, got.body)
		}
	}
	write(secret, sim.ClientSecret+"\n")
	for range 3 {
		if got := send(t, "GET", g.url+v2Exports, accept, ""); got.status != 200 {
			t.Errorf("with the right secret: %d %s", got.status, got.body)
		}
	}
	if n := atlas.Counts(); n.ByOperation["token"] != 2 || n.Requests != 5 {
		t.Errorf("Atlas received %+v", n)
	}
	if strings.Contains(g.logs.String(), "c4na7y") || strings.Contains(g.logs.String(), sim.ClientSecret) {
		t.Error("the client secret is in the log")
	}
}

// A create whose way is not clear, because Atlas does not even ask for a credential, is
// not sent; a rate limit there is the caller's to wait for.
func TestAtlasDoesNotAskForACredential(t *testing.T) {
	for _, test := range []struct {
		fault  sim.Fault
		status int
		kind   string
		after  string
	}{
		{sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7, BeforeAuthentication: true}, 429, "rate_limited", "7"},
		{sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: 9, BeforeAuthentication: true}, 502, "upstream_unsigned", "9"},
	} {
		atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{test.fault}})
		g := start(t, atlas.URL(), sim.PublicKey, sim.PrivateKey)
		got := send(t, "POST", g.url+v2Exports, map[string]string{"Accept": latest, "Content-Type": "application/json"}, export)
		if got.status != test.status || got.header.Get("Gateway-Error") != test.kind || got.header.Get("Retry-After") != test.after || !strings.Contains(got.body, "It was not carried out.") {
			t.Errorf("%s: %d %v %s", test.fault.Kind, got.status, got.header, got.body)
		}
		for _, r := range atlas.Requests(0) {
			if r.Body != "" {
				t.Errorf("%s: Atlas received %q", test.fault.Kind, r.Body)
			}
		}
	}
}

// A wrong key under 64 callers does not hammer Atlas, says so in the log and nothing of it
// to callers; the right one, put into its file, serves the next request.
func TestWrongKeyIsReplacedInItsFile(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dir := t.TempDir()
	public, private := filepath.Join(dir, "public"), filepath.Join(dir, "private")
	write := func(file, content string) {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(public, sim.PublicKey)
	write(private, "c4na7y-wrong-key")
	g := startWith(t, "callers: {anonymous: true}\nupstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{groups: ["+sim.EmptyGroupID+"], public_key_file: "+public+", private_key_file: "+private+"}, {public_key_file: "+public+", private_key_file: "+private+"}]\n")
	accept := map[string]string{"Accept": latest}
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for range 5 {
				got := send(t, "GET", g.url+v2Exports, accept, "")
				if got.status != 502 || got.header.Get("Gateway-Error") != "upstream_credential" || strings.Contains(got.body, sim.PublicKey) {
					t.Errorf("with a wrong key: %d %s", got.status, got.body)
				}
			}
		})
	}
	group.Wait()
	if n := atlas.Counts().Requests; n > 10 {
		t.Errorf("Atlas received %d requests with a wrong key", n)
	}
	write(private, sim.PrivateKey)
	if got := send(t, "GET", g.url+v2Exports, accept, ""); got.status != 200 {
		t.Errorf("with the right key: %d %s", got.status, got.body)
	}
	logs := g.logs.String()
	if !strings.Contains(logs, `"cause":"upstream.credentials[1]: digestauth: the server refuses the credential (`) || strings.Contains(logs, "c4na7y") || strings.Contains(logs, sim.PrivateKey) {
		t.Errorf("logs: %.2000s", logs)
	}
}
