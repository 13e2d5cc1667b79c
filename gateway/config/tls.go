package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/smallfile"
)

// listenerTLS reads the files of the listener's TLS. The address is good if it is one.
func (b *builder) listenerTLS(l Listener, good bool) {
	b.clientCertificates(l)
	if l.TLSCertFile == "" && l.TLSKeyFile == "" {
		if good && !hosts.LoopbackAddress(l.Address) && !l.AllowPlainHTTP {
			b.refuse("listener.address", "is not a loopback address: set tls_cert_file and tls_key_file, or allow_plain_http if a proxy before the gateway ends TLS")
		}
		if l.ClientCAFile != "" {
			b.refuse("listener.client_ca_file", "needs tls_cert_file and tls_key_file: there are no client certificates without TLS, and none behind a proxy that ends it")
		}
		return
	}
	certificate, err := keyPair(l.TLSCertFile, l.TLSKeyFile)
	unread, isUnread := errors.AsType[*fs.PathError](err)
	switch {
	case l.TLSCertFile == "":
		b.refuse("listener.tls_cert_file", "is required with tls_key_file")
	case l.TLSKeyFile == "":
		b.refuse("listener.tls_key_file", "is required with tls_cert_file")
	case isUnread && unread.Path == l.TLSCertFile:
		b.refuse("listener.tls_cert_file", "%w", smallfile.WithoutName(err))
	case isUnread:
		b.refuse("listener.tls_key_file", "%w", smallfile.WithoutName(err))
	case err != nil:
		b.refuse("listener.tls_cert_file", "with tls_key_file: %w", err)
	}
	b.parts.Certificate = &certificate
	b.warnOfMode("listener.tls_key_file", l.TLSKeyFile)
}

// clientCertificates reads the authorities of client certificates.
func (b *builder) clientCertificates(l Listener) {
	if l.ClientCAFile == "" {
		if l.ClientCertificates != "" {
			b.refuse("listener.client_certificates", "needs client_ca_file: the authorities that the certificates come from")
		}
		return
	}
	b.oneOf(l.ClientCertificates, "listener.client_certificates", Optional, Required)
	authorities, err := certificates(l.ClientCAFile)
	if err != nil {
		b.refuse("listener.client_ca_file", "%w", err)
	}
	b.parts.ClientCAs = authorities
}

// needsClientCAs refuses what a caller can't have without client certificates.
func (b *builder) needsClientCAs(at string, caller callers.Entry) {
	if b.parts.Config.Listener.ClientCAFile != "" {
		return
	}
	if len(caller.Certificates) > 0 {
		b.refuse(at+".certificates", "needs listener.client_ca_file: the authorities that the certificates come from")
	}
	for i, account := range caller.ServiceAccounts {
		if account.BindCertificate {
			b.refuse(fmt.Sprintf("%s.service_accounts[%d].bind_certificate", at, i), "needs listener.client_ca_file: the authorities that the certificates come from")
		}
	}
}

// ReadCertificate reads the files of the listener's certificate again, which the configuration
// has.
func (p *Parts) ReadCertificate() (*tls.Certificate, error) {
	certificate, err := keyPair(p.Config.Listener.TLSCertFile, p.Config.Listener.TLSKeyFile)
	return &certificate, err
}

// ReadClientCAs reads the authorities of client certificates again, nil where there is no file.
func (p *Parts) ReadClientCAs() (*Authorities, error) {
	return certificates(p.Config.Listener.ClientCAFile)
}

// keyPair is tls.LoadX509KeyPair, bounded.
func keyPair(cert, key string) (tls.Certificate, error) {
	chain, err := smallfile.Read(cert, maxFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	private, err := smallfile.Read(key, maxFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(chain, private)
}

// Authorities are the certificate authorities of a file. Nil stands for no file.
type Authorities struct {
	pool *x509.CertPool
	// Expires is when the first of them expires.
	Expires time.Time
}

// Pool returns the authorities for crypto/tls, which takes nil for the system's.
func (a *Authorities) Pool() *x509.CertPool {
	if a == nil {
		return nil
	}
	return a.pool
}

// certificates reads the certificate authorities of a file, and passes over what is no
// certificate, as x509.CertPool.AppendCertsFromPEM does.
func certificates(file string) (*Authorities, error) {
	if file == "" {
		return nil, nil
	}
	content, err := smallfile.Read(file, maxFile)
	if err != nil {
		return nil, smallfile.WithoutName(err)
	}
	a := &Authorities{pool: x509.NewCertPool()}
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 || err != nil {
			continue
		}
		a.pool.AddCert(certificate)
		if a.Expires.IsZero() || certificate.NotAfter.Before(a.Expires) {
			a.Expires = certificate.NotAfter
		}
	}
	if a.Expires.IsZero() {
		return nil, errors.New("the file holds no PEM certificate")
	}
	return a, nil
}
