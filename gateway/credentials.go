package gateway

import (
	"context"
	"log/slog"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/observe"
)

// tellCredential logs which pair of a credential signs, and whether another one waits in its
// place.
func (g *Gateway) tellCredential(s atlas.CredentialState) {
	level, message := slog.LevelInfo, "a credential for Atlas is in force"
	attributes := []slog.Attr{slog.String("credential", s.Name), slog.String("key", s.ID)}
	switch s.Waiting {
	case atlas.WaitingHalf:
		level, message = slog.LevelWarn, "half of a credential for Atlas is new; the one before it signs until the other half is there"
		attributes = append(attributes, slog.String("awaited", s.Awaited))
	case atlas.WaitingRefused:
		level, message = slog.LevelError, "Atlas refuses a new credential; the one before it signs"
	case atlas.WaitingUntried:
		level, message = slog.LevelWarn, "a new credential for Atlas could not be tried; the one before it signs"
	}
	if s.Waiting != atlas.WaitingNot {
		attributes = append(attributes, slog.String("new_key", s.Offered))
	}
	if s.Cause != nil {
		attributes = append(attributes, slog.String("cause", s.Cause.Error()))
	}
	if s.Retry > 0 {
		attributes = append(attributes, slog.Float64("seconds", s.Retry.Round(time.Second).Seconds()))
	}
	g.log.LogAttrs(context.Background(), level, message, attributes...)
}

// credentials returns what the metrics say of the credentials for Atlas.
func (g *Gateway) credentials() []observe.Credential {
	states := g.lasting.pool.Credentials()
	shown := make([]observe.Credential, len(states))
	for i, s := range states {
		shown[i] = observe.Credential{Name: s.Name, Key: s.ID, Since: s.Since, Waiting: string(s.Waiting)}
	}
	return shown
}

// TryCredentials sends one harmless read to Atlas with each credential of a configuration, and
// returns Atlas's answers in the order of the configuration, within about ten seconds. It changes
// nothing at Atlas and needs no Gateway. The error is that of a configuration that can't be used.
func TryCredentials(ctx context.Context, parts *config.Parts) ([]atlas.Answer, error) {
	pool := atlas.NewPool(func(string, int, time.Duration) {}, func(atlas.CredentialState) {})
	upstream, err := pool.Upstream(parts.Atlas)
	if err != nil {
		return nil, err
	}
	pool.Keep(upstream)
	defer pool.CloseIdleConnections()
	return upstream.Try(ctx), nil
}
