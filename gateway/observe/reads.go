package observe

import "github.com/prometheus/client_golang/prometheus"

// readsBy are the ways to answer a read: the values of reads.How.
var readsBy = []string{"sent", "joined", "kept", "stale"}

func newReadMetrics() *prometheus.CounterVec {
	m := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atlas_gateway_reads_total",
		Help: "Reads of callers, failed ones too, by how they were answered: sent (Atlas was asked for this read), joined (Atlas was asked for another one at about the same time), kept (for an earlier one), stale (for an earlier one, since Atlas could not be reached).",
	}, []string{"how"})
	for _, how := range readsBy {
		m.WithLabelValues(how)
	}
	return m
}

// WatchReads adds the metrics of reads. kept returns how much memory answers are kept in, in
// bytes; it is called at each scrape.
func (m *Metrics) WatchReads(kept func() int) {
	m.registry.MustRegister(m.reads, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "atlas_gateway_reads_kept_bytes",
		Help: "Memory that answers to reads are kept in, in bytes.",
	}, func() float64 { return float64(kept()) }))
}
