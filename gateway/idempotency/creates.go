// Package idempotency makes a create happen once. The gateway hands it each create that was
// authorized; it sends the create, or finds what an earlier request with the same key created.
//
// Atlas takes no key, so the package never sends a create again until it is known that nothing
// happened. A record is in the journal, on stable storage, before the first byte of a create may
// leave. Requests with the same key join the one that is under way. Where no answer tells what
// became of a create, the package looks at Atlas's lists until it finds what was created, or until
// it is sure enough that nothing was. What is promised is therefore: once, as far as Atlas's lists
// can tell.
package idempotency

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/store"
)

// Config says how creates are kept apart, and for how long.
type Config struct {
	// Keys says which creates have a key.
	Keys Keys
	// Retention is how long a create that was carried out is known, at least a minute.
	Retention time.Duration
	// Quarantine is how long after a create Atlas's lists may still lack what it created. It is an
	// assumption: nobody has measured Atlas.
	Quarantine time.Duration
	// Wait is how long a caller waits for what becomes known of a create, on top of Timeout.
	Wait time.Duration
	// Quota is how many creates of one caller may be open: sent, and without an answer.
	Quota int
	// Timeout is how long Atlas may take to answer: atlas.Config.Timeout.
	Timeout time.Duration
}

// Keys says which creates have a key.
type Keys string

// The kinds of keys.
const (
	// Derived means that a create without the field Idempotency-Key has a key that is derived from
	// its request.
	Derived Keys = "derived"
	// Explicit means that a create has a key only if it bears the field.
	Explicit Keys = "explicit"
	// Required means that a create without the field is refused.
	Required Keys = "required"
)

// Upstream is the way to Atlas. Requests are sent for a caller.
type Upstream interface {
	Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error)
	// Now returns the time by Atlas's clock, or the zero time as long as Atlas has not answered.
	Now() time.Time
}

// Observer is told what becomes of creates. Its functions must not block.
type Observer struct {
	// Create counts a create by what its caller got: sent, joined, replayed, or why there was no
	// answer.
	Create func(result string)
	// Commit is told how long a record took to reach stable storage.
	Commit func(time.Duration)
}

// Creates makes creates happen once. It may be used from several goroutines.
type Creates struct {
	journal  *store.Store
	contract *contract.Contract
	log      *slog.Logger
	observer Observer
	owner    string

	settings func() (Config, Upstream) // those in force

	mu      sync.Mutex
	flights map[string]*flight // by key
	working sync.WaitGroup     // the flights

	turns  turns           // of looking at Atlas's lists
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	lease  lease
	kept   chan struct{} // closed when keep has ended
}

