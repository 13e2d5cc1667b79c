package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"atlas-export-gateway/gateway/contract"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// conclude completes the one record of a request, and counts it.
func (g *Gateway) conclude(x *exchange) {
	duration := time.Since(x.start)
	operation := "none"
	if x.match.Operation != nil {
		operation = x.match.Operation.ID
	}
	g.metrics.requests.WithLabelValues(operation, strconv.Itoa(x.status)).Inc()
	g.metrics.durations.WithLabelValues(operation).Observe(duration.Seconds())
	level := slog.LevelInfo
	if x.refusal != nil {
		g.metrics.refusals.WithLabelValues(operation, x.refusal.name).Inc()
		if x.status >= 500 {
			level = slog.LevelError
		}
	}
	ctx := x.in.Context()
	if !g.log.Enabled(ctx, level) {
		return
	}
	attributes := append(make([]slog.Attr, 0, 16),
		slog.String("id", x.id),
		slog.String("remote", x.in.RemoteAddr),
		slog.String("method", x.in.Method),
		slog.String("operation", operation),
		slog.Int("status", x.status),
		slog.Duration("duration", duration),
	)
	if x.caller != "" {
		attributes = append(attributes, slog.String("caller", x.caller))
	}
	if x.version != nil && x.version.Date != "" {
		attributes = append(attributes, slog.String("version", x.version.Date))
	}
	if x.answer.status != 0 { // so the parameters were valid
		attributes = append(attributes,
			slog.String("group", x.match.Parameter("groupId")),
			slog.Int("upstream_status", x.answer.status),
			slog.Duration("upstream_duration", x.answer.duration),
		)
		if cluster := x.match.Parameter("clusterName"); cluster != "" {
			attributes = append(attributes, slog.String("cluster", cluster))
		}
	}
	if r := x.refusal; r != nil {
		attributes = append(attributes, slog.String("error", r.name))
		// Causes below 500 may quote the request, whose values are not ours to keep.
		if invalid := (*contract.Invalid)(nil); errors.As(r.cause, &invalid) {
			attributes = append(attributes, slog.Int("violations", invalid.Total))
		} else if r.cause != nil && r.status >= 500 {
			attributes = append(attributes, slog.String("cause", r.cause.Error()))
		}
	}
	g.log.LogAttrs(ctx, level, "request", attributes...)
}

// requestIDs makes ids that are unique across processes: a random start and a count.
type requestIDs struct {
	prefix string
	count  *atomic.Uint64
}

func newRequestIDs() requestIDs {
	var start [6]byte
	rand.Read(start[:])
	return requestIDs{prefix: hex.EncodeToString(start[:]) + "-", count: new(atomic.Uint64)}
}

func (r requestIDs) next() string { return r.prefix + strconv.FormatUint(r.count.Add(1), 10) }

// metrics are what the gateway counts, for Prometheus.
type metrics struct {
	registry         *prometheus.Registry
	requests         *prometheus.CounterVec
	refusals         *prometheus.CounterVec
	durations        *prometheus.HistogramVec
	upstream         *prometheus.CounterVec
	answerViolations *prometheus.CounterVec
}

func newMetrics(c *contract.Contract) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_requests_total",
			Help: "Requests of callers, by operation of the contract (none where no path matched) and by the status answered.",
		}, []string{"operation", "status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_refusals_total",
			Help: "Requests that the gateway itself refused, by operation and by the kind in the field Gateway-Error.",
		}, []string{"operation", "kind"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "atlas_gateway_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"operation"}),
		upstream: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_upstream_requests_total",
			Help: "Requests sent to Atlas, challenges and retries included, by the status answered (error where none was).",
		}, []string{"status"}),
		answerViolations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atlas_gateway_answer_violations_total",
			Help: "Answers of Atlas that break the contract, by operation.",
		}, []string{"operation"}),
	}
	m.registry.MustRegister(m.requests, m.refusals, m.durations, m.upstream, m.answerViolations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Every operation is there from the start, so that a rate over it is never without data.
	for _, operation := range c.Operations() {
		m.requests.WithLabelValues(operation.ID, "200")
		m.durations.WithLabelValues(operation.ID)
		m.answerViolations.WithLabelValues(operation.ID)
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
