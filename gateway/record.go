package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/policy"
)

// conclude completes the one record of a request, and counts it.
func (g *Gateway) conclude(x *exchange) {
	end := time.Now()
	duration := end.Sub(x.start)
	operation := "none"
	if x.match.Operation != nil {
		operation = x.match.Operation.ID
	}
	g.metrics.requests.WithLabelValues(operation, strconv.Itoa(x.status)).Inc()
	g.metrics.durations.WithLabelValues(operation).Observe(duration.Seconds())
	level := slog.LevelInfo
	// A version that Atlas may remove any day is still forwarded: whether it is gone, Atlas
	// decides.
	sunset := x.version != nil && !x.version.Sunset.IsZero() && !g.now().Before(x.version.Sunset)
	if sunset {
		level = slog.LevelWarn
	}
	if x.refusal != nil {
		g.metrics.refusals.WithLabelValues(operation, x.refusal.name, x.refusal.reason()).Inc()
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
		slog.String("method", known(x.in.Method)),
		slog.String("operation", operation),
		slog.Int("status", x.status),
		slog.Int64("duration_microseconds", duration.Microseconds()), // slog has encoding/json write a float
	)
	if x.caller.Name != "" {
		attributes = append(attributes, slog.String("caller", x.caller.Name))
	}
	if x.caller.Key != "" {
		attributes = append(attributes, slog.String("key", x.caller.Key), slog.String("form", string(x.caller.Form)))
	}
	if x.version != nil && x.version.Date != "" {
		attributes = append(attributes, slog.String("version", x.version.Date))
	}
	if sunset {
		attributes = append(attributes, slog.String("sunset", x.version.Sunset.Format(time.DateOnly)))
	}
	if x.valid {
		attributes = append(attributes, slog.String("group", x.match.Parameter("groupId")))
		if cluster := x.match.Parameter("clusterName"); cluster != "" {
			attributes = append(attributes, slog.String("cluster", cluster))
		}
	}
	if x.response.duration != 0 {
		attributes = append(attributes,
			slog.Int("upstream_status", x.response.status),
			slog.Int64("upstream_duration_microseconds", x.response.duration.Microseconds()),
		)
	}
	if r := x.refusal; r != nil {
		attributes = append(attributes, slog.String("error", r.name))
		// Causes below 500 may quote the request, whose values are not ours to keep.
		if invalid, ok := errors.AsType[*contract.ValidationError](r.cause); ok {
			attributes = append(attributes, slog.Int("violations", invalid.Total))
		} else if refused, ok := errors.AsType[*callers.Refusal](r.cause); ok {
			attributes = append(attributes, slog.String("reason", string(refused.Reason)))
		} else if denied, ok := errors.AsType[*policy.Refusal](r.cause); ok {
			attributes = append(attributes, slog.String("missing", denied.Part))
		} else if r.cause != nil && r.status >= 500 {
			attributes = append(attributes, slog.String("cause", r.cause.Error()))
		}
	}
	// Unlike LogAttrs, this looks for no line of source, which would be the same in every record.
	record := slog.NewRecord(end, level, "request", 0)
	record.AddAttrs(attributes...)
	g.log.Handler().Handle(ctx, record)
}

// known returns a method that RFC 9110 or RFC 5789 defines, and "other" for what a caller made
// up, which may be anything.
func known(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT":
		return method
	}
	return "other"
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
