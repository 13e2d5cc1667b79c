package digestauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// A verdict is what an answer to the request of Config.Confirm says about the key.
type verdict int

const (
	undecided verdict = iota // nothing
	good                     // the server accepts it
	refused                  // the server refuses it, or the nonce was stale
)

// A confirmation is the request of Config.Confirm that is being sent, for all requests that were
// refused meanwhile.
type confirmation struct {
	done    chan struct{}
	decided bool             // set before done is closed
	bad     *CredentialError // set before done is closed, if the key counts as bad
}

// A history is what a request has been through.
type history struct {
	refused uint64 // the number of the last turn that was refused on a fresh nonce, or 0
	cleared bool   // the request was refused and the key was not: further refusals are its own
}

// confirmTimeout bounds the request of Config.Confirm, all nonces together.
const confirmTimeout = 10 * time.Second

// A RefusedError says that the server refused one request with each of several nonces, and that
// the credential does not count as bad: the server accepts it for the request of
// [Config.Confirm], or gave no answer to that. The server did not carry the request out.
type RefusedError struct {
	// Refusals counts the refusals of the request.
	Refusals int
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("digestauth: the server refuses the request (%d times), and not the credential", e.Refusals)
}

// checkConfirm returns an error if the request of Config.Confirm can't be sent.
func checkConfirm(o *outbound.Origin, req *http.Request) error {
	switch {
	case req == nil:
		return nil
	case req.Method != "" && req.Method != http.MethodGet || req.Body != nil:
		return errors.New("digestauth: Confirm is no GET without content")
	}
	return o.Check(req)
}

// judge is refused for a pool with Config.Confirm. A caller can have a request of its own refused
// as often as it likes. Therefore such a refusal stops no other request: the requests that were
// refused on a fresh nonce wait until the request of Config.Confirm, sent after that, has an
// answer. They do not wait if another request that was sent after them was accepted.
//
// p.mu is held, and unlocked by judge.
func (p *pool) judge(ctx context.Context, t turn, n *nonce) (next turn, err error) {
	h := t.history
	defer func() { next.history = h }()
	if !t.fresh {
		return p.proceed(ctx, t, n)
	}
	h.refused = t.number
	if n.Stale || h.cleared {
		return p.proceed(ctx, t, n)
	}
	if p.confirming == nil && p.accepts < t.number {
		p.mu.Unlock()
		p.read(ctx) // an error is for decide, which reads again before the key counts as bad
		p.mu.Lock()
	}
	onTrial := p.onTrial(t)
	p.end(t)
	for t.key == p.key && p.accepts < t.number && !h.cleared {
		c := p.confirming
		if c == nil {
			c = p.confirm(n)
			n = nil
		}
		p.giveAll()
		p.mu.Unlock()
		select {
		case <-c.done:
			p.mu.Lock()
		case <-ctx.Done():
			p.mu.Lock()
			p.put(n)
			p.giveAll()
			p.mu.Unlock()
			return turn{}, fmt.Errorf("digestauth: waiting for the key to be confirmed: %w", ctx.Err())
		}
		if c.bad != nil {
			p.put(n)
			p.mu.Unlock()
			return turn{}, c.bad
		}
		h.cleared = !c.decided || p.accepts > t.number
	}
	return p.again(ctx, n, onTrial)
}

// confirm begins to send the request of Config.Confirm, on the nonce n if that is not nil. p.mu is
// held.
func (p *pool) confirm(n *nonce) *confirmation {
	c := &confirmation{done: make(chan struct{})}
	p.confirming = c
	p.refusals = max(p.refusals, 1) // the refusal that made it necessary
	t, _ := p.next(n, true)
	t.fresh = n != nil
	go p.decide(c, t)
	return c
}

// decide sends the request of Config.Confirm until its answer says whether the key is good. A nonce
// may be refused although it is new: the key counts as bad after maxRefusals in a row.
func (p *pool) decide(c *confirmation, t turn) {
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	defer close(c.done)
	for tries := 1; ; tries++ {
		v, n := p.ask(ctx, t)
		var err error
		if v == refused && t.fresh && !n.Stale {
			err = p.read(ctx)
		}
		p.mu.Lock()
		if v != refused || t.key != p.key || tries > 2*p.maxRefusals {
			p.confirming = nil
			c.decided = v == good || t.key != p.key
			p.mu.Unlock()
			if v == good {
				p.accepted(t, n)
			} else {
				p.abandoned(t, n)
			}
			return
		}
		if t.fresh && !n.Stale {
			t.history.refused = t.number
			if p.refusals++; p.refusals >= p.maxRefusals {
				p.confirming = nil
				c.decided, c.bad = true, p.holdBack(t, n, err)
				return
			}
			// No caller is the cause of this refusal: now the other requests wait.
			if !p.doubt {
				p.beginDoubt()
			}
		}
		h := t.history
		p.end(t)
		t, _ = p.next(n, true)
		t.fresh, t.history = true, h
		p.mu.Unlock()
	}
}

// holdBack ends a turn whose refusal shows that the key is bad. It unlocks p.mu.
func (p *pool) holdBack(t turn, n *nonce, source error) *CredentialError {
	p.badUntil = p.now().Add(p.holdBad)
	e := &CredentialError{Refusals: p.refusals, Until: p.badUntil, Source: source}
	p.end(t)
	p.put(n)
	for len(p.waiting) > 0 {
		p.put(p.waiting[0].own)
		p.give(turn{})
	}
	p.mu.Unlock()
	return e
}

// askConfirm sends the request of Config.Confirm once. It returns the nonce to use next, or nil.
func (t *Transport) askConfirm(ctx context.Context, turn turn) (verdict, *nonce) {
	out, err := signed(t.confirm.WithContext(ctx), outbound.Content{}, turn)
	if err != nil {
		return undecided, nil
	}
	out, connections := countConnections(out)
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		return undecided, nil
	}
	outbound.Discard(resp)
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized && !t.vouched(resp):
		challenge, err := ChooseChallenge(resp.Header, t.realm)
		if err != nil {
			return undecided, nil
		}
		n := newNonce(challenge)
		// net/http may have sent the same count twice, which the server refused.
		n.Stale = n.Stale || connections.Load() > 1
		return refused, n
	case turn.nonce == nil: // nobody asked for the key
		return undecided, nil
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		// It may come from a proxy that does not look at the key.
		return undecided, nextNonce(turn.nonce, resp.Header)
	}
	return good, nextNonce(turn.nonce, resp.Header)
}
