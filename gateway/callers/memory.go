package callers

import (
	"crypto/rand"
	"sync"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
)

// Memory is what outlives a configuration: which counts of nonces were used, which tokens were
// revoked, how many attempts were made, when each key was last used, the keys of issuers, and a
// signing key that was made up. One Memory serves all configurations of a process, and may be used
// from several goroutines.
type Memory struct {
	counts   counts
	revoked  revoked
	shared   Revocations // nil where revocations are only this process's
	timeline timeline
	madeUp   signingKey
	keySets  *issuers.KeySets

	mu     sync.Mutex
	limits limits              // of the configuration in force; zero before the first
	uses   map[KeyName]*keyUse // of its keys
}

// NewMemory returns an empty Memory. It makes up the signing key that serves where there is no
// file.
func NewMemory() *Memory {
	key := make([]byte, minKey)
	rand.Read(key) // never fails
	return &Memory{
		counts:  counts{max: maxNonces, pairs: map[hash]*used{}},
		revoked: revoked{max: maxRevoked},
		madeUp:  newSigningKey(key),
		keySets: issuers.NewKeySets(),
	}
}

// TellIssuers has m call tell when the keys of an issuer can't be fetched, and when they can
// again. It is called before the first Keep.
func (m *Memory) TellIssuers(tell func(issuers.State)) { m.keySets.Tell = tell }

// Close ends what m does by itself: it fetches no keys of issuers any more. Authenticators may go
// on with those that m has.
func (m *Memory) Close() { m.keySets.Close() }

// Issuers returns what m has of the keys of issuers, in the order of the configuration in force.
func (m *Memory) Issuers() []issuers.State { return m.keySets.States() }

// Keep tells m that a's configuration is in force: m forgets what concerns callers that a does not
// have, and fetches the keys of a's issuers. Requests that an earlier Authenticator is still
// answering may go on meanwhile.
func (m *Memory) Keep(a *Authenticator) {
	m.counts.keep(a.directory.pairs)
	m.keySets.Keep(a.jwts.verifier)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits = a.limits
	m.keepUses(a)
}

// limitsFor returns the limits for the callers of a directory.
func (m *Memory) limitsFor(d *Directory) limits {
	m.mu.Lock()
	defer m.mu.Unlock()
	return newLimits(d, m.limits)
}

// maxRevoked bounds the revoked tokens that are remembered. Each takes some 150 bytes. The limits
// of the token endpoint let far fewer tokens be issued in the default lifetime, for which each is
// remembered at least.
const maxRevoked = 1 << 16

// revoked remembers the ids of revoked tokens until they expire: by the clock, and by the time
// that passes whatever is done to the clock. So a clock that was set ahead and is put right does
// not make a token good again.
type revoked struct {
	max int // of ids

	mu  sync.Mutex
	ids aging[string, time.Time] // the expiry of each; its time is when passed, in milliseconds
}

// revoke makes an access token unusable. It returns false when there is no room: forgetting
// another token would make that token good again.
func (m *Memory) revoke(id string, issued, expiry, now time.Time) bool {
	_, passed := m.timeline.read(now)
	return m.revoked.add(id, issued, expiry, now, passed)
}

func (r *revoked) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.ids.values[id]
	return ok
}

// add returns false when there is no room.
func (r *revoked) add(id string, issued, expiry, now time.Time, passed time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now, passed)
	if _, ok := r.ids.values[id]; ok {
		return true
	}
	if len(r.ids.order) >= r.max {
		return false
	}
	r.keep(id, expiry, passed+max(expiry.Sub(issued), expiry.Sub(now)))
	return true
}

func (r *revoked) keep(id string, expiry time.Time, until time.Duration) {
	r.ids.add(id, expiry, until.Milliseconds()+1)
}

// forget drops the tokens that have expired by the clock and by the time that has passed.
func (r *revoked) forget(now time.Time, passed time.Duration) {
	for len(r.ids.order) > 0 && r.ids.order[0].at <= passed.Milliseconds() {
		id := r.ids.order[0].key
		expiry := r.ids.values[id]
		r.ids.drop()
		if left := expiry.Sub(now); left > 0 {
			r.keep(id, expiry, passed+left) // the clock was set back
		}
	}
}
