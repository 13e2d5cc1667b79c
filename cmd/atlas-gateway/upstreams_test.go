package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
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

	"atlas-export-gateway/sim"
)

// hostile is an upstream that speaks bytes: it challenges what bears no credential, and
// answers the rest with what its function returns; an empty answer is a reset. It goes on
// with a connection unless the answer says otherwise.
type hostile struct {
	url       string
	challenge atomic.Value // the bytes that answer what bears no credential
	signed    atomic.Int64 // requests with a credential
	creates   atomic.Int64 // of them, those of POST
	last      atomic.Value // the last Authorization field
}

const challenge = `WWW-Authenticate: Digest realm="MMS Public API", domain="", nonce="abcdefghijklmnopqrstuvwxyz012345", algorithm=MD5, qop="auth", stale=false`

// refusing writes a 401 with fields.
func refusing(fields ...string) string {
	return "HTTP/1.1 401 Unauthorized\r\n" + strings.Join(append(fields, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
}

// answering writes a response in JSON with fields.
func answering(status int, body string, fields ...string) string {
	fields = append(fields, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%s\r\n\r\n%s", status, http.StatusText(status), strings.Join(fields, "\r\n"), body)
}

func startUpstream(t *testing.T, answer func(*http.Request) string) *hostile {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	h := &hostile{url: "http://" + l.Addr().String()}
	h.challenge.Store(refusing(challenge))
	h.last.Store("")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(conn, answer)
		}
	}()
	return h
}

func (h *hostile) serve(conn net.Conn, answer func(*http.Request) string) {
	defer conn.Close()
	for reader := bufio.NewReader(conn); ; {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("Authorization") == "" {
			io.WriteString(conn, h.challenge.Load().(string))
			continue
		}
		h.signed.Add(1)
		if r.Method == "POST" {
			h.creates.Add(1)
		}
		h.last.Store(r.Header.Get("Authorization"))
		text := answer(r)
		if text == "" {
			conn.(*net.TCPConn).SetLinger(0)
			return
		}
		io.WriteString(conn, text)
		if !strings.Contains(text, "\r\nContent-Length: ") || strings.Contains(text, "close") {
			return
		}
	}
}

// tap is a listener that no one should connect to.
func tap(t *testing.T) (address string, reached *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	reached = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			conn.Close()
		}
	}()
	return l.Addr().String(), reached
}

const list = `{"results":[]}`

// refuses fails the test unless an answer is the gateway's own 502, of a kind, with no field
// of the upstream's and none of its words.
func refuses(t *testing.T, what string, got []answer, kind string) {
	t.Helper()
	if len(got) != 1 || got[0].status != 502 || got[0].header.Get("Gateway-Error") != kind || !strings.Contains(got[0].body, `"error":502`) || strings.Contains(got[0].body, "c4na7y") {
		t.Errorf("%s: %.1000v", what, got)
		return
	}
	want := []string{"Content-Length", "Content-Type", "Date", "Gateway-Error", "Gateway-Request-Id", "X-Error-Code"}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(got[0].header)), func(name string) bool {
		return name == "Gateway-Outcome" // of creates: see checkOutcome
	})
	if !slices.Equal(names, want) || got[0].header.Get("Content-Type") != "application/json" || got[0].header.Get("X-Error-Code") != "UNEXPECTED_ERROR" {
		t.Errorf("%s: header %v", what, got[0].header)
	}
}

var (
	aGet  = request("GET "+buckets, "", accept)
	aPost = request("POST "+buckets, bucket, accept, isJSON)
)

// Row 24: a redirect is not followed, wherever it leads.
func TestRedirects(t *testing.T) {
	other, reached := tap(t)
	var status atomic.Int64
	var location atomic.Value
	h := startUpstream(t, func(*http.Request) string {
		return answering(int(status.Load()), list, fmt.Sprint("Location: ", location.Load()), "Connection: close")
	})
	p := serveFor(t, h.url, "")
	for _, to := range []string{"http://" + other + "/", "http://localhost:" + other[strings.LastIndex(other, ":")+1:] + buckets, "//" + other + "/", buckets} {
		location.Store(to)
		for _, s := range []int64{300, 301, 302, 303, 304, 307, 308} {
			status.Store(s)
			before := h.signed.Load()
			refuses(t, fmt.Sprintf("%d to %s", s, to), p.send(t, aGet), "upstream_response")
			refuses(t, fmt.Sprintf("%d to %s of a create", s, to), p.send(t, aPost), "upstream_response")
			if n := h.signed.Load() - before; n != 2 {
				t.Errorf("%d to %s: %d requests for 2", s, to, n)
			}
		}
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("the other host got %d connections", n)
	}
	p.stop(t)
}

