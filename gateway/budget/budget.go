// Package budget spends Atlas's rate limit as well as it can be spent, and keeps an outage of
// Atlas from spreading. The gateway hands it each request that is to go to Atlas; package atlas
// sends it.
//
// Atlas has a bucket of requests for each group and endpoint set, and says with each answer how
// many are left. That number is the truth that all gateways in front of one Atlas share. While it
// is high, every request goes at once. Below a reserve, a gateway sends in proportion to what is
// left, so that several gateways share what Atlas adds without talking to each other: the lower
// the number, the slower each of them. Changes have the smallest reserve, polls of jobs the
// largest. So a create finds requests left that reads have not taken, also those of other
// gateways. Within one gateway, changes go before reads and reads before polls, but one turn in
// ten is of each class that waits. The callers of one class take turns.
//
// A request waits for Config.Wait at most. One that would wait longer is refused at once, as is
// one beyond the bound of those that wait: with an [Error], and nothing of it was sent.
//
// Reads are repeated after a failure of Atlas's, changes never. Where Atlas fails for long, the
// requests of that group and endpoint set are refused at once, except for one every two seconds,
// which finds out whether Atlas is back.
//
// Nothing here has a goroutine of its own, and what is remembered is bounded.
package budget

import (
	"container/list"
	"context"
	"sync"
	"time"

	"atlas-export-gateway/gateway/atlas"
)

// Upstream is the way to Atlas.
type Upstream interface {
	Send(context.Context, *atlas.Request) (*atlas.Response, error)
}

// Config says what is assumed of Atlas, and how long requests wait.
type Config struct {
	// Requests is how many requests a full bucket holds, and PerMinute how many are added evenly
	// in a minute, unless Atlas says otherwise.
	Requests, PerMinute int
	// Wait is how long a request may wait for its turn.
	Wait time.Duration
	// Attempts is how often a read is sent at most.
	Attempts int
	// Waiting bounds the requests of one class that wait for one bucket to be refilled.
	Waiting int
	// Connections is atlas.Config.MaxConnections. One bucket's requests don't take all of them.
	Connections int
	// Timeout is how long a request may take in all: atlas.Config.Timeout.
	Timeout time.Duration
}

// Observer is told what the budget does. Its functions must not block.
type Observer struct {
	// Waited is told how long a request waited for its turn, if it did.
	Waited func(class string, d time.Duration)
	// Repeated is called when a read is sent again.
	Repeated func()
}

// Budget is what is known of Atlas's buckets. It outlives a configuration, and may be used from
// several goroutines.
type Budget struct {
	observer Observer

	mu       sync.Mutex
	buckets  map[key]*bucket
	used     list.List // of *bucket: the most recently used last
	underWay int       // requests that were sent and not answered
	sequence uint64    // of the last request that was sent
	crowded  map[*bucket]bool
}

// New returns a Budget that knows nothing of Atlas yet.
func New(observer Observer) *Budget {
	return &Budget{observer: observer, buckets: map[key]*bucket{}, crowded: map[*bucket]bool{}}
}

// Way is a way to Atlas within the budget. It never changes, and may be used from several
// goroutines.
type Way struct {
	budget   *Budget
	upstream Upstream
	config   Config
}

// Way returns the way to Atlas of one configuration.
func (b *Budget) Way(upstream Upstream, c Config) *Way { return &Way{b, upstream, c} }

// Send has a request of a caller's answered by Atlas, when it is its turn. The error is an
// *[atlas.Error] or an *[Error].
func (w *Way) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	return w.send(ctx, caller, classOf(r.Operation), r)
}

// ForCreates is a Way all of whose requests belong to creates: also the reads that tell what
// became of one have the turn of a change.
type ForCreates struct{ *Way }

// Send is Way.Send.
func (w ForCreates) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	return w.send(ctx, caller, Write, r)
}

func (w *Way) send(ctx context.Context, caller string, class Class, r *atlas.Request) (response *atlas.Response, err error) {
	now := time.Now()
	q := &request{caller: caller, class: class, key: keyOf(r), deadline: now.Add(w.config.Timeout)}
	for attempt := 1; ; attempt, now = attempt+1, time.Now() {
		turn, refused := w.enter(ctx, q, now)
		if refused != nil {
			if attempt == 1 {
				err = refused
			}
			return response, err // otherwise what Atlas said is the better answer
		}
		var n news
		response, n, err = w.exchange(ctx, q, turn, r)
		if attempt == w.config.Attempts || r.Operation.Method != "GET" || !w.mayRepeat(ctx, q, turn, n, attempt) {
			return response, err
		}
		w.budget.observer.Repeated()
	}
}

// exchange sends a request that has its turn, and learns from the answer.
func (w *Way) exchange(ctx context.Context, q *request, t turn, r *atlas.Request) (response *atlas.Response, n news, err error) {
	n.remaining = -1 // should Send panic
	defer func() { w.budget.leave(t, n) }()
	if !t.until.IsZero() {
		bounded := *r
		bounded.Deadline = t.until
		r = &bounded
	}
	response, err = w.upstream.Send(ctx, r)
	n = learn(response, err)
	return response, n, err
}

// request is a request that is on its way.
type request struct {
	key
	caller   string
	class    Class
	deadline time.Time
}

// turn is the permission to send a request.
type turn struct {
	bucket   *bucket
	caller   string
	sequence uint64
	until    time.Time // the request's deadline, if it is not atlas.Config.Timeout from now
}
