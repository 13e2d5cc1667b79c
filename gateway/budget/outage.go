package budget

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// A bucket is out after so many failures in a row, the first of them so long ago; or if blind
	// requests of it are under way and Atlas has answered none for so long.
	manyFailures = 5
	failing      = 5 * time.Second
	silence      = 10 * time.Second

	// probeEvery is how often one request of a bucket that is out is sent nevertheless. A read is
	// given up after probeTime. One that hangs does not keep the next one from finding out that
	// Atlas is back, so there may be a few at a time.
	probeEvery = 2 * time.Second
	probeTime  = 6 * time.Second

	// minPause and maxPause are the pauses before a read is repeated: the first, and the longest.
	minPause = 100 * time.Millisecond
	maxPause = 5 * time.Second

	// Each read that Atlas answers pays for a tenth of a repetition, and maxRepeats are saved at
	// most. So repetitions don't multiply what an ailing Atlas gets.
	maxRepeats = 10
	perAnswer  = 0.1
)

// outage is what is known of failures of Atlas's.
type outage struct {
	failures int    // in a row
	answered uint64 // the sequence of the last request when Atlas last answered one
	since    time.Time
	out      bool
	next     time.Time // when a request may find out whether Atlas is back
	asker    string    // the caller of the last one that was to find out
	others   bool      // other callers were refused since then: they are next
	repeats  float64   // how many reads may be repeated
}

// judge counts the failures of a bucket. A request that fails after a later one was answered, or
// that was sent before, tells nothing new: it may have hung for long.
func (b *Budget) judge(t turn, n news, now time.Time) {
	s := t.bucket
	switch {
	case n.failed && t.sequence > s.answered:
		if s.failures++; s.failures == 1 {
			s.since = now
		}
		if s.failures >= manyFailures && now.Sub(s.since) >= failing {
			b.end(s, now)
		}
	case n.answered && !n.failed:
		s.failures, s.answered = 0, b.sequence
		s.repeats = min(maxRepeats, s.repeats+perAnswer)
		if s.out {
			s.out = false
			for _, other := range b.buckets {
				other.next = now // Atlas may be back for all
			}
		}
	}
}

// lapsed reports whether Atlas has failed for so long that requests of a bucket are refused.
func (b *Budget) lapsed(s *bucket, now time.Time) bool {
	if !s.out && s.underWay >= blind && now.Sub(s.quiet) >= silence {
		b.end(s, now)
		s.next = now // the one that found it out finds out whether it is over
	}
	return s.out
}

// end notes that a bucket is out, and refuses the requests that wait.
func (b *Budget) end(s *bucket, now time.Time) {
	if !s.out {
		s.out = true
		s.next = now.Add(jitter(probeEvery))
	}
	for c := range s.queues {
		for q := &s.queues[c]; q.waiting > 0; {
			q.pop().refused <- &Error{Kind: Out, RetryAfter: max(s.next.Sub(now), time.Millisecond)}
		}
	}
}

// probe lets one request of a bucket that is out through from time to time, and refuses all
// others. Atlas may fail only for what one caller asks. Therefore no caller has two of these
// turns, one after the other, while other callers wait.
func (b *Budget) probe(s *bucket, q *request, now time.Time) (turn, error) {
	next := s.next
	if s.others && q.caller == s.asker {
		next = next.Add(probeEvery)
	}
	if now.Before(next) || now.Before(s.paused) {
		s.others = s.others || q.caller != s.asker
		return turn{}, &Error{Kind: Out, RetryAfter: max(next.Sub(now), s.paused.Sub(now))}
	}
	s.next, s.asker, s.others = now.Add(jitter(probeEvery)), q.caller, false
	s.fill(now)
	t := b.take(s, q, now)
	t.until = q.deadline
	if until := now.Add(probeTime); q.class != Write && until.Before(t.until) {
		t.until = until
	}
	return t, nil
}

// mayRepeat reports whether a read may be sent again, after the pause that it makes.
func (w *Way) mayRepeat(ctx context.Context, q *request, t turn, n news, attempt int) bool {
	if n.limited { // enter waits
		return true
	}
	pause := max(n.after, jitter(min(minPause<<(attempt-1), maxPause)))
	b, s := w.budget, t.bucket
	b.mu.Lock()
	again := n.passing && !s.out && s.repeats >= 1 && time.Now().Add(pause).Before(q.deadline)
	if again {
		s.repeats--
	}
	b.mu.Unlock()
	if !again {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter returns a time between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
