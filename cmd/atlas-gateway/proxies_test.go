package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// throughProxy starts a gateway that reaches Atlas through a proxy, with an API key or a service
// account, and with a password for the proxy.
func throughProxy(t *testing.T, atlas *sim.Server, proxy string, account bool, authorities string, environ ...string) *process {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	credential := "{public_key_env: PUBLIC, private_key_env: PRIVATE}"
	if account {
		credential = "{client_id_env: ID, client_secret_env: SECRET}"
	}
	if strings.HasPrefix(proxy, "https:") {
		proxy += "\n  proxy_ca_file: " + file("ca.pem", authorities)
	}
	return serveProcess(t, "upstream:\n  base_url: "+atlas.URL()+"\n  ca_file: "+file("ca.pem", authorities)+
		"\n  proxy_url: "+proxy+"\n  proxy_user_file: "+file("user", "gateway\n")+"\n  proxy_password_file: "+file("password", "c4na7y-password\n")+
		"\n  credentials: ["+credential+"]\n",
		append(environ, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "ID="+sim.ClientID, "SECRET="+sim.ClientSecret)...)
}

// Reads and creates go through the proxy of upstream.proxy_url, and so do requests for tokens. The
// proxy learns Atlas's host and nothing else.
func TestOutboundProxy(t *testing.T) {
	t.Parallel()
	authority := gatewaytest.NewAuthority(t)
	certificate := &authority.Loopback(t).Certificate
	for name, test := range map[string]struct {
		account bool
		proxy   *tls.Certificate
	}{
		"an API key":                            {false, nil},
		"a service account, TLS with the proxy": {true, certificate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atlas := sim.Start(t, sim.Config{TLS: certificate})
			proxy := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{TLS: test.proxy, User: "gateway", Password: "c4na7y-password"})
			p := throughProxy(t, atlas, proxy.URL, test.account, authority.PEM)
			for _, request := range []string{aGet, aPost, aGet} {
				if got := p.send(t, request); len(got) != 1 || got[0].Status != 200 {
					t.Errorf("%v", got)
				}
			}
			p.stop(t)
			counts := atlas.Counts()
			if n := proxy.Tunnels.Load(); n == 0 || n != int64(counts.Connections) || counts.Requests < 3 || test.account != (counts.ByOperation["token"] == 1) {
				t.Errorf("%d tunnels, %+v", n, counts)
			}
			want := "CONNECT " + strings.TrimPrefix(atlas.URL(), "https://") + " gateway\n"
			if asked := proxy.Asked.String(); asked != strings.Repeat(want, strings.Count(asked, "\n")) {
				t.Errorf("the proxy was asked\n%s", asked)
			}
			if carried := proxy.Carried.String(); carried == "" || strings.Contains(carried, "HTTP/1.1") || strings.Contains(carried, "/api/") {
				t.Errorf("the proxy saw %q", carried)
			}
			if log := p.stderr.String(); strings.Contains(log, "c4na7y") {
				t.Errorf("the password is in the log: %s", log)
			}
		})
	}
}

// A badProxy is a proxy that makes no tunnel, or a wrong one, and what comes of it: the kind of the
// refusal, and what the log says.
type badProxy struct {
	answer func(net.Conn, *http.Request)
	kind   string
	log    string
}

// badProxies has another certificate for a proxy that opens TLS.
func badProxies(other tls.Certificate) map[string]badProxy {
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	// says answers with bytes, in which ECHO stands for the user information that came.
	says := func(bytes string) func(net.Conn, *http.Request) {
		return func(c net.Conn, r *http.Request) {
			io.WriteString(c, strings.ReplaceAll(bytes, "ECHO", r.Header.Get("Proxy-Authorization")))
			io.Copy(io.Discard, c)
		}
	}
	const wantsPassword = "HTTP/1.1 407 ECHO\r\nProxy-Authenticate: Basic realm=\"ECHO\"\r\nContent-Length: 6\r\n\r\nc4na7y"
	return map[string]badProxy{
		"wants another password":    {says(wantsPassword), "upstream_unreachable", "the proxy refuses CONNECT: it answers 407"},
		"refuses a service account": {says(wantsPassword), "upstream_unsigned", "the proxy refuses CONNECT: it answers 407"},
		"refuses the host":          {says("HTTP/1.1 403 ECHO\r\nGateway-Outcome: answered\r\nContent-Length: 6\r\n\r\nc4na7y"), "upstream_unreachable", "the proxy refuses CONNECT: it answers 403"},
		"answers 401":               {says("HTTP/1.1 401 ECHO\r\nWWW-Authenticate: " + gatewaytest.Challenge + "\r\n\r\n"), "upstream_unreachable", "it answers 401"},
		"ends the connection":       {func(net.Conn, *http.Request) {}, "upstream_unreachable", "ended the connection before it answered CONNECT"},
		"speaks no HTTP":            {says("SSH-2.0-ECHO\r\n\r\n"), "upstream_unreachable", "its answer to CONNECT is not HTTP"},
		"has a broken header":       {says("HTTP/1.1 200 OK\r\nECHO\r\n\r\n"), "upstream_unreachable", "its answer to CONNECT is not HTTP"},
		"has a huge header":         {says("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: ECHO\r\n", 4000)), "upstream_unreachable", "has more than 16384 bytes"},
		"says more than it should":  {says(established + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "upstream_unreachable", "goes on behind the header"},
		"speaks HTTP in the tunnel": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, established)
			c.Read(make([]byte, 100))
			io.WriteString(c, gatewaytest.JSON(200, list))
		}, "upstream_unreachable", "TLS through the proxy: tls: first record does not look like a TLS handshake"},
		"reads what is in the tunnel": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, established)
			opened := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{other}})
			if _, err := http.ReadRequest(bufio.NewReader(opened)); err == nil {
				io.WriteString(opened, gatewaytest.LastJSON(200, list))
			}
		}, "upstream_unreachable", "TLS through the proxy: tls: failed to verify certificate"},
		"hangs":                 {says(""), "upstream_timeout", "the proxy: it did not answer CONNECT in time"},
		"hangs once it is open": {says(established), "upstream_timeout", "TLS through the proxy: context deadline exceeded"},
	}
}

