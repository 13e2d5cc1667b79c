package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// The record of a caller who was not let in names the public key or client id that was shown, if
// it is one of a caller or in the form of one. No other text of a stranger is in the log, and no
// text makes a record longer or another record.
func TestTriedKeys(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	named := strings.Replace(nightly.YAML, nightly.Account.ID, "Team.A~nightly", 1)
	g := gatewaytest.Start(t, gatewaytest.YAML(atlas.URL(), "callers:\n  attempts: {per_client: 2}\n  list:\n"+named))
	pair, account := nightly.Pair.ID, nightly.Account
	signed := func(user, target string) string {
		t.Helper()
		challenge, err := icholy.ParseChallenge(g.Send(t, "GET", v2Exports, readHeader, "").Header.Get("WWW-Authenticate"))
		if err != nil {
			t.Fatal(err)
		}
		credential, err := icholy.Digest(challenge, icholy.Options{Method: "GET", URI: target, Count: 1, Username: user, Password: "c4na7y-wrong"})
		if err != nil {
			t.Fatal(err)
		}
		return credential.String()
	}
	token := g.Send(t, "POST", "/api/oauth/token", tokenHeader("Team.A~nightly", account.Secret.Reveal()), "grant_type=client_credentials").AccessToken()
	if token == "" {
		t.Fatal("no token")
	}
	g.Send(t, "POST", "/api/oauth/revoke", tokenHeader("Team.A~nightly", account.Secret.Reveal()), url.Values{"token": {token}}.Encode())
	for _, test := range []struct{ name, authorization, tried, reason string }{
		{"nothing", "", "", "no_credential"},
		{"Basic, a wrong key", gatewaytest.Basic(pair, "c4na7y-wrong"), pair, "wrong_credential"},
		{"Basic, a key of Atlas's", gatewaytest.Basic(sim.PublicKey, "c4na7y-wrong"), sim.PublicKey, "wrong_credential"},
		{"Basic, a key that was removed", gatewaytest.Basic("agwremovedkey2", "c4na7y-wrong"), "agwremovedkey2", "wrong_credential"},
		{"Basic, a service account", gatewaytest.Basic("Team.A~nightly", account.Secret.Reveal()), "Team.A~nightly", "wrong_credential"},
		{"Basic, a name in another form", gatewaytest.Basic("Team.B~nightly", "c4na7y-wrong"), "other", "wrong_credential"},
		{"Basic, the wrong way round", gatewaytest.Basic(nightly.Pair.Secret.Reveal(), pair), "other", "wrong_credential"},
		{"Basic, a token as the user", gatewaytest.Basic(nightly.Token.Secret.Reveal(), ""), "other", "wrong_credential"},
		{"Basic, without a user", gatewaytest.Basic("", "c4na7y-wrong"), "", "wrong_credential"},
		{"Basic, a record of its own", gatewaytest.Basic("agwa\n{\"msg\":\"request\",\"tried\":\"agwforged\"}", "x"), "other", "wrong_credential"},
		{"Basic, a long name", gatewaytest.Basic("agw"+strings.Repeat("a", 8000), "x"), "other", "wrong_credential"},
		{"Digest, a wrong key", signed(pair, v2Exports), pair, "wrong_credential"},
		{"Digest, another target", signed(pair, v2Buckets), pair, "mismatched"},
		{"Digest, an unknown key", signed("agwunknownkey3", v2Exports), "agwunknownkey3", "wrong_credential"},
		{"Digest, free text", signed(`a\", tried=\"agwforged`, v2Exports), "other", "wrong_credential"},
		{"Digest, broken", "Digest username=agwbroken", "", "malformed"},
		{"a token that nobody has", "Bearer agwtokenabc", "", "wrong_credential"},
		{"a token that was revoked", "Bearer " + token, "Team.A~nightly", "token_revoked"},
	} {
		before := g.Log.Len()
		g.Send(t, "GET", v2Exports, as(test.authorization), "")
		checkTried(t, g, before, test.name, test.tried, test.reason)
	}
	for _, test := range []struct{ name, id, tried, reason string }{
		{"the token endpoint", "Team.A~nightly", "Team.A~nightly", "wrong_credential"},
		{"the token endpoint, an unknown id", "mdb_sa_id_51a1a7ed00000000000000aa", "mdb_sa_id_51a1a7ed00000000000000aa", "wrong_credential"},
		{"the token endpoint, the wrong way round", account.Secret.Reveal(), "other", "wrong_credential"},
		{"the token endpoint, once more", "Team.A~nightly", "Team.A~nightly", "wrong_credential"},
		{"the token endpoint, too often", "Team.A~nightly", "Team.A~nightly", "too_many"},
	} {
		before := g.Log.Len()
		g.Send(t, "POST", "/api/oauth/token", tokenHeader(test.id, "c4na7y-wrong"), "grant_type=client_credentials")
		checkTried(t, g, before, test.name, test.tried, test.reason)
	}
	if strings.Contains(g.Log.String(), "forged") || strings.Contains(g.Metrics(t), pair) {
		t.Error("a text of a stranger's is in the log, or a key in the metrics")
	}
}

// tokenHeader is the header of a request to the token endpoint.
func tokenHeader(id, secret string) map[string]string {
	return map[string]string{"Authorization": gatewaytest.Basic(id, secret), "Content-Type": "application/x-www-form-urlencoded"}
}

// checkTried fails the test unless the log has one record behind an offset, which names the key
// that was tried.
func checkTried(t *testing.T, g *gatewaytest.Gateway, before int, name, tried, reason string) {
	t.Helper()
	line := g.Await(t, before, `"msg":"request"`)
	var record struct{ Tried, Reason string }
	if err := json.Unmarshal([]byte(line), &record); err != nil {
		t.Fatalf("%s: %v: %s", name, err, line)
	}
	if record.Tried != tried || record.Reason != reason {
		t.Errorf("%s: tried %.40q, reason %q, want %q, %q", name, record.Tried, record.Reason, tried, reason)
	}
	if n := strings.Count(fmt.Sprint(g.Log)[before:], "\n"); n != 1 || len(line) > 500 {
		t.Errorf("%s: %d records, the first of %d bytes", name, n, len(line))
	}
}
