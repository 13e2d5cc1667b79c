package observe

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// failed is the label of a status where Atlas answered none.
const failed = "error"

// Metrics are what the gateway counts, for Prometheus.
type Metrics struct {
	registry           *prometheus.Registry
	requests           *prometheus.CounterVec
	refusals           *prometheus.CounterVec
	notServed          *pairs
	durations          *prometheus.HistogramVec
	upstream           upstreamMetrics
	responseViolations *prometheus.CounterVec
	requestViolations  *pairs
	reloaded           prometheus.Gauge
	reloadTime         prometheus.Gauge
	retries            prometheus.Counter
	authenticated      prometheus.Gauge // connections
	others             prometheus.Gauge // connections
	evictions          prometheus.Counter
	handshakes         *prometheus.CounterVec
	preambles          prometheus.Counter
	creates            createMetrics
	reads              *prometheus.CounterVec
	budget             budgetMetrics
}

// An Alert is a kind of refusals that operators alert on.
type Alert struct {
	// Kind and Reason are those of the Refusal.
	Kind, Reason string
	// Matched says that the kind occurs with operations of the contract, and Unmatched that it
	// occurs without.
	Matched, Unmatched bool
}

// NewMetrics returns Metrics that know the operations of the contract by their operationIds, and
// what operators alert on. The series of both are there from the start, so that a rate over them
// is never without data, and an increase does not miss the first refusal.
func NewMetrics(operations []string, alerts ...Alert) *Metrics {
	m := &Metrics{
		creates:  newCreateMetrics(),
		budget:   newBudgetMetrics(),
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_requests_total",
			Help: "Requests of callers, by operation of the contract (none where none was matched) and by the status answered (a class such as 5xx for a status that HTTP does not have, and other beyond the classes).",
		}, []string{"operation", "status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_refusals_total",
			Help: "Requests that the gateway itself refused, by operation, by the kind in the field Gateway-Error, and by the reason: why a caller was not let in (no_credential: so begins whoever uses Digest), or which part of its grants was missing.",
		}, []string{"operation", "kind", "reason"}),
		notServed:         newNotServed(),
		requestViolations: newRequestViolations(),
		upstream:          newUpstreamMetrics(),
		reads:             newReadMetrics(),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atlas_gateway_request_duration_seconds",
			Help:    "Time from a request's header to the end of its response.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation"}),
		responseViolations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_response_violations_total",
			Help: "Places in responses of Atlas that break the contract, by operation and as a JSON pointer, with * for any index (empty for the whole).",
		}, []string{"operation", "pointer"}),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "atlas_gateway_last_reload_successful",
			Help: "1 where the configuration in force is the newest, 0 since one was refused.",
		}),
	}
	m.reloadTime = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "atlas_gateway_last_reload_success_timestamp_seconds",
		Help: "When the configuration in force was read.",
	})
	m.retries = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atlas_gateway_reload_retries_total",
		Help: "How often a configuration was tried again, since a file of it could not be read.",
	})
	connections := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "atlas_gateway_connections",
		Help: "Connections of callers, by whether a request on them was ever authenticated.",
	}, []string{"authenticated"})
	m.authenticated, m.others = connections.WithLabelValues("true"), connections.WithLabelValues("false")
	m.evictions = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atlas_gateway_connection_evictions_total",
		Help: "Connections that the gateway closed to make room for others: no request on them was ever authenticated.",
	})
	m.handshakes = newHandshakes()
	m.preambles = newPreambles()
	m.Reloaded(true)
	m.registry.MustRegister(m.requests, m.refusals, m.notServed.counted, m.durations, m.upstream.requests, m.upstream.durations, m.responseViolations, m.requestViolations.counted, m.reloaded, m.reloadTime, m.retries, connections, m.evictions, m.handshakes, m.preambles,
		newBuildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, operation := range operations {
		m.requests.WithLabelValues(operation, "200")
		m.durations.WithLabelValues(operation)
		m.responseViolations.WithLabelValues(operation, "")
	}
	for _, alert := range alerts {
		if alert.Unmatched {
			m.refusals.WithLabelValues(NoOperation, alert.Kind, alert.Reason)
		}
		for _, operation := range operations {
			if alert.Matched {
				m.refusals.WithLabelValues(operation, alert.Kind, alert.Reason)
			}
		}
	}
	return m
}

