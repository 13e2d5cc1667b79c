package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/gateway/tracing"
)

// exchange is one request on its way through the steps, each of which adds what it finds
// out. What came in is never changed.
type exchange struct {
	settings *settings // those in force when the request came in

	ctx   context.Context // ends when the caller can get no answer
	in    *http.Request
	out   http.ResponseWriter
	id    string
	start time.Time

	target string // the request target, without the path of listener.public_url
	source source // by locate

	ticket      ticket                    // the places that the request holds
	match       contract.Match            // by match
	unserved    *unservedError            // by match: the contract has no such operation
	path        string                    // by match or ownEndpoint: for the record, without an operation
	caller      callers.Caller            // by authenticate
	span        *tracing.Span             // by trace; nil where requests are not traced
	version     *contract.Version         // by resolveVersion
	body        []byte                    // by read
	content     any                       // by validate: the body's value
	valid       bool                      // by validate: the parameters may be logged
	authorized  bool                      // by authorize
	reported    *contract.ValidationError // by validate: what breaks the contract in a request that goes on
	response    *atlas.Response           // by obtain
	contentType string                    // by check: as the response is relayed
	upstream    observe.Upstream          // by obtain
	age         string                    // by obtain: Age, of an answer that was not made for it
	joined      bool                      // by obtain: it is the answer to another create under way
	change      bool                      // by newExchange: answers tell the outcome
	outcome     atlas.Outcome             // of a change, so far

	status  int      // answered, by relay or ServeHTTP
	refusal *refusal // why the gateway refused
	record  observe.Record
}

func (g *Gateway) newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	s := g.settings.Load()
	return &exchange{
		settings: s,
		ctx:      begin(r),
		in:       r,
		target:   s.target(r.RequestURI),
		out:      w,
		id:       g.ids.next(),
		start:    time.Now(),
		ticket:   ticket{admission: &g.lasting.admission, limit: s.config.Limits.InFlight},
		change:   changes(r.Method),
		outcome:  atlas.NotSent,
	}
}

// changes reports whether a request with this method changes something at Atlas if it names an
// operation. One that names none is not sent.
func changes(method string) bool {
	return method == http.MethodPost || method == http.MethodPatch || method == http.MethodDelete
}

// tellOutcome puts what became of a change into the header of its answer.
func (x *exchange) tellOutcome() {
	if x.change {
		x.out.Header()["Gateway-Outcome"] = []string{string(x.outcome)}
	}
}

// refuse turns an error of a step into the refusal that answers the request. Where the outcome of
// a change matters, the sentence for the caller says so as well: a create that is repeated
// although it was carried out starts a second export.
func (x *exchange) refuse(err error) *refusal {
	r := classify(err)
	if x.change && r.tellsOutcome {
		if x.outcome == atlas.NotSent {
			r.detail += " The request was not carried out."
		} else {
			r.detail += " It is not known whether the request was carried out: look before you repeat it."
		}
	}
	return r
}

// conclude completes the one record of a request, and shows it to the observers.
func (g *Gateway) conclude(x *exchange) {
	end := time.Now()
	record := &x.record
	*record = observe.Record{
		ID:        x.id,
		End:       end,
		Duration:  end.Sub(x.start),
		Remote:    x.source.remote(),
		Proxy:     x.source.proxy(),
		Method:    knownMethod(x.in.Method),
		Operation: observe.NoOperation,
		Path:      x.path,
		Status:    x.status,
		Caller:    x.caller.Name,
		Key:       x.caller.Key,
		Form:      string(x.caller.Form),
		Upstream:  x.upstream,
		Replayed:  record.Replayed,
		Read:      record.Read,
	}
	if x.match.Operation != nil {
		record.Operation = x.match.Operation.ID
		if x.change {
			record.Outcome = string(x.outcome)
		}
	}
	if x.unserved != nil {
		record.Group = g.validGroup(x.unserved.Group)
	}
	if x.version != nil {
		record.Version = x.version.Date
		if sunset := x.version.Sunset; !sunset.IsZero() && !g.now().Before(sunset) {
			record.Sunset = sunset
		}
	}
	if x.valid {
		record.Group = x.match.Parameter("groupId")
		record.Cluster = x.match.Parameter("clusterName")
	}
	if x.reported != nil {
		record.Reported = g.contract.Places(x.reported)
	}
	if x.refusal != nil {
		record.Refusal = x.refusal.forRecord()
		if invalid, ok := errors.AsType[*contract.ValidationError](x.refusal.cause); ok {
			record.Refusal.Places = g.contract.Places(invalid)
			record.Group = g.validGroup(x.match.Parameter("groupId"))
		}
	}
	g.endSpan(x)
	for _, o := range g.observers {
		o.Observe(x.in.Context(), record)
	}
	g.auditExchange(x)
}

// validGroup returns the id of a group for the log, and "" for what is no id.
func (g *Gateway) validGroup(id string) string {
	if g.contract.CheckParameter("groupId", id) != nil {
		return ""
	}
	return id
}

// otherMethod stands for any method that no RFC defines.
const otherMethod = "other"

// knownMethod returns a method that RFC 9110 or RFC 5789 defines, and otherMethod for any other
// text of a caller's.
func knownMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return method
	}
	return otherMethod
}

// requestIDs makes ids that are unique across processes: a random start and a count.
type requestIDs struct {
	prefix string
	count  *atomic.Uint64
}

func newRequestIDs() requestIDs {
	var start [6]byte
	rand.Read(start[:])
	return requestIDs{prefix: hex.EncodeToString(start[:]) + "-", count: new(atomic.Uint64)}
}

func (r requestIDs) next() string { return r.prefix + strconv.FormatUint(r.count.Add(1), 10) }
