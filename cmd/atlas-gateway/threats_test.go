package main

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// The tests of this file, and of the others that TestThreatsAreTested names, start the program,
// send it bytes over TCP, and look at what Atlas received. Rows are those of docs/threats.md, and
// some subtests have their numbers.

// Row 12: a request with a bad key is refused before its content is asked for. With a good key
// the content is asked for.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	token := callers.NewToken("nightly").Secret.Reveal()
	p := serveFor(t, atlas.URL(), forToken(token))
	asking := func(key string, fields ...string) string {
		return request("POST "+buckets, "", append(fields, accept, isJSON, "Expect: 100-continue", "Authorization: "+key)...)
	}
	for name, bytes := range map[string]string{
		"a wrong token":  asking("Bearer wrong", "Content-Length: 100"),
		"a wrong key":    asking(gatewaytest.Basic("agwnobody", "wrong"), "Content-Length: 100"),
		"no key":         asking("", "Content-Length: 100"),
		"chunked":        asking("Bearer wrong", "Transfer-Encoding: chunked"),
		"of a good size": asking("Bearer wrong", fmt.Sprint("Content-Length: ", len(bucket))) + bucket,
	} {
		if got := p.send(t, bytes); len(got) != 1 || got[0].Status != 401 {
			t.Errorf("%s: %v", name, got)
		}
	}
	untouched(t, atlas, "without a key")
	if got := p.send(t, asking("Bearer "+token, fmt.Sprint("Content-Length: ", len(bucket)))+bucket); len(got) != 2 || got[0].Status != 100 || got[1].Status != 200 {
		t.Errorf("the right token: %v", got)
	}
	p.stop(t)
}

// Row 31: the program does not start with an upstream that must not see the credential.
func TestRefusesToStart(t *testing.T) {
	t.Parallel()
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
		file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"),
			"upstream: {base_url: '"+base+"', credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\ncallers: {anonymous: true}\nlistener: {address: '127.0.0.1:0'}\nmanagement: {address: '127.0.0.1:0'}\n")
		if status, output := runProgram(t, []string{"serve", file}); status != exitConfig || !strings.HasPrefix(output, file+":1: upstream.base_url: ") {
			t.Errorf("%s: exit status %d: %s", name, status, output)
		}
	}
}

