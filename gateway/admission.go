package gateway

import (
	"errors"
	"sync"
	"sync/atomic"
)

// admission counts the requests that the gateway is serving. Each count is bounded by
// limits.in_flight. The first leaves out the requests of callers who are slow to send or to receive;
// the second has them.
type admission struct {
	worked   places // taken by requests from admit to finish
	shares   shares // of worked
	buffered places // taken by requests that have more than shortContent in memory
}

// places counts the places that are taken.
type places struct{ taken atomic.Int64 }

// take takes a place, if fewer than limit are taken.
func (p *places) take(limit int) bool {
	for {
		taken := p.taken.Load()
		if taken >= int64(limit) {
			return false
		}
		if p.taken.CompareAndSwap(taken, taken+1) {
			return true
		}
	}
}

func (p *places) free() { p.taken.Add(-1) }

// shared are those who have a share of the places by name: a caller, a group, an operation. An empty
// name has none.
type shared [sharers]string

const (
	ofCaller = iota
	ofGroup
	ofOperation

	sharers
)

// most says how many times the number of the free places a share may have. So some places stay free
// for others, however many callers, groups or operations hang: alone, one caller can take two
// thirds of limits.in_flight, one group three quarters, and one operation four fifths. The caller's
// is the smallest, so that it leaves some of a group's to others.
var most = [sharers]int{ofCaller: 2, ofGroup: 3, ofOperation: 4}

// shares counts the places of each share that has some.
type shares struct {
	mu    sync.Mutex
	taken [sharers]map[string]int
}

// take adds a place to the shares of names, if none has its most.
func (s *shares) take(names *shared, free int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of, name := range names {
		if name != "" && s.taken[of][name] >= most[of]*(free+1) {
			return false
		}
	}
	for of, name := range names {
		if s.taken[of] == nil {
			s.taken[of] = map[string]int{}
		}
		s.taken[of][name]++
	}
	return true
}

func (s *shares) free(names *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of, name := range names {
		if s.taken[of][name]--; s.taken[of][name] == 0 {
			delete(s.taken[of], name)
		}
	}
}

// errOverloaded means that all places are taken.
var errOverloaded = errors.New("no place of limits.in_flight is free for the request")

// shortContent is how many bytes of content or response a request may have in memory without a
// place of buffered.
const shortContent = 16 << 10

// ticket is the places that one request holds.
type ticket struct {
	admission *admission
	limit     int    // limits.in_flight, when the request came in
	admitted  bool   // has a place of worked
	shared    shared // whose share the place is of
	buffering bool   // has a place of buffered
}

// admit takes a place for the work on a request. Where none is free for it, the caller learns at
// once that it should come back. Anonymous callers, who can't be told apart, have no share.
func (x *exchange) admit() error {
	names := shared{ofCaller: x.caller.Name, ofGroup: x.match.Parameter("groupId"), ofOperation: x.match.Operation.ID}
	if x.caller.IsAnonymous() {
		names[ofCaller] = ""
	}
	return x.ticket.admit(names)
}

func (t *ticket) admit(names shared) error {
	worked := &t.admission.worked
	if !worked.take(t.limit) {
		return errOverloaded
	}
	if t.shared = names; !t.admission.shares.take(&t.shared, t.limit-int(worked.taken.Load())) {
		worked.free()
		return errOverloaded
	}
	t.admitted = true
	return nil
}

// finish frees the place that admit took.
func (t *ticket) finish() {
	if t.admitted {
		t.admitted = false
		t.admission.shares.free(&t.shared)
		t.admission.worked.free()
	}
}

// buffer takes a place for more than shortContent in memory. The request keeps it until release,
// so the bound holds before admit and after finish, where a slow caller decides how long that is.
func (t *ticket) buffer() error {
	if !t.buffering {
		if t.buffering = t.admission.buffered.take(t.limit); !t.buffering {
			return errOverloaded
		}
	}
	return nil
}

// release frees all places.
func (t *ticket) release() {
	t.finish()
	if t.buffering {
		t.buffering = false
		t.admission.buffered.free()
	}
}
