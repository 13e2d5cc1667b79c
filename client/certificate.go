package client

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"

	"atlas-export-gateway/internal/smallfile"
)

// maxCertificate bounds the file of a certificate and that of its key, in bytes.
const maxCertificate = 1 << 20

// CertificateFiles returns a function for [Config.ClientCertificate]: it reads the PEM files of a
// certificate, with those of authorities behind it, and of its key anew for each connection. While
// they can't be read, or only one of the two is new, it returns the pair that it has read last.
// The error is that of the first reading.
func CertificateFiles(certFile, keyFile string) (func() (*tls.Certificate, error), error) {
	last, err := readCertificate(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return func() (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if read, err := readCertificate(certFile, keyFile); err == nil {
			last = read
		}
		return last, nil
	}, nil
}

func readCertificate(certFile, keyFile string) (*tls.Certificate, error) {
	chain, err := smallfile.Read(certFile, maxCertificate)
	if err != nil {
		return nil, err
	}
	key, err := smallfile.Read(keyFile, maxCertificate)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	return &pair, err
}

// certificateRefused reports whether the server has ended the handshake since it refuses the
// client's certificate, or wants one. With TLS 1.3 the client finds that out only after it has
// sent its request, which the server has not read. crypto/tls has no type for the alert.
func certificateRefused(err error) bool {
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate")
}
