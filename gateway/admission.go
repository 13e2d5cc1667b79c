package gateway

import (
	"errors"
	"sync/atomic"
)

// admission counts the requests that the gateway is serving. Each count is bounded by
// limits.in_flight. The first leaves out the requests of callers who are slow to send or to receive;
// the second has them.
type admission struct {
	worked   places // taken by requests from admit to finish
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

// errOverloaded means that all places are taken.
var errOverloaded = errors.New("all places of limits.in_flight are taken")

// shortContent is how many bytes of content or response a request may have in memory without a
// place of buffered.
const shortContent = 16 << 10

// ticket is the places that one request holds.
type ticket struct {
	admission *admission
	limit     int  // limits.in_flight, when the request came in
	admitted  bool // has a place of worked
	buffering bool // has a place of buffered
}

// admit takes a place for the work on a request. Where none is free, the caller learns at once
// that it should come back.
func (t *ticket) admit() error {
	if t.admitted = t.admission.worked.take(t.limit); !t.admitted {
		return errOverloaded
	}
	return nil
}

// finish frees the place that admit took.
func (t *ticket) finish() {
	if t.admitted {
		t.admitted = false
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
