package callers

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"atlas-export-gateway/internal/printable"
)

// clientCertificates knows callers by the certificates of their connections. What a handshake has
// found does not last: an authority may be removed and a certificate may expire while connections
// are open, and a handshake that resumes a session verifies nothing anew. So the certificate of
// each request is held against the configuration in force.
type clientCertificates struct {
	authorities *x509.CertPool // nil: no certificate counts
	required    bool           // each request needs one
	names       []certificateName
	now         func() time.Time
}

// A verdict is what the certificate of a connection is worth under one configuration.
type verdict struct {
	by          *clientCertificates
	leaf        *x509.Certificate
	from, until time.Time // when it holds
	renew       time.Time // when it is time for another connection
	thumbprint  string    // x5t#S256 (RFC 8705, section 3.1)

	known  bool
	caller Caller // whose certificate it is, if known
	// Of a certificate that is nobody's. Untrusted says that it can't be anybody's.
	untrusted bool
	reason    Reason
	detail    string
}

// Whoever shows a certificate renews it before it ends, but shows the new one only on a new
// connection. The last quarter of a certificate's time, and renewBefore at most, is for that.
const renewBefore = 5 * time.Minute

// again is how long a certificate that is not trusted is not verified again.
const again = time.Second

// of returns what the certificate of r's connection is worth, nil where it has none. The cost is
// that of a look at a clock, for all requests of a connection after the first.
func (c *clientCertificates) of(r *http.Request) *verdict {
	if c.authorities == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	leaf, now := r.TLS.PeerCertificates[0], c.now()
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	if conn != nil {
		if v := conn.verdict.Load(); v != nil && v.by == c && v.leaf == leaf && !now.Before(v.from) && !now.After(v.until) {
			return v
		}
	}
	v := c.judge(r.TLS.PeerCertificates, now)
	if conn != nil {
		conn.verdict.Store(v)
	}
	return v
}

// judge verifies a chain, whose first certificate is the client's.
func (c *clientCertificates) judge(chain []*x509.Certificate, now time.Time) *verdict {
	leaf := chain[0]
	hash := sha256.Sum256(leaf.Raw)
	v := &verdict{by: c, leaf: leaf, from: now, until: now.Add(again), thumbprint: base64.RawURLEncoding.EncodeToString(hash[:])}
	options := x509.VerifyOptions{Roots: c.authorities, Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	verified, err := leaf.Verify(options)
	if err != nil {
		v.untrusted, v.reason, v.detail = true, CertificateUntrusted, "the certificate of the connection is not of an authority that is trusted now, or not for clients"
		if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
			v.reason, v.detail = CertificateExpired, "the certificate of the connection, or of its authority, has expired or is not valid yet"
		}
		return v
	}
	v.from, v.until = leaf.NotBefore, leaf.NotAfter
	for _, certificate := range verified[0] {
		if certificate.NotBefore.After(v.from) {
			v.from = certificate.NotBefore
		}
		if certificate.NotAfter.Before(v.until) {
			v.until = certificate.NotAfter
		}
	}
	v.renew = v.until.Add(-min(renewBefore, v.until.Sub(v.from)/4))
	v.name(c.names)
	return v
}

// missing returns why a request is refused whatever it shows, or "": each needs a certificate, and
// the connection was opened when that was not so, or when the certificate was trusted.
func (c *clientCertificates) missing(r *http.Request) (Reason, string) {
	if !c.required {
		return "", ""
	}
	switch v := c.of(r); {
	case v == nil:
		return CertificateRequired, "the connection has no client certificate"
	case v.untrusted:
		return v.reason, v.detail
	}
	return "", ""
}

// name finds the caller of a certificate that is trusted: the first whose name it has.
func (v *verdict) name(names []certificateName) {
	shown := readNames(v.leaf)
	for _, n := range names {
		if name, ok := n.match(shown); ok {
			v.known, v.caller = true, n.key.caller()
			v.caller.Key = bounded(name)
			return
		}
	}
	v.reason, v.detail = CertificateUnknown, "no caller has a name of the certificate"
	if shown.fault != "" {
		v.reason, v.detail = CertificateMalformed, "no caller has a name of the certificate, and its URI does not count: "+shown.fault
	}
}

// certificateWay is the way of a request without an Authorization field.
type certificateWay struct {
	*challenger
	certificates *clientCertificates
}

// prove refuses with a challenge: whoever has a certificate that is nobody's may still have a key.
func (w *certificateWay) prove(r *http.Request, _ string) (Caller, *Refusal) {
	v := w.certificates.of(r)
	switch {
	case v == nil:
		return w.refuse(NoCredential, "there is no Authorization field")
	case v.known:
		return v.caller, nil
	}
	caller, refusal := w.refuse(v.reason, v.detail)
	refusal.Tried = bounded(readNames(v.leaf).first())
	return caller, refusal
}

// ByCertificate reports whether the certificate of r's connection decides who sent it, although
// callers need no key: r shows no key, and the certificate is a caller's or is no longer trusted;
// or one is required, and there is none. The certificate of a stranger decides nothing.
func (a *Authenticator) ByCertificate(r *http.Request) bool {
	if reason, _ := a.certificates.missing(r); reason != "" {
		return true
	}
	if len(r.Header["Authorization"]) > 0 {
		return false
	}
	v := a.certificates.of(r)
	return v != nil && (v.known || v.untrusted)
}

// Reconnect reports whether the client should open another connection: the certificate of this one
// is no longer trusted, or soon will not be, and the client may have a new one.
func (a *Authenticator) Reconnect(r *http.Request) bool {
	v := a.certificates.of(r)
	return v != nil && (v.untrusted || !a.now().Before(v.renew))
}

// connection is what is known of a connection.
type connection struct{ verdict atomic.Pointer[verdict] }

type connectionKey struct{}

// WithConnection returns the context of a connection, for the field ConnContext of an http.Server.
// The certificate of the connection is then verified once for each configuration. Without it, it
// is verified for each request.
func WithConnection(ctx context.Context) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(connection))
}

// ExplainCertificate says whose a client certificate is, or why it is nobody's, for the operator
// of the gateway: first the names of the certificate, line by line, and then the reason. The first
// certificate of the chain is the client's. Its names may be any text that its authority has
// signed.
func (d *Directory) ExplainCertificate(chain []*x509.Certificate, authorities *x509.CertPool, now time.Time) (c Caller, lines []string) {
	names := readNames(chain[0])
	for _, uri := range names.uris {
		lines = append(lines, "uri      "+printable.Escape(uri))
	}
	for _, name := range names.dns {
		lines = append(lines, "dns      "+printable.Escape(name))
	}
	lines = append(lines, "subject  "+printable.Escape(names.subject))
	if authorities == nil {
		return c, append(lines, "listener.client_ca_file is not set, so that no certificate counts")
	}
	certificates := clientCertificates{authorities: authorities, names: d.certificates}
	v := certificates.judge(chain, now)
	if !v.known {
		return c, append(lines, fmt.Sprintf("%s: %s", v.reason, v.detail))
	}
	return v.caller, append(lines, fmt.Sprintf("callers.%s (%s): matches", v.caller.key.path, v.caller.Name))
}
