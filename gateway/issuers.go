package gateway

import (
	"context"
	"log/slog"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/gateway/observe"
)

// tellIssuer logs that the keys of an issuer can't be fetched, or can again.
func (g *Gateway) tellIssuer(s issuers.State) {
	level, message := slog.LevelInfo, "the keys of an issuer were fetched again"
	attributes := []slog.Attr{slog.String("issuer", s.Issuer)}
	if s.Err != nil {
		level, message = slog.LevelWarn, "the keys of an issuer can't be fetched; those that are there are used for now"
		if s.Age < 0 {
			message = "the keys of an issuer can't be fetched, and its tokens are refused"
		}
		attributes = append(attributes, slog.String("cause", s.Err.Error()))
	}
	if s.Err != nil && s.Age >= 0 {
		attributes = append(attributes, slog.Float64("seconds", s.Age.Round(time.Second).Seconds()))
	}
	g.log.LogAttrs(context.Background(), level, message, attributes...)
}

// issuers returns what the metrics say of the keys of issuers.
func (g *Gateway) issuers() []observe.Issuer {
	states := g.lasting.memory.Issuers()
	shown := make([]observe.Issuer, len(states))
	for i, s := range states {
		shown[i] = observe.Issuer{Name: s.Issuer, Age: s.Age}
	}
	return shown
}
