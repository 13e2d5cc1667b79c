package atlas

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock is Atlas's clock, as the Date fields of its answers tell it.
type clock struct{ reading atomic.Pointer[reading] }

// reading is a time that Atlas has told, and when it first came.
type reading struct {
	date       string // as the field has it
	told, came time.Time
}

// read notes the time in the header of an answer. Many answers tell the same second.
func (c *clock) read(header http.Header) {
	date := header.Get("Date")
	if last := c.reading.Load(); last != nil && last.date == date {
		return
	}
	if told, err := http.ParseTime(date); err == nil {
		c.reading.Store(&reading{date, told, time.Now()})
	}
}

// now returns the time by Atlas's clock, or the zero time as long as Atlas has not told it. That
// this machine's clock is set changes nothing: time.Since measures the time that has passed.
func (c *clock) now() time.Time {
	r := c.reading.Load()
	if r == nil {
		return time.Time{}
	}
	return r.told.Add(time.Since(r.came))
}

// Now returns the time by Atlas's clock, to about a second, or the zero time as long as Atlas has
// not answered.
func (u *Upstream) Now() time.Time { return u.transport.clock.now() }