// Row 25: another port of the same host is another origin: it gets no credential before it
// asks, and none for the challenge of the first.
func TestOtherPort(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	other := startUpstream(t, func(*http.Request) string { return answering(200, list) })
	p := serveFor(t, atlas.URL(), "")
	if got := p.send(t, aGet); len(got) != 1 || got[0].status != 200 {
		t.Fatalf("%v", got)
	}
	other.challenge.Store(refusing(`WWW-Authenticate: Digest realm="other", nonce="of-the-other-port", qop="auth"`))
	config, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.file, strings.Replace(string(config), atlas.URL(), other.url, 1))
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(p.stderr.String(), "the configuration was reloaded"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not reloaded")
		}
	}
	if got := p.send(t, aGet); len(got) != 1 || got[0].status != 200 {
		t.Errorf("%v", got)
	}
	if last := other.last.Load().(string); other.signed.Load() != 1 || !strings.Contains(last, `nonce="of-the-other-port"`) {
		t.Errorf("the other port got %d credentials, at last %s", other.signed.Load(), last)
	}
	p.stop(t)
}

// Row 26: of the challenges only those with qop=auth, of the pinned realm, are answered, and
// of several the strongest.
func TestChallenges(t *testing.T) {
	h := startUpstream(t, func(*http.Request) string { return answering(200, list) })
	p := serveFor(t, h.url+"\n  realm: MMS Public API", "")
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
		h.challenge.Store(refusing(fields...))
		refuses(t, name, p.send(t, aGet), "upstream_credential")
		refuses(t, name+", of a create", p.send(t, aPost), "upstream_credential")
		if n := h.signed.Load(); n > 0 {
			t.Fatalf("%s: a credential was sent: %s", name, h.last.Load())
		}
	}
	md5, sha256 := digest+`, qop="auth", algorithm=MD5`, digest+`, qop="auth", algorithm=SHA-256`
	for i, fields := range [][]string{
		{md5, sha256}, {sha256, md5}, {`WWW-Authenticate: Basic realm="MMS Public API"`, md5, sha256},
		{md5 + ", " + strings.TrimPrefix(sha256, "WWW-Authenticate: ")}, {digest + `, algorithm=SHA-512-256`, digest + `, qop="auth-int", algorithm=SHA-512-256`, md5, sha256},
	} {
		fresh := fmt.Sprintf(`nonce="fresh-%d"`, i)
		h.challenge.Store(strings.ReplaceAll(refusing(fields...), `nonce="abcdefgh"`, fresh))
		q := serveFor(t, h.url, "")
		if got := q.send(t, aPost); len(got) != 1 || got[0].status != 200 {
			t.Errorf("%q: %v", fields, got)
		}
		if last := h.last.Load().(string); !strings.Contains(last, fresh) || !strings.Contains(last, "algorithm=SHA-256,") || !strings.Contains(last, "qop=auth,") {
			t.Errorf("%q is answered by %s", fields, last)
		}
		q.stop(t)
	}
	p.stop(t)
}

// Rows 27 and 28: of a 401 nothing reaches the caller.
func TestUpstreamRefuses(t *testing.T) {
	const atlas401 = `{"error":401,"reason":"c4na7y reason","detail":"c4na7y detail","errorCode":"UNEXPECTED_ERROR"}`
	tells := []string{"Set-Cookie: c4na7y=1", "Server: c4na7y", "Location: /c4na7y", "X-Frame-Options: DENY", "X-Error-Code: UNEXPECTED_ERROR", "Retry-After: 7", "RateLimit-Limit: 5"}
	for name, text := range map[string]string{
		"27": answering(401, atlas401, append(tells, challenge)...),
		"28": answering(401, atlas401, tells...),
	} {
		t.Run(name, func(t *testing.T) {
			h := startUpstream(t, func(*http.Request) string { return text })
			p := serveFor(t, h.url, "")
			refuses(t, "of a list", p.send(t, aGet), "upstream_credential")
			refuses(t, "of a create", p.send(t, aPost), "upstream_credential")
			h.challenge.Store(text) // also where the question for a challenge gets it
			q := serveFor(t, h.url, "")
			refuses(t, "at once", q.send(t, aGet), "upstream_credential")
			p.stop(t)
			q.stop(t)
		})
	}
}

