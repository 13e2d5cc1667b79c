package digestauth

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A pool decides which request is sent next, and on which nonce.
//
// At most one request is in flight on a nonce. A request that finds no idle nonce asks the server
// for one, unless enough others are doing so. In that case it waits until another request gives
// back a nonce, or until it may ask.
//
// A refusal means that the nonce was stale or that the key is bad; Atlas does not say which.
// Therefore a refusal puts the key in doubt. During a doubt, one request at a time is on trial and
// the others wait. The next success, of any request, ends the doubt. After several refusals on
// fresh nonces the key counts as bad. A key that has had no success is in doubt from the start.
//
// With Config.Confirm, no refusal of a caller's request puts the key in doubt or counts against it:
// see judge.
//
// A fresh nonce may also be refused because it expired on its way, when the server is slow because
// so many requests are in flight. Such a refusal halves the number of requests that may be in
// flight, and successes raise it again step by step, like TCP's congestion window. Otherwise
// hardly any request would succeed at a server whose nonces live for 50 ms and which is 60 ms
// behind.
type pool struct {
	source                              func(context.Context) (Credential, error)
	now                                 func() time.Time
	holdBad, nonceIdle                  time.Duration
	maxRefusals, maxChallenges, maxIdle int
	// ask sends the request of Config.Confirm once, and returns the nonce to use next, or nil. It is
	// nil if there is no such request.
	ask func(context.Context, turn) (verdict, *nonce)

	mu       sync.Mutex
	key      *key      // nil until the source was read
	idle     []*nonce  // by when they were used; the most recent is last
	asking   int       // requests for a nonce that are in flight
	waiting  []*waiter // the first gets the next turn
	turns    uint64    // how many turns there were
	inFlight int       // turns that have not ended
	window   int       // how many turns may be in flight, in eighths

	doubt    bool      // the key is in doubt
	doubts   uint64    // how many doubts there were
	trials   int       // requests on trial in this doubt: one, or more after maxStall
	refusals int       // on fresh nonces, since the last success
	counted  uint64    // turns, when a refusal on a fresh nonce was counted last
	badUntil time.Time // until when a bad key is held back; zero after a success
	accepts  uint64    // the number of the last turn on which the key was accepted

	confirming *confirmation // nil if none is being sent
}

// A turn is the permission to send one request.
type turn struct {
	key    *key   // nil if this is no turn: acquire must begin again
	nonce  *nonce // nil if the request must ask for one
	fresh  bool   // nonce came with the answer just before: a refusal counts against the key
	asks   bool   // the turn counts in pool.asking
	doubt  uint64 // the number of the doubt in which the request is on trial, or 0
	number uint64 // the number of the turn, from 1

	history history // of the request, with Config.Confirm
}

// A waiter is a request that waits for its turn.
type waiter struct {
	own   *nonce    // the nonce of its last answer, or nil
	turn  chan turn // has room for one
	turns uint64    // pool.turns, when the waiter last compared it
}

// maxStall is how long all requests may wait for the answer to one. After that another request
// gets a turn, so that a slow answer or a dead connection does not stop all of them.
const maxStall = time.Second

// The bounds of pool.window, which grows by one turn with each eight successes. With minWindow in
// flight, it is not the number of requests that makes nonces expire.
const (
	maxWindow = 8 << 20
	minWindow = 8 * 8
)

// A CredentialError says that the server refuses the credential, or that the credential can't be
// read. Nothing is sent with a refused credential for a while, unless Config.Credential returns
// another one. The server refused the request before it did any work, or the request was not sent.
type CredentialError struct {
	// Refusals counts the refusals in a row, on fresh nonces and with no success in between. It is
	// 0 if the credential could not be read.
	Refusals int
	// Until is when the same credential will be tried again. It is zero if the credential could
	// not be read.
	Until time.Time
	// Source is the error of Config.Credential, if it returned one.
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
		// Also when a bad key may be tried again: the source may have a better one.
		if p.key == nil || !p.badUntil.IsZero() {
			p.mu.Unlock()
			err := p.read(ctx)
			p.mu.Lock()
			if p.key == nil {
				p.mu.Unlock()
				return turn{}, &CredentialError{Source: err}
			}
			if p.heldBack() {
				e := &CredentialError{Refusals: p.refusals, Until: p.badUntil, Source: err}
				p.mu.Unlock()
				return turn{}, e
			}
		}
		if len(p.waiting) == 0 {
			if t, ok := p.next(nil, false); ok {
				p.mu.Unlock()
				return t, nil
			}
		}
		w := &waiter{turn: make(chan turn, 1), turns: p.turns}
		p.waiting = append(p.waiting, w)
		if t, err := p.wait(ctx, w); err != nil || t.key != nil {
			return t, err
		}
	}
}

// wait unlocks p.mu, and returns the turn of w, which is in p.waiting. A turn without a key means
// that the key counts as bad.
func (p *pool) wait(ctx context.Context, w *waiter) (turn, error) {
	p.mu.Unlock()
	tick := time.NewTicker(maxStall)
	defer tick.Stop()
	for {
		select {
		case t := <-w.turn:
			return t, nil
		case <-tick.C:
			p.mu.Lock()
			if p.turns == w.turns && len(p.waiting) > 0 {
				t, _ := p.next(p.waiting[0].own, true)
				p.give(t)
			}
			w.turns = p.turns
			p.mu.Unlock()
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			if i := slices.Index(p.waiting, w); i >= 0 {
				p.waiting = slices.Delete(p.waiting, i, i+1)
				p.put(w.own)
				p.giveAll()
			} else if t := <-w.turn; t.key != nil {
				p.end(t)
				p.put(t.nonce)
				p.giveAll()
			}
			return turn{}, fmt.Errorf("digestauth: waiting for a nonce: %w", ctx.Err())
		}
	}
}

