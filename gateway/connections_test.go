package gateway_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// Connections to the upstream, and nonces, are kept for the next burst of requests.
func TestUpstreamConnectionsAreReused(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(20 * time.Millisecond)}}})
	g := start(t, atlas.URL(), sim.PublicKey, sim.PrivateKey)
	burst := func() {
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				if got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, ""); got.status != 200 {
					t.Errorf("%d %s", got.status, got.body)
				}
			})
		}
		group.Wait()
	}
	burst()
	burst()
	warm := atlas.Counts()
	for range 5 {
		burst()
	}
	after := atlas.Counts()
	if n := after.Connections - warm.Connections; n > 4 {
		t.Errorf("%d connections more for 80 requests in bursts of 16", n)
	}
	if n := after.Requests - warm.Requests; n > 84 {
		t.Errorf("%d upstream requests for 80 requests", n)
	}
}

// An upstream whose certificate is not good for its name gets neither request nor
// credential.
func TestUpstreamCertificates(t *testing.T) {
	ca, caKey := certificate(t, nil, nil, time.Hour)
	other, otherKey := certificate(t, nil, nil, time.Hour)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := func(issuer *x509.Certificate, key *ecdsa.PrivateKey, valid time.Duration, addresses ...net.IP) *tls.Certificate {
		c, k := certificate(t, issuer, key, valid, addresses...)
		return &tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: k}
	}
	loopback := net.IPv4(127, 0, 0, 1)
	tests := []struct {
		name        string
		certificate *tls.Certificate
		status      int
	}{
		{"good", leaf(ca, caKey, time.Hour, loopback), 200},
		{"expired", leaf(ca, caKey, -time.Minute, loopback), 502},
		{"of another name", leaf(ca, caKey, time.Hour, net.IPv4(127, 0, 0, 2)), 502},
		{"of another authority", leaf(other, otherKey, time.Hour, loopback), 502},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{TLS: test.certificate})
			if !strings.HasPrefix(atlas.URL(), "https://") {
				t.Fatal(atlas.URL())
			}
			g := start(t, atlas.URL()+"\n  ca_file: "+file, sim.PublicKey, sim.PrivateKey)
			got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
			if got.status != test.status {
				t.Errorf("%d %s", got.status, got.body)
			}
			if n := atlas.Counts().Requests; test.status != 200 && n != 0 {
				t.Errorf("the upstream got %d requests", n)
			}
		})
	}
	t.Run("plain http where https is configured", func(t *testing.T) {
		upstream := startRaw(t, answering(jsonAnswer(200, job)))
		g := start(t, strings.Replace(upstream.url, "http:", "https:", 1), "public", privateKey)
		got := send(t, "GET", g.url+v2Exports, map[string]string{"Accept": latest}, "")
		if got.status != 502 || upstream.total.Load() != 0 {
			t.Errorf("%d %s, the upstream got %d requests", got.status, got.body, upstream.total.Load())
		}
	})
}

// certificate makes a certificate for addresses, or an authority without any.
func certificate(t testing.TB, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, valid time.Duration, addresses ...net.IP) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "gateway test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(valid),
		IsCA:                  issuer == nil,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses:           addresses,
	}
	if issuer == nil {
		issuer, issuerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}
