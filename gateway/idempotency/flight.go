package idempotency

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/store"
)

// flight follows one key until it is known what became of its create. All requests of this process
// with the key wait for the same flight.
type flight struct {
	request *request // that began it; nil for a record that was found without a request
	form    form
	key     string
	done    chan struct{}
	end     end // once done is closed

	// The mutex of Creates guards these.
	waiting int                // requests that wait
	leave   context.CancelFunc // ends a create that is not sent yet
	sent    bool               // the create of request was handed to the network
	looking bool               // the outcome of a create is unknown
	left    bool               // at some time nobody waited
}

// end is what a flight has found: one of its members is set, or both response and record.
type end struct {
	record   *store.Record   // the create was carried out
	response *atlas.Response // what Atlas answered to the flight's own create
	err      error
	again    bool // the key is free, and the request that began the flight was not sent
}

// pollEvery is how often a flight looks whether another gateway has answered.
const pollEvery = 250 * time.Millisecond

// join returns the flight of a request's key, which it starts if there is none.
func (c *Creates) join(q *request) (f *flight, started bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil, false, noJournal(errClosed)
	}
	if f = c.flights[q.key]; f == nil {
		f, started = c.start(q.key, q), true
	} else if q.given && f.request != nil && f.request.digest != q.digest {
		return nil, false, &Error{Kind: KeyReused, Outcome: atlas.NotSent}
	}
	f.waiting++
	return f, started, nil
}

// start starts a flight. The mutex is held.
func (c *Creates) start(key string, q *request) *flight {
	f := &flight{request: q, key: key, done: make(chan struct{})}
	var ctx context.Context
	ctx, f.leave = context.WithCancel(context.WithoutCancel(c.ctx))
	if q != nil {
		f.form = q.form
	}
	c.flights[key] = f
	c.working.Add(1)
	go func() {
		defer c.working.Done()
		defer f.leave()
		end := c.fly(ctx, f)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		// Who has joined since everyone left must not suffer for it.
		if f.left && !f.sent && end.err != nil {
			end.err, end.again = nil, true
		}
		f.end = end
		close(f.done)
	}()
	return f
}

// leave notes that a request no longer waits for a flight. A create that nobody waits for and that
// is not sent yet is not sent.
func (c *Creates) leave(f *flight) (sent, looking bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.left = true
		f.leave()
	}
	return f.sent, f.looking
}

// left returns the error for a request whose time is over, or whose caller is gone.
func (c *Creates) left(ctx context.Context, f *flight) error {
	sent, looking := c.leave(f)
	cause := context.Cause(ctx)
	outcome := atlas.NotSent
	if sent || looking {
		outcome = atlas.Unknown
	}
	if errors.Is(cause, errWaited) {
		waited := open(cause)
		waited.Outcome = outcome
		return waited
	}
	return &atlas.Error{Kind: atlas.Canceled, Outcome: outcome, Err: cause}
}

// set changes what others see of a flight.
func (c *Creates) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// fly follows a key. ctx ends when nobody waits any more. A panic ends only this flight: the record
// of its create, if there is one, is followed by another.
func (c *Creates) fly(ctx context.Context, f *flight) (found end) {
	defer func() {
		if p := recover(); p != nil {
			found = end{err: open(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))}
		}
	}()
	followed := "" // the ID of the record that the flight has seen open
	for {
		call, cancel := c.call()
		r, err := c.journal.Find(call, f.key)
		cancel()
		switch {
		case errors.Is(err, store.ErrGone):
			switch {
			case f.request == nil:
				return end{again: true}
			case f.sent: // by this goroutine; the create is never sent again
				return end{err: &Error{Kind: Released, Outcome: atlas.Unknown, RetryAfter: time.Second}}
			}
			if end, done := c.send(ctx, f); done {
				return end
			}
		case err != nil:
			return end{err: c.failed(f, err)}
		case f.request != nil && f.request.differs(r):
			return end{err: &Error{Kind: KeyReused, Outcome: atlas.NotSent}}
		case r.State == store.Answered && f.request == nil && r.ID != followed:
			return end{again: true} // answered since it was found open
		case r.State == store.Answered:
			if byName[r.Kind].kept || r.ID == followed || f.request != nil && f.request.given {
				return end{record: r}
			}
			if err := c.free(r, "the key of what was created is free again"); err != nil {
				return end{err: noJournal(err)}
			}
		case r.Owner == c.owner:
			followed = r.ID
			if end, done := c.look(f, r); done {
				return end
			}
		case f.request == nil:
			return end{again: true} // another gateway follows it
		default:
			followed = r.ID
			c.set(func() { f.looking = true })
			select {
			case <-time.After(pollEvery):
			case <-ctx.Done():
				return end{err: open(errWaited)}
			case <-c.ctx.Done():
				return end{err: open(errWaited)}
			}
		}
	}
}

// failed says that the journal failed, and what is known then of the create that a flight follows.
func (c *Creates) failed(f *flight, err error) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.sent || f.looking {
		return open(err)
	}
	return noJournal(err)
}

// free removes a record, which may be gone already.
func (c *Creates) free(r *store.Record, reason string) error {
	ctx, cancel := c.call()
	defer cancel()
	err := c.journal.Free(ctx, r.ID)
	if errors.Is(err, store.ErrGone) {
		return nil
	}
	if err == nil {
		c.logState(r, "free", reason)
	}
	return err
}
