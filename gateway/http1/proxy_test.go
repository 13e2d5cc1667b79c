package http1_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
)

// Requests go through the proxy in tunnels, which are used again, whatever TLS there is on either
// part of the way.
func TestProxy(t *testing.T) {
	serverTLS, serverRoots := certificate(t)
	proxyTLS, proxyRoots := certificate(t)
	for name, test := range map[string]struct {
		server *tls.Config
		proxy  *tls.Certificate
	}{
		"no TLS":             {nil, nil},
		"TLS with the proxy": {nil, &proxyTLS.Certificates[0]},
		"TLS with Atlas":     {serverTLS, nil},
		"TLS with both":      {serverTLS, &proxyTLS.Certificates[0]},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, test.server, func(c net.Conn, r *http.Request, number int) bool {
				return says(ok)(c, r, number) && number < 3
			})
			p := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{TLS: test.proxy, User: "gateway", Password: "c4na7y-password"})
			tr := transport(t, s.url, func(c *http1.Config) {
				c.MaxConnections = 1
				c.TLS = &tls.Config{RootCAs: serverRoots}
				c.Proxy = &http1.Proxy{Origin: p.URL, TLS: &tls.Config{RootCAs: proxyRoots}, User: "gateway", Password: secret.New("c4na7y-password")}
			})
			// Each tunnel takes three requests, and is not used after its server has ended it.
			for range 9 {
				if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
					t.Fatalf("%q %v", got, err)
				}
			}
			if tunnels, connections := p.Tunnels.Load(), s.connections.Load(); tunnels != 3 || connections != 3 {
				t.Errorf("%d tunnels, %d connections", tunnels, connections)
			}
			host := s.url[strings.LastIndexByte(s.url, '/')+1:]
			if want := strings.Repeat("CONNECT "+host+" gateway\n", 3); p.Asked.String() != want {
				t.Errorf("the proxy was asked\n%s", &p.Asked)
			}
			if carried := p.Carried.String(); strings.Contains(carried, "GET ") != (test.server == nil) {
				t.Errorf("the proxy saw %q", carried)
			}
		})
	}
}

// A noTunnel is how a proxy answers CONNECT in the place of a tunnel, and the error. Its status is
// that of the ProxyError; -1 means that the error is of TLS in the tunnel.
type noTunnel struct {
	answer func(net.Conn, *http.Request)
	status int
	want   string
}

// noTunnels are proxies that make no tunnel. In their answers, CANARY stands for the user information
// that came.
func noTunnels(other tls.Certificate) map[string]noTunnel {
	says := func(bytes string) func(net.Conn, *http.Request) {
		return func(c net.Conn, r *http.Request) {
			io.WriteString(c, strings.ReplaceAll(bytes, "CANARY", r.Header.Get("Proxy-Authorization")))
			io.Copy(io.Discard, c)
		}
	}
	const established = "HTTP/1.1 200 Connection established\r\n\r\n"
	return map[string]noTunnel{
		"403":                   {says("HTTP/1.1 403 CANARY\r\n\r\n"), 403, "the proxy refuses CONNECT: it answers 403"},
		"407":                   {says("HTTP/1.1 407 CANARY\r\nProxy-Authenticate: Basic realm=\"CANARY\"\r\n\r\n"), 407, "it does not accept the user and password"},
		"101":                   {says("HTTP/1.1 101 CANARY\r\n\r\n"), 101, "it answers 101"},
		"302":                   {says("HTTP/1.1 302 Found\r\nLocation: http://CANARY/\r\n\r\n"), 302, "it answers 302"},
		"an end":                {func(net.Conn, *http.Request) {}, 0, "it ended the connection before it answered CONNECT"},
		"half an answer":        {func(c net.Conn, _ *http.Request) { io.WriteString(c, "HTTP/1.1 200 ") }, 0, "it ended the connection before it answered CONNECT"},
		"nothing":               {says(""), 0, "it did not answer CONNECT in time"},
		"interim only":          {says("HTTP/1.1 100 Continue\r\n\r\n"), 0, "it did not answer CONNECT in time"},
		"no HTTP":               {says("SSH-2.0-CANARY\r\n\r\n"), 0, "its answer to CONNECT is not HTTP"},
		"a broken field":        {says("HTTP/1.1 200 OK\r\nCANARY\r\n\r\n"), 0, "its answer to CONNECT is not HTTP"},
		"a huge header":         {says("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("CANARY", 4000)), 0, "its answer to CONNECT has more than 16384 bytes"},
		"fields without end":    {says("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: CANARY\r\n", 4000)), 0, "its answer to CONNECT has more than 16384 bytes"},
		"interim without end":   {says(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 4000)), 0, "its answer to CONNECT has more than 16384 bytes"},
		"more than an answer":   {says(established + "CANARY"), 0, "goes on behind the header"},
		"silence in the tunnel": {says(established), -1, "TLS through the proxy: context deadline exceeded"},
		"an end of the tunnel":  {func(c net.Conn, _ *http.Request) { io.WriteString(c, established) }, -1, "TLS through the proxy: "},
		"another protocol": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, established)
			io.ReadFull(c, make([]byte, 10))
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, -1, "TLS through the proxy: tls: first record does not look like a TLS handshake"},
		"another certificate": {func(c net.Conn, _ *http.Request) {
			io.WriteString(c, established)
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{other}}).Handshake()
		}, -1, "TLS through the proxy: tls: failed to verify certificate"},
	}
}

