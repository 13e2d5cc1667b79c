package gateway

import (
	"sync"
	"time"
)

// rollupPause is the shortest time between two records of a rollup.
const rollupPause = 5 * time.Second

// A rollup has the log hold one record for all that happened within rollupPause, since peers
// decide how much happens.
type rollup[T any] struct {
	// each is called whenever it happens.
	each func(T)
	// write writes a record: how often it happened since the last one, and the latest.
	write func(count int, latest T)

	mu     sync.Mutex
	count  int // since the last record
	latest T
	timer  *time.Timer // of the next record; nil if none is due
}

// add notes that it happened. It never waits for the log.
func (r *rollup[T]) add(latest T) {
	r.each(latest)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.latest = latest
	if r.timer == nil {
		r.timer = time.AfterFunc(rollupPause, r.flush)
	}
}

// flush writes the record that is due.
func (r *rollup[T]) flush() {
	r.mu.Lock()
	count, latest := r.count, r.latest
	r.count = 0
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	r.mu.Unlock()
	if count > 0 {
		r.write(count, latest)
	}
}
