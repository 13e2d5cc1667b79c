package observe

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Issuer is an issuer of callers' tokens, as the metrics show it.
type Issuer struct {
	// Name is its name in the configuration.
	Name string
	// Age is the time since its keys were fetched; negative where they never were.
	Age time.Duration
}

// WatchIssuers has the metrics show the issuers that a function returns, as they are when somebody
// asks for the metrics.
func (m *Metrics) WatchIssuers(issuers func() []Issuer) {
	m.registry.MustRegister(issuerCollector(issuers))
}

// An issuerCollector makes the metric of issuers anew each time: one that the configuration no
// longer has has no series.
type issuerCollector func() []Issuer

var keysAge = prometheus.NewDesc("atlas_gateway_issuer_keys_age_seconds",
	"How long ago the keys of an issuer of callers' tokens were fetched, by the issuer; +Inf where they never were.", []string{"issuer"}, nil)

// Describe sends the description of the metric.
func (issuerCollector) Describe(to chan<- *prometheus.Desc) { to <- keysAge }

// Collect sends the metric.
func (c issuerCollector) Collect(to chan<- prometheus.Metric) {
	for _, issuer := range c() {
		age := issuer.Age.Seconds()
		if issuer.Age < 0 {
			age = math.Inf(1)
		}
		to <- prometheus.MustNewConstMetric(keysAge, prometheus.GaugeValue, age, issuer.Name)
	}
}
