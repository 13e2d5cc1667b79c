package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Credential is a credential for Atlas, as the metrics show it.
type Credential struct {
	// Name is its place in the configuration, and Key the public key or client id of the pair that
	// signs, or another word where that may not be shown.
	Name, Key string
	// Since is when the pair began to sign.
	Since time.Time
	// Waiting is half, refused or untried where another pair waits for its place, or empty.
	Waiting string
}

// WatchCredentials has the metrics show the credentials that a function returns, as they are when
// somebody asks for the metrics.
func (m *Metrics) WatchCredentials(credentials func() []Credential) {
	m.registry.MustRegister(credentialCollector(credentials))
}

// A credentialCollector makes the metrics of credentials anew each time: the label key has no
// series of the keys before.
type credentialCollector func() []Credential

var (
	inForce = prometheus.NewDesc("atlas_gateway_credential_in_force_timestamp_seconds",
		"Since when the pair of a credential for Atlas signs, by the credential and its public key or client id.", []string{"credential", "key"}, nil)
	waiting = prometheus.NewDesc("atlas_gateway_credential_waiting",
		"1 where a new pair of a credential for Atlas does not sign yet, by the reason: half of it is still to come, Atlas refused it, or it is still untried.", []string{"credential", "reason"}, nil)
)

// Describe sends the descriptions of the two metrics.
func (credentialCollector) Describe(to chan<- *prometheus.Desc) {
	to <- inForce
	to <- waiting
}

// Collect sends the metrics.
func (c credentialCollector) Collect(to chan<- prometheus.Metric) {
	for _, credential := range c() {
		to <- prometheus.MustNewConstMetric(inForce, prometheus.GaugeValue, float64(credential.Since.Unix()), credential.Name, credential.Key)
		for _, reason := range []string{"half", "refused", "untried"} {
			value := 0.0
			if credential.Waiting == reason {
				value = 1
			}
			to <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, value, credential.Name, reason)
		}
	}
}
