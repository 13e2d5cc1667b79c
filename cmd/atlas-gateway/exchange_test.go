package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/sim"
)

// exchanging is callers of an issuer: victim and thief each have a service account without a
// secret, and stored one with a secret.
func exchanging(issuer string, stored *gatewaytest.Caller) string {
	return fmt.Sprintf(`callers:
  attempts: {per_client: 100, overall: 40}
  issuers: [{name: ci, issuer: %s, audiences: [%q], algorithms: [RS256]}]
  list:
  - name: victim
    identities: [{issuer: ci, claims: {sub: "repo:acme/infra:main"}}]
    service_accounts: [{client_id: agw_id_victim}]
    grants: %[3]s
  - name: thief
    identities: [{issuer: ci, claims: {sub: "repo:acme/other:*"}}]
    service_accounts: [{client_id: agw_id_thief}]
    grants: []
`, issuer, issuertest.Audience, allGrants) + stored.YAML
}

// assertion returns the form of a request with a client_assertion, and more parameters.
func assertion(token string, pairs ...string) string {
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token}}
	for n := 0; n < len(pairs); n += 2 {
		form.Set(pairs[n], pairs[n+1])
	}
	return form.Encode()
}

// Tokens of issuers that are not the account's open nothing at the token endpoint: not that of
// another caller, nor one for another audience, nor one that has expired. All are answered alike.
func TestExchangeOfOthersTokens(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	stored := gatewaytest.Issue(t, "stored", allGrants)
	p := serveFor(t, atlas.URL(), exchanging(ci.URL, stored))
	const victim, thief = "repo:acme/infra:main", "repo:acme/other:main"
	now := time.Now().Unix()
	ask := func(authorization, form string) gatewaytest.Response {
		header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
		if authorization != "" {
			header["Authorization"] = authorization
		}
		return gatewaytest.Send(t, "POST", p.Listener+"/api/oauth/token", header, form)
	}
	basic := func(id, secret string) string { return gatewaytest.Basic(id, secret) }
	wrong := ask(basic("agw_id_victim", "c4na7y-wrong"), grant)
	if wrong.Status != 401 {
		t.Fatal(wrong)
	}
	for name, got := range map[string]gatewaytest.Response{
		"another caller's token":               ask(basic("agw_id_victim", ci.Token(t, thief, nil)), grant),
		"another caller's token, as assertion": ask("", assertion(ci.Token(t, thief, nil), "client_id", "agw_id_victim")),
		"a token for an account with a secret": ask(basic(stored.Account.ID, ci.Token(t, victim, nil)), grant),
		"a secret for an account without one":  ask(basic("agw_id_victim", stored.Account.Secret.Reveal()), grant),
		"no secret":                            ask(basic("agw_id_victim", ""), grant),
		"another audience":                     ask(basic("agw_id_victim", ci.Token(t, victim, map[string]any{"aud": "sts.amazonaws.com"})), grant),
		"expired":                              ask(basic("agw_id_victim", ci.Token(t, victim, map[string]any{"iat": now - 900, "nbf": now - 900, "exp": now - 31})), grant),
		"a key of the token's own":             ask("", assertion(issuertest.NewKey(t, "own", "RS256").Sign(t, map[string]any{"kid": "first", "jku": "http://127.0.0.1:1/keys"}, ci.Claims(victim, nil)))),
		"another issuer":                       ask("", assertion(ci.Token(t, victim, map[string]any{"iss": "https://issuer.example.com"}))),
		"a saml assertion":                     ask("", assertion(ci.Token(t, victim, nil), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer")),
		"a token of the gateway's":             ask("", assertion(ask(basic("agw_id_victim", ci.Token(t, victim, nil)), grant).AccessToken())),
	} {
		if shape(got) != shape(wrong) {
			t.Errorf("%s: answered\n%s\nand a wrong secret\n%s", name, shape(got), shape(wrong))
		}
	}
	if got := ask(basic("agw_id_victim", ci.Token(t, victim, nil)), assertion(ci.Token(t, thief, nil))); got.Status != 400 || got.AccessToken() != "" {
		t.Errorf("two credentials: %d %s", got.Status, got.Body)
	}
	untouched(t, atlas, "the token endpoint")

	// Guesses are bounded, and honest callers are not.
	for range 100 {
		ask("", assertion(ci.Token(t, "repo:evil/infra:main", nil)))
	}
	if got := ask("", assertion(ci.Token(t, "repo:evil/infra:main", nil))); got.Status != 429 {
		t.Errorf("after 100 guesses: %d", got.Status)
	}
	if got := ask("", assertion(ci.Token(t, victim, nil))); got.Status != 200 {
		t.Errorf("an honest caller, after 100 guesses: %d", got.Status)
	}
	if log := p.stderr.String(); strings.Contains(log, "eyJ") {
		t.Error("a token is in the log")
	}
}

// A token that was got for that of a job ends with it, with the identity and with the account.
func TestExchangedTokenEnds(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), exchanging(ci.URL, gatewaytest.Issue(t, "stored", allGrants)))
	get := func(lifetime int64) (token string) {
		job := ci.Token(t, "repo:acme/infra:main", map[string]any{"exp": time.Now().Unix() + lifetime})
		return gatewaytest.Send(t, "POST", p.Listener+"/api/oauth/token", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, assertion(job)).AccessToken()
	}
	use := func(token string) int {
		return gatewaytest.Send(t, "GET", p.Listener+buckets, map[string]string{"Accept": "application/vnd.atlas.2025-03-12+json", "Authorization": "Bearer " + token}, "").Status
	}
	short, long := get(6), get(3600)
	if use(short) != 200 || use(long) != 200 {
		t.Fatal("the tokens are not good")
	}
	gatewaytest.WaitFor(t, "the end of the job's token", func() bool {
		time.Sleep(200 * time.Millisecond)
		return use(short) == 401
	})
	const identity, account = `sub: "repo:acme/infra:main"`, "client_id: agw_id_victim"
	for _, change := range [][2]string{
		{identity, `sub: "repo:acme/infra:release"`},
		{identity + "}", identity + "}, disabled: true"},
		{account, account + ", disabled: true"},
		{account, "client_id: agw_id_other"},
	} {
		p.reload(t, change[0], change[1])
		sent := atlas.Counts().Requests
		if status := use(long); status != 401 || atlas.Counts().Requests != sent {
			t.Errorf("%s: %d", change[1], status)
		}
		p.reload(t, change[1], change[0])
	}
	if status := use(long); status != 200 {
		t.Errorf("as before: %d", status)
	}
}
