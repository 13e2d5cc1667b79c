package sim

import (
	"math"
	"sync/atomic"
	"time"
)

// clock is the time of the simulation: that of day, moved forward by Advance.
type clock struct {
	base   func() time.Time
	offset atomic.Int64 // nanoseconds
}

func newClock(base func() time.Time) *clock {
	if base == nil {
		base = time.Now
	}
	return &clock{base: base}
}

func (c *clock) now() time.Time {
	return c.base().Add(time.Duration(c.offset.Load())).UTC()
}

// Now is the time in the simulation.
func (s *Server) Now() time.Time { return s.clock.now() }

// Advance moves the simulation's clock forward and returns once everything that fell
// due has happened. Jobs, nonces, tokens, rate limits and sunsets follow the clock; by
// must not be negative.
func (s *Server) Advance(by time.Duration) {
	for {
		offset := s.clock.offset.Load()
		if s.clock.offset.CompareAndSwap(offset, offset+min(int64(max(by, 0)), math.MaxInt64-offset)) {
			break
		}
	}
	s.store.mu.Lock()
	s.store.generation++ // the state file holds the offset
	s.store.mu.Unlock()
	s.Settle()
	if err := s.save(); err != nil {
		s.log.Error("the state was not saved", "error", err)
	}
}

// second is how exactly Atlas tells times.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
