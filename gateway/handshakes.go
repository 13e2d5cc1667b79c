package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/clientaddress"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/inbound"
)

// tlsConfig returns what holds for the handshakes under one configuration. The certificates of
// clients are from authorities, which is nil where none is asked for.
func tlsConfig(certificate *tls.Certificate, authorities *x509.CertPool, l config.Listener) *tls.Config {
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"}, // as net/http sets them in a Config of its own
		Certificates: []tls.Certificate{*certificate},
	}
	if authorities == nil { // crypto/tls takes a nil pool for the system's authorities
		return c
	}
	c.ClientCAs, c.ClientAuth = authorities, tls.VerifyClientCertIfGiven
	if l.ClientCertificates == config.Required {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c
}

// serverTLS is the Config of the server. It asks for that of the settings in force with each
// handshake, also with one that resumes a session: crypto/tls then compares the authority that the
// session was begun with. The keys of tickets are of this Config, and outlive a reload.
func (g *Gateway) serverTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return g.settings.Load().tls, nil
	}}
}

// A handshake is one that failed since the certificate of the client was refused.
type handshake struct {
	peer   string // its address, without the port
	reason callers.Reason
}

// newHandshakes returns a rollup of handshakes.
func (g *Gateway) newHandshakes() *rollup[handshake] {
	return &rollup[handshake]{each: func(h handshake) { g.metrics.HandshakeRefused(string(h.reason)) }, write: func(count int, latest handshake) {
		g.log.Warn("handshakes failed, since the certificates of clients were refused", "count", count, "latest_peer", latest.peer, "latest_reason", string(latest.reason))
	}}
}

// readHandshake reads a line of net/http's log, and reports whether it is about a handshake in
// which the certificate of the client was refused. net/http has no other way to tell.
func readHandshake(line string) (h handshake, ok bool) {
	rest, ok := strings.CutPrefix(line, "http: TLS handshake error from ")
	if !ok {
		return h, false
	}
	address, cause, _ := strings.Cut(rest, ": ")
	h.peer, _, _ = net.SplitHostPort(address)
	invalid, ok := strings.CutPrefix(cause, "tls: failed to verify certificate: ")
	switch {
	case cause == "tls: client didn't provide a certificate":
		h.reason = callers.CertificateRequired
	case !ok:
		return h, false
	case strings.HasPrefix(invalid, "x509: certificate has expired or is not yet valid"):
		h.reason = callers.CertificateExpired
	default:
		h.reason = callers.CertificateUntrusted
	}
	return h, true
}

// logWriter turns the lines of net/http's own log into records. A handshake that failed since the
// connection was evicted is in the record of evictions, and one whose connection has no preamble in
// that of preambles. One whose connection brought nothing did not begin. What net/http repeats of a
// handshake, such as names of protocols and lists of ciphers, is a stranger's and may be long: a
// record ends at the first quotation mark, and after longestLine bytes, unless it is of a panic.
type logWriter struct {
	log     *slog.Logger
	refused func(handshake)
}

// longestLine is how much a record has of a line of net/http's log, in bytes.
const longestLine = 256

func (w logWriter) Write(line []byte) (int, error) {
	message := strings.TrimSpace(string(line))
	for _, known := range []error{inbound.ErrEvicted, inbound.ErrSilent, clientaddress.ErrPreamble} {
		if strings.HasSuffix(message, known.Error()) {
			return len(line), nil
		}
	}
	if h, ok := readHandshake(message); ok {
		w.refused(h)
		return len(line), nil
	}
	if !strings.HasPrefix(message, "http: panic serving ") && !strings.HasPrefix(message, "http2: panic serving ") {
		message, _, _ = strings.Cut(message, `"`)
		message = message[:min(len(message), longestLine)]
	}
	w.log.Warn("http", "message", message)
	return len(line), nil
}
