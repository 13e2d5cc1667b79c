package budget

import (
	"container/list"
	"context"
	"slices"
	"time"

	"atlas-export-gateway/gateway/atlas"
)

// queue is the requests of one class that wait for a bucket, with a line for each caller. The
// callers take turns.
type queue struct {
	lines   map[string]*line
	order   list.List // of *line, the next one first
	waiting int
}

type line struct {
	caller  string
	element *list.Element
	waiters []*waiter
}

// waiter is a request that waits. Its turn comes with a value on granted, or an error on refused.
type waiter struct {
	*request
	granted chan turn
	refused chan error
}

func (q *queue) push(w *waiter) {
	l := q.lines[w.caller]
	if l == nil {
		l = &line{caller: w.caller}
		l.element = q.order.PushBack(l)
		if q.lines == nil {
			q.lines = map[string]*line{}
		}
		q.lines[w.caller] = l
	}
	l.waiters = append(l.waiters, w)
	q.waiting++
}

// pop removes the request whose turn it is.
func (q *queue) pop() *waiter { return q.popOf(func(string) bool { return true }) }

// popOf removes the request whose turn it is among those of some callers. It returns nil if there
// is none.
func (q *queue) popOf(some func(caller string) bool) *waiter {
	for e := q.order.Front(); e != nil; e = e.Next() {
		if l := e.Value.(*line); some(l.caller) {
			w := l.waiters[0]
			q.order.MoveToBack(e)
			q.remove(w)
			return w
		}
	}
	return nil
}

// remove removes a request, and reports whether it waited.
func (q *queue) remove(w *waiter) bool {
	l := q.lines[w.caller]
	if l == nil {
		return false
	}
	i := slices.Index(l.waiters, w)
	if i < 0 {
		return false
	}
	q.waiting--
	if l.waiters = slices.Delete(l.waiters, i, i+1); len(l.waiters) == 0 {
		q.order.Remove(l.element)
		delete(q.lines, l.caller)
	}
	return true
}

// of returns how many requests of a caller wait.
func (q *queue) of(caller string) int {
	if l := q.lines[caller]; l != nil {
		return len(l.waiters)
	}
	return 0
}

// before returns how many requests come before the next one of a caller, if all take turns.
func (q *queue) before(caller string) (n int) {
	own := q.of(caller)
	for _, l := range q.lines {
		if l.caller == caller {
			n += own
		} else {
			n += min(len(l.waiters), own+1)
		}
	}
	return n
}

// ahead returns how many requests of a bucket come before the next one of a caller, at most.
func (s *bucket) ahead(q *request) int {
	own := s.queues[q.class].before(q.caller)
	n := own
	for c := range q.class {
		n += s.queues[c].waiting
	}
	return min(n, share*(own+1))
}

// enter waits until it is a request's turn. The error says that it will not come.
func (w *Way) enter(ctx context.Context, q *request, now time.Time) (turn, error) {
	b := w.budget
	b.mu.Lock()
	s := b.bucketOf(q.key, &w.config, now)
	if b.lapsed(s, now) {
		defer b.mu.Unlock()
		return b.probe(s, q, now)
	}
	if s.ahead(q) == 0 {
		if _, why := b.ready(s, q.class, now); why == none || why == unheard && s.mayTry(q.caller) {
			t := b.take(s, q, now)
			b.mu.Unlock()
			return q.bounded(t, now, &w.config), nil
		}
	}
	patience := min(w.config.Wait, q.deadline.Sub(now))
	if after, why := b.estimate(s, q, now); why == scarce && (after > patience || s.queues[q.class].of(q.caller) >= w.config.Waiting-s.queues[q.class].waiting) {
		b.mu.Unlock()
		return turn{}, &Error{Kind: Spent, RetryAfter: max(after, time.Second)}
	}
	waiting := &waiter{q, make(chan turn, 1), make(chan error, 1)}
	s.queues[q.class].push(waiting)
	b.serve(s, now)
	b.mu.Unlock()
	t, err := b.await(ctx, s, waiting, patience)
	b.observer.Waited(q.class.String(), time.Since(now))
	if err != nil {
		return turn{}, err
	}
	t.until = q.deadline
	return t, nil
}

// bounded returns the turn with the deadline that the request has if it began some time ago.
func (q *request) bounded(t turn, now time.Time, c *Config) turn {
	if q.deadline.Sub(now) < c.Timeout-time.Millisecond {
		t.until = q.deadline
	}
	return t
}

// await waits for a request's turn.
func (b *Budget) await(ctx context.Context, s *bucket, w *waiter, patience time.Duration) (turn, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case t := <-w.granted:
		return t, nil
	case err := <-w.refused:
		return turn{}, err
	case <-ctx.Done():
	case <-timer.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	gone := ctx.Err() != nil
	if !s.queues[w.class].remove(w) { // it was its turn, or refused, meanwhile
		select {
		case err := <-w.refused:
			return turn{}, err
		case t := <-w.granted:
			if !gone {
				return t, nil
			}
			b.giveBack(t)
		}
	}
	if gone {
		return turn{}, &atlas.Error{Kind: atlas.Canceled, Outcome: atlas.NotSent, Err: context.Cause(ctx)}
	}
	after, why := b.estimate(s, w.request, now)
	if why == unheard || why == crowded {
		return turn{}, &Error{Kind: Out, RetryAfter: probeEvery}
	}
	return turn{}, &Error{Kind: Spent, RetryAfter: max(after, time.Second)}
}

// estimate returns when it would be the turn of a request that begins to wait now, and why it has
// to.
func (b *Budget) estimate(s *bucket, q *request, now time.Time) (time.Duration, reason) {
	at, why := b.ready(s, q.class, now)
	after := seconds(float64(s.ahead(q)) / s.refill)
	if why == scarce {
		after += at.Sub(now)
	}
	return after, why
}

// serve gives the requests that wait for a bucket their turns, as far as it can, and has itself
// called again when more is possible.
func (b *Budget) serve(s *bucket, now time.Time) {
	for b.serveNext(s, now) {
	}
}

// serveNext gives one request its turn, if it can.
func (b *Budget) serveNext(s *bucket, now time.Time) bool {
	for _, c := range s.order() {
		at, why := b.ready(s, c, now)
		var next *waiter
		if why == none {
			next = s.queues[c].pop()
		} else if why == unheard {
			next = s.queues[c].popOf(s.mayTry)
		}
		if next != nil {
			next.granted <- b.take(s, next.request, now)
			return true
		}
		if why == crowded {
			b.crowded[s] = true
		}
		if !at.IsZero() {
			b.serveAt(s, at.Sub(now))
		}
		if !s.due(c) && why != unheard {
			return false // nor can a less urgent one be sent
		}
	}
	return false
}

// order returns the classes that wait, in the order of their turns.
func (s *bucket) order() (order []Class) {
	for c := classes - 1; c >= 0; c-- {
		if s.due(c) {
			order = append(order, c)
		}
	}
	for c := range classes {
		if s.queues[c].waiting > 0 && !s.due(c) {
			order = append(order, c)
		}
	}
	return order
}

// serveAt has serve called after some time: at least a millisecond, since a rounded time would be
// too early again and again.
func (b *Budget) serveAt(s *bucket, after time.Duration) {
	after = max(after, time.Millisecond)
	if s.timer != nil {
		s.timer.Reset(after)
		return
	}
	s.timer = time.AfterFunc(after, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		now := time.Now()
		if !b.lapsed(s, now) {
			b.serve(s, now)
		}
	})
}
