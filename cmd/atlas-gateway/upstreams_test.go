package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

const list = `{"results":[]}`

// refuses fails the test unless the answer is the gateway's own 502 of a kind. It must hold no
// field and no word of the upstream's.
func refuses(t *testing.T, what string, got []gatewaytest.Response, kind string) {
	t.Helper()
	if len(got) != 1 || got[0].Status != 502 || got[0].Header.Get("Gateway-Error") != kind || !strings.Contains(got[0].Body, `"error":502`) || strings.Contains(got[0].Body, "c4na7y") {
		t.Errorf("%s: %.1000v", what, got)
		return
	}
	want := []string{"Content-Length", "Content-Type", "Date", "Gateway-Error", "Gateway-Request-Id", "X-Error-Code"}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(got[0].Header)), func(name string) bool {
		return name == "Gateway-Outcome" // which answers to creates have: see checkOutcome
	})
	if !slices.Equal(names, want) || got[0].Header.Get("Content-Type") != "application/json" || got[0].Header.Get("X-Error-Code") != "UNEXPECTED_ERROR" {
		t.Errorf("%s: header %v", what, got[0].Header)
	}
}

var (
	aGet  = request("GET "+buckets, "", accept)
	aPost = request("POST "+buckets, bucket, accept, isJSON)
)

// Row 24: no redirect is followed, wherever it leads.
func TestRedirects(t *testing.T) {
	other, reached := gatewaytest.Tap(t)
	var status atomic.Int64
	var location atomic.Value
	h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		return gatewaytest.JSON(int(status.Load()), list, fmt.Sprint("Location: ", location.Load()), "Connection: close")
	}))
	p := serveFor(t, h.URL, "")
	for _, to := range []string{"http://" + other + "/", "http://localhost:" + other[strings.LastIndex(other, ":")+1:] + buckets, "//" + other + "/", buckets} {
		location.Store(to)
		for _, s := range []int64{300, 301, 302, 303, 304, 307, 308} {
			status.Store(s)
			before := h.Signed.Load()
			refuses(t, fmt.Sprintf("%d to %s", s, to), p.send(t, aGet), "upstream_response")
			refuses(t, fmt.Sprintf("%d to %s of a create", s, to), p.send(t, aPost), "upstream_response")
			if n := h.Signed.Load() - before; n != 2 {
				t.Errorf("%d to %s: %d requests for 2", s, to, n)
			}
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("the other host got %d connections", n)
	}
	p.stop(t)
}

// Row 25: another port of the same host is another origin. It gets no credential before it sends
// a challenge, and none for the challenge of the first port.
func TestOtherPort(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	other := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return gatewaytest.JSON(200, list) }))
	p := serveFor(t, atlas.URL(), "")
	if got := p.send(t, aGet); len(got) != 1 || got[0].Status != 200 {
		t.Fatalf("%v", got)
	}
	other.Challenge(gatewaytest.Refusing(`WWW-Authenticate: Digest realm="other", nonce="of-the-other-port", qop="auth"`))
	config, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	gatewaytest.WriteFile(t, p.file, strings.Replace(string(config), atlas.URL(), other.URL, 1))
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	gatewaytest.WaitFor(t, "the reload", func() bool { return strings.Contains(p.stderr.String(), "the configuration was reloaded") })
	if got := p.send(t, aGet); len(got) != 1 || got[0].Status != 200 {
		t.Errorf("%v", got)
	}
	if last := other.Last(); other.Signed.Load() != 1 || !strings.Contains(last, `nonce="of-the-other-port"`) {
		t.Errorf("the other port got %d credentials, at last %s", other.Signed.Load(), last)
	}
	p.stop(t)
}

