package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// Callers who are slow to send or to receive take no one's place.
func TestSlowCallersTakeNoPlace(t *testing.T) {
	long := `{"results":[],"pad":"` + strings.Repeat("x", 7<<20) + `"}`
	upstream := startRaw(t, func(conn net.Conn, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, jobID) {
			io.WriteString(conn, jsonAnswer(200, job))
			return
		}
		io.WriteString(conn, jsonAnswer(200, long))
	})
	g := start(t, upstream.url, "public", privateKey, "limits: {in_flight: 2}", "timeouts: {request: 5s, upstream: 5s}")
	for range 50 { // a header, and no content
		conn, err := net.Dial("tcp", g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n", v2Exports, latest)
	}
	for range 8 { // a long response, unread
		conn, err := net.Dial("tcp", g.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", v2Exports, latest)
		if _, err := bufio.NewReaderSize(conn, 16).ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	if got := send(t, "GET", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, ""); got.status != 200 {
		t.Errorf("an honest caller: %d %s", got.status, got.body)
	}
}

// Pages of other sites can't use a gateway that lets everyone on this machine in.
func TestPagesOfOtherSites(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := startWith(t, "listener: {public_url: 'https://exports.internal.example'}\ncallers: {anonymous: true}\nupstream:\n  base_url: "+upstream.url+
		"\n  credentials: [{public_key_file: config/testdata/key, private_key_file: config/testdata/key}]\n")
	// The same where other machines are let in.
	open := startWith(t, "listener: {address: ':8080', allow_plain_http: true, public_url: 'https://exports.internal.example'}\ncallers: {anonymous: true, allow_anonymous_off_loopback: true}\nupstream:\n  base_url: "+upstream.url+
		"\n  credentials: [{public_key_file: config/testdata/key, private_key_file: config/testdata/key}]\n")
	line := "GET " + v2Exports + "/" + jobID + " HTTP/1.1\r\nConnection: close\r\nAccept: " + latest + "\r\n"
	for fields, status := range map[string]int{
		"Host: localhost:1":                                              200,
		"Host: 127.0.0.1:1":                                              200,
		"Host: [::1]:1":                                                  200,
		"Host: exports.internal.example":                                 200,
		"Host: localhost\r\nOrigin: http://localhost:3000":               200,
		"Host: localhost\r\nSec-Fetch-Site: same-origin":                 200,
		"Host: localhost\r\nSec-Fetch-Site: none":                        200,
		"Host: evil.example:8080":                                        403,
		"Host: 127.0.0.1.evil.example":                                   403,
		"Host: localhost\r\nOrigin: http://evil.example":                 403,
		"Host: localhost\r\nOrigin: null":                                403,
		"Host: localhost\r\nSec-Fetch-Site: cross-site":                  403,
		"Host: localhost\r\nSec-Fetch-Site: same-site":                   403,
		"Host: evil.example\r\nX-Forwarded-Host: localhost":              403,
		"Host: evil.example\r\nOrigin: https://exports.internal.example": 403,
	} {
		for _, g := range []*running{g, open} {
			before := upstream.signed.Load()
			answer := raw(t, g.address, line+fields+"\r\n\r\n")
			if !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)) || (upstream.signed.Load() != before) != (status == 200) {
				t.Errorf("%q: %.200s", fields, answer)
			}
			if status == 403 && !strings.Contains(answer, "Gateway-Error: foreign_site") {
				t.Errorf("%q: %.300s", fields, answer)
			}
		}
	}
	management := strings.TrimPrefix(g.management, "http://")
	for _, fields := range []string{"Host: localhost\r\nOrigin: null", "Host: :9090"} {
		if answer := raw(t, management, "GET /metrics HTTP/1.1\r\nConnection: close\r\n"+fields+"\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 403 ") {
			t.Errorf("management: %q: %.200s", fields, answer)
		}
	}
	if answer := raw(t, management, "GET /metrics HTTP/1.1\r\nConnection: close\r\nHost: evil.example\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 403 ") {
		t.Errorf("management: %.200s", answer)
	}
}

