package atlas

import (
	"net/http"
	"testing"
	"time"
)

// Atlas's clock is that of its slowest server: one answer that is ahead hides nothing that was
// created before. What has not been told for ten minutes does not count.
func TestClock(t *testing.T) {
	var c clock
	began := time.Now()
	if now := c.now(began); !now.IsZero() {
		t.Errorf("before an answer: %v", now)
	}
	for _, step := range []struct {
		after, told, want time.Duration // since the beginning
	}{
		{0, 0, 0},
		{time.Second, time.Hour, time.Second},
		{2 * time.Second, -time.Hour, -time.Hour}, // a server that is behind counts
		{2*time.Second + time.Minute, 2*time.Second + time.Minute, time.Minute - time.Hour},
		{6 * time.Minute, 6 * time.Minute, 6*time.Minute - time.Hour - 2*time.Second},
		{12 * time.Minute, 12 * time.Minute, 12 * time.Minute},
		{13 * time.Minute, 2 * time.Hour, 13 * time.Minute},
		{17*time.Minute + 30*time.Second, 3 * time.Hour, 17*time.Minute + 30*time.Second}, // the first of a period
	} {
		now := began.Add(step.after)
		c.read(http.Header{"Date": {began.Add(step.told).UTC().Format(http.TimeFormat)}}, now)
		// The field has whole seconds.
		if got := c.now(now).Sub(began); got > step.want || got < step.want-time.Second {
			t.Errorf("after %v: %v, want %v", step.after, got, step.want)
		}
	}
	for _, date := range []string{"", "tomorrow"} {
		c.read(http.Header{"Date": {date}}, began.Add(18*time.Minute))
	}
	if got := c.now(began.Add(18 * time.Minute)).Sub(began); got > 18*time.Minute || got < 18*time.Minute-time.Second {
		t.Errorf("behind a Date that is none: %v", got)
	}
}
