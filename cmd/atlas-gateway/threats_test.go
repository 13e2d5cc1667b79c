package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// The tests of this file start the program, send it bytes over TCP, and look at what the
// simulated Atlas received. Their subtests are named after the rows of docs/threats.md.

const (
	exports = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/clusters/orders/backup/exports"
	export  = `{"snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011"}`
	bucket  = `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"65a9d2f4f20b4c7788990001"}`
	accept  = "Accept: application/vnd.atlas.2025-03-12+json"
	isJSON  = "Content-Type: application/json"
)

// serveFor starts the program in front of an upstream, as a client of the simulation's key
// pair, with settings, lines of YAML and variables of the environment.
func serveFor(t *testing.T, upstream, settings string, environ ...string) *process {
	t.Helper()
	return serveProcess(t, "upstream:\n  base_url: "+upstream+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\n"+settings,
		append(environ, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)...)
}

// forToken are settings that let in whoever has the token, for everything.
func forToken(token string) string {
	return "callers: {list: [{name: nightly, tokens: [{sha256: " + hash(token) + `}], grants: [{operations: [manage], groups: ["*"]}]}]}` + "\n"
}

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

// chunked writes a request whose content is one chunk, with trailers, lines that end it.
func chunked(line, body, trailers string, fields ...string) string {
	return request(line, "", append(fields, "Transfer-Encoding: chunked")...) + fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n", len(body), body, trailers)
}

// send sends bytes and returns the responses that come back until the gateway ends the
// connection, which it must. No error is longer than 16 KiB.
func (p *process) send(t *testing.T, bytes string) (list []answer) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
	if err != nil {
		t.Error(err)
		return nil
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, bytes) // an error means that the answer came first
	text, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open after %.300q", text)
	}
	for reader := bufio.NewReader(strings.NewReader(string(text))); ; {
		if _, err := reader.Peek(1); err != nil {
			for i, got := range list {
				checkOutcome(t, got, i == 0 && strings.HasPrefix(bytes, "POST /api/atlas/"))
			}
			return list
		}
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("%v: %.300q", err, text)
			return list
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Errorf("%v: %.300q", err, text)
		}
		if response.StatusCode >= 400 && len(body) > 16<<10 {
			t.Errorf("an error of %d bytes: %.300s", len(body), body)
		}
		list = append(list, answer{response.StatusCode, response.Header, string(body)})
	}
}

// checkOutcome holds an answer to what is promised of Gateway-Outcome: answers to creates have it, and
// it says what the sentence says.
func checkOutcome(t *testing.T, got answer, create bool) {
	t.Helper()
	want := "answered"
	if strings.Contains(got.body, "It is not known whether the request was carried out") {
		want = "unknown"
	} else if got.header.Get("Gateway-Error") != "" {
		want = "not_sent"
	}
	outcome := got.header.Values("Gateway-Outcome")
	if len(outcome) == 0 && (!create || got.header.Get("Gateway-Request-Id") == "") {
		return
	}
	if len(outcome) != 1 || outcome[0] != want {
		t.Errorf("the outcome is %q, want %s: %v", outcome, want, got)
	}
}

