package gateway

import (
	"fmt"
	"sync"
	"time"

	"atlas-export-gateway/gateway/config"

	"golang.org/x/time/rate"
)

// meters are the buckets of the callers that have requests_per_minute. The zero value has none.
type meters struct {
	mu       sync.Mutex
	limiters map[string]*rate.Limiter // by caller
}

// perMinute returns the bounds of the callers that have one.
func perMinute(list []config.Caller) map[string]int {
	bounds := map[string]int{}
	for _, caller := range list {
		if caller.RequestsPerMinute > 0 {
			bounds[caller.Name] = caller.RequestsPerMinute
		}
	}
	return bounds
}

// keep makes the meters those of a configuration. What a caller has spent stays spent.
func (m *meters) keep(perMinute map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	limiters := make(map[string]*rate.Limiter, len(perMinute))
	for caller, n := range perMinute {
		each := rate.Limit(n) / 60
		l := m.limiters[caller]
		if l == nil {
			l = rate.NewLimiter(each, n)
		} else if l.Burst() != n {
			l.SetLimit(each)
			l.SetBurst(n)
		}
		limiters[caller] = l
	}
	m.limiters = limiters
}

// meterError says that a caller has spent its requests_per_minute.
type meterError struct {
	perMinute int
	after     time.Duration // when it has one request again
}

func (e *meterError) Error() string {
	return fmt.Sprintf("the caller has sent more than %d requests a minute", e.perMinute)
}

// meter counts a request against the caller's requests_per_minute.
func (g *Gateway) meter(x *exchange) error {
	n := x.settings.perMinute[x.caller.Name]
	if n == 0 || x.caller.IsAnonymous() {
		return nil
	}
	m := &g.lasting.meters
	m.mu.Lock()
	limiter := m.limiters[x.caller.Name]
	m.mu.Unlock()
	if limiter == nil || limiter.Allow() { // nil where the caller was removed meanwhile
		return nil
	}
	missing := 1 - limiter.Tokens()
	return &meterError{n, time.Duration(missing / float64(limiter.Limit()) * float64(time.Second))}
}