// Row 26: only challenges with qop=auth and of the pinned realm are answered. Of several, the
// strongest is answered.
func TestChallenges(t *testing.T) {
	h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return gatewaytest.JSON(200, list) }))
	p := serveFor(t, h.URL+"\n  realm: MMS Public API", "")
	const digest = `WWW-Authenticate: Digest realm="MMS Public API", nonce="abcdefgh"`
	for name, fields := range map[string][]string{
		"none":                    {"X: y"},
		"Basic":                   {`WWW-Authenticate: Basic realm="MMS Public API"`},
		"Bearer":                  {"WWW-Authenticate: Bearer"},
		"Negotiate":               {"WWW-Authenticate: Negotiate", "WWW-Authenticate: NTLM"},
		"no qop":                  {digest},
		"auth-int":                {digest + `, qop="auth-int"`},
		"MD5-sess":                {digest + `, qop="auth", algorithm=MD5-sess`},
		"SHA-256-sess":            {digest + `, qop="auth", algorithm=SHA-256-sess`},
		"an unknown algorithm":    {digest + `, qop="auth", algorithm=CRC32`},
		"another realm":           {`WWW-Authenticate: Digest realm="Evil", nonce="abcdefgh", qop="auth"`},
		"no realm":                {`WWW-Authenticate: Digest nonce="abcdefgh", qop="auth"`},
		"no nonce":                {`WWW-Authenticate: Digest realm="MMS Public API", qop="auth"`},
		"a nonce of 2 KB":         {`WWW-Authenticate: Digest realm="MMS Public API", qop="auth", nonce="` + strings.Repeat("n", 2<<10) + `"`},
		"a quote that is open":    {`WWW-Authenticate: Digest realm="MMS Public API, nonce="abcdefgh", qop="auth`},
		"two realms":              {digest + `, realm="MMS Public API", qop="auth"`},
		"several, none of use":    {`WWW-Authenticate: Basic realm="MMS Public API"`, digest, digest + `, qop="auth-int"`},
		"for a proxy":             {`Proxy-Authenticate: Digest realm="MMS Public API", nonce="abcdefgh", qop="auth"`},
		"with a session and auth": {digest + `, qop="auth,auth-int", algorithm=MD5-sess`},
	} {
		h.Challenge(gatewaytest.Refusing(fields...))
		refuses(t, name, p.send(t, aGet), "upstream_credential")
		refuses(t, name+", of a create", p.send(t, aPost), "upstream_credential")
		if n := h.Signed.Load(); n > 0 {
			t.Fatalf("%s: a credential was sent: %s", name, h.Last())
		}
	}
	md5, sha256 := digest+`, qop="auth", algorithm=MD5`, digest+`, qop="auth", algorithm=SHA-256`
	for i, fields := range [][]string{
		{md5, sha256}, {sha256, md5}, {`WWW-Authenticate: Basic realm="MMS Public API"`, md5, sha256},
		{md5 + ", " + strings.TrimPrefix(sha256, "WWW-Authenticate: ")}, {digest + `, algorithm=SHA-512-256`, digest + `, qop="auth-int", algorithm=SHA-512-256`, md5, sha256},
	} {
		fresh := fmt.Sprintf(`nonce="fresh-%d"`, i)
		h.Challenge(strings.ReplaceAll(gatewaytest.Refusing(fields...), `nonce="abcdefgh"`, fresh))
		q := serveFor(t, h.URL, "")
		if got := q.send(t, aPost); len(got) != 1 || got[0].Status != 200 {
			t.Errorf("%q: %v", fields, got)
		}
		if last := h.Last(); !strings.Contains(last, fresh) || !strings.Contains(last, "algorithm=SHA-256,") || !strings.Contains(last, "qop=auth,") {
			t.Errorf("%q is answered by %s", fields, last)
		}
		q.stop(t)
	}
	p.stop(t)
}

