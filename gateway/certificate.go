package gateway

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"atlas-export-gateway/internal/smallfile"
)

// certificateFiles is the listener's certificate, which is read again when one of its files
// changes. A pair that does not fit, as while the files are being replaced, is logged and
// tried again a second later; the last good one stays.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    [2]state  // of the files that current was read from
	failed  time.Time // when the files were last tried in vain
}

// get is for tls.Config.GetCertificate.
func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := [2]state{stateOf(c.cert), stateOf(c.key)}
	if c.current != nil && (now[0].same(c.read[0]) && now[1].same(c.read[1]) || time.Since(c.failed) < time.Second) {
		return c.current, nil
	}
	pair, err := keyPair(c.cert, c.key)
	switch {
	case err == nil:
		c.current, c.read = &pair, now
	case c.current == nil:
		return nil, unnamed(err)
	default:
		c.failed = time.Now()
		c.log.Error("the certificate can't be read; the last one stays", "cause", unnamed(err).Error())
	}
	return c.current, nil
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
