package observe

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxNotServed is how many pairs of method and path have a series of their own. Each series takes
// memory for as long as the program runs.
const maxNotServed = 100

// notServed counts what callers asked for and the gateway does not serve.
type notServed struct {
	counted *prometheus.CounterVec

	mu   sync.Mutex
	seen map[[2]string]bool
}

func newNotServed() *notServed {
	return &notServed{
		counted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_not_served_total",
			Help: "Requests of callers who were let in, for operations that the gateway does not serve, by method and by path: placeholders stand for ids and names, * for what Atlas does not document, and other for all that are no paths of Atlas's API, or come after the first 100 pairs of method and path.",
		}, []string{"method", "path"}),
		seen: map[[2]string]bool{},
	}
}

// count counts a request for a path that is not served.
func (n *notServed) count(method, path string) {
	pair := [2]string{method, path}
	n.mu.Lock()
	if !n.seen[pair] {
		if len(n.seen) < maxNotServed {
			n.seen[pair] = true
		} else {
			pair = [2]string{"other", "other"}
		}
	}
	n.mu.Unlock()
	n.counted.WithLabelValues(pair[:]...).Inc()
}