// Rows 27 and 28: nothing of a 401 reaches the caller.
func TestUpstreamRefuses(t *testing.T) {
	const atlas401 = `{"error":401,"reason":"c4na7y reason","detail":"c4na7y detail","errorCode":"UNEXPECTED_ERROR"}`
	tells := []string{"Set-Cookie: c4na7y=1", "Server: c4na7y", "Location: /c4na7y", "X-Frame-Options: DENY", "X-Error-Code: UNEXPECTED_ERROR", "Retry-After: 7", "RateLimit-Limit: 5"}
	for name, text := range map[string]string{
		"27": gatewaytest.JSON(401, atlas401, append(tells, "WWW-Authenticate: "+gatewaytest.Challenge)...),
		"28": gatewaytest.JSON(401, atlas401, tells...),
	} {
		t.Run(name, func(t *testing.T) {
			h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return text }))
			p := serveFor(t, h.URL, "")
			refuses(t, "of a list", p.send(t, aGet), "upstream_credential")
			refuses(t, "of a create", p.send(t, aPost), "upstream_credential")
			h.Challenge(text) // also as the answer to the request for a challenge
			q := serveFor(t, h.URL, "")
			refuses(t, "at once", q.send(t, aGet), "upstream_credential")
			p.stop(t)
			q.stop(t)
		})
	}
}

// Row 29: no call fails while the key is good, whatever the upstream does with its nonces. The
// upstream's clock goes by the requests, about 1 ms for each, however busy the machine is.
func TestStrictUpstream(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for name, nonces := range map[string]sim.Nonces{
		"a lifetime":                    {Lifetime: sim.Duration(50 * time.Millisecond)},
		"rising counts, 5 % refused":    {Rising: true, Refuse: 0.05},
		"a single use":                  {Uses: 1},
		"few uses, rising, 5 % refused": {Uses: 20, Rising: true, Refuse: 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			var readings atomic.Int64
			now := func() time.Time { return began.Add(time.Duration(readings.Add(1)) * 300 * time.Microsecond) }
			atlas := sim.Start(t, sim.Config{Now: now, Settings: sim.Settings{Nonces: nonces, RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
			p := serveFor(t, atlas.URL(), "")
			var group sync.WaitGroup
			for i := range 128 {
				group.Go(func() {
					for j := range 4 {
						bytes := aGet
						if (i+j)%2 == 0 {
							bytes = aPost
						}
						if got := p.send(t, bytes); len(got) != 1 || got[0].Status != 200 {
							t.Errorf("%v", got)
						}
					}
				})
			}
			group.Wait()
			p.stop(t)
			t.Logf("%d upstream requests for %d calls", atlas.Counts().Requests, 128*4)
		})
	}
}

// Row 30: an upstream that can't prove to be Atlas gets neither a request nor a credential.
func TestUpstreamTLS(t *testing.T) {
	t.Parallel()
	ours, others := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "ca.pem"), ours.PEM)
	loopback := net.IPv4(127, 0, 0, 1)
	for name, test := range map[string]struct {
		certificate *tls.Certificate
		good        bool
	}{
		"good":                 {&ours.Loopback(t).Certificate, true},
		"expired":              {&ours.Issue(t, -time.Minute, loopback).Certificate, false},
		"of another name":      {&ours.Issue(t, time.Hour, net.IPv4(127, 0, 0, 2)).Certificate, false},
		"of another authority": {&others.Loopback(t).Certificate, false},
		"without TLS":          {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{TLS: test.certificate})
			p := serveFor(t, "https://"+strings.TrimPrefix(strings.TrimPrefix(atlas.URL(), "http://"), "https://")+"\n  ca_file: "+file, "")
			if test.good {
				if got := p.send(t, aPost); len(got) != 1 || got[0].Status != 200 {
					t.Errorf("%v", got)
				}
			} else {
				refuses(t, "a list", p.send(t, aGet), "upstream_unreachable")
				refuses(t, "a create", p.send(t, aPost), "upstream_unreachable")
				if n := atlas.Counts(); n.Requests > 0 {
					t.Errorf("it received %d requests", n.Requests)
				}
			}
			p.stop(t)
		})
	}
}
