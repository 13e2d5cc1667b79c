package sim

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// defaultRealm is the realm of Atlas's challenges.
const defaultRealm = "MMS Public API"

// right is a right that an operation requires of a key.
type right int

// The rights, with the roles that Atlas's documents of the operations require.
const (
	read   right = 1 << iota // read anything: Project Read Only
	export                   // create a job: Project Backup Export Operator or Project Atlas Admin
	manage                   // the rest: Project Backup Manager
)

// roles are the roles that a key of the seed may have.
var roles = map[string]right{
	"Project Owner":                  read | export | manage,
	"Project Atlas Admin":            read | export,
	"Project Backup Export Operator": read | export,
	"Project Backup Manager":         read | manage,
	"Project Read Only":              read,
}

// caller is an API key or a service account.
type caller struct {
	id     string // public key or client id
	secret secret.Secret
	groups []string // empty: every group
	rights right

	deleted atomic.Bool // once it is, it opens nothing
	ha1     sync.Map    // of ha1Key, to secret.Secret
}

type ha1Key struct{ algorithm, realm string }

// existing returns the caller of an id, or nil if there is none or it was deleted.
func existing(callers map[string]*caller, id string) *caller {
	if c := callers[id]; c != nil && !c.deleted.Load() {
		return c
	}
	return nil
}

// DeleteKey deletes an API key, by its public key, or a service account, by its client id, as an
// administrator of Atlas's organization would. The tokens of a service account end with it. The
// next simulation with the same seed has it again. An error says that there is none.
func (s *Server) DeleteKey(id string) error {
	c := cmp.Or(existing(s.world.keys, id), existing(s.world.accounts, id))
	if c == nil {
		return fmt.Errorf("there is no key or service account %q", id)
	}
	c.deleted.Store(true)
	return nil
}

func (c *caller) in(group string) bool { return len(c.groups) == 0 || slices.Contains(c.groups, group) }

func (c *caller) may(right right) bool { return c.rights&right == right }

// hash returns the key's HA1, computed once for each algorithm and realm.
func (c *caller) hash(algorithm, realm string) (secret.Secret, bool) {
	key := ha1Key{algorithm, realm}
	if known, ok := c.ha1.Load(key); ok {
		return known.(secret.Secret), true
	}
	ha1, err := digestauth.HA1(algorithm, c.id, realm, c.secret)
	if err != nil {
		return ha1, false
	}
	c.ha1.Store(key, ha1)
	return ha1, true
}

// authenticate finds the caller: an API key by its digest credential, or a service account
// by its token. The error is the challenge.
func (s *Server) authenticate(x *exchange) error {
	form := &s.settings.Load().Challenge
	realm := cmp.Or(form.Realm, defaultRealm)
	stale := false
	if token, ok := bearer(x.request); ok {
		if x.caller = s.tokenCaller(token); x.caller != nil {
			return nil
		}
	} else {
		credential, err := digestauth.Verifier{
			Realm:      realm,
			Algorithms: form.Algorithms,
			HA1: func(username, algorithm string) (secret.Secret, bool) {
				key := existing(s.world.keys, username)
				if key == nil {
					return secret.Secret{}, false
				}
				return key.hash(algorithm, realm)
			},
			CheckNonce: s.nonces.Check,
		}.Verify(x.request)
		if err == nil {
			x.caller = s.world.keys[credential.Username]
			return nil
		}
		var refused *digestauth.VerifyError
		stale = form.Stale && errors.As(err, &refused) && refused.Stale()
	}
	x.challenge(form, realm, s.nonces.Issue(), stale)
	return &apiError{status: http.StatusUnauthorized, challenge: true}
}

// bearer returns the request's bearer token (RFC 6750, section 2.1), and whether it has one.
func bearer(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// challenge puts the challenge into the answer, as it was recorded. Each algorithm has a
// field of its own (RFC 7616, section 3.7).
func (x *exchange) challenge(form *Challenge, realm, nonce string, stale bool) {
	algorithms := form.Algorithms
	if len(algorithms) == 0 {
		algorithms = []string{digestauth.MD5}
	}
	fields := make([]string, len(algorithms))
	for i, algorithm := range algorithms {
		fields[i] = digestauth.Challenge{
			Realm:     realm,
			Nonce:     nonce,
			Opaque:    form.Opaque,
			Algorithm: algorithm,
			QOP:       form.QOP,
			Stale:     stale,
			Extra:     form.Extra,
		}.String()
	}
	x.answer.header["WWW-Authenticate"] = fields
	x.answer.verbatim = true
	x.challenged = true
}

func (n Nonces) policy() digestauth.NoncePolicy {
	return digestauth.NoncePolicy{
		Max:      n.Max,
		Lifetime: n.Lifetime.std(),
		Uses:     n.Uses,
		Rising:   n.Rising,
		Refuse:   n.Refuse,
		Rand:     rand.Float64,
	}
}

// ForgetNonces makes every nonce unknown, as a restart of Atlas would.
func (s *Server) ForgetNonces() { s.nonces.Forget() }
