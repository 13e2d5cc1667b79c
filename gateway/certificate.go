package gateway

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateFiles is the listener's certificate, which is read again when one of its files
// changes. A pair that does not fit, as while the files are being replaced, is logged, and
// the last good one stays.
type certificateFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	changed [2]time.Time // of the files that current, or the last failure, was read from
}

// get is for tls.Config.GetCertificate.
func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := [2]time.Time{modified(c.cert), modified(c.key)}
	if c.current != nil && changed == c.changed {
		return c.current, nil
	}
	c.changed = changed
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	switch {
	case err == nil:
		c.current = &pair
	case c.current == nil:
		return nil, err
	default:
		c.log.Error("the certificate can't be read; the last one stays", "cause", err.Error())
	}
	return c.current, nil
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
