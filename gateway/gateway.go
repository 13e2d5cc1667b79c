// Package gateway is the proxy between callers and Atlas. It knows who calls, checks
// every request against the contract, and only then forwards it to Atlas, signed with a
// credential that no caller sees.
//
// Gateway.serve below is the path of a request; each of its larger steps has a file of its
// own. reload.go has the settings that the steps read. cmd/atlas-gateway runs the package as a
// program; a Go program may run a Gateway itself as an http.Handler.
//
// The gateway itself refuses what the contract does not allow, before Atlas hears of it. It builds
// each outbound request anew, follows no redirect, and never repeats a create that may have been
// carried out.
package gateway

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/store"
)

// Gateway is an http.Handler that validates and forwards. It is safe for concurrent use.
type Gateway struct {
	contract  *contract.Contract
	log       *slog.Logger
	now       func() time.Time // the clock that sunsets and the ends of callers' keys are compared with
	metrics   *observe.Metrics
	journal   *store.Store         // nil without one
	creates   *idempotency.Creates // nil without a journal
	audit     *audit.Stream        // nil without audit.file
	tracer    *tracing.Tracer      // nil where requests are not traced
	observers []observe.Observer
	sampled   atomic.Uint64 // responses that check has seen: it checks one in responses.sample
	draining  atomic.Bool

	reloadRefused atomic.Bool    // the newest configuration
	working       sync.WaitGroup // one for each request
	ids           requestIDs
	lookEvery     time.Duration // between two looks at the uses of callers' keys

	lasting  *lasting
	settings atomic.Pointer[settings] // in force; Reload replaces them
	changing sync.Mutex               // held while settings are replaced
	warned   map[warned]bool          // by the settings in force
	reloaded chan struct{}            // tells that the settings in force are others
	ownURL   string                   // the listener's URL, once Serve knows it
}

// New builds a Gateway from the parts that package config has built, and logs their warnings.
// Where listener.public_url is not set, links are rewritten once Serve knows its address, and not
// without Serve. Where the log writes through an observe.Queue, the metrics count the records
// that the Queue drops.
func New(parts *config.Parts, log *slog.Logger) (*Gateway, error) {
	rules, err := contract.Load()
	if err != nil {
		return nil, err
	}
	metrics := observe.NewMetrics(rules.OperationIDs(), alerts...)
	if queue, ok := log.Handler().(*observe.Queue); ok {
		metrics.CountDropped(queue.Dropped)
	}
	g := &Gateway{
		contract:  rules,
		log:       log,
		now:       time.Now,
		metrics:   metrics,
		observers: []observe.Observer{metrics, observe.NewLog(log)},
		ids:       newRequestIDs(),
		lookEvery: lookEvery,
		reloaded:  make(chan struct{}, 1),
	}
	g.lasting = newLasting(metrics, g.tellCredential)
	g.lasting.memory.TellIssuers(g.tellIssuer)
	metrics.WatchIssuers(g.issuers)
	metrics.WatchCredentials(g.credentials)
	metrics.WatchKeys(g.watchedKeys)
	metrics.WatchReads(g.lasting.reads.KeptBytes)
	metrics.WatchBudget(g.budgetState)
	metrics.Watch(g.state)
	first, err := g.build(parts)
	if err != nil {
		return nil, err
	}
	g.warn(parts)
	g.putInForce(first)
	return g, nil
}

// ServeHTTP serves one request of a caller.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.working.Add(1)
	defer g.working.Done()
	x := g.newExchange(w, r)
	w.Header()["Gateway-Request-Id"] = []string{x.id}
	// net/http hides that a request with chunks also had a Content-Length, and that a request of
	// HTTP/1.0 announced chunks. A proxy in front of the gateway may have taken another end for the
	// request's, so nothing after such a request is read (RFC 9112, sections 6.1 and 6.3).
	if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
		w.Header()["Connection"] = []string{"close"}
	}
	g.askToClose(x) // for the answers of the gateway's own endpoints
	defer g.conclude(x)
	defer x.ticket.release()
	if err := g.serve(x); err != nil {
		x.refusal = x.refuse(err)
		x.status = x.refusal.status
		shortenDeadlines(w, r, r.ContentLength != 0 && x.body == nil)
		x.tellOutcome()
		g.askToClose(x)
		writeError(w, r, x.refusal)
	}
}

// askToClose asks the caller to close the connection, if the gateway drains, or if the certificate
// of the connection has to make room for another one. It is called as late as may be: an answer
// that does not ask lets the caller send a request that nobody will read.
func (g *Gateway) askToClose(x *exchange) {
	if g.draining.Load() || x.settings.authenticator.Reconnect(x.in) {
		x.out.Header()["Connection"] = []string{"close"}
	}
}

// serve is the pipeline. A step that refuses ends it with an error.
func (g *Gateway) serve(x *exchange) (err error) {
	defer func() {
		x.ticket.finish()
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
			if x.outcome == atlas.Answered {
				x.outcome = atlas.Unknown
			}
		}
	}()
	if err := x.locate(); err != nil {
		return err
	}
	if own := g.ownEndpoint(x); own != nil {
		return own(x)
	}
	if err := g.match(x); err != nil {
		return err
	}
	if err := g.authenticate(x); err != nil {
		return err
	}
	g.trace(x, x.in.Header["Traceparent"])
	if err := g.resolveVersion(x); err != nil {
		return err
	}
	if err := g.read(x); err != nil {
		return err
	}
	if err := x.admit(); err != nil {
		return err
	}
	if err := g.validate(x); err != nil {
		return err
	}
	if err := g.authorize(x); err != nil {
		return err
	}
	if err := g.meter(x); err != nil {
		return err
	}
	if err := g.intend(x); err != nil {
		return err
	}
	if err := g.disclose(x, g.obtain(x)); err != nil {
		return err
	}
	if err := g.check(x); err != nil {
		return err
	}
	x.ticket.finish()
	return g.relay(x)
}

// resolveVersion resolves Accept to the version that the request is checked against and
// forwarded as. What is not served has none.
func (g *Gateway) resolveVersion(x *exchange) (err error) {
	if x.unserved != nil {
		return g.refuseUnserved(x)
	}
	x.version, err = x.match.Operation.Resolve(x.in.Header["Accept"])
	return err
}

// validate checks parameters and body; the error names every violation. Where requests.check says
// so for the caller, a request that breaks only schemas is reported and goes on.
func (g *Gateway) validate(x *exchange) error {
	content, err := x.match.Check(x.version, x.in.Header, x.body, x.settings.config.Limits.RequestValues)
	if broken, ok := err.(*contract.ValidationError); ok && x.mayReport(broken) {
		x.reported, err = broken, nil
	}
	x.content, x.valid = content, err == nil
	return err
}
