package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// The addresses of a proxy that is trusted, and of a peer that is not; and a client that a caller may
// call from, and one that nobody may call from.
const (
	trusted, stranger = "127.0.0.2", "127.0.0.3"
	near, far         = "203.0.113.7", "192.0.2.1"
)

// A behind is a gateway behind proxies, with one caller, who may call only from the network of near.
type behind struct {
	*process
	atlas  *sim.Server
	caller *gatewaytest.Caller
	audit  string // the file
}

// serveBehind starts the program.
func serveBehind(t *testing.T, how string, environ ...string) *behind {
	t.Helper()
	b := newBehind(t, how, environ...)
	b.start(t, b.command.Start)
	return b
}

// newBehind is serveBehind without the start.
func newBehind(t *testing.T, how string, environ ...string) *behind {
	t.Helper()
	b := &behind{atlas: sim.Start(t, sim.Config{}), audit: filepath.Join(t.TempDir(), "audit.jsonl")}
	b.caller = gatewaytest.Issue(t, "nightly", allGrants).Change(t, callers.Validity{}, func(e *callers.Entry) {
		e.SourceNetworks = []string{"203.0.113.0/24"}
	})
	p := newProcessFor(t, b.atlas.URL(), "callers:\n  list:\n"+b.caller.YAML+fmt.Sprintf("audit: {file: %q}\n", b.audit), environ...)
	gatewaytest.ReplaceFile(t, p.file, strings.Replace(readFile(t, p.file), `{address: "127.0.0.1:0"}`,
		`{address: "127.0.0.1:0", client_address: `+how+`, trusted_proxies: [`+trusted+`/32, 198.51.100.0/24]}`, 1))
	b.process = p
	return b
}

// address is where callers reach the gateway.
func (p *process) address() string { return p.Listener[strings.LastIndexByte(p.Listener, '/')+1:] }

// dialFrom connects to the gateway from an address.
func (p *process) dialFrom(from string) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	return dialer.Dial("tcp", p.address())
}

// sendFrom is send from an address.
func (p *process) sendFrom(t *testing.T, from, bytes string) []gatewaytest.Response {
	t.Helper()
	conn, err := p.dialFrom(from)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, bytes)
	return receive(t, conn, bytes)
}

// A located is what the log tells of where a request came from, without the port of a peer.
type located struct {
	Status                int
	Remote, Proxy, Reason string
}

// located returns what the log tells of an answer.
func (p *process) located(t *testing.T, header http.Header) (record located) {
	t.Helper()
	gatewaytest.WaitFor(t, "the record", func() bool {
		_, line, _ := strings.Cut(p.stderr.String(), `"id":"`+header.Get("Gateway-Request-Id")+`",`)
		line, _, whole := strings.Cut(line, "\n")
		return whole && json.Unmarshal([]byte("{"+line), &record) == nil
	})
	for _, address := range []*string{&record.Remote, &record.Proxy} {
		if host, port, err := net.SplitHostPort(*address); err == nil && strings.HasPrefix(host, "127.") && port != "0" {
			*address = host
		}
	}
	return record
}

