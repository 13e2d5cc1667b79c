package gatewaytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	// PEM is the authority's own certificate.
	PEM string
	// Pool trusts the authority and no other.
	Pool *x509.CertPool

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority with a new key.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	own := issue(t, nil, nil, time.Hour, nil)
	a := &Authority{PEM: own.CertPEM, Pool: x509.NewCertPool(), certificate: own.Leaf, key: own.PrivateKey.(*ecdsa.PrivateKey)}
	a.Pool.AddCert(own.Leaf)
	return a
}

// Certificate is a certificate with its key. Leaf is set.
type Certificate struct {
	tls.Certificate
	// CertPEM is the content of a certificate's file, and KeyPEM that of the key's.
	CertPEM, KeyPEM string
}

// Issue makes a certificate for IP addresses. It is valid until a time from now, which may have
// passed.
func (a *Authority) Issue(t testing.TB, valid time.Duration, addresses ...net.IP) *Certificate {
	t.Helper()
	return issue(t, a.certificate, a.key, valid, func(c *x509.Certificate) { c.IPAddresses = addresses })
}

// Client makes a certificate for a client, valid for an hour. Unless it is nil, change changes
// what the certificate says before it is signed: names, times, usages.
func (a *Authority) Client(t testing.TB, change func(*x509.Certificate)) *Certificate {
	t.Helper()
	return issue(t, a.certificate, a.key, time.Hour, func(c *x509.Certificate) {
		c.Subject.CommonName = "client"
		c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if change != nil {
			change(c)
		}
	})
}

// Workload makes a certificate for a client with a URI, such as a SPIFFE id.
func (a *Authority) Workload(t testing.TB, uri string) *Certificate {
	t.Helper()
	return a.Client(t, func(c *x509.Certificate) { c.URIs = []*url.URL{parseURL(t, uri)} })
}

// Below makes an authority whose certificate is of a.
func (a *Authority) Below(t testing.TB) *Authority {
	t.Helper()
	own := issue(t, a.certificate, a.key, time.Hour, func(c *x509.Certificate) {
		c.IsCA = true
		c.Subject.CommonName = "gateway test authority below"
	})
	below := &Authority{PEM: own.CertPEM, Pool: x509.NewCertPool(), certificate: own.Leaf, key: own.PrivateKey.(*ecdsa.PrivateKey)}
	below.Pool.AddCert(own.Leaf)
	return below
}

// With returns the certificate together with that of an authority between it and a trusted one.
func (c *Certificate) With(a *Authority) *Certificate {
	with := *c
	with.Certificate.Certificate = append(slices.Clone(c.Certificate.Certificate), a.certificate.Raw)
	with.CertPEM += a.PEM
	return &with
}

func parseURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Loopback makes a certificate for 127.0.0.1.
func (a *Authority) Loopback(t testing.TB) *Certificate {
	t.Helper()
	return a.Issue(t, time.Hour, net.IPv4(127, 0, 0, 1))
}

// WriteFiles writes the certificate and its key into files of a new folder.
func (c *Certificate) WriteFiles(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	dir := t.TempDir()
	return WriteFile(t, filepath.Join(dir, "cert.pem"), c.CertPEM), WriteFile(t, filepath.Join(dir, "key.pem"), c.KeyPEM)
}

// TLS returns the settings of a listener with the certificate, as YAML. It writes the files.
func (c *Certificate) TLS(t testing.TB) string {
	t.Helper()
	certFile, keyFile := c.WriteFiles(t)
	return fmt.Sprintf("listener: {tls_cert_file: %q, tls_key_file: %q}\n", certFile, keyFile)
}

// Environ returns the settings of a listener with the certificate, as variables of the
// environment. It writes the files.
func (c *Certificate) Environ(t testing.TB) []string {
	t.Helper()
	certFile, keyFile := c.WriteFiles(t)
	return []string{"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE=" + certFile, "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE=" + keyFile}
}

// issue makes a certificate. Without an issuer it makes an authority's own. Unless it is nil,
// change changes the certificate before it is signed.
func issue(t testing.TB, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, valid time.Duration, change func(*x509.Certificate)) *Certificate {
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
	}
	if issuer == nil {
		template.Subject.CommonName += " authority" // OpenSSL takes equal names for a self-signed certificate
		issuer, issuerKey = template, key
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &Certificate{
		Certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		CertPEM:     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		KeyPEM:      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	}
}

// Own returns the authority's own certificate, which nobody else has signed.
func (a *Authority) Own() *Certificate {
	return &Certificate{Certificate: tls.Certificate{Certificate: [][]byte{a.certificate.Raw}, PrivateKey: a.key, Leaf: a.certificate}, CertPEM: a.PEM}
}
