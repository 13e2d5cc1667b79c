package gateway

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"atlas-export-gateway/gateway/observe"
)

// evictionsPause is the shortest time between two records of evictions.
const evictionsPause = 5 * time.Second

// evictions counts connections that were closed to make room. The log has one record for
// all of them within evictionsPause, since peers decide how many these are.
type evictions struct {
	log     *slog.Logger
	metrics *observe.Metrics

	mu     sync.Mutex
	count  int // since the last record
	latest netip.Prefix
	timer  *time.Timer // of the next record; nil if none is due
}

// add notes a connection that was evicted. It never waits for the log.
func (e *evictions) add(origin netip.Prefix) {
	e.metrics.ConnectionEvicted()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count++
	e.latest = origin
	if e.timer == nil {
		e.timer = time.AfterFunc(evictionsPause, e.flush)
	}
}

// flush writes the record that is due.
func (e *evictions) flush() {
	e.mu.Lock()
	count, latest := e.count, e.latest
	e.count = 0
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.mu.Unlock()
	if count > 0 {
		e.log.Warn("connections of callers without a good credential were closed to make room; see limits.connections", "count", count, "latest_origin", latest.String())
	}
}
