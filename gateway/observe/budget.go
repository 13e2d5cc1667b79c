package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Budget is what the gateway knows of Atlas's rate limit, as the metrics show it.
type Budget struct {
	// Waiting is how many requests wait for their turn, by class.
	Waiting map[string]int
	// Paused is how many of Atlas's buckets take no requests, and Out for how many Atlas fails.
	Paused, Out int
	// Least are the buckets with the least left.
	Least []Bucket
}

// Bucket is one of Atlas's buckets: what is left of it, and for how long it takes no requests.
type Bucket struct {
	Group, Endpoints string
	Left             float64
	Pause            time.Duration
}

// LeastBuckets is how many buckets have series of their own: each group that a caller may name has
// some, and a series takes memory in Prometheus.
const LeastBuckets = 20

// budgetMetrics are what Metrics count of requests that wait or are repeated.
type budgetMetrics struct {
	waited   *prometheus.HistogramVec
	repeated prometheus.Counter
}

func newBudgetMetrics() budgetMetrics {
	m := budgetMetrics{
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atlas_gateway_budget_wait_seconds",
			Help:    "Time that requests waited for their turn at Atlas's rate limit, by class: write, read, or poll of a job. Requests that did not wait are left out.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60},
		}, []string{"class"}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atlas_gateway_upstream_repeats_total",
			Help: "Reads that were sent to Atlas again, after a failure or a rate limit of Atlas's.",
		}),
	}
	for _, class := range []string{"write", "read", "poll"} {
		m.waited.WithLabelValues(class)
	}
	return m
}

// Waited notes how long a request of a class waited for its turn.
func (m *Metrics) Waited(class string, d time.Duration) {
	m.budget.waited.WithLabelValues(class).Observe(d.Seconds())
}

// Repeated counts a read that was sent to Atlas again.
func (m *Metrics) Repeated() { m.budget.repeated.Inc() }

// WatchBudget adds the metrics of Atlas's rate limit. state is called at each scrape.
func (m *Metrics) WatchBudget(state func() Budget) {
	m.registry.MustRegister(m.budget.waited, m.budget.repeated, budgetCollector(state))
}

type budgetCollector func() Budget

var (
	budgetWaiting = prometheus.NewDesc("atlas_gateway_budget_waiting_requests",
		"Requests that wait for their turn at Atlas's rate limit, by class.", []string{"class"}, nil)
	budgetPaused = prometheus.NewDesc("atlas_gateway_budget_paused_buckets",
		"How many of Atlas's buckets, each of a group and a set of endpoints, take no requests, since Atlas answered 429.", nil, nil)
	budgetOut = prometheus.NewDesc("atlas_gateway_upstream_out_buckets",
		"For how many of Atlas's buckets Atlas has failed for so long that requests are refused at once.", nil, nil)
	budgetLeft = prometheus.NewDesc("atlas_gateway_budget_remaining_requests",
		"Requests that Atlas still takes at once, by group and endpoints, as far as is known: of the 20 buckets with the least left.", []string{"group", "endpoints"}, nil)
	budgetPause = prometheus.NewDesc("atlas_gateway_budget_pause_seconds",
		"For how long Atlas takes no requests, by group and endpoints, of the same buckets.", []string{"group", "endpoints"}, nil)
)

// Describe sends the descriptions of the metrics.
func (budgetCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{budgetWaiting, budgetPaused, budgetOut, budgetLeft, budgetPause} {
		to <- d
	}
}

// Collect sends the metrics.
func (c budgetCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	state := c()
	for class, n := range state.Waiting {
		gauge(budgetWaiting, float64(n), class)
	}
	gauge(budgetPaused, float64(state.Paused))
	gauge(budgetOut, float64(state.Out))
	for _, b := range state.Least {
		gauge(budgetLeft, b.Left, b.Group, b.Endpoints)
		gauge(budgetPause, b.Pause.Seconds(), b.Group, b.Endpoints)
	}
}
