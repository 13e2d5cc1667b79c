package budget

import (
	"container/list"
	"time"
)

const (
	// maxBuckets bounds the buckets that are remembered. The one that was used the longest time ago
	// is forgotten, unless requests of it are under way or wait, or it is paused.
	maxBuckets = 4096

	// safety is how many requests of other gateways are expected for each one of this gateway that
	// is under way, when it is decided whether there is enough left.
	safety = 3

	// fresh is how long an answer tells how many requests are left. Without one, blind reads of a
	// bucket are under way at most: another gateway may have spent what was left, or Atlas hangs.
	// Requests that hang also keep others from being signed: digestauth has 8 under way at first.
	// Atlas may hang for what one caller reads, and so a caller who has none under way sends one
	// more, as long as the others are of fewer callers than blind.
	fresh = time.Second
	blind = 4

	// least is the smallest share of its reserve that a class is paced by.
	least = 0.05

	// share is the turns of which a class that waits gets one at least, whatever more urgent classes
	// ask for. That turn has the reserve of a change: another reserve would keep it from coming.
	share = 10
)

// reserves are the shares of a full bucket below which a class is paced.
var reserves = [classes]float64{Write: 1. / 80, Read: 1. / 20, Poll: 3. / 40}

// crowding is how many of the free connections' number the requests of one bucket may have. So
// some stay free for others, however many buckets hang.
var crowding = [classes]int{Write: 3, Read: 2, Poll: 2}

// bucket is what is known of one of Atlas's buckets. The mutex of Budget guards it.
type bucket struct {
	key     key
	config  *Config       // of the last request
	element *list.Element // in Budget.used

	limit  float64   // how many requests the full bucket holds
	refill float64   // requests a second
	level  float64   // how many are left, without those under way
	at     time.Time // when level was so

	underWay int
	callers  map[string]int // those of each caller that has some
	heard    time.Time      // when Atlas last answered
	quiet    time.Time      // since when there is something under way, and no answer
	told     uint64         // the sequence of the latest request whose answer told the level
	paced    time.Time      // when the last request was sent
	paused   time.Time      // until when Atlas takes none

	queues [classes]queue
	passed [classes]int // turns that more urgent classes have had since the last one of this class, which waits
	timer  *time.Timer

	outage
}

// bucketOf returns the bucket of a key, by now. The mutex is held.
func (b *Budget) bucketOf(k key, c *Config, now time.Time) *bucket {
	s := b.buckets[k]
	if s == nil {
		s = &bucket{key: k, limit: float64(c.Requests), refill: float64(c.PerMinute) / 60, at: now}
		s.level, s.repeats = s.limit, maxRepeats
		s.element = b.used.PushBack(s)
		b.buckets[k] = s
		defer b.forget(now)
	}
	b.used.MoveToBack(s.element)
	s.config = c
	return s
}

// forget forgets buckets that have not been used for long, if there are too many.
func (b *Budget) forget(now time.Time) {
	for range b.used.Len() {
		s := b.used.Front().Value.(*bucket)
		switch {
		case len(b.buckets) <= maxBuckets:
			return
		case s.underWay > 0, s.waiting() > 0, now.Before(s.paused): // there are not many of these
			b.used.MoveToBack(s.element)
		default:
			b.used.Remove(s.element)
			delete(b.buckets, s.key)
			delete(b.crowded, s)
		}
	}
}

func (s *bucket) waiting() (n int) {
	for c := range s.queues {
		n += s.queues[c].waiting
	}
	return n
}

// fill adds what Atlas has added until now.
func (s *bucket) fill(now time.Time) {
	s.level = min(s.limit, s.level+s.refill*now.Sub(s.at).Seconds())
	s.at = now
}

// reason is why a request can't be sent yet.
type reason int

const (
	none    reason = iota // it can
	scarce                // Atlas allows no more, or soon would not
	unheard               // too many are under way without an answer
	crowded               // the bucket has its share of the connections
)

