package observe

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atlas-export-gateway/internal/build"
)

// State is what the metrics show of a gateway as it is when somebody asks for them.
type State struct {
	// Worked and Buffered are how many requests count for limits.in_flight: those that the gateway or
	// Atlas works on, and those with long content or a long response in memory.
	Worked, Buffered int
	// InFlight and Connections are limits.in_flight and limits.connections.
	InFlight, Connections int
	// Certificates are the certificates in force.
	Certificates []Certificate
	// ReportOnly is for how many callers requests that break the contract are only reported. All
	// anonymous callers count as one.
	ReportOnly int
}

// Certificate is a certificate as the metrics show it.
type Certificate struct {
	// Name says what it is for: listener, or client_ca for the authorities of client certificates.
	Name string
	// Expires is when the first certificate of the chain, or the first of the authorities, expires.
	Expires time.Time
}

// Watch adds the metrics of a State. state is called at each scrape.
func (m *Metrics) Watch(state func() State) { m.registry.MustRegister(stateCollector(state)) }

type stateCollector func() State

var (
	inFlight = prometheus.NewDesc("atlas_gateway_in_flight_requests",
		"Requests that count for limits.in_flight, by what counts: worked (the gateway is checking them or Atlas has them), buffered (more than 16 KiB of their content or response is in memory).", []string{"count"}, nil)
	maxInFlight = prometheus.NewDesc("atlas_gateway_max_in_flight_requests",
		"The limit of each count of requests: limits.in_flight.", nil, nil)
	maxConnections = prometheus.NewDesc("atlas_gateway_max_connections",
		"The limit of the connections of callers: limits.connections.", nil, nil)
	certificateExpires = prometheus.NewDesc("atlas_gateway_certificate_expiration_timestamp_seconds",
		"When the first certificate of a file expires, by what the file is for: listener (its chain), client_ca (the authorities of client certificates).", []string{"certificate"}, nil)
	reportOnly = prometheus.NewDesc("atlas_gateway_report_only_callers",
		"Callers whose requests are forwarded although they break schemas of the contract (requests.check is report). All anonymous callers count as one.", nil, nil)
)

// Describe sends the descriptions of the metrics.
func (stateCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{inFlight, maxInFlight, maxConnections, certificateExpires, reportOnly} {
		to <- d
	}
}

// Collect sends the metrics.
func (c stateCollector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	state := c()
	gauge(inFlight, float64(state.Worked), "worked")
	gauge(inFlight, float64(state.Buffered), "buffered")
	gauge(maxInFlight, float64(state.InFlight))
	gauge(maxConnections, float64(state.Connections))
	gauge(reportOnly, float64(state.ReportOnly))
	for _, certificate := range state.Certificates {
		gauge(certificateExpires, float64(certificate.Expires.Unix()), certificate.Name)
	}
}

// newBuildInfo returns the metric that tells which program runs.
func newBuildInfo() prometheus.Gauge {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "atlas_gateway_build_info",
		Help:        "1, with the version of the program and that of Go that it was built with.",
		ConstLabels: prometheus.Labels{"version": build.Version(), "go_version": runtime.Version()},
	})
	info.Set(1)
	return info
}

// upstreamMetrics are what Metrics count of requests that leave the gateway.
type upstreamMetrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	byMethod  map[string]prometheus.Observer // of durations: finding one in the map allocates nothing
}

func newUpstreamMetrics() upstreamMetrics {
	m := upstreamMetrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_upstream_requests_total",
			Help: "Requests sent to Atlas, challenges and retries included, by the status answered (a class such as 5xx for a status that HTTP does not have, other beyond the classes, error where none was answered).",
		}, []string{"status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atlas_gateway_upstream_request_duration_seconds",
			Help:    "Time until Atlas's header was there, or until it was clear that none comes, of each request sent to Atlas, by method: GET, POST, PATCH or DELETE.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method"}),
		byMethod: map[string]prometheus.Observer{},
	}
	for _, status := range []string{"200", "401", "429", "500", "503", failed} {
		m.requests.WithLabelValues(status)
	}
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		m.byMethod[method] = m.durations.WithLabelValues(method)
	}
	return m
}

// Upstream counts a request that left the gateway, by the status that was answered, or 0 where
// there was no answer, and how long it took.
func (m *Metrics) Upstream(method string, status int, d time.Duration) {
	if known, ok := m.upstream.byMethod[method]; ok {
		known.Observe(d.Seconds())
	}
	if status == 0 {
		m.upstream.requests.WithLabelValues(failed).Inc()
		return
	}
	m.upstream.requests.WithLabelValues(statusLabel(status)).Inc()
}