// A proxy that makes no tunnel is an error that says why and quotes nothing, and that tells that no
// connection was made.
func TestProxyMakesNoTunnel(t *testing.T) {
	serverTLS, roots := certificate(t)
	other := gatewaytest.NewAuthority(t).Loopback(t) // of an authority that is not trusted
	s := serve(t, serverTLS, says(ok))
	for name, test := range noTunnels(other.Certificate) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{Answer: test.answer})
			tr := transport(t, s.url, func(c *http1.Config) {
				c.TLS = &tls.Config{RootCAs: roots}
				c.Proxy = &http1.Proxy{Origin: p.URL, User: "gateway", Password: secret.New("c4na7y-password")}
				if strings.Contains(test.want, "in time") || strings.Contains(test.want, "deadline") {
					c.DialTimeout = 200 * time.Millisecond
				}
			})
			got, err := send(t, tr, "POST", s.url, "x")
			var dial *net.OpError
			if err == nil || !errors.As(err, &dial) || dial.Op != "dial" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, %v", got, err)
			}
			var failed *http1.ProxyError
			if errors.As(err, &failed) != (test.status >= 0) || failed != nil && failed.Status != test.status {
				t.Errorf("%#v", failed)
			}
			for _, secret := range []string{"c4na7y", "Basic", "Z2F0ZXdheTpjNG5hN3ktcGFzc3dvcmQ"} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error has a secret: %v", err)
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := s.requests.Load(); n > 0 {
			t.Errorf("the server got %d requests", n)
		}
	})
}

// A proxy that can't be reached, or whose certificate is not trusted, gets nothing.
func TestProxyIsNotReached(t *testing.T) {
	proxyTLS, _ := certificate(t)
	p := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{TLS: &proxyTLS.Certificates[0]})
	for url, want := range map[string]string{
		"http://" + gatewaytest.Refused(t): "the proxy: it can't be reached: dial tcp 127.0.0.1",
		p.URL:                              "the proxy: TLS with it: tls: failed to verify certificate",
	} {
		tr := transport(t, "https://atlas.invalid", func(c *http1.Config) { c.Proxy = &http1.Proxy{Origin: url} })
		var failed *http1.ProxyError
		if _, err := send(t, tr, "GET", "https://atlas.invalid", ""); !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if p.Asked.Len() > 0 {
		t.Errorf("the proxy was asked %s", &p.Asked)
	}
	if _, err := http1.NewTransport(http1.Config{Origin: "https://atlas.invalid", Proxy: &http1.Proxy{Origin: "http://user:c4na7y@proxy"}}); err == nil || strings.Contains(err.Error(), "c4na7y") {
		t.Error(err)
	}
}
