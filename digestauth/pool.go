package digestauth

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A pool decides which request goes upstream next, and on which nonce.
//
// At most one request is in flight on a nonce. A request that finds none idle asks the server for one, unless enough others do
// so already; then it waits for whichever comes first, a nonce that somebody gives back or its turn to ask.
//
// A refusal may mean that the nonce was stale or that the key is bad, and Atlas doesn't say which. So each refusal begins a doubt.
// While it lasts, one request at a time is on trial and the others wait: the next success, of whichever request, ends the doubt, and
// several refusals on fresh nonces condemn the key. A key that never succeeded is in doubt from the start.
//
// A fresh nonce may also be refused because it got too old on its way, with so many requests in flight that the server is slow.
// Such a refusal halves the number that may be in flight, and successes raise it again little by little, as TCP does on loss: without
// that, nonces that live for 50 ms and a server that is 60 ms behind would let hardly any request through.
type pool struct {
	source                              func(context.Context) (Credential, error)
	now                                 func() time.Time
	holdBad, nonceIdle                  time.Duration
	maxRefusals, maxChallenges, maxIdle int

	mu       sync.Mutex
	key      *key      // nil until the source was read
	idle     []*nonce  // the latest used last
	asking   int       // requests for a nonce under way
	waiting  []*waiter // first come, first served
	admitted uint64    // turns given so far
	inFlight int       // turns that have not ended
	window   int       // most turns in flight, in eighths

	doubt    bool
	episode  uint64    // counts the doubts
	trials   int       // requests on trial in this doubt: one, unless it keeps the others waiting too long
	refusals int       // on fresh nonces, since the last success
	counted  uint64    // admitted, when a refusal on a fresh nonce was counted last
	badUntil time.Time // until when the key is condemned; zero unless it was, and has not succeeded since
}

// A turn is leave for one request to go upstream.
type turn struct {
	key     *key   // nil: no turn, look again
	nonce   *nonce // nil: ask for one first
	fresh   bool   // nonce came with the answer just before, so that its refusal speaks against the key
	asks    bool   // counted in pool.asking
	episode uint64 // the doubt in which this request is on trial, or 0
	number  uint64 // pool.admitted, this turn included
}

// A waiter is a request that waits for its turn.
type waiter struct {
	own      *nonce    // that its last answer brought, or nil
	turn     chan turn // holds one
	admitted uint64    // pool.admitted when patience was last measured
}

// patience is how long one request may keep all others waiting without an answer. Another is let through then, so that one
// slow answer or dead connection can't hold up everybody.
const patience = time.Second

// A window opens by one turn with every eight successes. It never closes below minWindow: with so few in flight it is not the
// crowd that makes nonces grow old.
const (
	openWindow = 8 << 20
	minWindow  = 8 * 8
)

// A CredentialError says that the server refuses the credential, or that none can be read. Nothing is sent with a refused one
// for a while, unless the source yields another. The request was refused before any work was done or was not sent at all.
type CredentialError struct {
	// Refusals counts those in a row, on fresh nonces and with no success in between. It is 0 where none was read.
	Refusals int
	// Until is when the same credential will be tried again; zero where none was read.
	Until time.Time
	// Source is what reading the credential's source, or reading it again, returned, if that failed.
	Source error
}

func (e *CredentialError) Error() string {
	if e.Refusals == 0 && e.Source != nil {
		return e.Source.Error()
	}
	msg := fmt.Sprintf("digestauth: the server refuses the credential (%d times in a row)", e.Refusals)
	if e.Source != nil {
		msg += "; reading it again failed: " + e.Source.Error()
	}
	return msg
}

// Unwrap returns Source.
func (e *CredentialError) Unwrap() error { return e.Source }

