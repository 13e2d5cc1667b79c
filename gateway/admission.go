package gateway

import (
	"errors"
)

// admission bounds how many requests the gateway serves at a time, by limits.in_flight. Its first
// bound leaves out the requests of callers who are slow to send or to receive; its second has them.
type admission struct {
	worked   places // for requests from admit to finish
	buffered places // for requests that have more than shortContent in memory
}

func newAdmission(inFlight int) *admission {
	return &admission{worked: make(places, inFlight), buffered: make(places, inFlight)}
}

// places is a semaphore: the capacity of the channel is how many places there are.
type places chan struct{}

// take takes a place, if one is free.
func (p places) take() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

func (p places) free() { <-p }

// errOverloaded means that all places are taken.
var errOverloaded = errors.New("all places of limits.in_flight are taken")

// shortContent is how many bytes of content or response a request may have in memory without a
// place of buffered.
const shortContent = 16 << 10

// ticket is the places that one request holds.
type ticket struct {
	admission *admission
	admitted  bool // has a place of worked
	buffering bool // has a place of buffered
}

// admit takes a place for the work on a request. Where none is free, the caller learns at once
// that it should come back.
func (t *ticket) admit() error {
	if t.admitted = t.admission.worked.take(); !t.admitted {
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
		if t.buffering = t.admission.buffered.take(); !t.buffering {
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
