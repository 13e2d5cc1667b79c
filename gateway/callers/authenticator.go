package callers

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// A Form is how a caller proved who it is.
type Form string

// The forms.
const (
	Digest       Form = "digest"
	Basic        Form = "basic"
	StaticToken  Form = "static_token"
	AccessToken  Form = "access_token"  // of a service account
	ClientSecret Form = "client_secret" // of a service account, at the token endpoint
)

// A Caller is who sent a request. It holds no secret.
type Caller struct {
	// Name is the entry's.
	Name string
	// Form is how it was authenticated.
	Form Form
	// Key is which of its keys it used: the public key, the client id, or the first eight digits
	// of a static token's hash.
	Key string
}

// Options are what [New] needs beside the configuration.
type Options struct {
	// KeyMadeUp allows the signing key to be made up when no file is set. That key is lost with
	// the process and known to no other: for a single process on a loopback address.
	KeyMadeUp bool
	// AllowBasic says whether a request came in such a way that nobody could read its secret.
	// Nil means [Private].
	AllowBasic func(*http.Request) bool
	// Previous is the Authenticator that the new one replaces, whose memory it shares: counts of
	// nonces, revoked tokens, attempts, and a key that was made up. Nil at start.
	Previous *Authenticator
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Private reports whether r came over TLS or from a loopback address.
func Private(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return r.TLS != nil || err == nil && peer.Addr().Unmap().IsLoopback()
}

// An Authenticator knows the callers of one configuration. It does not change, but for its
// memory of counts, revocations and attempts, and may be used from several goroutines.
type Authenticator struct {
	settings   Settings
	directory  directory
	memory     *memory
	granted    granted
	revoking   granted
	allowBasic func(*http.Request) bool
	now        func() time.Time
}

// New returns an Authenticator of the configuration, whose files it reads now and never again.
// The error joins everything that [Config.Check] reports.
func New(c Config, o Options) (*Authenticator, error) {
	var errs []error
	d := c.load(o.KeyMadeUp, func(path, format string, args ...any) {
		errs = append(errs, fmt.Errorf("callers: %s: "+format, append([]any{path}, args...)...))
	})
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c.fill()
	a := &Authenticator{settings: c.Settings, directory: d, allowBasic: o.AllowBasic, now: o.Now}
	if a.allowBasic == nil {
		a.allowBasic = Private
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.remember(o.Previous)
	if len(a.directory.keys) == 0 {
		a.directory.keys = []signingKey{a.memory.madeUp}
	}
	return a, nil
}

// hash is a SHA-256 hash: of a public key, a client id, or of a secret of at least 128 bits.
type hash = [sha256.Size]byte

func hashOf(s string) hash { return sha256.Sum256([]byte(s)) }

func equal(a, b hash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// directory holds the callers by the hashes of what they send.
type directory struct {
	pairs    map[hash]keyPair
	tokens   map[hash]staticToken
	accounts map[hash]serviceAccount
	keys     []signingKey // the first signs
	nobody   keyPair      // stands in for a pair that nobody has
}

type keyPair struct {
	caller Caller
	id     hash // of the public key
	ha1    secret.Secret
}

type staticToken struct {
	caller Caller
	token  hash
}

type serviceAccount struct {
	caller Caller
	id     hash // of the client id
	secret hash
}

func newDirectory(s Settings) directory {
	// An HA1 that no private key has, as long as a real one.
	ha1, err := digestauth.HA1(s.DigestAlgorithm, "", s.Realm, secret.New(rand.Text()))
	if err != nil {
		ha1 = secret.New(rand.Text()) // the algorithm was refused
	}
	return directory{
		pairs:    map[hash]keyPair{},
		tokens:   map[hash]staticToken{},
		accounts: map[hash]serviceAccount{},
		nobody:   keyPair{ha1: ha1},
	}
}

// pair returns the key pair of a public key, or one that no private key fits.
func (d *directory) pair(publicKey string) (keyPair, bool) {
	id := hashOf(publicKey)
	p, ok := d.pairs[id]
	if !ok {
		p = d.nobody
	}
	return p, equal(p.id, id) && ok
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
