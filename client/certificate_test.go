package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A client without a credential shows a certificate, which it reads anew for each connection. A
// gateway that refuses it has read no request: a create is not of unknown outcome, and nothing is
// tried again.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	own, clients := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		gatewaytest.ReplaceFile(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	caFile := file("clients.pem", clients.PEM)
	settings := strings.Replace(own.Loopback(t).TLS(t), "}", fmt.Sprintf(", client_ca_file: %q, client_certificates: required}", caFile), 1)
	g := gatewaytest.StartFor(t, atlas.URL(), settings, &gatewaytest.Caller{YAML: "  - {name: exporter, certificates: [{uri: 'spiffe://prod/exporter'}], grants: [{operations: [manage], groups: ['*']}]}\n"})
	write := func(c *gatewaytest.Certificate) (cert, key string) {
		return file("cert.pem", c.CertPEM), file("key.pem", c.KeyPEM)
	}
	shows, err := client.CertificateFiles(write(clients.Workload(t, "spiffe://prod/exporter")))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, client.Config{BaseURL: g.URL, RootCAs: own.Pool, ClientCertificate: shows})
	use := func(want error) {
		t.Helper()
		c.CloseIdleConnections()
		_, err := c.ExportsPage(t.Context(), group, cluster, client.ListOptions{})
		if !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%v, want %v", err, want)
		}
	}
	use(nil)
	createBucket(t, c)
	// A new certificate of a new authority. While only half of it is there, the old one is shown.
	next := gatewaytest.NewAuthority(t)
	renewed := next.Workload(t, "spiffe://prod/exporter")
	file("clients.pem", clients.PEM+next.PEM)
	g.Reload(t)
	file("cert.pem", renewed.CertPEM)
	use(nil)
	file("key.pem", renewed.KeyPEM)
	file("clients.pem", next.PEM)
	g.Reload(t)
	use(nil)
	// One that nobody knows, and one that is not trusted.
	write(next.Workload(t, "spiffe://prod/other"))
	use(client.ErrUnauthorized)
	write(gatewaytest.NewAuthority(t).Workload(t, "spiffe://prod/exporter"))
	c.CloseIdleConnections()
	before := atlas.Counts().Requests
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, shown := range []func() (*tls.Certificate, error){shows, func() (*tls.Certificate, error) { return &tls.Certificate{}, nil }} {
			c := newClient(t, client.Config{BaseURL: g.URL, KeepsKeys: client.DerivedKeys, MaxRetries: -1, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
				RootCAs: own.Pool, MaxVersion: version, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown() },
			}}})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // it would be repeated for long
			_, err := c.CreateExport(ctx, group, cluster, client.ExportRequest{SnapshotID: nobody, ExportBucketID: nobody})
			cancel()
			if err == nil || errors.Is(err, client.ErrUnknownOutcome) || !strings.Contains(err.Error(), "remote error: tls: ") {
				t.Errorf("%x: %v", version, err)
			}
		}
	}
	if n := atlas.Counts().Requests - before; n != 0 {
		t.Errorf("%d requests at Atlas", n)
	}
}

// A certificate that nobody could ask for, or that lacks its key, is refused from the start.
func TestUselessClientCertificate(t *testing.T) {
	t.Parallel()
	shows := func() (*tls.Certificate, error) { return nil, errors.New("not called") }
	for _, test := range []struct {
		config client.Config
		want   string
	}{
		{client.Config{BaseURL: "https://127.0.0.1:1", ClientCertificate: shows, Transport: &http.Transport{}}, "client: ClientCertificate is not for a Transport of the caller's own"},
		{client.Config{BaseURL: "http://127.0.0.1:1", ClientCertificate: shows}, "client: ClientCertificate needs https: nobody asks for it otherwise"},
	} {
		if _, err := client.New(test.config); err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	authority := gatewaytest.NewAuthority(t)
	cert, _ := authority.Client(t, nil).WriteFiles(t)
	_, key := authority.Client(t, nil).WriteFiles(t)
	if _, err := client.CertificateFiles(cert, key); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("a key of another certificate: %v", err)
	}
}