// Row 29: no call fails while the key is good, however the upstream treats its nonces.
func TestStrictUpstream(t *testing.T) {
	for name, nonces := range map[string]sim.Nonces{
		"a lifetime":                    {Lifetime: sim.Duration(50 * time.Millisecond)},
		"rising counts, 5 % refused":    {Rising: true, Refuse: 0.05},
		"a single use":                  {Uses: 1},
		"few uses, rising, 5 % refused": {Uses: 20, Rising: true, Refuse: 0.05},
	} {
		t.Run(name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{Settings: sim.Settings{Nonces: nonces, RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
			p := serveFor(t, atlas.URL(), "")
			var group sync.WaitGroup
			for i := range 128 {
				group.Go(func() {
					for j := range 4 {
						bytes := aGet
						if (i+j)%2 == 0 {
							bytes = aPost
						}
						if got := p.send(t, bytes); len(got) != 1 || got[0].status != 200 {
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

// authority makes certificates of an authority of its own.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	made := a.issue(t, time.Hour)
	certificate, err := x509.ParseCertificate(made.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	a.certificate, a.key = certificate, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue makes a certificate for addresses; the authority's own has none.
func (a *authority) issue(t *testing.T, valid time.Duration, addresses ...net.IP) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid), IPAddresses: addresses,
		IsCA: len(addresses) == 0, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Row 30: an upstream that can't prove to be Atlas gets neither request nor credential.
func TestUpstreamTLS(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	file := write(t, filepath.Join(t.TempDir(), "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.certificate.Raw})))
	loopback := net.IPv4(127, 0, 0, 1)
	for name, test := range map[string]struct {
		certificate *tls.Certificate
		good        bool
	}{
		"good":                 {ours.issue(t, time.Hour, loopback), true},
		"expired":              {ours.issue(t, -time.Minute, loopback), false},
		"of another name":      {ours.issue(t, time.Hour, net.IPv4(127, 0, 0, 2)), false},
		"of another authority": {others.issue(t, time.Hour, loopback), false},
		"without TLS":          {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{TLS: test.certificate})
			p := serveFor(t, "https://"+strings.TrimPrefix(strings.TrimPrefix(atlas.URL(), "http://"), "https://")+"\n  ca_file: "+file, "")
			if test.good {
				if got := p.send(t, aPost); len(got) != 1 || got[0].status != 200 {
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

// Row 32: what can't be relayed whole is a 502 of the gateway's own, and no word of it shows.
func TestBrokenResponses(t *testing.T) {
	const word = `"c4na7y of the upstream"`
	half := `{"results":[` + word
	var text atomic.Value
	h := startUpstream(t, func(*http.Request) string { return text.Load().(string) })
	p := serveFor(t, h.url, "limits: {response_body: 4096}\n")
	for name, test := range map[string]struct{ bytes, kind string }{
		"HTML":                           {"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\r\n" + word, "upstream_response"},
		"HTML that calls itself JSON":    {answering(200, "<html>"+word), "upstream_response"},
		"a text":                         {strings.Replace(answering(200, list), "application/json", "text/plain; c4na7y", 1), "upstream_response"},
		"a problem":                      {strings.Replace(answering(400, `{"title":`+word+`}`), "application/json", "application/problem+json", 1), "upstream_response"},
		"no type":                        {"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + list, "upstream_response"},
		"no content":                     {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n", "upstream_response"},
		"broken JSON":                    {answering(200, half), "upstream_response"},
		"a repeated member":              {answering(200, `{"results":[],"results":[`+word+`]}`), "upstream_response"},
		"bad UTF-8":                      {answering(200, "{\"results\":[\"\xff\"]}"), "upstream_response"},
		"two values":                     {answering(200, list+list), "upstream_response"},
		"a truncated body":               {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\nConnection: close\r\n\r\n" + half, "upstream_response"},
		"truncated chunks":               {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(half), half), "upstream_response"},
		"a broken chunk":                 {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc4na7y\r\n", "upstream_response"},
		"whole JSON, cut short":          {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n" + list, "upstream_response"},
		"a size beyond the limit":        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n" + half, "upstream_response"},
		"chunks beyond the limit":        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + strings.Repeat(" ", 0x2000-len(half)) + half + "\r\n", "upstream_response"},
		"without end":                    {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + half + strings.Repeat(" ", 0x2000), "upstream_response"},
		"a compressed body":              {answering(200, "\x1f\x8b\x08\x00c4na7y", "Content-Encoding: gzip"), "upstream_response"},
		"JSON that is called compressed": {answering(200, list, "Content-Encoding: gzip"), "upstream_response"},
		"a status below 200":             {strings.Replace(answering(200, list), "200", "099", 1), "upstream_response"},
		"a status above 599":             {strings.Replace(answering(200, list), "200", "999", 1), "upstream_response"},
		"another protocol":               {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: c4na7y\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", "upstream_response"},
		"huge fields":                    {answering(200, list, "X: "+strings.Repeat("c4na7y ", 20_000)), "upstream_unreachable"},
		"many fields":                    {answering(200, list, slices.Repeat([]string{"X: c4na7y"}, 10_000)...), "upstream_unreachable"},
		"a broken field":                 {"HTTP/1.1 200 OK\r\nc4na7y\r\nContent-Length: 0\r\n\r\n", "upstream_unreachable"},
		"two lengths":                    {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\nContent-Length: 15\r\n\r\n" + list, "upstream_unreachable"},
		"a negative length":              {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n" + list, "upstream_unreachable"},
		"endless interim responses":      {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: c4na7y\r\n\r\n", 5000), "upstream_unreachable"},
		"a status in words":              {"HTTP/1.1 OK c4na7y\r\nContent-Length: 0\r\n\r\n", "upstream_unreachable"},
		"not HTTP":                       {"SSH-2.0-c4na7y\r\n", "upstream_unreachable"},
		"half a status line":             {"HTTP/1.1 2", "upstream_unreachable"},
		"nothing":                        {" ", "upstream_unreachable"},
		"a reset":                        {"", "upstream_unreachable"},
	} {
		text.Store(test.bytes)
		creates := h.creates.Load()
		refuses(t, name, p.send(t, aGet), test.kind)
		got := p.send(t, aPost)
		refuses(t, name+", to a create", got, test.kind)
		if len(got) == 1 && !strings.Contains(got[0].body, "It is not known whether the request was carried out") || h.creates.Load() != creates+1 {
			t.Errorf("%s, to a create, of which %d arrived: %v", name, h.creates.Load()-creates, got)
		}
	}
	p.stop(t)
}

// Row 33: a create is sent once, also on a connection that was used before, and however its
// caller marks it as repeatable.
func TestReplays(t *testing.T) {
	h := startUpstream(t, func(r *http.Request) string {
		if r.Method == "POST" || r.Header.Get("Idempotency-Key")+r.Header.Get("X-Idempotency-Key") != "" {
			return "" // a reset
		}
		return answering(200, list)
	})
	p := serveFor(t, h.url, "")
	for i, fields := range [][]string{nil, {"Idempotency-Key: 1"}, {"X-Idempotency-Key: 1"}, {"idempotency-key: 1", "x-idempotency-key: 1"}} {
		for range 2 { // the second time on a connection and nonce of before
			if got := p.send(t, request("GET "+buckets, "", append(fields, accept)...)); len(got) != 1 || got[0].status != 200 {
				t.Errorf("%q: %v", fields, got)
			}
		}
		refuses(t, fmt.Sprintf("%q", fields), p.send(t, request("POST "+buckets, bucket, append(fields, accept, isJSON)...)), "upstream_unreachable")
		if n := h.creates.Load(); n != int64(i+1) {
			t.Fatalf("%q: %d creates arrived for %d", fields, n, i+1)
		}
	}
	p.stop(t)
}