// Row 37: the answer to a wrong key does not tell how near it is to a right one.
func TestGuessing(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dir := t.TempDir()
	const token, public, private, account, secret = "agw_st_c4na7yOfTheCaller", "agwnightly", "c4na7yOfTheCallersKeyPair", "agw_id_nightly", "agw_sk_c4na7yOfTheAccount"
	p := serveFor(t, atlas.URL(), `
callers:
  list:
    - name: nightly
      tokens: [{sha256: `+hash(token)+`}]
      key_pairs: [{public_key: `+public+`, ha1_file: `+gatewaytest.WriteFile(t, filepath.Join(dir, "ha1"), "MD5:"+ha1(t, "MD5", public, private))+`}]
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
		"keys":     {gatewaytest.Basic("agwnobody", private), gatewaytest.Basic(public, "x"), gatewaytest.Basic(public, private[:len(private)-1]), gatewaytest.Basic(public, private+"x"), gatewaytest.Basic("", ""), gatewaytest.Basic(public, ha1(t, "MD5", public, private))},
		"digests":  {digest("agwnobody", private), digest(public, "x"), digest(public, private[:len(private)-1]), digest(public, private+"x"), digest(account, secret)},
		"accounts": {gatewaytest.Basic("agw_id_nobody", secret), gatewaytest.Basic(account, "x"), gatewaytest.Basic(account, secret[:len(secret)-1]), gatewaytest.Basic(account, secret+"x"), gatewaytest.Basic(account, hash(secret))},
	} {
		var first gatewaytest.Response
		for i, guess := range guesses {
			bytes := request("GET "+buckets, "", accept, "Authorization: "+guess)
			if name == "accounts" {
				bytes = request("POST /api/oauth/token", "grant_type=client_credentials", form, "Authorization: "+guess)
			}
			got := p.send(t, bytes)
			if len(got) != 1 || got[0].Status != 401 {
				t.Errorf("%s: %q: %v", name, guess, got)
				continue
			}
			for _, field := range []string{"Date", "Gateway-Request-Id"} {
				got[0].Header.Del(field)
			}
			if challenge := got[0].Header.Get("WWW-Authenticate"); strings.Contains(challenge, "nonce=") {
				got[0].Header.Set("WWW-Authenticate", nonces.ReplaceAllString(challenge, "nonce"))
			}
			if i == 0 {
				first = got[0]
			}
			if diff := cmp.Diff(first, got[0]); diff != "" {
				t.Errorf("%s: %q is answered in another way:\n%s", name, guess, diff)
			}
		}
	}
	untouched(t, atlas, "a guess")
	if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: Bearer "+token)); len(got) != 1 || got[0].Status != 200 {
		t.Errorf("the token: %v", got)
	}
	p.stop(t)
}

var nonces = regexp.MustCompile(`nonce="[^"]*"`)

// Row 39: each line of the log is one record, whatever callers and Atlas send.
func TestLogsAreRecords(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		return "HTTP/1.1 500 \x1b[31m\rred\r\nContent-Type: text/\x1b[2J\r\nX-Error-Code: \x1b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	}))
	for _, format := range []string{"json", "text"} {
		p := serveFor(t, upstream.URL, "", "ATLAS_GATEWAY_LOG_FORMAT="+format)
		for _, bytes := range []string{
			request("GET "+buckets, "", accept), // Atlas's answer holds escapes as well
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

// Row 40: pages of other sites can use neither listener. The callers' listener does not serve the operators' pages, and neither serves profiles.
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
		for name, got := range map[string][]gatewaytest.Response{
			"a list":  p.send(t, site("GET "+buckets, fields)),
			"metrics": management.send(t, site("GET /metrics", fields)),
		} {
			if len(got) != 1 || got[0].Status != 403 || got[0].Header.Get("Gateway-Error") != "foreign_site" || len(got[0].Header["Access-Control-Allow-Origin"]) > 0 {
				t.Errorf("%s: %q: %v", name, fields, got)
			}
		}
	}
	for _, page := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/vars", "/debug/pprof/heap"} {
		if got := p.send(t, request("GET "+page, "")); len(got) != 1 || got[0].Status != 403 {
			t.Errorf("callers see %s: %v", page, got)
		}
	}
	for page, status := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/debug/pprof/": 403, "/debug/pprof/heap": 403, "/debug/vars": 403, buckets: 403, "/": 403} {
		if got := management.send(t, request("GET "+page, "")); len(got) != 1 || got[0].Status != status {
			t.Errorf("operators see %s: %v", page, got)
		}
	}
	if !strings.HasPrefix(p.Management, "http://127.0.0.1:") || p.Management == p.Listener {
		t.Errorf("operators' pages are at %s", p.Management)
	}
	untouched(t, atlas, "a page")
	if got := p.send(t, site("GET "+buckets, "Host: localhost\r\nOrigin: http://127.0.0.1:3000\r\nSec-Fetch-Site: none")); len(got) != 1 || got[0].Status != 200 {
		t.Errorf("a page of this machine: %v", got)
	}
	p.stop(t)
}

// Row 41: no other field takes the place of a key.
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
		if len(got) != 1 || got[0].Status != 401 {
			t.Errorf("%q: %v", fields, got)
		}
	}
	for _, target := range []string{"/healthz", "/readyz", "/metrics", "/favicon.ico", "/robots.txt", buckets + "/../../healthz", buckets + "?access_token=" + token} {
		if got := p.send(t, request("GET "+target, "", accept, "User-Agent: kube-probe/1.30")); len(got) != 1 || got[0].Status < 400 || got[0].Status >= 500 {
			t.Errorf("%s: %v", target, got)
		}
	}
	untouched(t, atlas, "a bypass")
	if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: Bearer "+token)); len(got) != 1 || got[0].Status != 200 {
		t.Errorf("the token: %v", got)
	}
	p.stop(t)
}
