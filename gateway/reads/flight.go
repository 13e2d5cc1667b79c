package reads

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"atlas-export-gateway/gateway/atlas"
)

// flight is one request to Atlas, and the reads that wait for it. It goes on as long as one of
// them does, whoever began it.
type flight struct {
	target *target
	ctx    context.Context // ends when nobody waits any more; nil if nobody joins: see newFlight
	cancel context.CancelFunc

	// The mutex of Reads guards these.
	waiting int           // reads
	began   time.Time     // before Atlas was asked; zero until then
	done    chan struct{} // closed at the end; nil as long as only the read that began it waits

	// These are there once done is closed.
	response *atlas.Response
	lasts    time.Duration // how old the answer may be for others
	err      error
}

// newFlight returns a flight. Its context has nothing of the read's. A flight that nobody joins,
// since its answer would be too old for whoever comes behind its beginning, has no context of its
// own: it lasts as long as that of the read that leads it, and is cheaper.
func newFlight(t *target, joined bool) *flight {
	f := &flight{target: t}
	if joined {
		f.ctx, f.cancel = context.WithCancel(context.Background())
	}
	return f
}

// ends returns what is closed at the end of a flight. The mutex of Reads is held.
func (f *flight) ends() <-chan struct{} {
	if f.done == nil {
		f.done = make(chan struct{})
	}
	return f.done
}

// lead asks Atlas in the goroutine of the read that began a flight. A goroutine of the flight's
// own would make a read dearer that shares with nobody.
func (r *Reads) lead(ctx context.Context, c Config, q *Request, f *flight, fetch Fetch) {
	if f.ctx == nil {
		r.fly(ctx, c, q, f, fetch)
		return
	}
	defer context.AfterFunc(ctx, func() { r.leave(f) })()
	defer f.cancel()
	r.fly(f.ctx, c, q, f, fetch)
}

// turn is how long a read waits at most until it is sent because the same is under way. While
// Atlas hangs, a target costs one request each turn.
const turn = time.Second

// follow asks Atlas once the flight before, which began at a time, has ended or taken a turn.
func (r *Reads) follow(c Config, q *Request, f *flight, began time.Time, ends <-chan struct{}, fetch Fetch) {
	pause := time.NewTimer(time.Until(began.Add(turn)))
	defer pause.Stop()
	select {
	case <-ends:
	case <-pause.C:
	case <-f.ctx.Done():
	}
	defer f.cancel()
	if r.begin(f) {
		r.fly(f.ctx, c, q, f, fetch)
	}
}

// begin begins a flight that others wait for, and reports whether somebody does.
func (r *Reads) begin(f *flight) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting == 0 {
		return false
	}
	f.target.running, f.target.next = f, nil
	f.began = time.Now()
	return true
}

// fly asks Atlas. A panic is an error of this flight.
func (r *Reads) fly(ctx context.Context, c Config, q *Request, f *flight, fetch Fetch) {
	defer func() {
		if p := recover(); p != nil {
			f.response, f.err = nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		r.end(f)
	}()
	var stays time.Duration
	f.response, f.err = fetch(ctx)
	if f.err == nil {
		f.lasts, stays = c.lasts(q, f.response)
	}
	if stays > 0 {
		r.keep(f, newEntry(f))
	}
}

// end ends a flight.
func (r *Reads) end(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detach(f)
	if f.done != nil {
		close(f.done)
	}
}

// leave notes that a read no longer waits for a flight. Nobody joins a flight that nobody waits
// for: it ends.
func (r *Reads) leave(f *flight) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		r.detach(f)
	}
}

// detach keeps reads from joining a flight. The mutex is held.
func (r *Reads) detach(f *flight) {
	t := f.target
	if t.running == f {
		t.running = nil
	}
	if t.next == f {
		t.next = nil
	}
	r.tidy(t)
}

// usable reports whether the end of a flight answers a read that has waited for it. What is no
// error of the way to Atlas belongs to the reader whose fetch was called.
func (f *flight) usable(came time.Time, maxAge time.Duration) bool {
	if f.err != nil {
		if _, ok := errors.AsType[*atlas.Error](f.err); !ok {
			return false
		}
	}
	return came.Sub(f.began) <= min(f.lasts, maxAge)
}

// answer returns the answer for a read that came at a time and has joined the flight.
func (f *flight) answer(came time.Time) *Answer {
	a := &Answer{How: Joined}
	if f.response != nil {
		a.Response = copied(f.response)
	}
	if f.began.Before(came) {
		a.Age = time.Since(f.began)
	}
	return a
}

// copied returns a response with a header of its own.
func copied(response *atlas.Response) *atlas.Response {
	return &atlas.Response{Status: response.Status, Header: response.Header.Clone(), Body: response.Body, Exchanges: response.Exchanges}
}
