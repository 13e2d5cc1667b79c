package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// Behind a real haproxy, in each way in which it names clients, a caller is where its own connection
// comes from. What the caller claims changes nothing, and the checks of haproxy are no failures.
func TestBehindHAProxy(t *testing.T) {
	t.Parallel()
	needHAProxy(t)
	own, clients := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	caFile := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "clients.pem"), clients.PEM)
	secure := append(own.Loopback(t).Environ(t), "ATLAS_GATEWAY_LISTENER_CLIENT_CA_FILE="+caFile, "ATLAS_GATEWAY_LISTENER_CLIENT_CERTIFICATES=required")
	const from = "127.0.0.9"
	for name, test := range map[string]struct {
		how, settings, server string
		environ               []string
	}{
		"send-proxy":               {"proxy_protocol", "", "send-proxy check inter 20ms", nil},
		"send-proxy, with TLS":     {"proxy_protocol", "", "send-proxy check inter 20ms", secure},
		"send-proxy-v2":            {"proxy_protocol", "", "send-proxy-v2 check inter 20ms", nil},
		"send-proxy-v2, with TLS":  {"proxy_protocol", "", "send-proxy-v2 check inter 20ms", secure},
		"with an id, and with TLS": {"proxy_protocol", "", "send-proxy-v2 proxy-v2-options unique-id,crc32c", secure},
		"forwardfor":               {"x_forwarded_for", "  mode http\n  option forwardfor\n", "check inter 20ms", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveBehind(t, test.how, test.environ...)
			balancer := startHAProxy(t, test.settings+"  unique-id-format %ci\n  server gateway "+b.address()+" source "+trusted+" "+test.server+"\n")
			transport := &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: own.Pool, Certificates: []tls.Certificate{clients.Workload(t, workload).Certificate}},
				ForceAttemptHTTP2: true,
				DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}).DialContext,
			}
			defer transport.CloseIdleConnections()
			url := "http://" + balancer
			if test.environ != nil {
				url = "https://" + balancer
			}
			request, err := http.NewRequestWithContext(context.Background(), "GET", url+buckets, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "Authorization": {b.caller.Bearer()}, "X-Forwarded-For": {near}, "Forwarded": {"for=" + near}}
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			record := b.located(t, response.Header)
			if want := (located{401, from, trusted, "source_network"}); record != want || (response.ProtoMajor == 2) != (test.environ != nil) {
				t.Errorf("%s: %+v, want %+v", response.Proto, record, want)
			}
			if n := metric(t, b.process, "atlas_gateway_preambles_refused_total"); n != 0 {
				t.Errorf("%d preambles were refused", n)
			}
			b.stop(t)
		})
	}
}

// A socket that was passed takes preambles, too.
func TestPreambleOnAPassedSocket(t *testing.T) {
	t.Parallel()
	b := newBehind(t, "proxy_protocol")
	listener, management := gatewaytest.Listen(t).(*net.TCPListener), gatewaytest.Listen(t).(*net.TCPListener)
	passing(t, b.process, "listener:management", listener, management)
	b.start(t, b.command.Start)
	listener.Close()
	management.Close()
	got := b.sendFrom(t, trusted, preamble2(near)+request("GET "+buckets, "", accept, "Authorization: "+b.caller.Bearer()))
	if want := (located{200, near + ":51352", trusted, ""}); len(got) != 1 || b.located(t, got[0].Header) != want {
		t.Errorf("%v", got)
	}
	if status, body := get(t, b.Management+"/readyz"); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	b.stop(t)
}
