package client_test

import (
	"errors"
	"strings"
	"testing"

	"atlas-export-gateway/client"
	"atlas-export-gateway/serviceaccount"
	"atlas-export-gateway/sim"
)

// The sentence of a token endpoint that refuses reaches the user of the client, for every call
// that it keeps from being signed, and so does the time to wait.
func TestTokenEndpointRefuses(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{TokensPerMinute: 1}})
	wrong := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: client.ServiceAccount(sim.ClientID, "c4na7y-wrong")})
	for range 2 {
		err := dropResult(wrong.GetExportBucket(t.Context(), group, nobody))
		e := asError(t, err)
		var refused *serviceaccount.CredentialError
		if !errors.Is(err, client.ErrUnauthorized) || e.Status != 401 || e.Detail != "Invalid credentials provided." || !strings.Contains(err.Error(), e.Detail) ||
			!errors.As(err, &refused) || refused.Code != "invalid_client" || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("a wrong secret: %v", err)
		}
	}
	// Atlas's token endpoint counts by client id and address. It says no time to wait, unlike what
	// may stand in front of it.
	early := func(sentence string, waits bool) {
		t.Helper()
		c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: client.ServiceAccount(sim.ClientID, sim.ClientSecret), MaxRetries: -1})
		err := dropResult(c.GetExportBucket(t.Context(), group, nobody))
		if e := asError(t, err); !errors.Is(err, client.ErrRateLimited) || e.Status != 429 || !strings.HasPrefix(e.Detail, sentence) || !strings.Contains(err.Error(), e.Detail) || (e.RetryAfter > 0) != waits {
			t.Errorf("too early: %v, after %s", err, e.RetryAfter)
		}
	}
	early("Resource /api/oauth/token is limited to 1 requests every 1 minutes.", false)
	if err := atlas.SetFaults([]sim.Fault{{Kind: sim.FaultRateLimit, Operation: "token", RetryAfter: 60, BeforeAuthentication: true}}); err != nil {
		t.Fatal(err)
	}
	early("Rate limit exceeded", true)
}
