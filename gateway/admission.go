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

// share is the places that the requests of one caller, to one group, or of one operation have.
type share struct {
	of   sharer
	name string
}

type sharer int

const (
	ofCaller sharer = iota
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
	taken map[share]int
}

// take adds a place to all shares, if none has its most.
func (s *shares) take(wanted *[sharers]share, free int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of, share := range wanted {
		if share.name != "" && s.taken[share] >= most[of]*(free+1) {
			return false
		}
	}
	if s.taken == nil {
		s.taken = map[share]int{}
	}
	for _, share := range wanted {
		s.taken[share]++
	}
	return true
}

func (s *shares) free(wanted *[sharers]share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, share := range wanted {
		if s.taken[share]--; s.taken[share] == 0 {
			delete(s.taken, share)
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
	limit     int            // limits.in_flight, when the request came in
	admitted  bool           // has a place of worked
	shares    [sharers]share // that the place counts for
	buffering bool           // has a place of buffered
}

// admit takes a place for the work on a request. Where none is free for it, the caller learns at
// once that it should come back. Anonymous callers, who can't be told apart, have no share.
func (x *exchange) admit() error {
	operation := x.match.Operation
	shares := [sharers]share{{ofCaller, x.caller.Name}, {ofGroup, x.match.Parameter("groupId")}, {ofOperation, operation.ID}}
	if x.caller.IsAnonymous() {
		shares[ofCaller].name = ""
	}
	return x.ticket.admit(shares)
}

func (t *ticket) admit(shares [sharers]share) error {
	worked := &t.admission.worked
	if !worked.take(t.limit) {
		return errOverloaded
	}
	if t.shares = shares; !t.admission.shares.take(&t.shares, t.limit-int(worked.taken.Load())) {
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
		t.admission.shares.free(&t.shares)
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
