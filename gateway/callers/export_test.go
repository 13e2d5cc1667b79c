package callers

import (
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
)

// Remembered returns how many nonces and revoked tokens a knows.
func (a *Authenticator) Remembered() (nonces, revoked int) {
	return a.memory.counts.known, len(a.memory.revoked.ids.values)
}

// Bound bounds how many nonces and revoked tokens a remembers. Call it before a is used.
func (a *Authenticator) Bound(nonces, revoked int) {
	a.memory.counts.max, a.memory.revoked.max = nonces, revoked
}

// MaxVerified bounds the tokens of issuers that are remembered.
const MaxVerified = maxVerified

// Remember adds a token of an issuer to those that a remembers, and RememberedTokens returns how
// many these are.
func (a *Authenticator) Remember(token string) {
	a.jwts.verified.add(hashOf(token), Caller{}, issuers.Validity{})
}

func (a *Authenticator) RememberedTokens() int {
	return len(a.jwts.verified.new) + len(a.jwts.verified.old)
}

// MaxForm bounds the forms of the token endpoint.
const MaxForm = maxForm

// SetElapsed has m know how much time has passed by a function, not by the clock.
func (m *Memory) SetElapsed(elapsed func() time.Duration) { m.timeline.elapsed = elapsed }
