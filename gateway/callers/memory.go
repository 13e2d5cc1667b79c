package callers

import (
	"crypto/rand"
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// memory is what outlives a configuration.
type memory struct {
	counts  counts
	revoked revoked
	refused *refused
	madeUp  signingKey
}

// remember takes over the memory of the Authenticator before, or starts a new one.
func (a *Authenticator) remember(previous *Authenticator) {
	var issuing, revoking granted // of before
	if previous != nil && previous.settings.Attempts == a.settings.Attempts {
		issuing, revoking = previous.granted, previous.revoking
	}
	if previous != nil {
		a.memory = previous.memory
		a.memory.counts.keep(a.directory.pairs)
	} else {
		key := make([]byte, minKey)
		rand.Read(key) // never fails
		a.memory = &memory{counts: counts{max: maxNonces, pairs: map[hash]*used{}}, revoked: revoked{max: maxRevoked}, madeUp: newSigningKey(key), refused: &refused{seed: maphash.MakeSeed()}}
	}
	// Revoking has limits of its own, so that issuing never stands in its way.
	a.granted, a.revoking = a.limits(issuing), a.limits(revoking)
	a.memory.refused.limit(a.settings.Attempts)
}

// limits returns those of before that are still wanted, and new ones for what it lacks.
func (a *Authenticator) limits(before granted) granted {
	g := granted{mu: before.mu, byClient: map[hash]*rate.Limiter{}, overall: before.overall}
	if g.overall == nil {
		g.mu, g.overall = new(sync.Mutex), perMinute(a.settings.Attempts.Overall)
	}
	for id := range a.directory.accounts {
		if g.byClient[id] = before.byClient[id]; g.byClient[id] == nil {
			g.byClient[id] = perMinute(a.settings.Attempts.PerClient)
		}
	}
	return g
}

func perMinute(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n)/60, n) }

// granted are the limits of requests with a right client secret.
type granted struct {
	mu       *sync.Mutex
	byClient map[hash]*rate.Limiter
	overall  *rate.Limiter
}

// refused are the limits of requests with a wrong client secret or an unknown client id. A client
// id's limiter is found by a hash that nobody outside can predict; some share one. Known ids and
// others have the same, so that limits don't tell which are known, and what strangers try takes
// no memory.
type refused struct {
	seed maphash.Seed

	mu       sync.Mutex
	attempts Attempts
	overall  *rate.Limiter
	byClient [256]*rate.Limiter
}

func (r *refused) limit(attempts Attempts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attempts == attempts {
		return
	}
	r.attempts, r.overall = attempts, perMinute(attempts.Overall)
	for i := range r.byClient {
		r.byClient[i] = perMinute(attempts.PerClient)
	}
}

// take counts a request and returns how long to wait before the next one, 0 if it may be
// answered.
func (r *refused) take(clientID string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return take(now, r.byClient[maphash.String(r.seed, clientID)%uint64(len(r.byClient))], r.overall)
}

func (g granted) take(client hash, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return take(now, g.byClient[client], g.overall)
}

// take takes a token from each limiter, or else returns the wait until it could. Others must not
// take meanwhile: a limiter takes a token back in full from the last reservation alone.
func take(now time.Time, limiters ...*rate.Limiter) time.Duration {
	var wait time.Duration
	var taken []*rate.Reservation
	for _, l := range limiters {
		reservation := l.ReserveN(now, 1)
		wait = max(wait, reservation.DelayFrom(now))
		taken = append(taken, reservation)
	}
	if wait > 0 {
		for _, reservation := range taken {
			reservation.CancelAt(now)
		}
	}
	return wait
}

// maxRevoked bounds the revoked tokens that are remembered, of some 150 bytes each. The limits of
// the token endpoint let far fewer be issued in the default lifetime.
const maxRevoked = 1 << 16

// revoked remembers the ids of revoked tokens until they expire.
type revoked struct {
	max int // tokens remembered

	mu  sync.Mutex
	ids aging[string, struct{}]
}

func (r *revoked) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.ids.values[id]
	return ok
}

// add returns false when there is no room: to forget another would make that one good again.
func (r *revoked) add(id string, expiry, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids.dropUntil(now.UnixMilli())
	if _, ok := r.ids.values[id]; ok {
		return true
	}
	if len(r.ids.order) >= r.max {
		return false
	}
	r.ids.add(id, struct{}{}, expiry.UnixMilli())
	return true
}