// Row 120: only what trusted proxies add to a field says who the client is, whatever the client has
// put before it. Whoever is believed decides for every use of the address.
func TestClientByField(t *testing.T) {
	t.Parallel()
	good := located{200, near, trusted, ""}
	refused := func(remote, proxy string) located { return located{401, remote, proxy, "source_network"} }
	malformed := located{400, trusted, "", ""}
	type field struct {
		from  string
		lines []string // of the header
		want  located
	}
	for how, tests := range map[string][]field{
		"x_forwarded_for": {
			{trusted, []string{"X-Forwarded-For: " + near}, good},
			{trusted, []string{"X-Forwarded-For: " + far + ", " + near + ", 198.51.100.1"}, good},
			{trusted, []string{"X-Forwarded-For: " + far}, refused(far, trusted)},
			{trusted, []string{"X-Forwarded-For: " + near + ", " + far}, refused(far, trusted)},
			{trusted, []string{"X-Forwarded-For: " + near, "x-forwarded-for: " + far}, refused(far, trusted)},
			{trusted, []string{"X-Forwarded-For: " + near + ", unknown"}, refused(trusted, "")},
			{trusted, []string{"X-Forwarded-For: " + near + ", "}, good},
			{trusted, []string{"X-Forwarded-For: " + near + ", x"}, malformed},
			{trusted, []string{"X-Forwarded-For: " + strings.Repeat(near+",", 33)}, malformed},
			{trusted, []string{"Forwarded: for=" + near, "X-Real-IP: " + near}, malformed},
			{trusted, nil, malformed},
			{stranger, []string{"X-Forwarded-For: " + near}, refused(stranger, "")},
			{stranger, []string{"X-Forwarded-For: " + near + ", " + trusted}, refused(stranger, "")},
			{stranger, []string{"X-Forwarded-For: x"}, refused(stranger, "")},
			{stranger, nil, refused(stranger, "")},
		},
		"forwarded": {
			{trusted, []string{"Forwarded: for=" + near}, good},
			{trusted, []string{`Forwarded: for=` + far + `, for="` + near + `";proto=https, for=198.51.100.1`}, good},
			{trusted, []string{"Forwarded: for=" + near + ", for=" + far}, refused(far, trusted)},
			{trusted, []string{"Forwarded: for=" + near, "Forwarded: for=" + far}, refused(far, trusted)},
			{trusted, []string{"Forwarded: for=" + near + ", for=_hidden"}, refused(trusted, "")},
			{trusted, []string{"Forwarded: for=" + near + `;by=", for=` + far}, malformed},
			{trusted, []string{"Forwarded: for=" + near + `;by="`, `Forwarded: for="` + far + `"`}, malformed},
			{trusted, []string{"X-Forwarded-For: " + near}, malformed},
			{stranger, []string{"Forwarded: for=" + near}, refused(stranger, "")},
		},
	} {
		t.Run(how, func(t *testing.T) {
			b := serveBehind(t, how)
			for _, test := range tests {
				sent := b.atlas.Counts().Requests
				for what, bytes := range map[string]string{
					"a list":  request("GET "+buckets, "", append(test.lines, accept, "Authorization: "+b.caller.Bearer())...),
					"a token": request("POST /api/oauth/token", "grant_type=client_credentials", append(test.lines, "Content-Type: application/x-www-form-urlencoded", "Authorization: "+gatewaytest.Basic(b.caller.Account.ID, b.caller.Account.Secret.Reveal()))...),
				} {
					got := b.sendFrom(t, test.from, bytes)
					if len(got) != 1 {
						t.Fatalf("%s of %s with %q: %v", what, test.from, test.lines, got)
					}
					if record := b.located(t, got[0].Header); record != test.want || record.Status != got[0].Status {
						t.Errorf("%s of %s with %q: %+v, want %+v: %s", what, test.from, test.lines, record, test.want, got[0].Body)
					}
					if kind := got[0].Header.Get("Gateway-Error"); (kind == "invalid_request") != (test.want == malformed) {
						t.Errorf("%s of %s with %q: %s %s", what, test.from, test.lines, kind, got[0].Body)
					}
				}
				if n := b.atlas.Counts().Requests; n != sent && test.want != good {
					t.Errorf("%s with %q: Atlas received %d requests", test.from, test.lines, n-sent)
				}
			}
			b.stop(t)
		})
	}
}

// Without the settings, no field and no preamble says anything.
func TestNobodyIsTrusted(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	caller := gatewaytest.Issue(t, "nightly", allGrants).Change(t, callers.Validity{}, func(e *callers.Entry) { e.SourceNetworks = []string{near + "/32"} })
	p := serveFor(t, atlas.URL(), "callers:\n  list:\n"+caller.YAML)
	get := request("GET "+buckets, "", accept, "Authorization: "+caller.Bearer(), "X-Forwarded-For: "+near, "Forwarded: for="+near, "X-Real-IP: "+near)
	got := p.sendFrom(t, trusted, get)
	if want := (located{401, trusted, "", "source_network"}); len(got) != 1 || p.located(t, got[0].Header) != want {
		t.Errorf("%v", got)
	}
	for _, preamble := range []string{"PROXY TCP4 " + near + " 127.0.0.1 1 2\r\n", preamble2(near)} {
		if got := p.sendFrom(t, trusted, preamble+get); len(got) != 1 || got[0].Status != 400 {
			t.Errorf("with %q: %v", preamble, got)
		}
	}
	untouched(t, atlas, "claims of nobody")
	p.stop(t)
}

