package callers

import (
	"sync"
	"time"
)

// A timeline follows a clock, and is never set back. After the clock was set back, the timeline
// passes at half the speed until the clock has caught up. It is for the order of nonces: one that
// is issued later must have a later time, or it would be refused as one that was forgotten.
//
// What was issued here counts as current by the clock or by the timeline. So a clock that is set
// back makes nothing invalid that was issued before, and a clock that was set ahead for a while
// leaves nothing that is valid later.
type timeline struct {
	mu      sync.Mutex
	elapsed func() time.Duration // since a fixed moment; nil is by the monotonic reading of the clock
	began   time.Time
	passed  time.Duration
	at      time.Time
}

// read returns the time on the timeline when the clock shows now, and how much time has passed since
// the first reading, whatever was done to the clock.
func (t *timeline) read(now time.Time) (at time.Time, passed time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.at.IsZero()
	if first {
		t.began = now
	}
	passed = now.Sub(t.began)
	if t.elapsed != nil {
		passed = t.elapsed()
	}
	if first {
		t.at, t.passed = now.Round(0), passed
	}
	since := max(passed-t.passed, 0) // another goroutine may have read a later time already
	t.passed += since
	t.at = t.at.Add(since / 2)
	if now := now.Round(0); now.After(t.at) {
		t.at = now
	}
	return t.at, t.passed
}

// lasts reports whether now is in the time from issued to expiry. The clock of another process
// that issued may be ahead.
func lasts(now, issued, expiry time.Time) bool {
	return !issued.After(now.Add(nonceAhead)) && now.Before(expiry)
}
