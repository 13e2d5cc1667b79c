// Package gateway is the proxy between callers and Atlas. It knows who calls, checks
// every request against the contract, and only then forwards it to Atlas, signed with a
// credential that no caller sees.
//
// Gateway.serve below is the path of a request; each of its larger steps has a file of its
// own, and settings.go what they go by. cmd/atlas-gateway runs the package as a program; a
// Go program may run a Gateway itself as an http.Handler.
//
// The gateway refuses, itself and before Atlas hears of it, what the contract does not
// allow. It builds each outbound request anew, follows no redirect, and never repeats a
// create that may have been carried out.
package gateway

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/callers"
)

// Gateway is an http.Handler that validates and forwards. It is safe for concurrent use.
type Gateway struct {
	contract *contract.Contract
	log      *slog.Logger
	now      func() time.Time // that sunsets are held against
	metrics  *metrics
	sampled  atomic.Uint64 // responses seen by the check, to pick one in so many
	draining atomic.Bool
	working  sync.WaitGroup // a request each
	ids      requestIDs

	settings atomic.Pointer[settings] // changed by Reload
	changing sync.Mutex               // held while settings are
	ownURL   string                   // of the listener, once Serve knows it
}

// New builds a Gateway. It fills in the defaults of the configuration and checks it as
// LoadConfig does. Where listener.public_url is not set, links are rewritten once Serve
// knows its address, and not without Serve.
func New(config Config, log *slog.Logger) (*Gateway, error) {
	doc, err := api.Load()
	if err != nil {
		return nil, err
	}
	compiled, err := contract.Compile(doc)
	if err != nil {
		return nil, fmt.Errorf("the contract does not compile: %w", err)
	}
	g := &Gateway{contract: compiled, log: log, now: time.Now, metrics: newMetrics(compiled), ids: newRequestIDs()}
	first, err := g.build(config, nil)
	if err != nil {
		return nil, err
	}
	g.settings.Store(first)
	return g, nil
}

// exchange is one request on its way through the steps, each of which adds what it finds
// out. What came in is never changed.
type exchange struct {
	*settings // those in force when it came in

	in    *http.Request
	out   http.ResponseWriter
	id    string
	start time.Time

	match    contract.Match    // by match
	caller   callers.Caller    // by authenticate
	version  *contract.Version // by version
	body     []byte            // by read
	holding  bool              // by hold, to the end
	admitted bool              // by admit, until leave
	content  any               // by validate: the body's value
	valid    bool              // by validate: the parameters may be logged
	upstream *upstream         // by forward
	sending  sending           // by forward
	response response          // by forward

	status  int      // answered, by relay or ServeHTTP
	refusal *refusal // why the gateway refused
}

// ServeHTTP serves one request of a caller.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.working.Add(1)
	defer g.working.Done()
	x := &exchange{settings: g.settings.Load(), in: r, out: w, id: g.ids.next(), start: time.Now()}
	w.Header()["Gateway-Request-Id"] = []string{x.id}
	// net/http hides a Content-Length beside chunks, and that HTTP/1.0 announced chunks, which
	// whoever stands before the gateway may have gone by: nothing behind them is read
	// (RFC 9112, sections 6.1 and 6.3).
	if g.draining.Load() || len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
		w.Header()["Connection"] = []string{"close"}
	}
	defer g.conclude(x)
	defer x.letGo()
	if err := g.serve(x); err != nil {
		x.refusal = classify(err)
		x.status = x.refusal.status
		hurry(w, r, r.ContentLength != 0 && x.body == nil)
		writeError(w, r, x.refusal)
	}
}

// hurry leaves a caller little time to take a refusal.
func hurry(w http.ResponseWriter, r *http.Request, unread bool) {
	if unread {
		// net/http reads content that was announced before it sends the refusal, for the next
		// request's sake, and chunks before it closes: not for longer than content that is on its
		// way needs.
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	}
	if r.ProtoMajor == 2 {
		// A peer that has no window for the refusal, in streams without number, holds memory for
		// as long as net/http tries: no longer than a refusal needs.
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(5 * time.Second))
	}
}

// serve is the pipeline. A step that refuses ends it with an error.
func (g *Gateway) serve(x *exchange) (err error) {
	defer func() {
		x.leave()
		if p := recover(); p != nil {
			err = refuse(kindInternal, fmt.Errorf("panic: %v\n%s", p, debug.Stack()), "Unexpected error.%s", x.outcome())
		}
	}()
	if own := g.ownEndpoint(x); own != nil {
		return own(x)
	}
	if err := g.matchOperation(x); err != nil {
		return err
	}
	if err := g.authenticate(x); err != nil {
		return err
	}
	if err := g.resolveVersion(x); err != nil {
		return err
	}
	if err := g.read(x); err != nil {
		return err
	}
	if err := g.admit(x); err != nil {
		return err
	}
	if err := g.validate(x); err != nil {
		return err
	}
	if err := g.authorize(x); err != nil {
		return err
	}
	if err := g.forward(x); err != nil {
		return err
	}
	if err := g.check(x); err != nil {
		return err
	}
	x.leave()
	return g.relay(x)
}

// admit bounds how many requests are being worked on: beyond that, a caller learns at once
// that it should come back. It stands behind read, and leave before relay, so that callers
// who are slow to send or to receive take no one's place.
func (g *Gateway) admit(x *exchange) error {
	select {
	case x.inFlight <- struct{}{}:
		x.admitted = true
		return nil
	default:
		return overloaded()
	}
}

func overloaded() error {
	r := refuse(kindOverloaded, nil, "The gateway is serving as many requests as it may; try again.")
	r.header = map[string]string{"Retry-After": "1"}
	return r
}

// short is the content, in bytes, that a caller may be slow to send or to receive without a
// place among the holders.
const short = 16 << 10

// hold bounds how many requests have more than short content in memory. It is for the time
// before admit and after leave, which is the caller's to make long.
func (x *exchange) hold() error {
	if x.holding {
		return nil
	}
	select {
	case x.holders <- struct{}{}:
		x.holding = true
		return nil
	default:
		return overloaded()
	}
}

// letGo makes room for another request's content.
func (x *exchange) letGo() {
	if x.holding {
		<-x.holders
	}
}

// leave makes room for another request.
func (x *exchange) leave() {
	if x.admitted {
		x.admitted = false
		<-x.inFlight
	}
}

// matchOperation finds the operation of the contract, in the raw request target.
func (g *Gateway) matchOperation(x *exchange) (err error) {
	x.match, err = g.contract.Match(x.in.Method, x.in.RequestURI)
	return err
}

// resolveVersion resolves Accept to the version that the request is checked against and
// forwarded as.
func (g *Gateway) resolveVersion(x *exchange) (err error) {
	x.version, err = x.match.Operation.Resolve(x.in.Header["Accept"])
	return err
}

// validate checks parameters and body; the error names every violation.
func (g *Gateway) validate(x *exchange) error {
	content, err := x.match.Check(x.version, x.body, x.config.Limits.RequestValues)
	x.content, x.valid = content, err == nil
	return err
}
