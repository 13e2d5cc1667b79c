package callers

import (
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits bound the requests that the token and revoke endpoints answer. Revoking has limits of its
// own, so that issuing tokens never stands in its way.
type limits struct {
	attempts          Attempts // that the limits were made for
	issuing, revoking granted
	refused           *refused
}

// newLimits returns the limits for the callers of a directory. If the configuration has the same
// attempts as before, the limits of before go on, and only new clients get new ones.
func newLimits(d *Directory, before limits) limits {
	attempts := d.settings.Attempts
	if before.attempts != attempts {
		before = limits{}
	}
	l := limits{
		attempts: attempts,
		issuing:  newGranted(d, before.issuing),
		revoking: newGranted(d, before.revoking),
		refused:  before.refused,
	}
	if l.refused == nil {
		l.refused = newRefused(attempts)
	}
	return l
}

func perMinute(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n)/60, n) }

// granted are the limits of requests with the right client secret.
type granted struct {
	mu       *sync.Mutex // for all that share a limiter
	byClient map[hash]*rate.Limiter
	overall  *rate.Limiter
}

func newGranted(d *Directory, before granted) granted {
	g := granted{mu: before.mu, byClient: map[hash]*rate.Limiter{}, overall: before.overall}
	if g.overall == nil {
		g.mu, g.overall = new(sync.Mutex), perMinute(d.settings.Attempts.Overall)
	}
	for id := range d.accounts {
		if g.byClient[id] = before.byClient[id]; g.byClient[id] == nil {
			g.byClient[id] = perMinute(d.settings.Attempts.PerClient)
		}
	}
	return g
}

// take counts a request and returns how long to wait before the next one, 0 if it may be
// answered.
func (g granted) take(client hash, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return take(now, g.byClient[client], g.overall)
}

// refused are the limits of requests with a wrong client secret or an unknown client id. The
// limiter of a client id is found by a hash that nobody outside can predict, and some ids share a
// limiter. Known and unknown ids are limited alike, so that the limits don't tell which ids are
// known, and strangers' attempts take no memory.
type refused struct {
	seed maphash.Seed

	mu       sync.Mutex
	overall  *rate.Limiter
	byClient [256]*rate.Limiter
}

func newRefused(attempts Attempts) *refused {
	r := &refused{seed: maphash.MakeSeed(), overall: perMinute(attempts.Overall)}
	for i := range r.byClient {
		r.byClient[i] = perMinute(attempts.PerClient)
	}
	return r
}

// take is like the take of granted.
func (r *refused) take(clientID string, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return take(now, r.byClient[maphash.String(r.seed, clientID)%uint64(len(r.byClient))], r.overall)
}

// take takes a token from each limiter, or none and returns the wait until it could. The caller
// holds a lock against other takers, because a limiter gives a token back in full only if no later
// reservation was made.
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
