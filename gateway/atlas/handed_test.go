package atlas_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Handed is called once for a create, just before its first byte leaves: neither for the request
// for a challenge that goes ahead, nor again when Atlas answers a signed request with another
// challenge, nor for the request that confirms the credential then.
func TestHandedIsCalledOnce(t *testing.T) {
	var upstream *gatewaytest.Upstream
	upstream = gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if n := upstream.Creates.Load(); r.Method == http.MethodPost && n < 3 {
			return gatewaytest.Refusing(fmt.Sprintf(`WWW-Authenticate: Digest realm="MMS Public API", nonce="nonce-%d", algorithm=MD5, qop="auth", stale=false`, n))
		}
		return gatewaytest.JSON(http.StatusOK, made)
	}))
	u := start(t, configure(upstream.URL))
	calls := 0
	must(t, u, create(t, func() error {
		calls++
		if upstream.Signed.Load() != 0 || strings.Contains(upstream.Received.String(), bucket) || upstream.Total.Load() != 1 {
			t.Errorf("Handed is called late: Atlas has received %s", &upstream.Received)
		}
		return nil
	}))
	if calls != 1 || upstream.Creates.Load() != 3 || upstream.Signed.Load() != 4 {
		t.Errorf("%d calls, and %d signed requests, %d of them creates", calls, upstream.Signed.Load(), upstream.Creates.Load())
	}
	// With a nonce at hand nothing goes ahead.
	before := upstream.Total.Load()
	must(t, u, create(t, func() error {
		calls++
		if upstream.Total.Load() != before {
			t.Error("Atlas has heard of the create before Handed was called")
		}
		return nil
	}))
	if calls != 2 || upstream.Total.Load() != before+1 {
		t.Errorf("%d calls, and %d more requests", calls, upstream.Total.Load()-before)
	}
}

// Handed is called for a create that a service account signs, once there is a token.
func TestHandedOfAServiceAccount(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	u := start(t, configure(server.URL(), account(sim.ClientID, sim.ClientSecret)))
	calls := 0
	must(t, u, create(t, func() error {
		if calls++; server.Counts().ByOperation["token"] != 1 || server.Counts().ByOperation["createExportBucket"] != 0 {
			t.Errorf("Handed is called when Atlas has received %v", server.Counts().ByOperation)
		}
		return nil
	}))
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// Handed is called for changes, and not for reads.
func TestHandedIsForChanges(t *testing.T) {
	u := start(t, configure(answering(t, gatewaytest.JSON(http.StatusOK, made)).URL))
	for _, operation := range []string{"listExportBuckets", "getExportBucket", "deleteExportBucket", "updateBackupExportBucket", "listBackupExports"} {
		r := request(t, operation)
		handed := false
		if r.Handed = func() error { handed = true; return nil }; operation == "updateBackupExportBucket" {
			r.Body = []byte(`{"requirePrivateNetworking":true}`)
		}
		must(t, u, r)
		if handed != (r.Operation.Method != http.MethodGet) {
			t.Errorf("%s: called: %t", operation, handed)
		}
	}
}

// Nothing of a create leaves if Handed fails: neither its content nor a signed header.
func TestHandedFails(t *testing.T) {
	refused := errors.New("the journal is full")
	for name, test := range map[string]struct {
		credential atlas.Credential
		answer     func(r *http.Request) string
		first      bool // a read goes first, so that there is a nonce or a token
	}{
		"an API key":                     {apiKey(sim.PublicKey, sim.PrivateKey), nil, false},
		"an API key with a nonce":        {apiKey(sim.PublicKey, sim.PrivateKey), nil, true},
		"a service account":              {account(sim.ClientID, sim.ClientSecret), tokens, false},
		"a service account with a token": {account(sim.ClientID, sim.ClientSecret), tokens, true},
	} {
		t.Run(name, func(t *testing.T) {
			answer := test.answer
			if answer == nil {
				answer = func(*http.Request) string { return gatewaytest.JSON(http.StatusOK, made) }
			}
			upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(answer))
			u := start(t, configure(upstream.URL, test.credential))
			if test.first {
				must(t, u, read(t))
			}
			before := upstream.Received.Len()
			e := fail(t, t.Context(), u, create(t, func() error { return refused }))
			if e.Kind != atlas.HandedFailed || e.Outcome != atlas.NotSent || !errors.Is(e, refused) || e.Error() != refused.Error() || e.Status != 0 || e.Duration <= 0 {
				t.Errorf("%+v", e)
			}
			sent := upstream.Received.String()[before:]
			if strings.Contains(sent, "Authorization: Digest") || strings.Contains(sent, "Authorization: Bearer") || strings.Contains(sent, "acme") {
				t.Errorf("Atlas received %s", sent)
			}
			if test.first && sent != "" {
				t.Errorf("with a credential at hand, Atlas received %s", sent)
			}
			// The connection and the credential are good for the next create.
			must(t, u, create(t, func() error { return nil }))
			if n := upstream.Creates.Load(); n != map[bool]int64{false: 1, true: 2}[test.credential.Account] { // a token is asked for by a POST
				t.Errorf("%d creates arrived", n)
			}
		})
	}
}

// tokens answers as the token endpoint, or with what was made.
func tokens(r *http.Request) string {
	if r.URL.Path == "/api/oauth/token" {
		return gatewaytest.JSON(http.StatusOK, `{"access_token":"c4na7y-access-token","token_type":"Bearer","expires_in":3600}`)
	}
	return gatewaytest.JSON(http.StatusOK, made)
}

// A create whose context has ended is not sent, also with a nonce at hand: a nonce is sent right
// away, before the end of the context is noticed by itself.
func TestCreateOfAnEndedContext(t *testing.T) {
	u := start(t, configure(answering(t, gatewaytest.JSON(200, list)).URL))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		must(t, u, read(t)) // leaves its nonce
		e := fail(t, ctx, u, create(t, func() error {
			t.Error("the create was handed to the network")
			return nil
		}))
		if e.Kind != atlas.Canceled || e.Outcome != atlas.NotSent {
			t.Fatalf("%+v", e)
		}
	}
}