// findsBad sends a create and a list, and holds what comes back and the log against what a bad proxy
// has to lead to.
func (p *process) findsBad(t *testing.T, name string, bad badProxy) {
	t.Helper()
	before := p.stderr.Len()
	for what, request := range map[string]string{"a create": aPost, "a list": aGet} {
		if bad.kind == "upstream_unsigned" && what == "a list" {
			continue // no token is asked for so soon again
		}
		got := p.send(t, request)
		if bad.kind == "upstream_timeout" {
			if len(got) != 1 || got[0].Status != 504 || got[0].Header.Get("Gateway-Error") != bad.kind {
				t.Errorf("%s, %s: %v", name, what, got)
			}
		} else {
			refuses(t, name+", "+what, got, bad.kind)
		}
		if len(got) == 1 && what == "a create" && got[0].Header.Get("Gateway-Outcome") != "not_sent" {
			t.Errorf("%s: the outcome is %s", name, got[0].Header.Get("Gateway-Outcome"))
		}
	}
	gatewaytest.WaitFor(t, "the log to say what a proxy does that "+name, func() bool {
		return strings.Contains(p.stderr.String()[before:], bad.log)
	})
}

// Row 54: a proxy that lies, refuses or hangs gets neither request nor credential, the caller is
// told that the request was not carried out, and the log says what the proxy did.
func TestBadProxies(t *testing.T) {
	t.Parallel()
	authority, others := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	certificate, other := authority.Loopback(t).Certificate, others.Loopback(t).Certificate
	atlas := sim.Start(t, sim.Config{TLS: &certificate})
	// One gateway has all proxies of a kind, one after the other: each request makes a connection.
	for _, kind := range []string{"upstream_unreachable", "upstream_unsigned", "upstream_timeout"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var answer atomic.Pointer[badProxy]
			proxy := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{Answer: func(c net.Conn, r *http.Request) { answer.Load().answer(c, r) }})
			var environ []string
			if kind == "upstream_timeout" {
				environ = append(environ, "ATLAS_GATEWAY_TIMEOUTS_UPSTREAM=300ms")
			}
			p := throughProxy(t, atlas, proxy.URL, kind == "upstream_unsigned", authority.PEM, environ...)
			for name, bad := range badProxies(other) {
				if bad.kind == kind {
					answer.Store(&bad)
					p.findsBad(t, name, bad)
				}
			}
			p.stop(t)
			if log := p.stderr.String(); strings.Contains(log, "c4na7y") || strings.Contains(log, "Basic") {
				t.Errorf("the log has a secret:\n%s", log)
			}
		})
	}
	t.Cleanup(func() {
		if n := atlas.Counts(); n.Requests > 0 || n.Connections > 0 {
			t.Errorf("Atlas got %d requests on %d connections", n.Requests, n.Connections)
		}
	})
	t.Run("is not there", func(t *testing.T) {
		p := throughProxy(t, sim.Start(t, sim.Config{TLS: &certificate}), "http://"+gatewaytest.Refused(t), false, authority.PEM)
		refuses(t, "a create", p.send(t, aPost), "upstream_unreachable")
		p.stop(t)
		if log := p.stderr.String(); !strings.Contains(log, "the proxy: it can't be reached: dial tcp 127.0.0.1") {
			t.Errorf("the log is\n%s", log)
		}
	})
}