// ready returns whether the next request of a class can be sent now, or why not. If at is not
// zero, it is worth another look then; otherwise an answer must come first.
func (b *Budget) ready(s *bucket, c Class, now time.Time) (at time.Time, why reason) {
	s.fill(now)
	switch {
	case now.Before(s.paused):
		return s.paused, scarce
	case s.level < 1:
		return now.Add(seconds((1 - s.level) / s.refill)), scarce
	case s.underWay >= crowding[c]*(max(0, s.config.Connections-b.underWay)+1):
		return time.Time{}, crowded
	case c != Write && s.underWay >= blind && now.Sub(s.heard) > fresh:
		return s.quiet.Add(silence), unheard
	}
	reserve := s.limit * reserves[c]
	if s.due(c) {
		reserve = s.limit * reserves[Write]
	}
	reserve = max(1, reserve)
	left := s.level - safety*float64(s.underWay)
	if left >= reserve {
		return time.Time{}, none
	}
	if at = s.paced.Add(seconds(1 / (s.refill * max(least, left/reserve)))); at.After(now) {
		return at, scarce
	}
	return time.Time{}, none
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// due reports whether a class has its turn before more urgent ones.
func (s *bucket) due(c Class) bool {
	return s.queues[c].waiting > 0 && s.passed[c] >= share-1
}

// mayTry reports whether a caller may send a read although Atlas has not answered others for a
// while.
func (s *bucket) mayTry(caller string) bool {
	return s.callers[caller] == 0 && len(s.callers) < blind
}

// take gives a request its turn.
func (b *Budget) take(s *bucket, q *request, now time.Time) turn {
	s.passed[q.class] = 0
	for behind := q.class + 1; behind < classes; behind++ {
		if s.queues[behind].waiting > 0 {
			s.passed[behind]++
		}
	}
	if s.underWay == 0 {
		s.quiet = now
	}
	s.level--
	s.underWay++
	if s.callers == nil {
		s.callers = map[string]int{}
	}
	s.callers[q.caller]++
	s.paced = now
	b.underWay++
	b.sequence++
	return turn{bucket: s, caller: q.caller, sequence: b.sequence}
}

// ended notes that a request is no longer under way.
func (b *Budget) ended(t turn) {
	s := t.bucket
	s.underWay--
	b.underWay--
	if s.callers[t.caller]--; s.callers[t.caller] == 0 {
		delete(s.callers, t.caller)
	}
}

// giveBack takes back a turn that was not used.
func (b *Budget) giveBack(t turn) {
	s := t.bucket
	s.level++
	b.ended(t)
	b.serve(s, time.Now())
}

// leave ends a turn, and notes what Atlas's answer tells.
func (b *Budget) leave(t turn, n news) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, now := t.bucket, time.Now()
	s.fill(now)
	b.ended(t)
	if n.answered {
		s.heard, s.quiet = now, now
	}
	b.judge(t, n, now)
	s.learn(t, n, now)
	b.serve(s, now)
	for s := range b.crowded {
		delete(b.crowded, s)
		b.serve(s, now)
	}
}

// learn takes the level from an answer.
func (s *bucket) learn(t turn, n news, now time.Time) {
	if n.refill > 0 {
		s.refill = n.refill
	}
	if n.limit > 0 {
		s.limit = n.limit
	}
	if n.remaining >= 0 {
		// Atlas tells whole requests. What is under way may be counted in already, which is found out
		// with the next answers.
		s.limit = max(s.limit, n.remaining)
		left := n.remaining - float64(s.underWay)
		if s.level = min(s.level, left+.99); t.sequence > s.told {
			s.told = t.sequence
			s.level = max(s.level, left)
		}
	}
	if n.limited {
		s.level = min(s.level, 0)
		if until := now.Add(n.after); until.After(s.paused) {
			s.paused = until
		}
	}
}
