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
	// queued bounds the spans that wait or are being sent. A span of a request takes about 3 KB.
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
	waiting                atomic.Int64
	dropped                atomic.Uint64
}

// newQueue returns a queue of spans for an exporter, which its end also shuts down.
func newQueue(exporter sdktrace.SpanExporter, log *slog.Logger) *queue {
	q := &queue{}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(&batches{SpanExporter: exporter, queue: q, log: log},
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

// batches are what the queue has sent, by one goroutine.
type batches struct {
	sdktrace.SpanExporter
	queue  *queue
	log    *slog.Logger
	err    error  // of the last one
	told   uint64 // of queue.dropped
	toldAt time.Time
}

// ExportSpans sends a batch. What comes of it is counted here, so that there is no error for
// OpenTelemetry's handler, which would write to standard error.
func (b *batches) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	q := b.queue
	err := b.SpanExporter.ExportSpans(ctx, spans)
	if n, ok := errors.AsType[rejectedError](err); ok {
		q.dropped.Add(min(uint64(n), uint64(len(spans))))
	} else if err != nil {
		q.dropped.Add(uint64(len(spans)))
	}
	q.waiting.Add(-int64(len(spans)))
	if b.err = err; time.Since(b.toldAt) >= tellEvery {
		b.tell()
	}
	return nil
}

// Shutdown ends the sending.
func (b *batches) Shutdown(ctx context.Context) error {
	b.tell()
	return b.SpanExporter.Shutdown(ctx)
}

// tell logs how many spans were lost since it did so last.
func (b *batches) tell() {
	dropped := b.queue.dropped.Load()
	if dropped == b.told {
		return
	}
	cause := "the queue was full"
	if b.err != nil {
		cause = b.err.Error()
	}
	b.log.Warn("spans were dropped", "dropped", dropped-b.told, "cause", cause)
	b.told, b.toldAt = dropped, time.Now()
}
