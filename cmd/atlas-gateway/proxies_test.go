package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
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
		"an API key":                                    {false, nil},
		"a service account":                             {true, nil},
		"an API key, TLS with the proxy":                {false, certificate},
		"a service account, TLS with the proxy as well": {true, certificate},
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
	proxy   gatewaytest.ProxyConfig
	account bool
	kind    string
	log     string
}

// badProxies has another certificate for a proxy that opens TLS.
func badProxies(other tls.Certificate) map[string]badProxy {
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	// says answers with bytes, in which ECHO stands for the user information that came.
	says := func(bytes string) gatewaytest.ProxyConfig {
		return gatewaytest.ProxyConfig{Answer: func(c net.Conn, r *http.Request) {
			io.WriteString(c, strings.ReplaceAll(bytes, "ECHO", r.Header.Get("Proxy-Authorization")))
			io.Copy(io.Discard, c)
		}}
	}
	return map[string]badProxy{
		"wants another password":    {gatewaytest.ProxyConfig{User: "gateway", Password: "c4na7y-other"}, false, "upstream_unreachable", "the proxy refuses CONNECT: it answers 407"},
		"refuses a service account": {gatewaytest.ProxyConfig{User: "gateway", Password: "c4na7y-other"}, true, "upstream_unsigned", "the proxy refuses CONNECT: it answers 407"},
		"refuses the host":          {says("HTTP/1.1 403 ECHO\r\nGateway-Outcome: answered\r\nContent-Length: 6\r\n\r\nc4na7y"), false, "upstream_unreachable", "the proxy refuses CONNECT: it answers 403"},
		"answers 401":               {says("HTTP/1.1 401 ECHO\r\nWWW-Authenticate: " + gatewaytest.Challenge + "\r\n\r\n"), false, "upstream_unreachable", "it answers 401"},
		"ends the connection":       {gatewaytest.ProxyConfig{Answer: func(net.Conn, *http.Request) {}}, false, "upstream_unreachable", "ended the connection before it answered CONNECT"},
		"speaks no HTTP":            {says("SSH-2.0-ECHO\r\n\r\n"), false, "upstream_unreachable", "its answer to CONNECT is not HTTP"},
		"has a broken header":       {says("HTTP/1.1 200 OK\r\nECHO\r\n\r\n"), false, "upstream_unreachable", "its answer to CONNECT is not HTTP"},
		"has a huge header":         {says("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: ECHO\r\n", 4000)), false, "upstream_unreachable", "has more than 16384 bytes"},
		"says more than it should":  {says(established + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), false, "upstream_unreachable", "goes on behind the header"},
		"speaks HTTP in the tunnel": {gatewaytest.ProxyConfig{Answer: func(c net.Conn, _ *http.Request) {
			io.WriteString(c, established)
			c.Read(make([]byte, 100))
			io.WriteString(c, gatewaytest.JSON(200, list))
		}}, false, "upstream_unreachable", "TLS through the proxy: tls: first record does not look like a TLS handshake"},
		"reads what is in the tunnel": {gatewaytest.ProxyConfig{Answer: func(c net.Conn, _ *http.Request) {
			io.WriteString(c, established)
			opened := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{other}})
			if _, err := http.ReadRequest(bufio.NewReader(opened)); err == nil {
				io.WriteString(opened, gatewaytest.LastJSON(200, list))
			}
		}}, false, "upstream_unreachable", "TLS through the proxy: tls: failed to verify certificate"},
		"hangs":                 {says(""), false, "upstream_timeout", "the proxy: it did not answer CONNECT in time"},
		"hangs once it is open": {says(established), false, "upstream_timeout", "TLS through the proxy: context deadline exceeded"},
	}
}

// Row 54: a proxy that lies, refuses or hangs gets neither request nor credential, the caller is
// told that the request was not carried out, and the log says what the proxy did.
func TestBadProxies(t *testing.T) {
	t.Parallel()
	authority, others := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	certificate, other := authority.Loopback(t).Certificate, others.Loopback(t).Certificate
	for name, test := range badProxies(other) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atlas := sim.Start(t, sim.Config{TLS: &certificate})
			var environ []string
			if test.kind == "upstream_timeout" {
				environ = append(environ, "ATLAS_GATEWAY_TIMEOUTS_UPSTREAM=300ms")
			}
			p := throughProxy(t, atlas, gatewaytest.StartProxy(t, test.proxy).URL, test.account, authority.PEM, environ...)
			for _, what := range []string{"a create", "a list"} {
				got := p.send(t, map[string]string{"a list": aGet, "a create": aPost}[what])
				if test.kind == "upstream_timeout" {
					if len(got) != 1 || got[0].Status != 504 || got[0].Header.Get("Gateway-Error") != test.kind {
						t.Errorf("%s: %v", what, got)
					}
				} else if !test.account || what == "a create" { // the other has a Retry-After
					refuses(t, what, got, test.kind)
				}
				if len(got) == 1 && what == "a create" && got[0].Header.Get("Gateway-Outcome") != "not_sent" {
					t.Errorf("%s: the outcome is %s", what, got[0].Header.Get("Gateway-Outcome"))
				}
			}
			p.stop(t)
			if n := atlas.Counts(); n.Requests > 0 || n.Connections > 0 {
				t.Errorf("Atlas got %d requests on %d connections", n.Requests, n.Connections)
			}
			log := p.stderr.String()
			if strings.Count(log, test.log) < 2 || strings.Contains(log, "c4na7y") || strings.Contains(log, "Basic") {
				t.Errorf("the log lacks %q, or has a secret:\n%s", test.log, log)
			}
		})
	}
	t.Run("is not there", func(t *testing.T) {
		p := throughProxy(t, sim.Start(t, sim.Config{TLS: &certificate}), "http://"+gatewaytest.Refused(t), false, authority.PEM)
		refuses(t, "a create", p.send(t, aPost), "upstream_unreachable")
		p.stop(t)
		if log := p.stderr.String(); !strings.Contains(log, "the proxy: it can't be reached: dial tcp 127.0.0.1") {
			t.Errorf("the log is\n%s", log)
		}
	})
}