// Clients that keep their connections lose no request while the gateway drains.
func TestDrainLosesNoRequest(t *testing.T) {
	upstream := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	for range 3 {
		g := startWith(t, "callers: {anonymous: true}\ntimeouts: {drain: 500ms}\nupstream:\n  base_url: "+upstream.URL()+
			"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\n", "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
		transport := &http.Transport{MaxIdleConnsPerHost: 32}
		stopped := make(chan struct{})
		var lost, served atomic.Int64
		var group sync.WaitGroup
		for range 32 {
			group.Go(func() {
				for {
					select {
					case <-stopped:
						return
					default:
					}
					// POST: net/http does not send it again when a connection was closed under it.
					request, err := http.NewRequest("POST", g.url+v2Buckets, io.NopCloser(strings.NewReader(`{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"`+role+`"}`)))
					if err != nil {
						t.Error(err)
						return
					}
					request.Header.Set("Accept", latest)
					request.Header.Set("Content-Type", "application/json")
					answer, err := transport.RoundTrip(request)
					if err != nil {
						lost.Add(1)
						continue
					}
					io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
					if answer.StatusCode != 200 {
						t.Errorf("status %d", answer.StatusCode)
					}
					served.Add(1)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		g.stop()
		time.Sleep(250 * time.Millisecond) // half of the drain
		close(stopped)
		group.Wait()
		transport.CloseIdleConnections()
		if n := lost.Load(); n > 0 {
			t.Errorf("%d requests of %d were lost", n, n+served.Load())
		}
	}
}

// A response made to be slow to rewrite is not: what is no place of a link is skipped.
func TestLinksAreRewrittenInTime(t *testing.T) {
	var hostile atomic.Value
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		io.WriteString(conn, jsonAnswer(200, hostile.Load().(string)))
	})
	g := start(t, upstream.url, "public", privateKey)
	name := strings.Repeat("n", 4000)
	const names = 100 // with which it took longer than send waits
	body := `{"results":[],"x":` + strings.Repeat(`{"`+name+`":`, names) + `["` + upstream.url + `"` + strings.Repeat(`,"`+upstream.url+`"`, 20_000) + `]` + strings.Repeat("}", names+1)
	hostile.Store(body)
	got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
	if got.status != 200 || got.body != body {
		t.Errorf("%d, %d bytes", got.status, len(got.body))
	}
}

// Bytes behind a chunked request are not read as another: who stands before the gateway may
// have gone by a Content-Length that net/http drops.
func TestNothingIsReadBehindChunks(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := start(t, upstream.url, "public", privateKey)
	answer := raw(t, g.address, "POST "+v2Exports+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n"+
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(export), export)+"DELETE "+v2Buckets+"/"+bucketID+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\n\r\n")
	if n := strings.Count(answer, "HTTP/1.1 "); n != 1 || upstream.signed.Load() != 1 || !strings.Contains(answer, "Connection: close") {
		t.Errorf("%d responses, %d requests upstream: %s", n, upstream.signed.Load(), answer)
	}
	// HTTP/1.0 has no chunks, but what stands before the gateway may know them.
	upstream.signed.Store(0)
	answer = raw(t, g.address, "POST "+v2Exports+" HTTP/1.0\r\nConnection: keep-alive\r\nHost: localhost\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\n"+
		fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n%s", len(export), export)+"DELETE "+v2Buckets+"/"+bucketID+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\n\r\n")
	if n := strings.Count(answer, "HTTP/1."); n != 1 || upstream.signed.Load() != 1 || !strings.Contains(answer, "Connection: close") {
		t.Errorf("HTTP/1.0: %d responses, %d requests upstream: %s", n, upstream.signed.Load(), answer)
	}
}

// A create whose caller goes before it is sent is not sent.
func TestCreateIsNotSentForACallerWhoIsGone(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), BeforeAuthentication: true}}})
	g := start(t, atlas.URL(), sim.PublicKey, sim.PrivateKey)
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", v2Exports, latest, len(export), export)
	time.Sleep(50 * time.Millisecond)
	conn.Close()
	waitFor(t, "the record", func() bool { return strings.Contains(g.logs.String(), `"error":"caller_gone"`) })
	time.Sleep(400 * time.Millisecond)
	for _, r := range atlas.Requests(0) {
		if r.Body != "" {
			t.Errorf("Atlas received %s", r.Body)
		}
	}
}

// A create that waits for Atlas to let it sign ends when its caller goes.
func TestCreateWaitsNoLongerThanItsCaller(t *testing.T) {
	l := listen(t)
	defer l.Close()
	g := start(t, "http://"+l.Addr().String(), "public", privateKey)
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", v2Exports, latest, len(export), export)
	probe, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	probe.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := probe.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := io.Copy(io.Discard, probe); err != nil { // to the end of the connection
		t.Errorf("the gateway still waits: %v", err)
	}
	waitFor(t, "the record", func() bool { return strings.Contains(g.logs.String(), `"error":"caller_gone"`) })
}