// accepted ends a turn whose request the server admitted. The pool gets following, which is the
// nonce of the turn or the one that the server wants instead.
func (p *pool) accepted(t turn, following *nonce) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(t)
	p.window = min(p.window+1, maxWindow)
	if t.history.refused > p.counted { // its nonces were the cause
		p.shrink()
	}
	if t.key == p.key {
		p.doubt, p.refusals, p.badUntil = false, 0, time.Time{}
		p.accepts = max(p.accepts, t.number)
	}
	p.put(following)
	p.giveAll()
}

// abandoned ends a turn that says nothing about the key. The nonce of the turn is dropped, since
// the server may or may not have seen its count. The pool gets other, if that is not nil.
func (p *pool) abandoned(t turn, other *nonce) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(t)
	p.put(other)
	p.giveAll()
}

// challenged ends a turn whose request asked for a nonce. It returns the next turn of the request,
// with n, the nonce that the server sent.
func (p *pool) challenged(ctx context.Context, t turn, n *nonce) (turn, error) {
	p.mu.Lock()
	return p.proceed(ctx, t, n)
}

// refused ends a turn whose request was refused. It returns the next turn of the request, with n,
// the nonce of the refusal, or a *CredentialError. A refusal with stale=true does not count
// against the key (RFC 7616, section 3.3).
func (p *pool) refused(ctx context.Context, t turn, n *nonce) (turn, error) {
	p.mu.Lock()
	if t.key != p.key {
		return p.proceed(ctx, t, n)
	}
	if p.ask != nil {
		return p.judge(ctx, t, n)
	}
	if !p.doubt {
		p.beginDoubt()
	}
	// Refusals of requests that were in flight together count once: they may have one cause, such
	// as a restart of the server.
	if !t.fresh || t.number <= p.counted {
		return p.proceed(ctx, t, n)
	}
	p.shrink()
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
	return turn{}, p.holdBack(t, n, err)
}

// proceed ends t, and returns the next turn of its request, with n. The request waits if another
// one is on trial. proceed unlocks p.mu.
func (p *pool) proceed(ctx context.Context, t turn, n *nonce) (turn, error) {
	onTrial, h := p.onTrial(t), t.history
	p.end(t)
	next, err := p.again(ctx, n, onTrial)
	next.history = h
	return next, err
}

// again returns the next turn of a request, with n or, if that is nil, with one of the pool. It
// unlocks p.mu.
func (p *pool) again(ctx context.Context, n *nonce, onTrial bool) (turn, error) {
	if !p.heldBack() {
		if t, ok := p.next(n, onTrial); ok {
			t.fresh = n != nil
			p.giveAll() // t may have asked for a nonce, so that another may ask now
			p.mu.Unlock()
			return t, nil
		}
		// It waits in front of all others, since n gets older. It keeps n, since the nonces of the
		// pool may all be as stale as the one that was refused.
		w := &waiter{own: n, turn: make(chan turn, 1), turns: p.turns}
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

// next returns the next turn, with the nonce own or, if that is nil, with one of the pool. It
// returns false if there may be no turn now; with forced, there always is one.
func (p *pool) next(own *nonce, forced bool) (turn, bool) {
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
	p.turns++
	p.inFlight++
	t := turn{key: p.key, nonce: n, number: p.turns}
	if n == nil {
		t.asks = true
		p.asking++
	}
	if p.doubt {
		t.doubt = p.doubts
		p.trials++
	}
	return t, true
}

// end takes t out of what it counts in.
func (p *pool) end(t turn) {
	p.inFlight--
	if t.asks {
		p.asking--
	}
	if p.onTrial(t) {
		p.trials--
	}
}

// onTrial reports whether the request of t is on trial in the present doubt.
func (p *pool) onTrial(t turn) bool { return p.doubt && t.doubt == p.doubts }

// shrink halves the number of requests that may be in flight.
func (p *pool) shrink() {
	p.counted = p.turns
	p.window = max(min(p.window, 8*p.inFlight)/2, minWindow)
}

func (p *pool) beginDoubt() {
	p.doubt, p.trials = true, 0
	p.doubts++
}

// giveAll gives turns to the requests that wait, as long as there are turns.
func (p *pool) giveAll() {
	for len(p.waiting) > 0 {
		t, ok := p.next(p.waiting[0].own, false)
		if !ok {
			return
		}
		p.give(t)
	}
}

// give gives t to the first request that waits.
func (p *pool) give(t turn) {
	w := p.waiting[0]
	p.waiting[0] = nil
	p.waiting = p.waiting[1:]
	w.turn <- t
}

// heldBack reports whether the key counts as bad and may not be tried again yet. A clock that was
// set back does not make that longer.
func (p *pool) heldBack() bool {
	if p.badUntil.IsZero() {
		return false
	}
	left := p.badUntil.Sub(p.now())
	return 0 < left && left <= p.holdBad
}

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

// take returns the idle nonce that was used last, since it is the most likely to be good still. It
// returns nil if there is none.
func (p *pool) take() *nonce {
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	n := p.idle[last]
	if p.now().Sub(n.used) > p.nonceIdle { // the others are older
		clear(p.idle)
		p.idle = p.idle[:0]
		return nil
	}
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return n
}

// read reads the source, without p.mu. If the source has another credential, that becomes the key.
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
		p.giveAll()
	}
	return nil
}