// New returns Creates that keep their journal in a store. settings returns the configuration and
// the way to Atlas that are in force. Creates that an earlier process left open are looked for at
// once.
func New(journal *store.Store, rules *contract.Contract, settings func() (Config, Upstream), log *slog.Logger, observer Observer) *Creates {
	c := &Creates{
		journal:  journal,
		contract: rules,
		log:      log,
		observer: observer,
		owner:    newID(),
		settings: settings,
		flights:  make(map[string]*flight),
		kept:     make(chan struct{}),
		turns:    turns{all: make(chan struct{}, maxLooks), groups: make(map[string]*turn)},
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.keep(c.renew(false))
	return c
}

// Close waits until creates that are under way have been answered, or until the context ends. The
// journal is to be closed after it.
func (c *Creates) Close(ctx context.Context) error {
	c.set(c.cancel) // no flight starts any more
	ended := make(chan struct{})
	go func() {
		<-c.kept
		c.working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newID returns 128 random bits, in hexadecimal digits.
func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// Request is a create of a caller's.
type Request struct {
	// Caller is the caller's name, and ID the value of Gateway-Request-Id.
	Caller, ID string
	// Key are the values of the field Idempotency-Key.
	Key []string
	// Exchanges, if not nil, are told of each exchange with Atlas that sends the create.
	Exchanges *tracing.Exchanges
	// Match and Version are the operation and the version that the request was resolved to.
	Match   contract.Match
	Version *contract.Version
	// Body is the content as it is sent, and Content its value.
	Body    []byte
	Content any
	// Outside says that the content has something that the contract does not allow. Then all of it
	// identifies the create, except what Atlas ignores.
	Outside bool
	// Query is the query if it has something that the contract does not allow. Then it identifies the
	// create, too.
	Query string
}

// Answer is what a caller gets.
type Answer struct {
	*atlas.Response
	// Replayed says that the answer was not made by sending this request. Joined says besides that it
	// was made by sending another one, which was under way.
	Replayed, Joined bool
}

// Do carries a create out, or finds what an earlier request with the same key created. The context
// ends when the caller can get no answer; what was sent is followed to its end all the same. The
// error is an *[atlas.Error], an *[Error], or another one of the Upstream's, which then has sent
// nothing.
func (c *Creates) Do(ctx context.Context, r *Request) (*Answer, error) {
	answer, err := c.do(ctx, r)
	switch failed, ours := errors.AsType[*Error](err); {
	case ours:
		c.observer.Create(string(failed.Kind))
	case err != nil:
		c.observer.Create("failed")
	case answer.Joined:
		c.observer.Create("joined")
	case answer.Replayed:
		c.observer.Create("replayed")
	default:
		c.observer.Create("sent")
	}
	return answer, err
}

func (c *Creates) do(ctx context.Context, r *Request) (*Answer, error) {
	config, upstream := c.settings()
	q, err := c.identify(config, r)
	if err != nil {
		return nil, err
	}
	if q.key == "" {
		response, err := upstream.Send(ctx, r.Caller, r.outbound())
		return &Answer{Response: response}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, config.Timeout+config.Wait, errWaited)
	defer cancel()
	for {
		f, started, err := c.join(q)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
			c.leave(f)
		case <-ctx.Done():
			return nil, c.left(ctx, f)
		}
		answer, again, err := c.conclude(ctx, q, f, started)
		if !again {
			return answer, err
		}
	}
}

// conclude makes a caller's answer from what a flight has found. again says that the key is free.
func (c *Creates) conclude(ctx context.Context, q *request, f *flight, started bool) (answer *Answer, again bool, err error) {
	switch end := f.end; {
	case end.again, !started && end.err != nil && f.request != nil && f.request.Caller != q.Caller && ofCaller(end.err):
		return nil, true, nil
	case end.err != nil:
		return nil, false, end.err
	case end.response != nil && (started || f.form == q.form):
		return &Answer{Response: end.response, Replayed: !started, Joined: !started}, false, nil
	case end.record != nil:
		answer, again, err := c.replay(ctx, q, end.record)
		if answer != nil {
			answer.Joined = end.response != nil
		}
		return answer, again, err
	default: // a refusal in the form of another request
		return nil, true, nil
	}
}

// ofCaller reports whether an error says something of the caller whose request was to be sent, and
// nothing of others who have joined: it has too many creates open, or the Upstream has no turn for it.
// Nothing was sent then.
func ofCaller(err error) bool {
	switch e := err.(type) {
	case *Error:
		return e.Kind == QuotaReached
	case *atlas.Error:
		return false
	}
	return true
}

// outbound returns the request that Atlas gets.
func (r *Request) outbound() *atlas.Request {
	return &atlas.Request{
		Operation: r.Match.Operation,
		Group:     r.Match.Parameter("groupId"),
		Path:      r.Match.Path,
		Query:     r.Match.Query,
		MediaType: r.Version.MediaType,
		Body:      r.Body,
		Exchanges: r.Exchanges,
	}
}

// get returns a request for a target of the contract, in the newest version up to that of another
// operation, or in the newest where that is nil.
func (c *Creates) get(target string, as *contract.Version) (*atlas.Request, *contract.Version, error) {
	match, err := c.contract.Match(http.MethodGet, target)
	if err != nil {
		return nil, nil, err
	}
	version := match.Operation.Versions[len(match.Operation.Versions)-1]
	if as != nil {
		if version, err = match.Operation.Resolve([]string{as.MediaType}); err != nil {
			return nil, nil, err
		}
	}
	return &atlas.Request{
		Operation: match.Operation,
		Group:     match.Parameter("groupId"),
		Path:      match.Path,
		Query:     match.Query,
		MediaType: version.MediaType,
	}, version, nil
}
