// Package reads lets many who read the same cost Atlas little more than one. The gateway hands it
// each read that a caller may make, and tells it of each change. It knows no caller: whoever calls
// it has decided that the caller may read the target, and decides what of the answer is relayed.
//
// Reads of one target share a request to Atlas, and what Atlas answers about an export job is
// kept. No read gets an answer from before it came, with one exception: an answer about a job may
// be as old as its state allows. A job that has ended never changes; one that has not is as old
// as Config.Freshness at most. So a read that may not use the answer to the request under way
// waits for the next one, with all others that have come meanwhile.
//
// A change of a group ends the use of all that Atlas was asked about the group before. An answer
// that is no success, such as a 404, is neither kept nor given to a read that came after it was
// asked for.
package reads

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
)

// Config says for how long answers are used.
type Config struct {
	// Freshness is how old an answer about an export job that has not ended may be.
	Freshness time.Duration
	// StaleIfError is how old an answer may be that is given where Atlas can't be reached. 0 means
	// that none is.
	StaleIfError time.Duration
	// Timeout is how long a read waits for what others ask Atlas: atlas.Config.Timeout.
	Timeout time.Duration
}

// Request is a read.
type Request struct {
	// Request is what Atlas would be asked. Its operation has the method GET.
	*atlas.Request
	// Identity stands for the way to Atlas and the pair that signs: see [atlas.Upstream.Identity].
	Identity uint64
	// Control is what the reader wants of answers that were not made for it.
	Control Control
	// Relayable reports whether an answer of status 200 has the form that readers get. Only then
	// it is kept.
	Relayable func(*atlas.Response) bool
	// Waits, if not nil, is called once when the read begins to wait for what another one asks.
	Waits func()
}

// Fetch asks Atlas. It ends when its context ends, and at Config.Timeout. It is called at most
// once for each [Reads.Do].
type Fetch func(context.Context) (*atlas.Response, error)

// How says how a read was answered.
type How string

// The ways to answer a read.
const (
	// Sent: the read was sent to Atlas.
	Sent How = "sent"
	// Joined: the answer is that to another read, which was under way or about to be sent.
	Joined How = "joined"
	// Kept: the answer was kept from an earlier read.
	Kept How = "kept"
	// Stale: Atlas could not be reached, and the answer was kept from an earlier read.
	Stale How = "stale"
)

// Answer is what a reader gets.
type Answer struct {
	// Response is Atlas's. It may be shared with other readers, who must not change it.
	// Its Duration is 0 unless the read was sent.
	*atlas.Response
	How How
	// Age is the time since Atlas was asked, 0 where Atlas was asked after the read came.
	Age time.Duration
}

// Reads shares and keeps answers. It may be used from several goroutines. Its zero value is ready,
// and keeps nothing.
type Reads struct {
	mu      sync.Mutex
	targets map[key]*target // those that something is known of
	kept    kept
}

// key is what makes two reads the same.
type key struct {
	identity               uint64
	operation              *contract.Operation
	path, query, mediaType string
	fields                 string
}

// target is what is known of one target since the last change of its group. A change removes it:
// what goes on in it then reaches only those who already wait for it.
type target struct {
	group   string
	key     key
	running *flight // the one that has begun last, if it is under way
	next    *flight // the one that begins behind running
	kept    *entry
}

var errTimeout = errors.New("Atlas took longer than timeouts.upstream") //lint:ignore ST1005 Atlas is a name

// Do answers a read. The context ends when the reader can get no answer; what others wait for as
// well goes on. The error is an *[atlas.Error], or any other error that the reader's own fetch
// returns. The Answer then only says how the read was to be answered.
func (r *Reads) Do(ctx context.Context, c Config, q *Request, fetch Fetch) (*Answer, error) {
	if q.Control.NoStore {
		response, err := fetch(ctx)
		return &Answer{Response: response, How: Sent}, err
	}
	answer, err := r.do(ctx, c, q, fetch)
	if c.StaleIfError > 0 && unreachable(answer, err) {
		if stale := r.stale(c, q); stale != nil {
			return stale, nil
		}
	}
	return answer, err
}

