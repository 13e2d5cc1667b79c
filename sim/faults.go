package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is something that goes wrong with some of the requests.
type Fault struct {
	// Kind is what goes wrong. Required.
	Kind FaultKind `json:"kind"`
	// Operation restricts the fault to one operationId, "token" or "revoke".
	Operation string `json:"operation,omitempty"`
	// Share is the share of the requests that the fault strikes, 0 to 1; 0 means all of them.
	Share float64 `json:"share,omitempty"`
	// After is how many requests the fault spares first, and Count how many it strikes at
	// most. A Count of 0 means any number.
	After int `json:"after,omitempty"`
	Count int `json:"count,omitempty"`
	// BeforeAuthentication strikes requests whatever their credential is. Otherwise the
	// fault spares requests that get a challenge.
	BeforeAuthentication bool `json:"beforeAuthentication,omitempty"`
	// Latency is a pause before the answer, or before the connection is reset. Any Kind may
	// have one.
	Latency Duration `json:"latency,omitempty"`
	// RetryAfter, in seconds, is sent with the answers of the kinds rateLimit,
	// rateLimit400 and unavailable; 0 sends none.
	RetryAfter int `json:"retryAfter,omitempty"`
	// Location is the origin that redirect sends clients to. Redirect requires it.
	Location string `json:"location,omitempty"`
	// Bytes is the size of an oversized answer; 0 means 64 MiB.
	Bytes int `json:"bytes,omitempty"`
}

// FaultKind is what goes wrong.
type FaultKind string

// The kinds of faults. The operation is carried out with latency, truncate, oversize and the
// kinds that end in After. With the others it is not.
const (
	FaultLatency          FaultKind = "latency"          // only Latency
	FaultReset            FaultKind = "reset"            // the connection is reset
	FaultResetAfter       FaultKind = "resetAfter"       // it is reset after the operation
	FaultRateLimit        FaultKind = "rateLimit"        // 429
	FaultRateLimit400     FaultKind = "rateLimit400"     // the same error with the status 400
	FaultUnavailable      FaultKind = "unavailable"      // 503 with HTML
	FaultUnavailableAfter FaultKind = "unavailableAfter" // 503 with HTML after the operation
	FaultTruncate         FaultKind = "truncate"         // half of the body, then the end of the connection
	FaultOversize         FaultKind = "oversize"         // a body of so many Bytes
	FaultRedirect         FaultKind = "redirect"         // 307 to Location
	FaultNoChallenge      FaultKind = "noChallenge"      // 401 without WWW-Authenticate
)

var faultKinds = []FaultKind{FaultLatency, FaultReset, FaultResetAfter, FaultRateLimit, FaultRateLimit400, FaultUnavailable,
	FaultUnavailableAfter, FaultTruncate, FaultOversize, FaultRedirect, FaultNoChallenge}

// silent reports whether the client gets no answer.
func (k FaultKind) silent() bool { return k == FaultReset || k == FaultResetAfter }

// FaultState is a fault, and how often it has struck.
type FaultState struct {
	Fault
	Struck int `json:"struck"`
}

// faults are the current faults. The random numbers for Share are the same in each run.
type faults struct {
	mu     sync.Mutex
	list   []*faultState
	random *rand.Rand
}

type faultState struct {
	FaultState
	spared int
}

// SetFaults replaces all faults; an empty list ends them. If several fit a request, the
// first one strikes.
func (s *Server) SetFaults(list []Fault) error {
	states := make([]*faultState, len(list))
	for i, fault := range list {
		switch {
		case !slices.Contains(faultKinds, fault.Kind):
			return fmt.Errorf("faults[%d]: the kind %q is not one of %v", i, fault.Kind, faultKinds)
		case fault.Operation != "" && s.operation(fault.Operation) == nil:
			return fmt.Errorf("faults[%d]: the operation %q is not one of %s", i, fault.Operation, strings.Join(s.operationIDs(), ", "))
		case fault.Share < 0 || fault.Share > 1:
			return fmt.Errorf("faults[%d]: share must be 0 to 1", i)
		case fault.After < 0 || fault.Count < 0 || fault.Latency < 0 || fault.RetryAfter < 0 || fault.Bytes < 0:
			return fmt.Errorf("faults[%d]: after, count, latency, retryAfter and bytes must not be negative", i)
		case (fault.Kind == FaultRedirect) != (fault.Location != ""):
			return fmt.Errorf("faults[%d]: only redirect has a location, and it needs one", i)
		}
		states[i] = &faultState{FaultState: FaultState{Fault: fault}}
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = states
	s.faults.random = rand.New(rand.NewPCG(1, 2))
	return nil
}

// Faults returns the current faults, and how often each has struck.
func (s *Server) Faults() []FaultState {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	list := make([]FaultState, len(s.faults.list))
	for i, fault := range s.faults.list {
		list[i] = fault.FaultState
	}
	return list
}

// draw returns the fault that strikes this request, or nil.
func (f *faults) draw(operation string, beforeAuthentication bool) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.list {
		if fault.Operation != "" && fault.Operation != operation || fault.BeforeAuthentication != beforeAuthentication ||
			fault.Count > 0 && fault.Struck == fault.Count {
			continue
		}
		if fault.spared < fault.After {
			fault.spared++
			continue
		}
		if fault.Share > 0 && f.random.Float64() >= fault.Share {
			continue
		}
		fault.Struck++
		return &fault.Fault
	}
	return nil
}

