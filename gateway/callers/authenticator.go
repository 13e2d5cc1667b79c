package callers

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// Options are what [New] needs besides the callers. The zero value is usable.
type Options struct {
	// AllowBasic reports whether a request came in such a way that nobody could read its secret.
	// Nil means [Private].
	AllowBasic func(*http.Request) bool
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
	settings   Settings
	directory  *Directory
	memory     *Memory
	keys       []signingKey // the first signs
	limits     limits
	allowBasic func(*http.Request) bool
	now        func() time.Time
}

// New returns an Authenticator for the callers of d. It reads no file and changes nothing in m:
// until [Memory.Keep], a configuration may still be dropped.
func New(d *Directory, m *Memory, o Options) *Authenticator {
	a := &Authenticator{settings: d.settings, directory: d, memory: m, keys: d.keys, limits: m.limitsFor(d), allowBasic: o.AllowBasic, now: o.Now}
	if len(a.keys) == 0 {
		a.keys = []signingKey{m.madeUp}
	}
	if a.allowBasic == nil {
		a.allowBasic = Private
	}
	if a.now == nil {
		a.now = time.Now
	}
	return a
}

// Authenticate returns who sent r, going by its Authorization field alone: nothing of the
// content is read. The error is a *[Refusal].
func (a *Authenticator) Authenticate(r *http.Request) (Caller, error) {
	fields := r.Header["Authorization"]
	switch {
	case len(fields) == 0:
		return a.challenge(NoCredential, "there is no Authorization field")
	case len(fields) > 1:
		return a.challenge(Malformed, "there is more than one Authorization field")
	}
	scheme, rest, _ := strings.Cut(fields[0], " ")
	switch strings.ToLower(scheme) {
	case "digest":
		return a.digest(r)
	case "basic":
		return a.basic(r)
	case "bearer":
		return a.bearer(rest)
	}
	return a.challenge(Malformed, "the Authorization field is neither Digest nor Basic nor Bearer")
}

func (a *Authenticator) digest(r *http.Request) (Caller, error) {
	var p keyPair
	_, err := digestauth.Verifier{
		Realm:      a.settings.Realm,
		Algorithms: []string{a.settings.DigestAlgorithm},
		HA1: func(username, _ string) (known secret.Secret, ok bool) {
			p, ok = a.directory.pair(username)
			return p.ha1, ok
		},
		// Asked only about a response that HA1 has made right.
		CheckNonce: func(nonce string, nc uint32) digestauth.NonceVerdict { return a.checkNonce(p.id, nonce, nc) },
	}.Verify(r)
	var refused *digestauth.VerifyError
	switch {
	case errors.As(err, &refused) && refused.Reason == digestauth.Malformed:
		// Its text quotes names of parameters, where a secret may stand by mistake.
		return a.challenge(Malformed, "the Authorization field is not a Digest credential with qop=auth")
	case errors.As(err, &refused):
		return a.challenge(reasonOf(refused), strings.TrimPrefix(refused.Error(), "digestauth: "))
	case err != nil:
		return a.challenge(Malformed, "the Digest credential can't be verified")
	}
	return p.caller, nil
}

func (a *Authenticator) basic(r *http.Request) (Caller, error) {
	if !a.allowBasic(r) {
		return a.challenge(NotPrivate, "Basic is for TLS and loopback alone")
	}
	publicKey, privateKey, ok := r.BasicAuth()
	if !ok {
		return a.challenge(Malformed, "the Authorization field is not a Basic credential")
	}
	p, known := a.directory.pair(publicKey)
	// The algorithm was checked with the configuration.
	ha1, err := digestauth.HA1(a.settings.DigestAlgorithm, publicKey, a.settings.Realm, secret.New(privateKey))
	if !ha1.Equal(p.ha1) || !known || err != nil {
		return a.challenge(WrongCredential, "the public key is unknown or the private key is wrong")
	}
	caller := p.caller
	caller.Form = Basic
	return caller, nil
}

func (a *Authenticator) bearer(token string) (Caller, error) {
	token = strings.Trim(token, " ")
	if !isToken68(token) {
		return refuseBearer(Malformed, "the Authorization field is not one Bearer token")
	}
	h := hashOf(token)
	if known, ok := a.directory.tokens[h]; ok && equal(known.token, h) {
		return known.caller, nil
	}
	claims, reason, detail := a.verify(token)
	if reason != "" {
		return refuseBearer(reason, detail)
	}
	account, ok := a.directory.account(claims.Subject)
	if !ok {
		return refuseBearer(WrongCredential, "the token is for a service account that is no longer configured")
	}
	return account.caller, nil
}

// isToken68 reports whether s has the form of a bearer token (RFC 6750, section 2.1).
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	return body != "" && !strings.ContainsFunc(body, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~+/", r))
	})
}
