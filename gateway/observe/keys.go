package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Key is a key of a caller, as the metrics show it.
type Key struct {
	// Caller, Form and Key are its names, as in a [Record].
	Caller, Form, Key string
	// LastUsed is when it was last used, and NotAfter when it ends. A metric has no series for what
	// is zero.
	LastUsed, NotAfter time.Time
}

// WatchKeys has the metrics show the keys that a function returns, as they are when somebody asks
// for the metrics.
func (m *Metrics) WatchKeys(keys func() []Key) { m.registry.MustRegister(keyCollector(keys)) }

// A keyCollector makes the metrics of keys anew each time: there are series for the keys of the
// configuration in force only.
type keyCollector func() []Key

var (
	keyLastUsed = prometheus.NewDesc("atlas_gateway_key_last_used_timestamp_seconds",
		"When a key of a caller was last used, by the caller, the form and the key as the log names it. A key that was never used has no series.", []string{"caller", "form", "key"}, nil)
	keyNotAfter = prometheus.NewDesc("atlas_gateway_key_not_after_timestamp_seconds",
		"When a key of a caller ends, by the caller, the form and the key as the log names it. A key that has no end, or is disabled, has no series.", []string{"caller", "form", "key"}, nil)
)

// Describe sends the descriptions of the two metrics.
func (keyCollector) Describe(to chan<- *prometheus.Desc) {
	to <- keyLastUsed
	to <- keyNotAfter
}

// Collect sends the metrics. The names of tokens are so short that two may be the same: the first
// is shown, since a series that came twice would fail the whole answer.
func (c keyCollector) Collect(to chan<- prometheus.Metric) {
	type series struct {
		metric            *prometheus.Desc
		caller, form, key string
	}
	seen := map[series]bool{}
	for _, key := range c() {
		for metric, at := range map[*prometheus.Desc]time.Time{keyLastUsed: key.LastUsed, keyNotAfter: key.NotAfter} {
			if s := (series{metric, key.Caller, key.Form, key.Key}); !at.IsZero() && !seen[s] {
				seen[s] = true
				to <- prometheus.MustNewConstMetric(metric, prometheus.GaugeValue, float64(at.Unix()), s.caller, s.form, s.key)
			}
		}
	}
}