// preamble2 is a preamble of version 2 for a client's address of IPv4.
func preamble2(client string) string {
	return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string(net.ParseIP(client).To4()) + "\x7f\x00\x00\x01\xc8\x98\x20\xfb"
}

// over returns a client whose connections come from an address and begin with a preamble.
func (b *behind) over(t *testing.T, from, preamble string, version2 bool, config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: version2, DialContext: func(context.Context, string, string) (net.Conn, error) {
		conn, err := b.dialFrom(from)
		if err == nil {
			_, err = io.WriteString(conn, preamble)
		}
		return conn, err
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// Row 121: the preamble of a trusted proxy says who the client is, over TLS with a client certificate
// as well. What is none ends the connection, and so does one of anybody else's.
func TestClientByPreamble(t *testing.T) {
	t.Parallel()
	own, clients := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	caFile := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "clients.pem"), clients.PEM)
	plain := serveBehind(t, "proxy_protocol")
	secure := serveBehind(t, "proxy_protocol", append(own.Loopback(t).Environ(t), "ATLAS_GATEWAY_LISTENER_CLIENT_CA_FILE="+caFile, "ATLAS_GATEWAY_LISTENER_CLIENT_CERTIFICATES=required")...)
	config := &tls.Config{RootCAs: own.Pool, Certificates: []tls.Certificate{clients.Workload(t, workload).Certificate}}
	line := func(client string) string { return "PROXY TCP4 " + client + " 127.0.0.1 51352 8443\r\n" }
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for name, test := range map[string]struct {
		from, preamble string
		want           located // zero where there is no answer
	}{
		"version 1":                     {trusted, line(near), located{200, near + ":51352", trusted, ""}},
		"version 2":                     {trusted, preamble2(near), located{200, near + ":51352", trusted, ""}},
		"version 1, from elsewhere":     {trusted, line(far), located{401, far + ":51352", trusted, "source_network"}},
		"version 2, from elsewhere":     {trusted, preamble2(far), located{401, far + ":51352", trusted, "source_network"}},
		"unknown":                       {trusted, "PROXY UNKNOWN " + near + " 127.0.0.1 1 2\r\n", located{401, trusted, "", "source_network"}},
		"the proxy's own":               {trusted, local, located{401, trusted, "", "source_network"}},
		"none":                          {trusted, "", located{}},
		"two":                           {trusted, line(far) + line(near), located{}},
		"too long":                      {trusted, "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", located{}},
		"garbage":                       {trusted, strings.Repeat("\x00", 20), located{}},
		"of a peer that is not trusted": {stranger, line(near), located{}},
		"of a stranger, version 2":      {stranger, preamble2(near), located{}},
		"a peer that is not trusted":    {stranger, "", located{401, stranger, "", "source_network"}},
	} {
		for protocol, b := range map[string]*behind{"HTTP/1.1": plain, "HTTP/1.1 and TLS": secure, "HTTP/2": secure} {
			sent := b.atlas.Counts().Requests
			url := "http://" + b.address()
			if b == secure {
				url = "https://" + b.address()
			}
			client := b.over(t, test.from, test.preamble, protocol == "HTTP/2", config.Clone())
			request, _ := http.NewRequest("GET", url+buckets, nil)
			request.Header = http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "Authorization": {b.caller.Bearer()}, "X-Forwarded-For": {near}, "Forwarded": {"for=" + near}}
			response, err := client.Do(request)
			if err != nil || response.StatusCode == 400 && response.Header.Get("Gateway-Request-Id") == "" {
				if test.want.Status != 0 || err == nil && (b == secure || test.from == trusted && name != "two") {
					t.Errorf("%s, %s: %v %v", name, protocol, response, err)
				}
			} else if record := b.located(t, response.Header); record != test.want {
				t.Errorf("%s, %s: %+v, want %+v", name, protocol, record, test.want)
			} else if is2 := response.ProtoMajor == 2; is2 != (protocol == "HTTP/2") {
				t.Errorf("%s is %s", protocol, response.Proto)
			}
			if err == nil {
				response.Body.Close()
			}
			if n := b.atlas.Counts().Requests; n != sent && test.want.Status != 200 {
				t.Errorf("%s, %s: Atlas received %d requests", name, protocol, n-sent)
			}
		}
	}
	for _, b := range []*behind{plain, secure} {
		if got, want := metric(t, b.process, "atlas_gateway_preambles_refused_total"), map[*behind]int{plain: 3, secure: 6}[b]; got != want {
			t.Errorf("%d connections were refused, not %d", got, want)
		}
		b.stop(t)
		if log := b.stderr.String(); !strings.Contains(log, `no preamble of the PROXY protocol"}`) || strings.Contains(log, "TLS handshake error from "+trusted+":") {
			t.Errorf("the log: %s", log)
		}
	}
}

