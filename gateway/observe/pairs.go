package observe

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// pairs counts by two labels that callers have an influence on. Each series takes memory for as
// long as the program runs, so only the first pairs have one of their own.
type pairs struct {
	counted *prometheus.CounterVec
	most    int

	mu   sync.Mutex
	seen map[[2]string]bool
}

func newPairs(most int, opts prometheus.CounterOpts, first, second string) *pairs {
	return &pairs{counted: prometheus.NewCounterVec(opts, []string{first, second}), most: most, seen: map[[2]string]bool{}}
}

// newNotServed counts what callers asked for and the gateway does not serve.
func newNotServed() *pairs {
	return newPairs(100, prometheus.CounterOpts{
		Name: "atlas_gateway_not_served_total",
		Help: "Requests of callers who were let in, for operations that the gateway does not serve, by method and by path: placeholders stand for ids and names, * for what Atlas does not document, and other for all that are no paths of Atlas's API, or come after the first 100 pairs of method and path.",
	}, "method", "path")
}

// newRequestViolations counts where requests break the contract that are forwarded in spite of
// that.
func newRequestViolations() *pairs {
	return newPairs(1000, prometheus.CounterOpts{
		Name: "atlas_gateway_request_violations_total",
		Help: "Places in requests of callers that break the contract, in requests that were forwarded in spite of that (requests.check is report), by operation and as the name of a parameter or a JSON pointer: * for any index and for names that the contract does not have, other for both labels after the first 1,000 pairs.",
	}, "operation", "pointer")
}

// count counts a pair.
func (p *pairs) count(first, second string) {
	pair := [2]string{first, second}
	p.mu.Lock()
	if !p.seen[pair] {
		if len(p.seen) < p.most {
			p.seen[pair] = true
		} else {
			pair = [2]string{"other", "other"}
		}
	}
	p.mu.Unlock()
	p.counted.WithLabelValues(pair[:]...).Inc()
}
