package gateway

import (
	"net/http"
	"strconv"

	"atlas-export-gateway/contract"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what the gateway counts, for Prometheus.
type metrics struct {
	registry           *prometheus.Registry
	requests           *prometheus.CounterVec
	refusals           *prometheus.CounterVec
	durations          *prometheus.HistogramVec
	upstream           *prometheus.CounterVec
	responseViolations *prometheus.CounterVec
	reloaded           prometheus.Gauge
}

func newMetrics(c *contract.Contract) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_requests_total",
			Help: "Requests of callers, by operation of the contract (none where none was matched) and by the status answered.",
		}, []string{"operation", "status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_refusals_total",
			Help: "Requests that the gateway itself refused, by operation, by the kind in the field Gateway-Error, and by the reason: why a caller was not let in (no_credential: so begins whoever uses Digest), or which part of its grants was missing.",
		}, []string{"operation", "kind", "reason"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atlas_gateway_request_duration_seconds",
			Help:    "Time from a request's header to the end of its response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation"}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_upstream_requests_total",
			Help: "Requests sent to Atlas, challenges and retries included, by the status answered (error where none was).",
		}, []string{"status"}),
		responseViolations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_response_violations_total",
			Help: "Places in responses of Atlas that break the contract, by operation and as a JSON pointer, with * for any index (empty for the whole).",
		}, []string{"operation", "pointer"}),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atlas_gateway_last_reload_successful",
			Help: "1 where the configuration in force is the newest, 0 since one was refused.",
		}),
	}
	m.reloaded.Set(1)
	m.registry.MustRegister(m.requests, m.refusals, m.durations, m.upstream, m.responseViolations, m.reloaded,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Every operation is there from the start, so that a rate over it is never without data.
	for _, operation := range c.Operations() {
		m.requests.WithLabelValues(operation.ID, "200")
		m.durations.WithLabelValues(operation.ID)
		m.responseViolations.WithLabelValues(operation.ID, "")
	}
	return m
}

// countUpstream counts each request that leaves the gateway.
func (m *metrics) countUpstream(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		status := "error"
		if err == nil {
			status = strconv.Itoa(response.StatusCode)
		}
		m.upstream.WithLabelValues(status).Inc()
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