func (r *Reads) do(ctx context.Context, c Config, q *Request, fetch Fetch) (*Answer, error) {
	came, within := time.Now(), time.Duration(0)
	if jobs[q.Operation.ID] {
		within = min(c.Freshness, q.Control.MaxAge)
	}
	for waits := false; ; {
		e, f, leads := r.take(c, q, fetch, came, within)
		switch {
		case e != nil:
			return e.answer(Kept), nil
		case leads:
			r.lead(ctx, c, q, f, fetch)
			if f.err != nil && ctx.Err() != nil {
				return &Answer{How: Sent}, left(ctx, came)
			}
			return &Answer{Response: f.response, How: Sent}, f.err
		}
		if !waits {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadlineCause(ctx, came.Add(c.Timeout), errTimeout)
			defer cancel()
			if waits = true; q.Waits != nil {
				q.Waits()
			}
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			r.leave(f)
			return &Answer{How: Joined}, left(ctx, came)
		}
		if f.usable(came, q.Control.MaxAge) {
			return f.answer(came), f.err
		}
		within = 0
	}
}

// left returns the error of a read whose time is over, or whose reader is gone.
func left(ctx context.Context, came time.Time) error {
	e := &atlas.Error{Kind: atlas.Canceled, Outcome: atlas.Unknown, Duration: time.Since(came), Err: context.Cause(ctx)}
	if e.Err == errTimeout {
		e.Kind = atlas.TimedOut
	}
	return e
}

// take finds what answers a read: what is kept, or a flight. The read leads the flight, or waits
// for it. within is how much earlier than the read the flight may have begun.
func (r *Reads) take(c Config, q *Request, fetch Fetch, came time.Time, within time.Duration) (e *entry, f *flight, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.target(q)
	switch {
	case t.kept != nil && came.Sub(t.kept.began) <= min(t.kept.lasts, q.Control.MaxAge):
		r.kept.use(t.kept)
		return t.kept, nil, false
	case t.running == nil && t.next == nil:
		t.running = newFlight(t, jobs[q.Operation.ID])
		t.running.waiting, t.running.began = 1, came
		return nil, t.running, true
	case t.running != nil && t.running.ctx != nil && came.Sub(t.running.began) <= within:
		f = t.running
	case t.next != nil:
		f = t.next
	default:
		f = newFlight(t, true)
		t.next = f
		go r.follow(c, q, f, t.running.began, t.running.ends(), fetch)
	}
	f.waiting++
	f.ends()
	return nil, f, false
}

// target returns the target of a read. The mutex is held.
func (r *Reads) target(q *Request) *target {
	k := q.key()
	t := r.targets[k]
	if t == nil {
		if r.targets == nil {
			r.targets = make(map[key]*target)
		}
		t = &target{group: q.Group, key: k}
		r.targets[k] = t
	}
	return t
}

func (q *Request) key() key {
	k := key{identity: q.Identity, operation: q.Operation, path: q.Path, query: q.Query, mediaType: q.MediaType}
	if len(q.Fields) > 0 {
		k.fields = fmt.Sprintf("%q", q.Fields) // in the order of the names
	}
	return k
}

// tidy removes a target that nothing is known of. The mutex is held.
func (r *Reads) tidy(t *target) {
	if t.running == nil && t.next == nil && t.kept == nil && r.targets[t.key] == t {
		delete(r.targets, t.key)
	}
}

// Forget ends the use of what Atlas was asked about a group before, and of what it was asked about
// no single group. Who makes a change calls it when the change leaves, and when it is known what
// became of it. An empty group stands for all of them.
func (r *Reads) Forget(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, t := range r.targets {
		if t.group == group || t.group == "" || group == "" {
			delete(r.targets, k)
			r.kept.remove(t.kept)
		}
	}
}

// unreachable reports whether Atlas gave no answer, or one that says that nobody can be asked now.
func unreachable(answer *Answer, err error) bool {
	if err == nil {
		return answer.Status == 502 || answer.Status == 503 || answer.Status == 504
	}
	if refused, ok := errors.AsType[*budget.Error](err); ok {
		return refused.Kind == budget.Out
	}
	failed, ok := errors.AsType[*atlas.Error](err)
	if !ok {
		return false
	}
	switch failed.Kind {
	case atlas.Unreachable, atlas.Disconnected, atlas.Truncated, atlas.TimedOut, atlas.Unsigned:
		return true
	}
	return false
}

// stale returns what is kept for a read although it is too old, or nil.
func (r *Reads) stale(c Config, q *Request) *Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.target(q)
	defer r.tidy(t)
	if e := t.kept; e != nil && time.Since(e.began) <= min(c.StaleIfError, q.Control.MaxAge) {
		r.kept.use(e)
		return e.answer(Stale)
	}
	return nil
}