// The audit stream tells the client and the proxy, as the log does.
func TestClientIsAudited(t *testing.T) {
	t.Parallel()
	b := serveBehind(t, "proxy_protocol")
	got := b.sendFrom(t, trusted, preamble2(near)+request("POST "+buckets, bucket, accept, isJSON, "Authorization: "+b.caller.Bearer()))
	if len(got) != 1 || got[0].Status != 200 {
		t.Fatalf("%v", got)
	}
	b.stop(t)
	seen := 0
	for line := range strings.Lines(readFile(t, b.audit)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Event == audit.Configuration {
			continue
		}
		seen++
		if r.Remote != near+":51352" || !strings.HasPrefix(r.Proxy, trusted+":") {
			t.Errorf("%s", line)
		}
	}
	if seen != 2 {
		t.Errorf("%d records", seen)
	}
}

// Row 122: connections whose preambles never end, and those of one client who floods the gateway
// through a proxy, keep nobody out who comes through the same proxy.
func TestSlowPreambles(t *testing.T) {
	t.Parallel()
	for name, preamble := range map[string]string{
		"nothing":                     "",
		"half of version 1":           "PROXY TCP4 " + far + " 127.",
		"half of version 2":           preamble2(far)[:20],
		"one client, and no request":  preamble2(far),
		"one client, half a request":  preamble2(far) + "GET " + buckets + " HTTP/1.1\r\n",
		"one client, without its key": preamble2(far) + "GET " + buckets + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveBehind(t, "proxy_protocol", fmt.Sprintf("ATLAS_GATEWAY_LIMITS_CONNECTIONS=%d", places), "ATLAS_GATEWAY_TIMEOUTS_HEADER=2s", "ATLAS_GATEWAY_TIMEOUTS_IDLE=2s")
			var slow sync.WaitGroup
			for range peers {
				conn, err := b.dialFrom(trusted)
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(conn, preamble)
				slow.Go(func() {
					defer conn.Close()
					conn.SetReadDeadline(time.Now().Add(20 * time.Second))
					if answer, err := io.ReadAll(conn); strings.Contains(fmt.Sprint(err), "timeout") || len(answer) > 0 && !strings.HasSuffix(preamble, "\r\n\r\n") {
						t.Errorf("it is held: %.100q, %v", answer, err)
					}
				})
			}
			began := time.Now()
			for range 10 {
				got := b.sendFrom(t, trusted, preamble2(near)+request("GET "+buckets, "", accept, "Authorization: "+b.caller.Bearer()))
				if len(got) != 1 || got[0].Status != 200 {
					t.Fatalf("an honest caller: %v", got)
				}
			}
			if took := time.Since(began); took > longestWait {
				t.Errorf("honest callers waited for %s", took)
			}
			slow.Wait()
			b.stop(t)
			origin := trusted
			if strings.HasPrefix(name, "one client") {
				origin = far
			}
			if !strings.Contains(b.stderr.String(), `"latest_origin":"`+origin+`/32"`) {
				t.Errorf("not %s was evicted", origin)
			}
		})
	}
}
