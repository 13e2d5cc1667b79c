// Package tracing makes OpenTelemetry spans of requests, and sends them to a receiver of OTLP
// over HTTP. A [Span] is one request of a caller's, and the [Exchanges] of a request for Atlas
// are spans below it. The gateway starts and ends Spans; package atlas sends through Exchanges.
// Without a [Tracer] there are none, and nobody pays for them.
//
// A span holds no secret and no text of a caller's, except names and ids that were found valid.
// Nothing of it is ever sent to Atlas.
//
// A receiver that fails or hangs holds up no request. The spans that wait for it are bounded, and
// those that are lost are counted.
package tracing

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"atlas-export-gateway/internal/build"
)

// Config says which requests are traced, and where spans go.
type Config struct {
	Receiver
	// Sampler decides which traces are sent.
	Sampler sdktrace.Sampler
	// TrustTraceparent continues the traces of callers that were let in. Otherwise each request
	// begins a trace.
	TrustTraceparent bool
	// Service is the attribute service.name, and Attributes are further ones of the resource.
	Service    string
	Attributes []attribute.KeyValue
}

// Tracer makes spans. It may be used from several goroutines.
type Tracer struct {
	trust    bool
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	sending  *sending
	queue    *queue
}

// New returns a Tracer that sends spans from now on. Its log tells once in a while that spans are
// lost. The caller closes it.
func New(c Config, log *slog.Logger) *Tracer {
	s := &sending{}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.to.Store(newTarget(c.Receiver))
	exporter := otlptrace.NewUnstarted(s)
	exporter.Start(context.Background()) // calls sending.Start, which does nothing
	q := newQueue(exporter, log)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(c.Sampler),
		sdktrace.WithResource(describe(c)),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor(q),
	)
	return &Tracer{
		trust:    c.TrustTraceparent,
		tracer:   provider.Tracer("atlas-export-gateway", trace.WithInstrumentationVersion(build.Version()), trace.WithSchemaURL(semconv.SchemaURL)),
		provider: provider,
		sending:  s,
		queue:    q,
	}
}

// describe returns the resource that spans come from. The later of two attributes with a name
// counts.
func describe(c Config) *resource.Resource {
	attributes := append([]attribute.KeyValue{semconv.ServiceVersion(build.Version())}, c.Attributes...)
	attributes = append(attributes, semconv.ServiceName(c.Service))
	described, _ := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(attributes...)) // neither can fail
	return described
}

// limits are those of a span. The values have bounds of their own, those of the contract.
var limits = sdktrace.SpanLimits{AttributeValueLengthLimit: 1024, AttributeCountLimit: 64, LinkCountLimit: 1}

// Keep has spans sent to a receiver from now on, whose header or authorities may be others than
// before.
func (t *Tracer) Keep(r Receiver) {
	if before := t.sending.to.Load(); !before.same(r) {
		t.sending.to.Store(newTarget(r))
		before.client.CloseIdleConnections()
	}
}

// Dropped returns how many spans were lost: they found no room in the queue, or the receiver did
// not take them.
func (t *Tracer) Dropped() uint64 { return t.queue.dropped.Load() }

// Close sends the spans that wait, until the context ends. Those that the receiver has not taken
// by then are dropped, and the log tells how many. There must be no more requests.
func (t *Tracer) Close(ctx context.Context) {
	defer context.AfterFunc(ctx, t.sending.cancel)()
	t.provider.Shutdown(context.WithoutCancel(ctx))
	t.sending.to.Load().client.CloseIdleConnections()
}

// Start starts the span of a request that came at a time. traceparent are the values of its field
// of this name, if it comes from a caller who was let in.
func (t *Tracer) Start(came time.Time, traceparent []string) *Span {
	ctx := context.Background()
	if t.trust && len(traceparent) == 1 {
		// The field tracestate is text of the caller's, and of no use here.
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent[0]})
	}
	_, span := t.tracer.Start(ctx, "HTTP", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(came))
	return &Span{t.tracer, span}
}

// Span is one request of a caller's. A nil Span is one that is not traced.
type Span struct {
	tracer trace.Tracer
	span   trace.Span
}

// IDs returns the ids of the trace and of the span, in hexadecimal digits; empty for a nil Span.
func (s *Span) IDs() (traceID, spanID string) {
	if s == nil {
		return "", ""
	}
	c := s.span.SpanContext()
	return c.TraceID().String(), c.SpanID().String()
}

// Sampled reports whether the span is sent.
func (s *Span) Sampled() bool { return s != nil && s.span.IsRecording() }

// Exchanges returns those of one request for Atlas; nil for a Span that is not sent.
func (s *Span) Exchanges() *Exchanges {
	if !s.Sampled() {
		return nil
	}
	return &Exchanges{tracer: s.tracer, of: s.span.SpanContext()}
}

// End ends the span at a time. failed says that the gateway or Atlas did. answered, if not nil,
// are the exchanges that brought the answer for another request.
func (s *Span) End(at time.Time, name string, failed bool, answered *Exchanges, attributes ...attribute.KeyValue) {
	s.span.SetName(name)
	s.span.SetAttributes(attributes...)
	if failed {
		s.span.SetStatus(codes.Error, "")
	}
	if answered != nil && answered.of.SpanID() != s.span.SpanContext().SpanID() {
		s.span.AddLink(trace.Link{SpanContext: answered.of})
	}
	s.span.End(trace.WithTimestamp(at))
}