// acquire waits for a turn.
func (p *pool) acquire(ctx context.Context) (turn, error) {
	for {
		if err := ctx.Err(); err != nil {
			return turn{}, err
		}
		p.mu.Lock()
		if p.key == nil || !p.badUntil.IsZero() { // also when a bad key may be tried again: there may be a better one
			p.mu.Unlock()
			err := p.read(ctx)
			p.mu.Lock()
			if p.key == nil {
				p.mu.Unlock()
				return turn{}, &CredentialError{Source: err}
			}
			if p.condemned() {
				e := &CredentialError{Refusals: p.refusals, Until: p.badUntil, Source: err}
				p.mu.Unlock()
				return turn{}, e
			}
		}
		if len(p.waiting) == 0 {
			if t, ok := p.admit(nil, false); ok {
				p.mu.Unlock()
				return t, nil
			}
		}
		w := &waiter{turn: make(chan turn, 1), admitted: p.admitted}
		p.waiting = append(p.waiting, w)
		if t, err := p.wait(ctx, w); err != nil || t.key != nil {
			return t, err
		}
	}
}

// wait unlocks p.mu and returns the turn of w, which is in the queue. A turn without a key means that the key was condemned.
func (p *pool) wait(ctx context.Context, w *waiter) (turn, error) {
	p.mu.Unlock()
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case t := <-w.turn:
			return t, nil
		case <-tick.C:
			p.mu.Lock()
			if p.admitted == w.admitted && len(p.waiting) > 0 {
				t, _ := p.admit(p.waiting[0].own, true)
				p.hand(t)
			}
			w.admitted = p.admitted
			p.mu.Unlock()
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			if i := slices.Index(p.waiting, w); i >= 0 {
				p.waiting = slices.Delete(p.waiting, i, i+1)
				p.put(w.own)
				p.serve()
			} else if t := <-w.turn; t.key != nil {
				p.leave(t)
				p.put(t.nonce)
				p.serve()
			}
			return turn{}, fmt.Errorf("digestauth: waiting for a nonce: %w", ctx.Err())
		}
	}
}

// accepted ends a turn whose request the server let in. Its nonce, or what the server wants used instead, goes back to the pool.
func (p *pool) accepted(t turn, next *nonce) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(t)
	p.window = min(p.window+1, openWindow)
	if t.key == p.key {
		p.doubt, p.refusals, p.badUntil = false, 0, time.Time{}
	}
	p.put(next)
	p.serve()
}

// abandoned ends a turn that brought no verdict. Its nonce is dropped, since nobody knows whether the server has seen its count.
// next, if not nil, goes to the pool.
func (p *pool) abandoned(t turn, next *nonce) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(t)
	p.put(next)
	p.serve()
}

// challenged returns the turn on which a request goes on with the nonce that it asked for.
func (p *pool) challenged(ctx context.Context, t turn, n *nonce) (turn, error) {
	p.mu.Lock()
	return p.proceed(ctx, t, n)
}

// refused returns the turn on which a request that was refused goes on with the nonce that the refusal brought, or a
// *CredentialError. A stale refusal does not speak against the key (RFC 7616, section 3.3).
func (p *pool) refused(ctx context.Context, t turn, n *nonce) (turn, error) {
	p.mu.Lock()
	if t.key != p.key {
		return p.proceed(ctx, t, n)
	}
	if !p.doubt {
		p.beginDoubt()
	}
	// Refusals of requests that were under way together count once: they may have had one cause, such as a restart of the server.
	if !t.fresh || t.number <= p.counted {
		return p.proceed(ctx, t, n)
	}
	p.counted = p.admitted
	p.window = max(min(p.window, 8*p.inFlight)/2, minWindow)
	if n.Stale {
		return p.proceed(ctx, t, n)
	}
	p.refusals++
	p.mu.Unlock()
	err := p.read(ctx)
	p.mu.Lock()
	if t.key != p.key || p.refusals < p.maxRefusals {
		return p.proceed(ctx, t, n)
	}
	p.badUntil = p.now().Add(p.holdBad)
	e := &CredentialError{Refusals: p.refusals, Until: p.badUntil, Source: err}
	p.leave(t)
	p.put(n)
	for len(p.waiting) > 0 {
		p.put(p.waiting[0].own)
		p.hand(turn{})
	}
	p.mu.Unlock()
	return turn{}, e
}

