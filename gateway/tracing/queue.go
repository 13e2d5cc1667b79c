package tracing

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// queued bounds the spans that wait or are being sent. A span of a request takes about 4 KB.
	queued = 2048
	// batched is how many spans are sent at once, and batchEvery how long a span waits for others.
	batched    = 512
	batchEvery = time.Second
	// batchTime is how long a batch is tried. Spans that come meanwhile wait.
	batchTime = 30 * time.Second
	// tellEvery is the time between two records that spans were lost.
	tellEvery = time.Minute
)

// queue has spans sent in batches, and counts those that are lost. It never waits for the
// receiver.
type queue struct {
	sdktrace.SpanProcessor // which makes batches
	exporter               sdktrace.SpanExporter
	log                    *slog.Logger

	waiting atomic.Int64
	dropped atomic.Uint64

	// These are of the goroutine that sends.
	told   uint64 // of dropped
	toldAt time.Time
}

func newQueue(exporter sdktrace.SpanExporter, log *slog.Logger) *queue {
	q := &queue{exporter: exporter, log: log}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(q,
		sdktrace.WithMaxQueueSize(queued), sdktrace.WithMaxExportBatchSize(batched),
		sdktrace.WithBatchTimeout(batchEvery), sdktrace.WithExportTimeout(batchTime))
	return q
}

// OnEnd puts a span into the queue, or drops it.
func (q *queue) OnEnd(s sdktrace.ReadOnlySpan) {
	if q.waiting.Add(1) > queued {
		q.waiting.Add(-1)
		q.dropped.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// ExportSpans sends a batch. What comes of it is counted here, so that there is no error for
// OpenTelemetry's handler, which would write to standard error.
func (q *queue) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := q.exporter.ExportSpans(ctx, spans)
	if n, ok := errors.AsType[rejectedError](err); ok {
		q.dropped.Add(min(uint64(n), uint64(len(spans))))
	} else if err != nil {
		q.dropped.Add(uint64(len(spans)))
	}
	q.waiting.Add(-int64(len(spans)))
	q.tell(err)
	return nil
}

// tell logs how many spans were lost since it did so last, once in a while.
func (q *queue) tell(err error) {
	dropped := q.dropped.Load()
	if dropped == q.told || time.Since(q.toldAt) < tellEvery {
		return
	}
	cause := "the queue was full"
	if err != nil {
		cause = err.Error()
	}
	q.log.Warn("spans were dropped", "dropped", dropped-q.told, "cause", cause)
	q.told, q.toldAt = dropped, time.Now()
}