// What is said of a create that failed is true: whether it may have been carried out.
func TestOutcomeOfACreate(t *testing.T) {
	gone := listen(t)
	gone.Close()
	const unknown, not = "It is not known whether the request was carried out", "The request was not carried out"
	for name, test := range map[string]struct{ url, want string }{
		"no connection":    {"http://" + gone.Addr().String(), not},
		"status 099":       {startRaw(t, answering("HTTP/1.1 099 What\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")).url, unknown},
		"status 999":       {startRaw(t, answering("HTTP/1.1 999 What\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")).url, unknown},
		"303":              {startRaw(t, answering("HTTP/1.1 303 See Other\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")).url, unknown},
		"408 as HTML":      {startRaw(t, answering("HTTP/1.1 408 Request Timeout\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n")).url, unknown},
		"no response":      {startRaw(t, answering("")).url, unknown},
		"no challenge":     {sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultReset, BeforeAuthentication: true}}}).URL(), not},
		"a slow challenge": {sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Second), BeforeAuthentication: true}}}).URL(), not},
	} {
		timeout := "20s"
		if name == "a slow challenge" {
			timeout = "100ms"
		}
		g := start(t, test.url, "public", privateKey, "timeouts: {upstream: "+timeout+"}")
		header := map[string]string{"Accept": latest, "Content-Type": "application/json"}
		got := send(t, "POST", g.url+v2Exports, header, export)
		if got.status < 502 || !strings.Contains(got.body, test.want) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got := send(t, "GET", g.url+v2Exports, header, ""); strings.Contains(got.body, "carried out") && name != "no connection" {
			t.Errorf("%s: of a GET: %s", name, got.body)
		}
	}
}

// A group that the key may not use does not make the key bad for the others, even where
// Atlas names the reason in the body alone.
func TestNotInGroupCondemnsNoKey(t *testing.T) {
	const other = "64f0c1a2b3d4e5f6071829ff"
	upstream := startRaw(t, func(conn net.Conn, r *http.Request) {
		if strings.Contains(r.URL.Path, other) {
			io.WriteString(conn, jsonAnswer(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+challenge))
			return
		}
		io.WriteString(conn, jsonAnswer(200, job))
	})
	g := start(t, upstream.url, "public", privateKey)
	for range 5 {
		if got := send(t, "GET", g.url+strings.Replace(v2Exports, group, other, 1), map[string]string{"Accept": latest}, ""); got.status != 502 {
			t.Errorf("another group: %d %s", got.status, got.body)
		}
	}
	if n := upstream.signed.Load(); n != 5 {
		t.Errorf("%d signed requests for 5", n)
	}
	if got := send(t, "GET", g.url+v2Exports+"/"+jobID, map[string]string{"Accept": latest}, ""); got.status != 200 {
		t.Errorf("the group: %d %s", got.status, got.body)
	}
}

// Too many values are refused, whatever they are, and no error is long.
func TestManyValues(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := start(t, upstream.url, "public", privateKey)
	header := map[string]string{"Accept": latest, "Content-Type": "application/json"}
	for name, body := range map[string]string{
		"50,000 custom data": export[:len(export)-1] + `,"customData":[` + strings.Repeat("{},", 50_000) + `{}]}`,
		"a long name":        `{"` + strings.Repeat("\u2028", 80_000) + `":{`,
		"a long number":      `{"snapshotId":1` + strings.Repeat("0", 250_000) + `}`,
		"20 long texts":      `{"snapshotId":"` + strings.Repeat("\u2028", 80_000) + `"}`,
	} {
		got := send(t, "POST", g.url+v2Exports, header, body)
		if got.status != 400 || len(got.body) > 16<<10 {
			t.Errorf("%s: %d, %d bytes: %.200s", name, got.status, len(got.body), got.body)
		}
	}
	if n := upstream.total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests", n)
	}
}

// A create that meets no listener, with a nonce at hand, was not carried out.
func TestOutcomeOfACreateWithoutConnection(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, job)))
	g := start(t, upstream.url, "public", privateKey)
	header := map[string]string{"Accept": latest, "Content-Type": "application/json"}
	if got := send(t, "GET", g.url+v2Exports+"/"+jobID, header, ""); got.status != 200 {
		t.Fatal(got)
	}
	upstream.close()
	got := send(t, "POST", g.url+v2Exports, header, export)
	if got.status != 502 || !strings.Contains(got.body, "The request was not carried out.") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// More connections than limits.connections wait for one to end.
func TestConnectionsAreBounded(t *testing.T) {
	g := start(t, "http://127.0.0.1:9", "public", privateKey, "limits: {connections: 1}")
	first, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(first, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := bufio.NewReader(first).ReadByte(); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	fmt.Fprintf(second, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("the second connection was served %d bytes beside the first", n)
	}
	first.Close()
	second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err != nil {
		t.Errorf("the second connection was not served after the first: %v", err)
	}
}