// proceed ends t and returns the turn on which its request goes on with n: at once, unless another is on trial instead. It unlocks p.mu.
func (p *pool) proceed(ctx context.Context, t turn, n *nonce) (turn, error) {
	onTrial := p.onTrial(t)
	p.leave(t)
	if !p.condemned() {
		if t, ok := p.admit(n, onTrial); ok {
			t.fresh = true
			p.serve() // a request for a nonce may have ended
			p.mu.Unlock()
			return t, nil
		}
		// In front, since n gets older; and it keeps n, since the pool's may all be as stale as the one that was refused.
		w := &waiter{own: n, turn: make(chan turn, 1), admitted: p.admitted}
		p.waiting = slices.Insert(p.waiting, 0, w)
		if t, err := p.wait(ctx, w); err != nil || t.key != nil {
			return t, err
		}
	} else {
		p.put(n)
		p.mu.Unlock()
	}
	return p.acquire(ctx)
}

// The methods below need p.mu held.

// admit returns the next turn, on the request's own nonce or else on the pool's. Unless forced, there may be none.
func (p *pool) admit(own *nonce, forced bool) (turn, bool) {
	if !forced && (p.doubt && p.trials > 0 || 8*p.inFlight >= p.window) {
		return turn{}, false
	}
	n := own
	if n == nil {
		n = p.take()
	}
	if n == nil && p.asking >= p.maxChallenges && !forced {
		return turn{}, false
	}
	p.admitted++
	p.inFlight++
	t := turn{key: p.key, nonce: n, number: p.admitted}
	if n == nil {
		t.asks = true
		p.asking++
	}
	if p.doubt {
		t.episode = p.episode
		p.trials++
	}
	return t, true
}

// leave takes back what t was counted in.
func (p *pool) leave(t turn) {
	p.inFlight--
	if t.asks {
		p.asking--
	}
	if p.onTrial(t) {
		p.trials--
	}
}

func (p *pool) onTrial(t turn) bool { return p.doubt && t.episode == p.episode }

func (p *pool) beginDoubt() {
	p.doubt, p.trials = true, 0
	p.episode++
}

// serve gives turns to those who wait, as far as there are any.
func (p *pool) serve() {
	for len(p.waiting) > 0 {
		t, ok := p.admit(p.waiting[0].own, false)
		if !ok {
			return
		}
		p.hand(t)
	}
}

// hand gives t to whoever has waited longest.
func (p *pool) hand(t turn) {
	w := p.waiting[0]
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	w.turn <- t
}

// condemned reports whether the key is held back now.
func (p *pool) condemned() bool { return !p.badUntil.IsZero() && p.now().Before(p.badUntil) }

// put makes n idle.
func (p *pool) put(n *nonce) {
	if n == nil || n.nc == 1<<32-1 {
		return
	}
	n.used = p.now()
	if len(p.idle) == p.maxIdle {
		p.idle = slices.Delete(p.idle, 0, 1)
	}
	p.idle = append(p.idle, n)
}

// take returns the idle nonce that was used last, the likeliest to be good still, or nil.
func (p *pool) take() *nonce {
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	n := p.idle[last]
	if p.now().Sub(n.used) > p.nonceIdle { // and the others are older
		clear(p.idle)
		p.idle = p.idle[:0]
		return nil
	}
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return n
}

// read reads the source, without p.mu, and adopts what it yields if that is another credential.
func (p *pool) read(ctx context.Context) error {
	c, err := p.source(ctx)
	if err != nil {
		return fmt.Errorf("digestauth: reading the credential: %w", err)
	}
	if c.Username == "" || c.Password.IsZero() {
		return fmt.Errorf("digestauth: reading the credential: it is empty")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key == nil || !p.key.Equal(c) {
		p.key = &key{Credential: c}
		p.refusals, p.badUntil = 0, time.Time{}
		p.beginDoubt()
		p.serve()
	}
	return nil
}