// CountDropped adds a counter of the log records that were dropped.
func (m *Metrics) CountDropped(dropped func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "atlas_gateway_log_records_dropped_total",
		Help: "Records of the log that were dropped, since nobody took them: standard error is a pipe that nobody reads, or a full disk.",
	}, func() float64 { return float64(dropped()) }))
}

// CountAudit adds the counters of the audit stream.
func (m *Metrics) CountAudit(counts func() (dropped, failures uint64)) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "atlas_gateway_audit_records_dropped_total",
		Help: "Records of the audit stream that were never written, since too many waited for the disk.",
	}, func() float64 { dropped, _ := counts(); return float64(dropped) }), prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "atlas_gateway_audit_write_failures_total",
		Help: "Attempts to write the audit stream, or to open its file, that failed.",
	}, func() float64 { _, failures := counts(); return float64(failures) }))
}

// CountSpans adds a counter of the spans that were dropped.
func (m *Metrics) CountSpans(dropped func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "atlas_gateway_trace_spans_dropped_total",
		Help: "Spans that were dropped, since the receiver of tracing.endpoint did not take them.",
	}, func() float64 { return float64(dropped()) }))
}

// Observe counts a request.
func (m *Metrics) Observe(_ context.Context, r *Record) {
	m.requests.WithLabelValues(r.Operation, statusLabel(r.Status)).Inc()
	m.durations.WithLabelValues(r.Operation).Observe(r.Duration.Seconds())
	if r.Read != "" {
		m.reads.WithLabelValues(r.Read).Inc()
	}
	for _, place := range r.Reported {
		m.requestViolations.count(r.Operation, place)
	}
	if r.Refusal.Kind != "" {
		m.refusals.WithLabelValues(r.Operation, r.Refusal.Kind, cmp.Or(r.Refusal.Reason, r.Refusal.Missing)).Inc()
	}
	if r.Refusal.NotServed {
		m.notServed.count(r.Method, r.Path)
	}
}

// statusLabel returns the label of a status: the status itself where it is registered for HTTP or
// is the gateway's own 499, and otherwise its class, such as 5xx. An upstream can answer with any
// number of three digits; each label takes memory for as long as the program runs.
func statusLabel(status int) string {
	switch {
	case http.StatusText(status) != "", status == 499:
		return strconv.Itoa(status)
	case 100 <= status && status <= 599:
		return strconv.Itoa(status/100) + "xx"
	}
	return "other"
}

// ResponseViolation counts a place in a response of Atlas that breaks the contract.
func (m *Metrics) ResponseViolation(operation, pointer string) {
	m.responseViolations.WithLabelValues(operation, pointer).Inc()
}

// Reloaded notes whether the newest configuration is in force.
func (m *Metrics) Reloaded(successful bool) {
	if successful {
		m.reloaded.Set(1)
		m.reloadTime.SetToCurrentTime()
	} else {
		m.reloaded.Set(0)
	}
}

// Retried counts that a configuration is tried again.
func (m *Metrics) Retried() { m.retries.Inc() }

// Connections notes how many connections callers have: those on which a request was authenticated,
// and the others.
func (m *Metrics) Connections(authenticated, others int) {
	m.authenticated.Set(float64(authenticated))
	m.others.Set(float64(others))
}

// ConnectionEvicted counts a connection that was closed to make room for another.
func (m *Metrics) ConnectionEvicted() { m.evictions.Inc() }

// newHandshakes has all series from the start, so that rate sees the first refusal.
func newHandshakes() *prometheus.CounterVec {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atlas_gateway_handshakes_refused_total",
		Help: "Handshakes of TLS that failed since the client certificate was refused, by the reason: certificate_untrusted, certificate_expired, or certificate_required (there was none).",
	}, []string{"reason"})
	for _, reason := range []string{"certificate_untrusted", "certificate_expired", "certificate_required"} {
		refused.WithLabelValues(reason)
	}
	return refused
}

// HandshakeRefused counts a handshake that failed since the client certificate was refused.
func (m *Metrics) HandshakeRefused(reason string) { m.handshakes.WithLabelValues(reason).Inc() }

func newPreambles() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "atlas_gateway_preambles_refused_total",
		Help: "Connections of trusted proxies that were closed since they have no preamble of the PROXY protocol.",
	})
}

// PreambleRefused counts a connection of a trusted proxy that has no preamble.
func (m *Metrics) PreambleRefused() { m.preambles.Inc() }

// Handler answers with all metrics in the form of Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
