package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/gateway/config"
)

// auditTime is how long the end of the program waits for the audit stream to be written.
const auditTime = 2 * time.Second

// useAudit opens the audit stream that settings describe, has the gateway use it, and has its file
// opened again at SIGHUP, until end is called.
func useAudit(ctx context.Context, g *gateway.Gateway, settings config.Audit, stderr io.Writer, records *slog.Logger) (end func(), err error) {
	if settings.File == "" {
		return func() {}, nil
	}
	stream, err := audit.Open(settings.File, stderr, func(err error) {
		if err != nil {
			records.Error("the audit stream can't be written", "cause", err.Error())
			return
		}
		records.Info("the audit stream can be written again")
	})
	if err != nil {
		return nil, fmt.Errorf("atlas-gateway: audit.file: %w", err)
	}
	g.UseAudit(stream)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		for range hangup {
			stream.Reopen()
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTime)
		defer cancel()
		stream.Close(limit)
	}, nil
}
