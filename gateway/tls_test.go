package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// The listener speaks TLS. A replaced certificate serves the next connection while clients run.
// If the certificate and the key do not fit, the one before stays.
func TestListenerTLS(t *testing.T) {
	t.Parallel() // it waits most of the time
	atlas := sim.Start(t, sim.Config{})
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["*"]}]`)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority := gatewaytest.NewAuthority(t)
	stamp := time.Now().Add(-time.Hour)
	write := func(file, content string) {
		gatewaytest.WriteFile(t, file, content)
		stamp = stamp.Add(time.Second) // some file systems have coarse clocks
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	first, second := authority.Loopback(t), authority.Loopback(t)
	write(certFile, first.CertPEM)
	write(keyFile, first.KeyPEM)
	g := gatewaytest.StartFor(t, atlas.URL(), "listener: {tls_cert_file: "+certFile+", tls_key_file: "+keyFile+"}", reader)
	get := func() *x509.Certificate {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool}}, Timeout: 10 * time.Second}
		request, err := http.NewRequest("GET", g.URL+v2Exports, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", latest)
		request.Header.Set("Authorization", reader.Bearer())
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), `"href":"https://`+g.Address+`/`) {
			t.Errorf("%d %s %v", response.StatusCode, body, err)
		}
		return response.TLS.PeerCertificates[0]
	}
	if !get().Equal(first.Leaf) {
		t.Error("another certificate than the first")
	}
	expiration := fmt.Sprint("\natlas_gateway_certificate_expiration_timestamp_seconds{certificate=\"listener\"} ", float64(first.Leaf.NotAfter.Unix()), "\n")
	if !strings.Contains(g.Metrics(t), expiration) {
		t.Errorf("the metrics lack %s", expiration)
	}
	offset := g.Log.Len()
	write(certFile, second.CertPEM)
	if line := g.AwaitReload(t, offset); !strings.Contains(line, "refused; the one before stays") || !get().Equal(first.Leaf) {
		t.Errorf("a certificate without its key was used: %s", line)
	}
	offset = g.Log.Len()
	write(keyFile, second.KeyPEM)
	if line := g.AwaitReload(t, offset); !strings.Contains(line, "reloaded") {
		t.Error(line)
	}
	if !get().Equal(second.Leaf) {
		t.Error("another certificate than the second")
	}
	if answer := g.Raw(t, request("GET /", "")); strings.HasPrefix(answer, "HTTP/1.1 200") {
		t.Errorf("plain HTTP: %s", answer)
	}
	gatewaytest.WaitFor(t, "net/http's own log", func() bool {
		return strings.Contains(g.Log.String(), "client sent an HTTP request to an HTTPS server\"}\n")
	})
}

// A check of a balancer connects and closes, behind a preamble or without one. The log tells of no
// such connection, and does tell of one that ends within its handshake.
func TestConnectionsWithoutHandshake(t *testing.T) {
	t.Parallel()
	const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for settings, preambles := range map[string][]string{
		"": {""},
		"listener: {client_address: proxy_protocol, trusted_proxies: [127.0.0.1/32]}\n": {"", local, "PROXY UNKNOWN\r\n"},
	} {
		g := gatewaytest.Start(t, gatewaytest.YAML("http://"+gatewaytest.Refused(t), settings), gatewaytest.NewAuthority(t).Loopback(t).Environ(t)...)
		for _, preamble := range preambles {
			conn := dial(t, g.Address)
			io.WriteString(conn, preamble)
			conn.Close()
		}
		conn := dial(t, g.Address)
		io.WriteString(conn, preambles[len(preambles)-1]+"\x16\x03\x01") // a handshake begins
		conn.Close()
		gatewaytest.WaitFor(t, "a record", func() bool { return strings.Contains(g.Log.String(), "TLS handshake error") })
		g.Stop() // which waits for all connections
		g.Wait(t)
		if n := strings.Count(g.Log.String(), "TLS handshake error"); n != 1 {
			t.Errorf("%d records: %s", n, g.Log)
		}
	}
}