// strike draws a fault for the exchange and does the part of it that comes before the
// operation. It reports whether the fault stands in the place of the operation.
func (s *Server) strike(x *exchange, beforeAuthentication bool) bool {
	if x.fault != nil {
		return false
	}
	if x.fault = s.faults.draw(x.op.id, beforeAuthentication); x.fault == nil {
		return false
	}
	s.wait(x, x.fault.Latency.std())
	if x.fault.RetryAfter > 0 {
		x.answer.header.Set("Retry-After", strconv.Itoa(x.fault.RetryAfter))
	}
	switch x.fault.Kind {
	case FaultReset:
	case FaultRateLimit:
		x.answer.refuse(rateLimited(x, x.fault.RetryAfter, 1200, 500, 60))
	case FaultRateLimit400:
		limited := *rateLimited(x, x.fault.RetryAfter, 1200, 500, 60).(*apiError)
		limited.status = http.StatusBadRequest
		x.answer.refuse(&limited)
	case FaultUnavailable:
		x.answer.unavailable()
	case FaultRedirect:
		x.answer.header.Set("Location", strings.TrimSuffix(x.fault.Location, "/")+x.request.RequestURI)
		x.answer.write(http.StatusTemporaryRedirect, "text/html", []byte("<html><body>Temporary Redirect</body></html>\n"))
	case FaultNoChallenge:
		x.answer.refuse(&apiError{status: http.StatusUnauthorized, challenge: true})
	default:
		return false
	}
	x.answer.verbatim = true
	return true
}

// wait pauses, until the client leaves or the simulation stops.
func (s *Server) wait(x *exchange, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.request.Context().Done():
	case <-s.done:
	}
}

// unavailable writes an answer that comes from a proxy in front of Atlas, not from Atlas.
func (a *answer) unavailable() {
	a.write(http.StatusServiceUnavailable, "text/html", []byte("<html><head><title>503 Service Temporarily Unavailable</title></head>\n"+
		"<body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>\n"))
	a.verbatim = true
}

// deliver sends the answer, or what a fault makes of it.
func (s *Server) deliver(w http.ResponseWriter, x *exchange) {
	kind := FaultKind("")
	if x.fault != nil {
		kind = x.fault.Kind
	}
	body := x.answer.body.Bytes()
	switch kind {
	case FaultReset, FaultResetAfter:
		reset(x)
	case FaultTruncate:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(x.answer.status)
		w.Write(body[:len(body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler) // no reset, which would discard what was sent
	case FaultOversize:
		size := cmp.Or(x.fault.Bytes, 64<<20)
		w.Header().Del("Content-Length")
		w.WriteHeader(x.answer.status)
		w.Write(body)
		// With white space at its end, the body is still valid JSON: only the size is wrong.
		blanks := bytes.Repeat([]byte(" "), 64<<10)
		for rest := size - len(body); rest > 0; rest -= len(blanks) {
			if _, err := w.Write(blanks[:min(rest, len(blanks))]); err != nil {
				return // the client has closed the connection
			}
		}
	default:
		w.WriteHeader(x.answer.status)
		w.Write(body)
	}
}

// strikeAnswer does the part of a fault that replaces the answer of an operation.
func (x *exchange) strikeAnswer() {
	if x.fault != nil && x.fault.Kind == FaultUnavailableAfter {
		x.answer.unavailable()
	}
}

// reset ends the connection with a TCP reset. On a listener that is not the simulation's
// own, the connection is only closed.
func reset(x *exchange) {
	if c := connOf(x.request.Context()); c != nil {
		c.reset()
	}
	panic(http.ErrAbortHandler)
}
