package observe

import (
	"context"
	"log/slog"
	"time"
)

// Log writes a record of each request to a log.
type Log struct {
	handler slog.Handler
	sent    slog.Handler // for creates and other changes that were sent
}

// NewLog returns the Observer that writes to a log.
func NewLog(log *slog.Logger) Log { return Log{log.Handler(), important(log.Handler())} }

// notSent is the Outcome of a change that was not sent.
const notSent = "not_sent"

// Observe writes one record: at info, at warn where the version is past its sunset or the
// request breaks the contract and went on, and at error
// where the gateway or Atlas failed.
func (l Log) Observe(ctx context.Context, r *Record) {
	level := slog.LevelInfo
	if !r.Sunset.IsZero() || len(r.Reported) > 0 {
		// Atlas may remove such a version any day. Until then it is forwarded. What breaks the contract
		// is forwarded as long as requests.check is report.
		level = slog.LevelWarn
	}
	if r.Refusal.Kind != "" && r.Status >= 500 {
		level = slog.LevelError
	}
	if !l.handler.Enabled(ctx, level) {
		return
	}
	handler := l.handler
	// Whoever has no key can have changes refused without number, which are never sent.
	if r.Outcome != "" && r.Outcome != notSent {
		handler = l.sent
	}
	// Unlike LogAttrs, this looks for no line of source, which would be the same in every record.
	record := slog.NewRecord(r.End, level, "request", 0)
	record.AddAttrs(r.attributes(make([]slog.Attr, 0, 26))...)
	handler.Handle(ctx, record)
}

// attributes appends what a Record holds.
func (r *Record) attributes(to []slog.Attr) []slog.Attr {
	text := func(key, value string) {
		if value != "" {
			to = append(to, slog.String(key, value))
		}
	}
	to = append(to,
		slog.String("id", r.ID),
		slog.String("remote", r.Remote),
		slog.String("method", r.Method),
		slog.String("operation", r.Operation),
		slog.Int("status", r.Status),
		slog.Int64("duration_microseconds", r.Duration.Microseconds()), // slog has encoding/json write a float
	)
	text("proxy", r.Proxy)
	text("trace_id", r.TraceID)
	text("span_id", r.SpanID)
	text("path", r.Path)
	text("outcome", r.Outcome)
	text("read", r.Read)
	if r.Replayed {
		to = append(to, slog.Bool("replayed", true))
	}
	text("caller", r.Caller)
	text("key", r.Key)
	text("form", r.Form)
	text("version", r.Version)
	if !r.Sunset.IsZero() {
		text("sunset", r.Sunset.Format(time.DateOnly))
	}
	text("group", r.Group)
	text("cluster", r.Cluster)
	if len(r.Reported) > 0 {
		to = append(to, slog.Any("reported", r.Reported))
	}
	if r.Upstream.Duration != 0 {
		to = append(to,
			slog.Int("upstream_status", r.Upstream.Status),
			slog.Int64("upstream_duration_microseconds", r.Upstream.Duration.Microseconds()),
		)
	}
	text("error", r.Refusal.Kind)
	if r.Refusal.Violations > 0 {
		to = append(to, slog.Int("violations", r.Refusal.Violations), slog.Any("places", r.Refusal.Places))
	}
	text("reason", r.Refusal.Reason)
	text("tried", r.Refusal.Tried)
	text("missing", r.Refusal.Missing)
	text("cause", r.Refusal.Cause)
	return to
}
