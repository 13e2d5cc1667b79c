package atlas

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock is Atlas's clock, as the Date fields of its answers tell it. Of several servers, the one
// whose clock is behind counts: who looks for what was created after a time must not miss it since
// one answer was ahead.
type clock struct{ readings atomic.Pointer[readings] }

// slowestFor is how long a reading counts at least. It counts twice as long at most.
const slowestFor = 5 * time.Minute

// readings are the slowest ones of a period of slowestFor and of the one before.
type readings struct {
	date    string    // that came last, as the field has it
	began   time.Time // the period
	slowest reading
	before  reading // zero where there was no period before
}

// reading is a time that Atlas has told, and when it came.
type reading struct{ told, came time.Time }

// at returns what the clock shows at a time. That this machine's clock is set changes nothing: the
// difference of two times that time.Now has returned is what has passed.
func (r reading) at(now time.Time) time.Time { return r.told.Add(now.Sub(r.came)) }

// slower returns the reading by which it is earlier.
func (r reading) slower(other reading, now time.Time) reading {
	if other.told.IsZero() || r.at(now).Before(other.at(now)) {
		return r
	}
	return other
}

// read notes the time in the header of an answer that came now. Many answers tell the same second.
func (c *clock) read(header http.Header, now time.Time) {
	date := header.Get("Date")
	last := c.readings.Load()
	if last != nil && last.date == date {
		return
	}
	told, err := http.ParseTime(date)
	if err != nil {
		return
	}
	next := &readings{date: date, began: now, slowest: reading{told, now}}
	if last != nil {
		next.before = last.slowest
		if now.Sub(last.began) < slowestFor {
			next.began, next.before = last.began, last.before
			next.slowest = next.slowest.slower(last.slowest, now)
		}
	}
	c.readings.Store(next)
}

// now returns the time by Atlas's clock, or the zero time as long as Atlas has not told it.
func (c *clock) now(now time.Time) time.Time {
	r := c.readings.Load()
	if r == nil {
		return time.Time{}
	}
	return r.slowest.slower(r.before, now).at(now)
}

// Now returns the time by Atlas's clock, to about a second, or the zero time as long as Atlas has
// not answered. Where Atlas's answers of the last five to ten minutes differ, it is the earliest.
func (u *Upstream) Now() time.Time { return u.transport.clock.now(time.Now()) }