// What the contract forbids is refused, by the gateway in Atlas's form or by net/http, and
// Atlas sees not even a connection.
func TestForbidden(t *testing.T) {
	get, post, post1 := "GET "+exports, "POST "+exports, "POST "+strings.Replace(exports, "v2", "v1.0", 1)
	path := func(method, old, with string) string {
		return request(method+" "+strings.Replace(exports, old, with, 1), "", accept)
	}
	create := func(body string) string { return request(post, body, accept, isJSON) }
	with := func(members string) string { return create(export[:len(export)-1] + "," + members + "}") }
	typed := func(contentType string) string { return request(post, export, accept, "Content-Type: "+contentType) }
	query := func(query string) string { return request(get+"?"+query, "", accept) }
	framed := func(fields, content string) string {
		return "POST " + exports + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + accept + "\r\n" + isJSON + "\r\n" + fields + "\r\n\r\n" + content
	}
	type forbidden struct {
		name, bytes string
		status      int
	}
	rows := []struct {
		row   string
		cases []forbidden
	}{
		{"1", []forbidden{
			{"a slash in a name", path("GET", "orders", "C0%2f..%2fOther"), 400},
			{"in upper case", path("GET", "orders", "C0%2F..%2FOther"), 400},
			{"of a create", request(strings.Replace(post, "orders", "C0%2f..%2fOther", 1), export, accept, isJSON), 400},
			{"of a delete", request("DELETE "+buckets+"%2f65a9d3e1f20b4c7788990011", "", accept), 400},
			{"a letter of a name", path("GET", "orders", "orde%72s"), 400},
			{"a letter of the path", path("GET", "backup", "%62ackup"), 400},
			{"in v1.0", request(strings.Replace(post1, "orders", "C0%2f..%2fOther", 1), export, isJSON), 400},
		}},
		{"2", []forbidden{
			{"escaped dots", path("GET", "orders", "%2e%2e"), 400},
			{"a dot and an escaped one", path("GET", "orders", ".%2E"), 400},
			{"dots", path("GET", "orders", ".."), 400},
			{"dots at the end", request(get+"/..", "", accept), 400},
			{"dots at the start", request("GET /.."+exports, "", accept), 400},
			{"one dot", path("GET", "/v2/", "/./v2/"), 400},
			{"one dot at the end", request(get+"/.", "", accept), 400},
			{"two slashes", path("GET", "/v2/", "//v2/"), 400},
			{"two slashes at the end", request(get+"//", "", accept), 400},
			{"an empty name", path("GET", "orders", ""), 400},
			{"a create with two slashes", request(strings.Replace(post, "/v2/", "/v2//", 1), export, accept, isJSON), 400},
		}},
		{"3", []forbidden{
			{"a semicolon", request(get+";x", "", accept), 400},
			{"a semicolon in a name", path("GET", "orders", "orders;x=y"), 400},
			{"a backslash", request(get+`\`, "", accept), 400},
			{"a backslash for a slash", path("GET", "/backup", `\backup`), 400},
			{"an escaped NUL", path("GET", "orders", "orders%00"), 400},
			{"an escaped line end", path("GET", "orders", "orders%0d%0aX:y"), 400},
			{"a double escape", path("GET", "orders", "a%252fb"), 400},
			{"an overlong escape", path("GET", "orders", "%c0%ae%c0%ae"), 400},
			{"an escaped letter", path("GET", "exports", "%65xports"), 400},
			{"a broken escape", path("GET", "orders", "%zz"), 400},
			{"half an escape", request(get+"%2", "", accept), 400},
			{"a fragment", request(get+"#x", "", accept), 400},
			{"bytes that are not ASCII", path("GET", "orders", "\xc3\xa9"), 400},
			{"bytes that are not UTF-8", path("GET", "orders", "\xff"), 400},
			{"a tab", path("GET", "orders", "a\tb"), 400},
			{"a control character", path("GET", "orders", "a\x01b"), 400},
			{"a space", path("GET", "orders", "a b"), 400},
			{"a plus", path("GET", "orders", "a+b"), 400},
			{"a colon", path("GET", "orders", "a:b"), 400},
		}},
		{"4", []forbidden{
			{"in upper case", request("GET "+strings.Replace(exports, "exports", "EXPORTS", 1), "", accept), 404},
			{"all of it in upper case", request("GET "+strings.ToUpper(exports), "", accept), 404},
			{"another path", request("GET /api/atlas/v2/groups", "", accept), 404},
			{"another version", path("GET", "v2", "v3"), 404},
			{"below a path", request(get+"/65a9d3e1f20b4c7788990011/x", "", accept), 404},
			{"the root", request("GET /", "", accept), 404},
			{"the token endpoint without callers", request("POST /api/oauth/token", "grant_type=client_credentials", "Content-Type: application/x-www-form-urlencoded"), 404},
			{"PUT", request("PUT "+exports, export, accept, isJSON), 405},
			{"DELETE of a list", request("DELETE "+exports, "", accept), 405},
			{"PATCH in v1.0", request("PATCH "+strings.Replace(buckets, "v2", "v1.0", 1)+"/65a9d3e1f20b4c7788990011", "{}", isJSON), 405},
		}},
		{"5", []forbidden{
			{"absolute form", request("POST http://evil.example"+exports, export, accept, isJSON), 400},
			{"absolute form over TLS", request("GET https://evil.example"+exports, "", accept), 400},
			{"absolute form with this host", request("GET http://localhost"+exports, "", accept), 400},
			{"another scheme", request("GET file:///etc/passwd", "", accept), 400},
			{"a network path", request("GET //evil.example"+exports, "", accept), 400},
			{"a network path of a create", request("POST //evil.example"+exports, export, accept, isJSON), 400},
			{"no slash", request("GET "+exports[1:], "", accept), 400},
		}},
		{"7", []forbidden{
			{"TRACE", request("TRACE "+exports, "", accept), 405},
			{"TRACE of the root", request("TRACE /", "", accept), 404},
			{"CONNECT", request("CONNECT evil.example:443", ""), 400},
			{"CONNECT with a path", request("CONNECT "+exports, ""), 405},
			{"lower case", request("get "+exports, "", accept), 405},
			{"mixed case", request("Post "+exports, export, accept, isJSON), 405},
			{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400},
			{"PRI", request("PRI *", ""), 400},
			{"OPTIONS", request("OPTIONS *", ""), 400},
			{"OPTIONS of a path", request("OPTIONS "+exports, "", "Origin: http://localhost"), 405},
			{"a method that is no token", request("GE(T "+exports, "", accept), 400},
			{"no method", request(" "+exports, "", accept), 400},
			{"HTTP/0.9", "GET " + exports + "\r\n\r\n", 400},
			{"another protocol", "GET " + exports + " ICY/1.1\r\nHost: localhost\r\n\r\n", 400},
			{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		}},
		{"13", []forbidden{
			{"a trailer that frames", chunked(post, export, "Content-Length: 3\r\n", accept, isJSON, "Trailer: Content-Length"), 400},
			{"a trailer without a colon", chunked(post, export, "x\r\n", accept, isJSON), 400},
		}},
		{"14", []forbidden{
			{"two lengths", framed("Content-Length: 1\r\nContent-Length: 2", "{}"), 400},
			{"a list of lengths", framed("Content-Length: 2, 3", "{}"), 400},
			{"a length with a sign", framed("Content-Length: +2", "{}"), 400},
			{"a negative length", framed("Content-Length: -2", "{}"), 400},
			{"a length in words", framed("Content-Length: 0x2", "{}"), 400},
			{"a length beyond bounds", framed("Content-Length: 99999999999999999999", "{}"), 400},
			{"a space before the colon", framed("Content-Length : 2", "{}"), 400},
			{"a continued line", framed("Content-Length:\r\n 2", "{}"), 400},
			{"a bare CR", framed("X: y\rContent-Length: 2", "{}"), 400},
			{"a NUL", framed("X: y\x00", ""), 400},
			{"another transfer coding", framed("Transfer-Encoding: gzip, chunked", ""), 501},
			{"a transfer coding in disguise", framed("Transfer-Encoding: \x0bchunked", ""), 400},
			{"two transfer codings", framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", ""), 501},
			{"a chunk without a length", framed("Transfer-Encoding: chunked", "x\r\n"+export+"\r\n0\r\n\r\n"), 400},
			{"a chunk that is longer", framed("Transfer-Encoding: chunked", "2\r\n"+export+"\r\n0\r\n\r\n"), 400},
			{"a length beyond the limit", framed("Content-Length: 999999999", ""), 413},
			{"two hosts", "GET " + exports + " HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400},
			{"no host", "GET " + exports + " HTTP/1.1\r\n" + accept + "\r\n\r\n", 400},
		}},
		{"15", []forbidden{
			{"twice", with(`"snapshotId":"6a01e0b45be2d84417c09f11"`), 400},
			{"the same value twice", with(`"snapshotId":"6a01e0b45be2d84417c09f10"`), 400},
			{"in an escape", with(`"snapshot\u0049d":"6a01e0b45be2d84417c09f11"`), 400},
			{"within a list", with(`"customData":[{"key":"a","key":"b"}]`), 400},
			{"within a list, in an escape", with(`"customData":[{"key":"a","\u006bey":"b"}]`), 400},
		}},
		{"16", []forbidden{
			{"in another case", create(strings.Replace(export, "snapshotId", "SnapshotID", 1)), 400},
			{"in letters that fold", create(strings.Replace(export, "snapshotId", `\u017fnap\u017fhotId`, 1)), 400},
			{"in letters that fold, as they are", create(strings.Replace(export, "snapshotId", "ſnapſhotId", 1)), 400},
			{"beside the right one", with(`"SnapshotId":"6a01e0b45be2d84417c09f11"`), 400},
			{"with a space", with(`"snapshotId ":"6a01e0b45be2d84417c09f11"`), 400},
			{"an unknown one", with(`"force":true`), 400},
			{"one of JavaScript", with(`"__proto__":{}`), 400},
			{"another case of a value", request("POST "+buckets, strings.Replace(bucket, "AWS", "aws", 1), accept, isJSON), 400},
		}},
		{"17", []forbidden{
			{"a second object", create(export + export), 400},
			{"a second object on a line of its own", create(export + "\n" + export), 400},
			{"letters", create(export + "}xx"), 400},
			{"a NUL", create(export + "\x00"), 400},
			{"a comma", create(export + ","), 400},
			{"a comment", create(export + "//"), 400},
			{"a record separator", create("\x1e" + export), 400},
			{"nothing", request(post, "", accept, isJSON, "Authorization: Bearer x"), 400},
			{"a body where none belongs", request(get, export, accept, isJSON), 400},
			{"a chunked body where none belongs", chunked("DELETE "+buckets+"/65a9d3e1f20b4c7788990011", "{}", "", accept, isJSON), 400},
		}},
		{"19", []forbidden{
			{"UTF-16", typed("application/json; charset=utf-16"), 415},
			{"UTF-7", typed("application/json;charset=UTF-7"), 415},
			{"UTF-8 and another", typed("application/json;charset=utf-8;charset=utf-7"), 415},
			{"Latin 1, quoted", typed(`application/json; charset="iso-8859-1"`), 415},
			{"a text", typed("text/plain"), 415},
			{"a form", typed("application/x-www-form-urlencoded"), 415},
			{"XML", typed("application/xml"), 415},
			{"two types", request(post, export, accept, isJSON, "Content-Type: text/plain"), 415},
			{"no type", request(post, export, accept), 415},
			{"a byte order mark", create("\ufeff" + export), 400},
			{"UTF-16 without saying so", create("{\x00}\x00"), 400},
			{"bad UTF-8", with("\"customData\":[{\"key\":\"\xff\"}]"), 400},
			{"overlong UTF-8", with("\"customData\":[{\"key\":\"\xc0\xaf\"}]"), 400},
			{"a surrogate in UTF-8", with("\"customData\":[{\"key\":\"\xed\xa0\x80\"}]"), 400},
			{"a lone surrogate", with(`"customData":[{"key":"\ud800"}]`), 400},
			{"a lone low surrogate", with(`"customData":[{"key":"\udc00\ud800"}]`), 400},
			{"null", create("null"), 400},
			{"null for a member", with(`"customData":null`), 400},
			{"a list", create("[]"), 400},
			{"NaN", create(strings.Replace(export, `"6a01e0b45be2d84417c09f10"`, "NaN", 1)), 400},
		}},
		{"20", []forbidden{
			{"100,000 deep", create(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), 400},
			{"objects 40,000 deep", create(strings.Repeat(`{"a":`, 40_000) + "1" + strings.Repeat("}", 40_000)), 400},
			{"33 deep", with(`"customData":` + strings.Repeat("[", 32) + strings.Repeat("]", 32)), 400},
			{"a number of 1 MiB", create(`{"snapshotId":` + strings.Repeat("1", 1<<20) + "}"), 413},
			{"a number of 200 KB", create(`{"snapshotId":` + strings.Repeat("1", 200_000) + "}"), 400},
			{"a number beyond bounds", create(`{"snapshotId":1e999999}`), 400},
			{"chunks beyond the limit", chunked(post, strings.Repeat(" ", 300<<10)+export, "", accept, isJSON), 413},
			{"1,000 fields", request(get, "", append(slices.Repeat([]string{"X-Of-A-Thousand: fields"}, 1000), accept)...), 431},
			{"one field of 1 MiB", request(get, "", accept, "X: "+strings.Repeat("x", 1<<20)), 431},
			{"a target of 1 MiB", request(get+"?"+strings.Repeat("x", 1<<20), "", accept), 431},
			{"10,000 parameters", query(strings.Repeat("&a=1", 10_000)[1:]), 431},
			{"4,000 parameters", query(strings.Repeat("&a=1", 4000)[1:]), 400},
			{"50,000 customData", with(`"customData":[` + strings.Repeat("{},", 49_999) + "{}]"), 400},
			{"50,000 in v1.0", request(post1, export[:len(export)-1]+`,"customData":[`+strings.Repeat("{},", 49_999)+"{}]}", isJSON), 400},
			{"a member of 200 KB", create(`{"` + strings.Repeat("\u2028", 66_000) + `":1}`), 400},
		}},
		{"21", []forbidden{
			{"gzip", request(post, export, accept, isJSON, "Content-Encoding: gzip"), 415},
			{"br", request(post, export, accept, isJSON, "Content-Encoding: br"), 415},
			{"several", request(post, export, accept, isJSON, "Content-Encoding: identity", "Content-Encoding: gzip"), 415},
			{"chunked and gzip", chunked(post, "\x1f\x8b\x08", "", accept, isJSON, "Content-Encoding: gzip"), 415},
			{"as a transfer coding", framed("Transfer-Encoding: gzip", ""), 501},
		}},
		{"22", []forbidden{
			{"twice", query("pageNum=1&pageNum=2"), 400},
			{"the same twice", query("pretty=true&pretty=true"), 400},
			{"another case", query("PAGENUM=1"), 400},
			{"a broken escape", query("%zz"), 400},
			{"a broken escape in a value", query("pageNum=%zz"), 400},
			{"a semicolon", query("pageNum=3;x"), 400},
			{"a semicolon between two", query("pageNum=3;pretty=true"), 400},
			{"an unknown one", query("pageSize=1"), 400},
			{"an escaped one", query("page%4eum=1"), 400},
			{"an escaped value", query("pageNum=%31"), 400},
			{"a leading zero", query("pageNum=010"), 400},
			{"a sign", query("pageNum=+1"), 400},
			{"0", query("pageNum=0"), 400},
			{"more than a page", query("itemsPerPage=501"), 400},
			{"beyond 64 bits", query("pageNum=18446744073709551617"), 400},
			{"True", query("pretty=True"), 400},
			{"no value", query("pretty"), 400},
			{"no name", query("=1"), 400},
			{"no pair", query("pageNum=1&&pretty=true"), 400},
			{"a list", query("pageNum[]=1"), 400},
			{"a fragment", query("pretty=true#"), 400},
			{"of another operation", request("GET "+buckets+"/65a9d3e1f20b4c7788990011?pageNum=1", "", accept), 400},
			{"on a create", request(post+"?force=true", export, accept, isJSON), 400},
		}},
	}
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "")
	for _, row := range rows {
		t.Run(row.row, func(t *testing.T) {
			for _, test := range row.cases {
				got := p.send(t, test.bytes)
				if len(got) != 1 || got[0].status != test.status {
					t.Errorf("%s: %.500v, want %d", test.name, got, test.status)
					continue
				}
				var e struct{ Error int }
				if json.Unmarshal([]byte(got[0].body), &e); got[0].header.Get("Gateway-Error") != "" && e.Error != test.status {
					t.Errorf("%s: not an error of Atlas's form: %s", test.name, got[0].body)
				}
				if location, ok := got[0].header["Location"]; ok {
					t.Errorf("%s: redirected to %s", test.name, location)
				}
				if allow := got[0].header.Get("Allow"); (test.status == 405) != (allow != "") {
					t.Errorf("%s: Allow: %s", test.name, allow)
				}
				if n := atlas.Counts(); n.Connections > 0 {
					t.Fatalf("%s: Atlas was reached: %+v", test.name, n)
				}
			}
		})
	}
	if got := p.send(t, request(get, "", accept)); len(got) != 1 || got[0].status != 200 {
		t.Errorf("what is allowed: %v", got)
	}
	p.stop(t)
}

// received is a request as Atlas saw it, but for its signature.
type received struct {
	line   string
	fields map[string]string
	body   string
}

// signedSince returns the signed requests that Atlas received after one of them.
func signedSince(t *testing.T, atlas *sim.Server, seq int64) (list []received) {
	t.Helper()
	for _, r := range atlas.Requests(seq) {
		got := received{line: r.Method + " " + r.Target, fields: map[string]string{}, body: r.Body}
		for _, field := range r.Header {
			if _, ok := got.fields[field.Name]; ok {
				t.Errorf("Atlas received %s twice", field.Name)
			}
			got.fields[field.Name] = field.Value
		}
		if !strings.HasPrefix(got.fields["Authorization"], `Digest username="`+sim.PublicKey+`", realm="MMS Public API", nonce="`) {
			if got.fields["Authorization"] != "" {
				t.Errorf("Atlas received Authorization: %s", got.fields["Authorization"])
			}
			continue
		}
		if r.Malformed || bytes.Contains(r.Raw, []byte("evil")) || bytes.Contains(bytes.ToLower(r.Raw), []byte("stray")) {
			t.Errorf("Atlas received %q", r.Raw)
		}
		delete(got.fields, "Authorization")
		list = append(list, got)
	}
	return list
}

// Of what a caller sends, Atlas receives the path, the query and the content of a valid
// request, byte for byte, and nothing else, whatever stands around them.
func TestForwarded(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}})
	made := callers.NewToken("nightly")
	token := made.Secret.Reveal()
	key := "Authorization: Bearer " + token
	p := serveFor(t, atlas.URL(), forToken(token))
	const stray = ": stray-value"

	get, post := "GET "+buckets, "POST "+buckets
	gets := received{get, map[string]string{
		"Host": strings.TrimPrefix(atlas.URL(), "http://"), "User-Agent": "atlas-export-gateway", "Accept": "application/vnd.atlas.2024-05-30+json",
	}, ""}
	posts := func(line, version, body string) received {
		fields := maps.Clone(gets.fields)
		fields["Accept"], fields["Content-Type"], fields["Content-Length"] = version, version, fmt.Sprint(len(body))
		return received{line, fields, body}
	}
	made1 := posts(post, gets.fields["Accept"], bucket)
	hidden := "DELETE " + buckets + "/65a9d3e1f20b4c7788990011 HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\n" + key + "\r\n\r\n"
	framed := func(fields, content string) string {
		return "POST " + buckets + " HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\n" + isJSON + "\r\n" + key + "\r\n" + fields + "\r\n\r\n" + content
	}
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(bucket), bucket)
	spaced := " {\t\"iamRoleId\" : \"\\u0036" + "5a9d2f4f20b4c7788990001\" ,\r\n\"bucketName\":\"acme-\\u0065xports\",\"links\":[ ], \"cloudProvider\":\"AWS\"}\n\n"
	jobs := ` {"customData" : [{"value":"\ud83d\ude00 é\/\u0041","key":""}, {}],  "exportBucketId":"65a9d3e1f20b4c7788990011","snapshotId":"6a01e0b45be2d84417c09f10" }`
	type forwarded struct {
		name, bytes string
		status      int
		want        []received
	}
	for _, row := range []struct {
		row   string
		cases []forwarded
	}{
		{"6", []forwarded{
			{"another host", "GET " + buckets + " HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n" + accept + "\r\n" + key + "\r\n\r\n", 200, []received{gets}},
			{"another port", "GET " + buckets + " HTTP/1.1\r\nHost: 169.254.169.254:80\r\nConnection: close\r\n" + accept + "\r\n" + key + "\r\n\r\n", 200, []received{gets}},
			{"HTTP/1.0 without one", "GET " + buckets + " HTTP/1.0\r\n" + accept + "\r\n" + key + "\r\n\r\n", 200, []received{gets}},
			{"X-Forwarded-Host", request(get, "", accept, key, "X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "X-Host: evil.example"), 200, []received{gets}},
		}},
		{"8", []forwarded{
			{"DELETE", request(get, "", accept, key, "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"), 200, []received{gets}},
			{"of a create", request(post, bucket, accept, key, isJSON, "X-HTTP-Method-Override: DELETE"), 200, []received{made1}},
		}},
		{"9", []forwarded{
			{"Authorization", request(get, "", accept, key, "Connection: Authorization, Host, Accept"), 200, []received{gets}},
			{"Content-Type", request(post, bucket, accept, key, isJSON, "Connection: Content-Type, Content-Length, User-Agent"), 200, []received{made1}},
			{"fields of its own", request(get, "", accept, key, "Connection: Stray", "Stray"+stray, "Keep-Alive"+stray, "Proxy-Connection"+stray, "TE"+stray), 200, []received{gets}},
		}},
		{"10", []forwarded{
			{"each of them", request(get, "", accept, key, "Cookie"+stray, "Proxy-Authorization"+stray, "X-Forwarded-For"+stray, "X-Forwarded-Proto"+stray, "X_Forwarded_For"+stray,
				"X-Real-IP"+stray, "Forwarded: for=stray", "Via"+stray, "Origin"+stray, "Referer"+stray, "User-Agent"+stray, "Accept-Encoding"+stray, "Accept-Language"+stray,
				"If-None-Match"+stray, "Range"+stray, "Traceparent"+stray, "X-Amz-Security-Token"+stray, "Authorization-Info"+stray, "X-Stray"+stray), 200, []received{gets}},
			{"on a create", request(post, bucket, accept, key, isJSON, "Cookie"+stray, "Proxy-Authorization"+stray, "X-Forwarded-For"+stray, "Content-Language"+stray, "Content-Disposition"+stray), 200, []received{made1}},
		}},
		{"11", []forwarded{
			{"websocket", request(get, "", accept, key, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: c3RyYXk=", "Sec-WebSocket-Version: 13") + "stray", 200, []received{gets}},
			{"h2c", request(get, "", accept, key, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), 200, []received{gets}},
			{"h2c of a create", request(post, bucket, accept, key, isJSON, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), 200, []received{made1}},
			{"TLS", request(get, "", accept, key, "Upgrade: TLS/1.2", "Connection: Upgrade"), 200, []received{gets}},
		}},
		{"13", []forwarded{
			{"announced", chunked(post, bucket, "Authorization"+stray+"\r\nX-Stray"+stray+"\r\n", accept, key, isJSON, "Trailer: Authorization, X-Stray"), 200, []received{made1}},
			{"not announced", chunked(post, bucket, "Authorization"+stray+"\r\nHost"+stray+"\r\n", accept, key, isJSON), 200, []received{made1}},
		}},
		{"14", []forwarded{
			{"length and chunks", framed("Content-Length: 500\r\nTransfer-Encoding: chunked", chunk+hidden), 200, []received{made1}},
			{"chunks and length", framed("Transfer-Encoding: chunked\r\nContent-Length: 5", chunk+hidden), 200, []received{made1}},
			{"chunks in another case", framed("transfer-encoding: CHUNKED", chunk+hidden), 200, []received{made1}},
			{"chunks with an extension", framed("Transfer-Encoding: chunked", fmt.Sprintf("%x;stray=\"x\"\r\n%s\r\n0\r\n\r\n", len(bucket), bucket)+hidden), 200, []received{made1}},
			{"chunks of HTTP/1.0", strings.Replace(framed("Transfer-Encoding: chunked", chunk+hidden), "HTTP/1.1", "HTTP/1.0", 1), 400, nil},
			{"bare LF", strings.ReplaceAll(request(post, bucket, accept, key, isJSON), "\r\n", "\n"), 200, []received{made1}},
			{"bare LF in chunks", framed("Transfer-Encoding: chunked", strings.ReplaceAll(chunk, "\r\n", "\n")+hidden), 400, nil},
			{"the same length twice", request(post, bucket, accept, key, isJSON, fmt.Sprint("Content-Length: ", len(bucket))), 200, []received{made1}},
			{"a length that is too short", request(post, "", accept, key, isJSON, "Content-Length: 5") + bucket, 400, nil},
			{"a request within a request", request("DELETE "+buckets+"/65a9d3e1f20b4c7788990011", hidden, accept, key), 400, nil},
			{"a request in the content", request(post, bucket+hidden, accept, key, isJSON), 400, nil},
		}},
		{"18", []forwarded{
			{"a job", request("POST "+exports, jobs, accept, key, isJSON), 404, []received{posts("POST "+exports, "application/vnd.atlas.2023-01-01+json", jobs)}},
			{"a bucket", request(post, spaced, accept, key, isJSON), 200, []received{posts(post, gets.fields["Accept"], spaced)}},
			{"a bucket in chunks", chunked(post, spaced, "", accept, key, isJSON), 200, []received{posts(post, gets.fields["Accept"], spaced)}},
			{"a query", request(get+"?itemsPerPage=3&pretty=true&pageNum=2", "", accept, key), 200, []received{{get + "?itemsPerPage=3&pretty=true&pageNum=2", gets.fields, ""}}},
			{"an empty query", request(get+"?", "", accept, key), 200, []received{gets}},
			{"no query", request(get, "", accept, key), 200, []received{gets}},
		}},
	} {
		t.Run(row.row, func(t *testing.T) {
			for _, test := range row.cases {
				before := int64(0)
				if all := atlas.Requests(0); len(all) > 0 {
					before = all[len(all)-1].Seq
				}
				got := p.send(t, test.bytes)
				if len(got) != 1 || got[0].status != test.status {
					t.Errorf("%s: %.500v, want %d", test.name, got, test.status)
				}
				at := signedSince(t, atlas, before)
				if diff := cmp.Diff(test.want, at, cmp.AllowUnexported(received{})); diff != "" {
					t.Errorf("%s: Atlas received other than wanted:\n%s", test.name, diff)
				}
			}
		})
	}
	p.stop(t)
}

// untouched fails the test where Atlas received anything.
func untouched(t *testing.T, atlas *sim.Server, what string) {
	t.Helper()
	if n := atlas.Counts(); n.Connections > 0 {
		t.Errorf("%s: Atlas was reached: %+v", what, n)
	}
}

// Row 12: a bad key is refused before the content is asked for, a good one is not.
func TestExpectContinue(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	token := callers.NewToken("nightly").Secret.Reveal()
	p := serveFor(t, atlas.URL(), forToken(token))
	asking := func(key string, fields ...string) string {
		return request("POST "+buckets, "", append(fields, accept, isJSON, "Expect: 100-continue", "Authorization: "+key)...)
	}
	for name, bytes := range map[string]string{
		"a wrong token":  asking("Bearer wrong", "Content-Length: 100"),
		"a wrong key":    asking(basic("agwnobody", "wrong"), "Content-Length: 100"),
		"no key":         asking("", "Content-Length: 100"),
		"chunked":        asking("Bearer wrong", "Transfer-Encoding: chunked"),
		"of a good size": asking("Bearer wrong", fmt.Sprint("Content-Length: ", len(bucket))) + bucket,
	} {
		if got := p.send(t, bytes); len(got) != 1 || got[0].status != 401 {
			t.Errorf("%s: %v", name, got)
		}
	}
	untouched(t, atlas, "without a key")
	if got := p.send(t, asking("Bearer "+token, fmt.Sprint("Content-Length: ", len(bucket)))+bucket); len(got) != 2 || got[0].status != 100 || got[1].status != 200 {
		t.Errorf("the right token: %v", got)
	}
	p.stop(t)
}

// Row 31: with an upstream that would be told the credential, the program does not start.
func TestRefusesToStart(t *testing.T) {
	for name, base := range map[string]string{
		"user information":            "https://user:password@cloud.mongodb.com",
		"a user alone":                "https://user@cloud.mongodb.com",
		"a metadata service":          "https://169.254.169.254",
		"a metadata service, mapped":  "https://[::ffff:169.254.169.254]",
		"another link-local address":  "https://[fe80::1]",
		"every address":               "https://0.0.0.0",
		"plain http to another host":  "http://cloud.mongodb.com",
		"plain http to a private one": "http://10.0.0.1",
		"a path":                      "https://cloud.mongodb.com/x",
		"another scheme":              "file:///etc/passwd",
	} {
		file := write(t, filepath.Join(t.TempDir(), "gateway.yaml"),
			"upstream: {base_url: '"+base+"', credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\ncallers: {anonymous: true}\nlistener: {address: '127.0.0.1:0'}\nmanagement: {address: '127.0.0.1:0'}\n")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // it ends where it should not start
		defer cancel()
		command := exec.CommandContext(ctx, os.Args[0], "serve", file)
		command.Env = append(os.Environ(), "RUN_ATLAS_GATEWAY=1", "PUBLIC=public", "PRIVATE=private")
		output, _ := command.CombinedOutput()
		if status := command.ProcessState.ExitCode(); status != exitConfig || !strings.HasPrefix(string(output), file+":1: upstream.base_url: ") {
			t.Errorf("%s: exit status %d: %s", name, status, output)
		}
	}
}

// Row 37: whoever guesses learns nothing of how near a guess is.
func TestGuessing(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dir := t.TempDir()
	const token, public, private, account, secret = "agw_st_c4na7yOfTheCaller", "agwnightly", "c4na7yOfTheCallersKeyPair", "agw_id_nightly", "agw_sk_c4na7yOfTheAccount"
	p := serveFor(t, atlas.URL(), `
callers:
  list:
    - name: nightly
      tokens: [{sha256: `+hash(token)+`}]
      key_pairs: [{public_key: `+public+`, ha1_file: `+write(t, filepath.Join(dir, "ha1"), "MD5:"+ha1(t, "MD5", public, private))+`}]
      service_accounts: [{client_id: `+account+`, secret_sha256: `+hash(secret)+`}]
      grants: [{operations: [manage], groups: ["*"]}]
`)
	const form = "Content-Type: application/x-www-form-urlencoded"
	digest := func(public, private string) string {
		const nonce = "bm9ib2R5IGlzc3VlZCB0aGlzIG5vbmNl"
		sum := func(text string) string { return fmt.Sprintf("%x", md5.Sum([]byte(text))) }
		response := sum(ha1(t, "MD5", public, private) + ":" + nonce + ":00000001:c:auth:" + sum("GET:"+buckets))
		return fmt.Sprintf(`Digest username="%s", realm="MMS Public API", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c", response="%s"`, public, nonce, buckets, response)
	}
	for name, guesses := range map[string][]string{
		"tokens":   {"Bearer x", "Bearer " + token[:len(token)-1], "Bearer " + token + "x", "Bearer " + strings.ToLower(token), "Bearer " + hash(token), "Bearer " + secret},
		"keys":     {basic("agwnobody", private), basic(public, "x"), basic(public, private[:len(private)-1]), basic(public, private+"x"), basic("", ""), basic(public, ha1(t, "MD5", public, private))},
		"digests":  {digest("agwnobody", private), digest(public, "x"), digest(public, private[:len(private)-1]), digest(public, private+"x"), digest(account, secret)},
		"accounts": {basic("agw_id_nobody", secret), basic(account, "x"), basic(account, secret[:len(secret)-1]), basic(account, secret+"x"), basic(account, hash(secret))},
	} {
		var first answer
		for i, guess := range guesses {
			bytes := request("GET "+buckets, "", accept, "Authorization: "+guess)
			if name == "accounts" {
				bytes = request("POST /api/oauth/token", "grant_type=client_credentials", form, "Authorization: "+guess)
			}
			got := p.send(t, bytes)
			if len(got) != 1 || got[0].status != 401 {
				t.Errorf("%s: %q: %v", name, guess, got)
				continue
			}
			for _, field := range []string{"Date", "Gateway-Request-Id"} {
				got[0].header.Del(field)
			}
			if challenge := got[0].header.Get("WWW-Authenticate"); strings.Contains(challenge, "nonce=") {
				got[0].header.Set("WWW-Authenticate", nonces.ReplaceAllString(challenge, "nonce"))
			}
			if i == 0 {
				first = got[0]
			}
			if diff := cmp.Diff(first, got[0], cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("%s: %q is answered in another way:\n%s", name, guess, diff)
			}
		}
	}
	untouched(t, atlas, "a guess")
	if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: Bearer "+token)); len(got) != 1 || got[0].status != 200 {
		t.Errorf("the token: %v", got)
	}
	p.stop(t)
}

var nonces = regexp.MustCompile(`nonce="[^"]*"`)

// Row 39: whatever callers and Atlas send, each line of the log is one record.
func TestLogsAreRecords(t *testing.T) {
	upstream := startUpstream(t, func(*http.Request) string {
		return "HTTP/1.1 500 \x1b[31m\rred\r\nContent-Type: text/\x1b[2J\r\nX-Error-Code: \x1b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	})
	for _, format := range []string{"json", "text"} {
		p := serveFor(t, upstream.url, "", "ATLAS_GATEWAY_LOG_FORMAT="+format)
		for _, bytes := range []string{
			request("GET "+buckets, "", accept), // Atlas's answer is of the same kind
			request("GET /a\x1b[31m\x01", ""),
			request("GET /a\rb", ""),
			request("GET /\xff\xfe\u2028", ""),
			request("GET "+buckets+"?\x1b[2J=1", "", accept),
			request("GET "+buckets, "", "Accept: application/vnd.atlas.\x1b[2J+json"),
			request("GET "+buckets, "", accept, "Authorization: \x1b[31m", "User-Agent: \x1b[31m", "X-Forwarded-For: \x1b]0;x\x07"),
			request("G\x1bET /", ""),
			request("G'E%\"T"+strings.Repeat("x", 1000)+" /", ""),
			request("G'E%T`|~"+strings.Repeat("x", 1000)+" /", ""),
			request("POST "+exports, "{\"\x1b[31m\":1}", accept, isJSON),
			request("POST "+exports, "{\"\\u001b[31m\\r\\n{}\":1}", accept, isJSON),
			request("GET "+buckets, "", accept, "Host: \x1b"),
			"\x16\x03\x01\x1b\r\n\r\n",
			"\x1b[31m\r\n{\"level\":\"INFO\"}\r\n\r\n",
		} {
			p.send(t, bytes)
		}
		p.stop(t)
		lines := 0
		for line := range strings.Lines(p.stderr.String()) {
			lines++
			record := strings.TrimSuffix(line, "\n")
			good := json.Valid([]byte(record))
			if format == "text" {
				good = strings.HasPrefix(record, "time=") && strings.Count(record, " level=") == 1
			}
			if !good || strings.ContainsFunc(record, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' }) {
				t.Errorf("%s: not a record: %q", format, line)
			}
		}
		if lines < 7 {
			t.Errorf("%s: only %d lines", format, lines)
		}
	}
}

// Row 40: pages of other sites can use neither listener, and what is for operators is not
// on the callers' one; profiles are on neither.
func TestPages(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "")
	management := &process{Listener: p.Management}
	site := func(line, fields string) string {
		return line + " HTTP/1.1\r\nConnection: close\r\n" + accept + "\r\n" + fields + "\r\n\r\n"
	}
	for _, fields := range []string{
		"Host: evil.example", "Host: evil.example:8080", "Host: localhost.evil.example", "Host: 127.0.0.1.evil.example", "Host: 169.254.169.254",
		"Host: evil.example\r\nX-Forwarded-Host: localhost", "Host: evil.example\r\nForwarded: host=localhost",
		"Host: localhost\r\nOrigin: http://evil.example", "Host: localhost\r\nOrigin: null", "Host: localhost\r\nOrigin: http://localhost.evil.example",
		"Host: localhost\r\nSec-Fetch-Site: cross-site", "Host: localhost\r\nSec-Fetch-Site: same-site",
	} {
		for name, got := range map[string][]answer{
			"a list":  p.send(t, site("GET "+buckets, fields)),
			"metrics": management.send(t, site("GET /metrics", fields)),
		} {
			if len(got) != 1 || got[0].status != 403 || got[0].header.Get("Gateway-Error") != "foreign_site" || len(got[0].header["Access-Control-Allow-Origin"]) > 0 {
				t.Errorf("%s: %q: %v", name, fields, got)
			}
		}
	}
	for _, page := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/vars", "/debug/pprof/heap"} {
		if got := p.send(t, request("GET "+page, "")); len(got) != 1 || got[0].status != 404 {
			t.Errorf("callers see %s: %v", page, got)
		}
	}
	for page, status := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/debug/pprof/": 404, "/debug/pprof/heap": 404, "/debug/vars": 404, buckets: 404, "/": 404} {
		if got := management.send(t, request("GET "+page, "")); len(got) != 1 || got[0].status != status {
			t.Errorf("operators see %s: %v", page, got)
		}
	}
	if !strings.HasPrefix(p.Management, "http://127.0.0.1:") || p.Management == p.Listener {
		t.Errorf("operators' pages are at %s", p.Management)
	}
	untouched(t, atlas, "a page")
	if got := p.send(t, site("GET "+buckets, "Host: localhost\r\nOrigin: http://127.0.0.1:3000\r\nSec-Fetch-Site: none")); len(got) != 1 || got[0].status != 200 {
		t.Errorf("a page of this machine: %v", got)
	}
	p.stop(t)
}

// Row 41: no field takes the place of a key.
func TestNoBypass(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	token := callers.NewToken("nightly").Secret.Reveal()
	p := serveFor(t, atlas.URL(), forToken(token))
	for _, fields := range [][]string{
		{"X-Forwarded-Uri: /healthz"}, {"X-Original-URL: /healthz"}, {"X-Rewrite-URL: /readyz"}, {"X-Forwarded-Method: OPTIONS"}, {"X-Forwarded-Prefix: /healthz"},
		{"User-Agent: kube-probe/1.30"}, {"User-Agent: ELB-HealthChecker/2.0"}, {"User-Agent: GoogleHC/1.0"}, {"User-Agent: Prometheus/3.0"},
		{"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1;proto=https"}, {"X-Forwarded-User: nightly", "X-Remote-User: nightly", "Remote-User: nightly"},
		{"X-Forwarded-Client-Cert: By=spiffe://nightly", "X-SSL-Client-Verify: SUCCESS"}, {"Proxy-Authorization: Bearer " + token}, {"Cookie: Authorization=Bearer " + token},
		{"X-Authorization: Bearer " + token}, {"Authorization: Bearer"}, {"Authorization: "}, {"Authorization: Bearer null"}, {"Authorization: Basic Og=="}, {"Authorization: Bearer " + token, "Authorization: Bearer x"},
	} {
		got := p.send(t, request("GET "+buckets, "", append(fields, accept)...))
		if len(got) != 1 || got[0].status != 401 {
			t.Errorf("%q: %v", fields, got)
		}
	}
	for _, target := range []string{"/healthz", "/readyz", "/metrics", "/favicon.ico", "/robots.txt", buckets + "/../../healthz", buckets + "?access_token=" + token} {
		if got := p.send(t, request("GET "+target, "", accept, "User-Agent: kube-probe/1.30")); len(got) != 1 || got[0].status < 400 || got[0].status >= 500 {
			t.Errorf("%s: %v", target, got)
		}
	}
	untouched(t, atlas, "a bypass")
	if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: Bearer "+token)); len(got) != 1 || got[0].status != 200 {
		t.Errorf("the token: %v", got)
	}
	p.stop(t)
}
