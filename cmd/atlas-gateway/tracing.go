package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/tracing"
)

// tracingTime is how long the end of the program waits for the receiver of spans.
const tracingTime = 2 * time.Second

// useTracing has the gateway trace requests as a configuration says, until end is called; nil
// says that none is traced. OpenTelemetry may write nothing to standard error: it quotes variables
// that the configuration has read, or does without. The Tracer tells what becomes of spans.
func useTracing(ctx context.Context, g *gateway.Gateway, c *tracing.Config, records *slog.Logger) (end func()) {
	if c == nil {
		return func() {}
	}
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	tracer := tracing.New(*c, records)
	g.UseTracer(tracer)
	return func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracingTime)
		defer cancel()
		tracer.Close(limit)
	}
}
