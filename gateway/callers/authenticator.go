package callers

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Options are what [New] needs besides the callers. The zero value is usable.
type Options struct {
	// AllowBasic reports whether a request came in such a way that nobody could read its secret.
	// Nil means [Private].
	AllowBasic func(*http.Request) bool
	// ClientCAs are the authorities that client certificates come from. Nil means that no
	// certificate counts.
	ClientCAs *x509.CertPool
	// RequireCertificate refuses each request whose connection has no certificate of these
	// authorities. The handshake does so, too; settings may have changed since.
	RequireCertificate bool
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Private reports whether r came over TLS or from a loopback address.
func Private(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return r.TLS != nil || err == nil && peer.Addr().Unmap().IsLoopback()
}

// An Authenticator knows the callers of one configuration. It does not change, except for the
// Memory that it shares with others, and may be used from several goroutines.
type Authenticator struct {
	directory  *Directory
	memory     *Memory
	limits     limits
	challenger *challenger
	tokens     *accessTokens
	jwts       *jwts
	schemes    []scheme
	// certificates serve byCertificate, and the tokens that are bound to one.
	certificates  *clientCertificates
	byCertificate way
	allowBasic    func(*http.Request) bool
	now           func() time.Time
	uses          []*keyUse // by the key's number
}

// A scheme is a way to prove who calls by an Authorization field.
type scheme struct {
	name string // of the field's authentication scheme (RFC 9110, section 11.1)
	way  way
}

// A way is one way to prove who calls.
type way interface {
	// prove returns who sent r, or why r is refused. The credentials are what follows the name of
	// the scheme in the Authorization field; a way that does not go by that field gets none.
	prove(r *http.Request, credentials string) (Caller, *Refusal)
	// refuse refuses a request as one that shows a wrong key is refused.
	refuse(reason Reason, detail string) (Caller, *Refusal)
}

// New returns an Authenticator for the callers of d. It reads no file and changes nothing in m:
// until [Memory.Keep], a configuration may still be dropped.
func New(d *Directory, m *Memory, o Options) *Authenticator {
	a := &Authenticator{directory: d, memory: m, limits: m.limitsFor(d), allowBasic: o.AllowBasic, now: o.Now}
	if a.allowBasic == nil {
		a.allowBasic = Private
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.uses = m.usesFor(d, a.now())
	keys := d.keys
	if len(keys) == 0 {
		keys = []signingKey{m.madeUp}
	}
	n := &nonces{keys: keys, lifetime: d.settings.NonceLifetime, counts: &m.counts, timeline: &m.timeline, now: a.now}
	a.challenger = &challenger{directory: d, realm: d.settings.Realm, algorithm: d.settings.DigestAlgorithm, nonces: n}
	a.certificates = &clientCertificates{o.ClientCAs, o.RequireCertificate, d.certificates, a.now}
	a.byCertificate = &certificateWay{a.challenger, a.certificates}
	a.tokens = newAccessTokens(d, keys, m, a.certificates, a.now)
	a.jwts = newJWTs(d, m.keySets, a.now)
	a.schemes = []scheme{
		{"Digest", &digestWay{a.challenger, d, n}},
		{"Basic", &basicWay{a.challenger, d, a.allowBasic}},
		{"Bearer", &bearerWay{[]tokenKind{staticTokens(d.tokens), a.jwts, a.tokens}}},
	}
	return a
}

// Authenticate returns who sent r. The address that r comes from is compared with the caller's
// source_networks; the zero address is in no network. Authenticate reads the header only, nothing
// of the content. The error is a *[Refusal].
func (a *Authenticator) Authenticate(r *http.Request, from netip.Addr) (Caller, error) {
	caller, refusal := a.prove(r, from)
	if refusal != nil {
		return Caller{}, refusal
	}
	return caller, nil
}

// prove picks the way that the Authorization field names. A key that is shown must be right, also
// on a connection whose certificate is a caller's.
func (a *Authenticator) prove(r *http.Request, from netip.Addr) (Caller, *Refusal) {
	if reason, detail := a.certificates.missing(r); reason != "" {
		return a.challenger.refuse(reason, detail)
	}
	fields := r.Header["Authorization"]
	switch {
	case len(fields) == 0:
		return a.proveBy(a.byCertificate, r, from, "")
	case len(fields) > 1:
		return a.challenger.refuse(Malformed, "there is more than one Authorization field")
	}
	name, credentials, _ := strings.Cut(fields[0], " ")
	for _, s := range a.schemes {
		// Letters outside ASCII that fold to ASCII are longer.
		if len(s.name) == len(name) && strings.EqualFold(s.name, name) {
			return a.proveBy(s.way, r, from, credentials)
		}
	}
	return a.challenger.refuse(Malformed, "the Authorization field is neither Digest nor Basic nor Bearer")
}

// proveBy proves who calls by one way, and whether the key that proves it may be used.
func (a *Authenticator) proveBy(w way, r *http.Request, from netip.Addr, credentials string) (Caller, *Refusal) {
	caller, refusal := w.prove(r, credentials)
	if refusal != nil {
		return Caller{}, refusal
	}
	if reason := a.use(caller.key, from); reason != "" {
		_, refusal = w.refuse(reason, reason.unusable())
		refusal.Tried = caller.Key
		return Caller{}, refusal
	}
	return caller, nil
}
