package sim

import (
	"math"
	"sync/atomic"
	"time"
)

// clock is the clock of the simulation: Config.Now, moved forward by Advance.
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

// Advance moves the simulation's clock forward and returns once everything that is then due has
// happened, in its order. Jobs, snapshots, schedules, nonces, tokens, rate limits and sunsets
// follow the clock. A negative by counts as 0.
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

// toSecond cuts a time off to the second, as Atlas's times are.
func toSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
