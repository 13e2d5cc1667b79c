package observe

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atlas-export-gateway/store"
)

// createMetrics are what Metrics count of creates that have a journal.
type createMetrics struct {
	results *prometheus.CounterVec
	commits prometheus.Histogram
}

// createResults are what a create of a caller may end in: sent, joined, replayed, failed, and the
// kinds of idempotency.Error.
var createResults = []string{"sent", "joined", "replayed", "failed", "key_malformed", "key_missing", "key_reused", "quota", "no_journal", "open", "nothing_happened", "released"}

func newCreateMetrics() createMetrics {
	m := createMetrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_creates_total",
			Help: "Creates of callers, by what the caller got: sent (Atlas's answer to this request), joined (Atlas's answer to another request, which was under way), replayed (what an earlier request created), failed (an error on the way to Atlas), open (the outcome is unknown), nothing_happened (sent, and not carried out), or why it was not sent.",
		}, []string{"result"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "atlas_gateway_journal_commit_duration_seconds",
			Help:    "Time until the record of a create is on stable storage, before the create is sent.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	for _, result := range createResults {
		m.results.WithLabelValues(result)
	}
	return m
}

// Create counts a create by what its caller got.
func (m *Metrics) Create(result string) { m.creates.results.WithLabelValues(result).Inc() }

// Commit notes how long a record took to reach stable storage.
func (m *Metrics) Commit(d time.Duration) { m.creates.commits.Observe(d.Seconds()) }

// CountCreates adds the metrics of creates. count counts the open records of the journal; it is
// called at each scrape.
func (m *Metrics) CountCreates(count func(context.Context) (store.Counts, error)) {
	m.registry.MustRegister(m.creates.results, m.creates.commits, &openCreates{count})
}

// openCreates collects how many creates are open.
type openCreates struct {
	count func(context.Context) (store.Counts, error)
}

var (
	openDescription   = prometheus.NewDesc("atlas_gateway_open_creates", "Creates without an answer, by state: sent, or unknown where the gateway looks for what became of them.", []string{"state"}, nil)
	oldestDescription = prometheus.NewDesc("atlas_gateway_creates_oldest_unknown_seconds", "How long ago the oldest create of unknown outcome was sent; 0 where there is none.", nil, nil)
	journalUp         = prometheus.NewDesc("atlas_gateway_journal_up", "1 where the journal of creates can be read, else 0.", nil, nil)
)

// countTime bounds how long a scrape waits for the journal.
const countTime = 2 * time.Second

// Describe sends the descriptions of the metrics.
func (o *openCreates) Describe(c chan<- *prometheus.Desc) {
	c <- openDescription
	c <- oldestDescription
	c <- journalUp
}

// Collect sends the metrics. While the journal can't be read, only that is known.
func (o *openCreates) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), countTime)
	defer cancel()
	counts, err := o.count(ctx)
	if err != nil {
		c <- prometheus.MustNewConstMetric(journalUp, prometheus.GaugeValue, 0)
		return
	}
	c <- prometheus.MustNewConstMetric(journalUp, prometheus.GaugeValue, 1)
	c <- prometheus.MustNewConstMetric(openDescription, prometheus.GaugeValue, float64(counts.Sent), "sent")
	c <- prometheus.MustNewConstMetric(openDescription, prometheus.GaugeValue, float64(counts.Unknown), "unknown")
	c <- prometheus.MustNewConstMetric(oldestDescription, prometheus.GaugeValue, counts.Oldest.Seconds())
}
