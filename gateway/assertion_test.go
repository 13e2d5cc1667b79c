package gateway_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/sim"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// exchangeYAML is callers with identities at the issuer ci: deploy with one service account, twice
// with two, and secret with one that has a secret. changes stands in deploy's entry.
func exchangeYAML(ci *issuertest.Issuer, account callers.Issued, changes string) string {
	return fmt.Sprintf(`
limits: {request_header: 32768}
callers:
  attempts: {per_client: 100, overall: 1000}
  token_lifetime: 30m
  issuers:
    - {name: ci, issuer: %s, audiences: [%q], algorithms: [RS256]}
  list:
    - name: deploy
      service_accounts: [{client_id: agw_id_deploy}]
      %s
      grants: %[4]s
    - name: twice
      identities: [{issuer: ci, claims: {sub: "repo:acme/two:*"}}]
      service_accounts: [{client_id: agw_id_one}, {client_id: agw_id_two}]
      grants: %[4]s
    - name: secret
      identities: [{issuer: ci, claims: {sub: "repo:acme/secret:*"}}]
      service_accounts: [{client_id: %[5]s, secret_sha256: %[6]s}]
      grants: %[4]s
`, ci.URL, issuertest.Audience, changes, everything, account.ID, account.Entry.ServiceAccounts[0].SecretSHA256)
}

const deployIdentity = `identities: [{issuer: ci, claims: {sub: "repo:acme/infra:*"}}]`

// form returns the content of a request for a token, from names and values.
func form(pairs ...string) string {
	values := url.Values{"grant_type": {"client_credentials"}}
	for n := 0; n < len(pairs); n += 2 {
		values[pairs[n]] = append(values[pairs[n]], pairs[n+1])
	}
	return values.Encode()
}

// basicForm returns the header of a request to the token endpoint; without Authorization if the id
// is empty.
func basicForm(id, secret string) map[string]string {
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	if id != "" {
		header["Authorization"] = gatewaytest.Basic(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return header
}

// assertionCase is a request for a token, and what comes of it.
type assertionCase struct {
	name        string
	id, secret  string // by Basic
	form        string
	caller, key string
	refused     string // "401", or what a 400 says; empty for a request that is answered
	reason      callers.Reason
}

// assertionCases returns requests of each kind, with tokens that the test's output must not hold.
func assertionCases(t *testing.T, ci *issuertest.Issuer, account callers.Issued, own string) []assertionCase {
	t.Helper()
	now, secret := time.Now().Unix(), account.Secret.Reveal()
	token := func(sub string, changes map[string]any) string {
		signed := ci.Token(t, sub, changes)
		gatewaytest.KeepSecret(t, "a token of the issuer", signed)
		return signed
	}
	const sub = "repo:acme/infra:ref"
	good := token(sub, nil)
	none := encodePart(`{"alg":"none","kid":"first"}`) + "." + strings.Split(good, ".")[1] + "."
	return []assertionCase{
		{"by Basic", "agw_id_deploy", good, form(), "deploy", "agw_id_deploy", "", ""},
		{"again", "agw_id_deploy", good, form(), "deploy", "agw_id_deploy", "", ""},
		{"as assertion", "", "", form("client_assertion_type", jwtBearer, "client_assertion", good, "client_id", "agw_id_deploy"), "deploy", "agw_id_deploy", "", ""},
		{"without a client id", "", "", form("client_assertion_type", jwtBearer, "client_assertion", good), "deploy", "agw_id_deploy", "", ""},
		{"of two accounts", "agw_id_two", token("repo:acme/two:a", nil), form(), "twice", "agw_id_two", "", ""},
		{"a secret", account.ID, secret, form(), "secret", account.ID, "", ""},
		{"16 KiB by Basic", "agw_id_deploy", padded(t, token, sub), form(), "deploy", "agw_id_deploy", "", ""},
		{"16 KiB as assertion", "", "", form("client_assertion_type", jwtBearer, "client_assertion", padded(t, token, sub)), "deploy", "agw_id_deploy", "", ""},

		{"another caller's account", "agw_id_one", good, form(), "", "", "401", callers.WrongCredential},
		{"another caller's account, as assertion", "", "", form("client_assertion_type", jwtBearer, "client_assertion", good, "client_id", "agw_id_one"), "", "", "401", callers.WrongCredential},
		{"an account with a secret", account.ID, token("repo:acme/secret:a", nil), form(), "", "", "401", callers.WrongCredential},
		{"an account with a secret, without a client id", "", "", form("client_assertion_type", jwtBearer, "client_assertion", token("repo:acme/secret:a", nil)), "", "", "401", callers.WrongCredential},
		{"nobody's account", "agw_id_nobody", good, form(), "", "", "401", callers.WrongCredential},
		{"no account by Basic", "other", good, form(), "", "", "401", callers.WrongCredential},
		{"two accounts and no client id", "", "", form("client_assertion_type", jwtBearer, "client_assertion", token("repo:acme/two:a", nil)), "", "", "401", callers.WrongCredential},
		{"a secret as assertion", "", "", form("client_assertion_type", jwtBearer, "client_assertion", secret, "client_id", account.ID), "", "", "401", callers.Malformed},
		{"a secret for an account without one", "agw_id_deploy", secret, form(), "", "", "401", callers.WrongCredential},
		{"an empty secret", "agw_id_deploy", "", form(), "", "", "401", callers.WrongCredential},
		{"nobody's subject", "agw_id_deploy", token("repo:evil/infra:a", nil), form(), "", "", "401", callers.NoCaller},
		{"expired", "agw_id_deploy", token(sub, map[string]any{"iat": now - 900, "nbf": now - 900, "exp": now - 60}), form(), "", "", "401", callers.TokenExpired},
		{"expired within the leeway", "agw_id_deploy", token(sub, map[string]any{"iat": now - 900, "nbf": now - 900, "exp": now - 1}), form(), "", "", "401", callers.TokenExpired},
		{"not yet valid", "agw_id_deploy", token(sub, map[string]any{"nbf": now + 600}), form(), "", "", "401", callers.TokenNotYetValid},
		{"another issuer", "agw_id_deploy", token(sub, map[string]any{"iss": "https://evil.example.com"}), form(), "", "", "401", callers.WrongIssuer},
		{"another audience", "agw_id_deploy", token(sub, map[string]any{"aud": "sts.amazonaws.com"}), form(), "", "", "401", callers.WrongAudience},
		{"no algorithm", "agw_id_deploy", none, form(), "", "", "401", callers.WrongAlgorithm},
		{"another key", "agw_id_deploy", issuertest.NewKey(t, "second", "RS256").Sign(t, map[string]any{"kid": "first"}, ci.Claims(sub, nil)), form(), "", "", "401", callers.WrongSignature},
		{"larger than 16 KiB", "", "", form("client_assertion_type", jwtBearer, "client_assertion", strings.Repeat("a", 8<<10)+"."+strings.Repeat("a", 8<<10)+".a"), "", "", "401", callers.Malformed},
		{"another type", "", "", form("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "client_assertion", good), "", "", "401", callers.Malformed},
		{"no type", "", "", form("client_assertion", good), "", "", "401", callers.Malformed},
		{"a type only", "", "", form("client_assertion_type", jwtBearer), "", "", "401", callers.NoCredential},
		{"a secret beside the assertion", "", "", form("client_assertion_type", jwtBearer, "client_assertion", good, "client_secret", "c4na7y"), "", "", "401", callers.Malformed},
		{"no credential", "", "", form(), "", "", "401", callers.NoCredential},
		{"Basic and assertion", "agw_id_deploy", good, form("client_assertion_type", jwtBearer, "client_assertion", good), "deploy", "agw_id_deploy", "There are two credentials.", callers.InvalidRequest},
		{"Basic and a type", account.ID, secret, form("client_assertion_type", jwtBearer), "secret", account.ID, "There are two credentials.", callers.InvalidRequest},
		{"two assertions", "", "", form("client_assertion_type", jwtBearer, "client_assertion", good, "client_assertion", good), "", "", "A parameter is repeated.", callers.InvalidRequest},
		{"a token of the gateway's own", "agw_id_deploy", own, form(), "", "", "401", callers.WrongIssuer},
	}
}

// want returns what comes of the request.
func (c assertionCase) want(form callers.Form) outcome {
	want := outcome{Status: 200, Record: record{Status: 200, Caller: c.caller, Key: c.key, Form: string(form)}}
	switch c.refused {
	case "":
	case "401":
		return noClient(c.reason)
	default:
		want.Status, want.Refusal = 400, fmt.Sprintf(`{"error":"invalid_request","error_description":%q}`, c.refused)
		want.Record.Status, want.Record.Error, want.Record.Reason = 400, "oauth", string(c.reason)
		if c.caller == "" {
			want.Record.Form = ""
		}
	}
	return want
}

// A token of an issuer gets a token for a service account of its caller, and nothing else does.
// All refusals look the same outside, and the log has the reason. Atlas hears of none.
func TestAssertions(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	account := callers.NewServiceAccount("secret")
	gatewaytest.KeepSecret(t, "the client secret", account.Secret.Reveal())
	g := gatewaytest.StartFor(t, atlas.URL(), exchangeYAML(ci, account, deployIdentity))
	good := ci.Token(t, "repo:acme/infra:a", nil)
	g.Send(t, "GET", v2Buckets, as("Bearer "+good), "") // Atlas challenges the gateway once
	own := g.Send(t, "POST", "/api/oauth/token", basicForm("agw_id_deploy", good), form()).AccessToken()
	for _, test := range assertionCases(t, ci, account, own) {
		by := callers.ClientAssertion
		if test.id == account.ID {
			by = callers.ClientSecret
		}
		var got gatewaytest.Response
		outcome := try(t, g, atlas, func() gatewaytest.Response {
			got = g.Send(t, "POST", "/api/oauth/token", basicForm(test.id, test.secret), test.form)
			return got
		})
		if want := test.want(by); outcome != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.name, outcome, want)
		}
		if test.refused == "" {
			issued := got.AccessToken()
			gatewaytest.KeepSecret(t, "an access token", issued)
			if used := g.Send(t, "GET", v2Buckets, as("Bearer "+issued), ""); used.Status != 200 {
				t.Errorf("%s: the token that was issued: %d %s", test.name, used.Status, used.Body)
			}
		}
	}
	metrics := g.Metrics(t)
	for _, reason := range []callers.Reason{callers.NoCaller, callers.WrongAudience, callers.WrongSignature, callers.TokenExpired} {
		if !strings.Contains(metrics, fmt.Sprintf(`atlas_gateway_refusals_total{kind="oauth",operation="none",reason="%s"}`, reason)) {
			t.Errorf("the metrics lack %s", reason)
		}
	}
}

// padded returns a token of nearly 16 KiB.
func padded(t *testing.T, token func(string, map[string]any) string, sub string) string {
	t.Helper()
	text := token(sub, map[string]any{"pad": strings.Repeat("a", 11_800)})
	if len(text) < 16_000 || len(text) > 16<<10 {
		t.Fatalf("%d bytes", len(text))
	}
	return text
}

// A token that was issued for a token of an issuer is good no longer than that one, and ends with
// the identity and the account. Its owner can revoke it.
func TestAssertionsEnd(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	stored := callers.NewServiceAccount("secret")
	yaml := func(changes string) string { return gatewaytest.YAML(atlas.URL(), exchangeYAML(ci, stored, changes)) }
	g := gatewaytest.Start(t, yaml(deployIdentity))
	exchange := func(changes map[string]any) gatewaytest.Response {
		return g.Send(t, "POST", "/api/oauth/token", basicForm("agw_id_deploy", ci.Token(t, "repo:acme/infra:a", changes)), form())
	}
	lifetime := func(changes map[string]any) (seconds int) {
		t.Helper()
		_, after, _ := strings.Cut(exchange(changes).Body, `"expires_in":`)
		fmt.Sscanf(after, "%d", &seconds)
		return seconds
	}
	use := func(token string) int { return g.Send(t, "GET", v2Buckets, as("Bearer "+token), "").Status }

	if in := lifetime(nil); in != 1800 {
		t.Errorf("token_lifetime is shorter: %d s", in)
	}
	if in := lifetime(map[string]any{"exp": time.Now().Unix() + 100}); in < 1 || in > 100 {
		t.Errorf("exp is sooner: %d s", in)
	}
	token := exchange(nil).AccessToken()
	if status := use(token); status != 200 {
		t.Fatal(status)
	}
	changed := func(old, new string) string { return strings.Replace(yaml(deployIdentity), old, new, 1) }
	const identity, account = `{sub: "repo:acme/infra:*"}`, "{client_id: agw_id_deploy"
	for name, change := range map[string]string{
		"the identity is another":         changed(identity, `{sub: "repo:acme/infra:main"}`),
		"the identity is disabled":        changed(identity, identity+", disabled: true"),
		"the identity has ended":          changed(identity, identity+", not_after: 1999-12-31T00:00:00Z"),
		"the caller is disabled":          yaml(deployIdentity + "\n      disabled: true"),
		"the caller calls from elsewhere": yaml(deployIdentity + "\n      source_networks: [192.0.2.0/24]"),
		"the account is disabled":         changed(account, account+", disabled: true"),
		"the account has a secret":        changed(account, account+", secret_sha256: "+strings.Repeat("ab", 32)),
		"the account is removed":          changed(account, "{client_id: agw_id_another"),
		"the issuer is another":           changed("issuer: "+ci.URL, "issuer: https://issuer.example.com"),
	} {
		if told := g.Rewrite(t, change); !strings.Contains(told, "was reloaded") {
			t.Errorf("%s: %s", name, told)
		}
		if used, got := use(token), exchange(nil).Status; used != 401 || got != 401 {
			t.Errorf("%s: %d, and a new token %d", name, used, got)
		}
	}
	soon := time.Now().Add(100 * time.Second).UTC().Format(time.RFC3339)
	g.Rewrite(t, yaml(`identities: [{issuer: ci, claims: {sub: "repo:acme/infra:*"}, not_after: `+soon+`}]`))
	if status := use(token); status != 200 {
		t.Errorf("as before: %d", status)
	}
	if in := lifetime(nil); in < 1 || in > 100 {
		t.Errorf("the identity ends soon: %d s", in)
	}
	if got := g.Send(t, "POST", "/api/oauth/revoke", basicForm("", ""), form("client_assertion_type", jwtBearer, "client_assertion", ci.Token(t, "repo:acme/infra:a", nil), "token", token)); got.Status != 200 || use(token) != 401 {
		t.Errorf("revoked: %d, then %d", got.Status, use(token))
	}
}

// Guesses are bounded as those of secrets are, and honest callers are not locked out by them.
func TestAssertionAttempts(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	yaml := strings.Replace(exchangeYAML(ci, callers.NewServiceAccount("secret"), deployIdentity), "per_client: 100", "per_client: 3", 1)
	g := gatewaytest.StartFor(t, atlas.URL(), yaml)
	send := func(sub string) int {
		return g.Send(t, "POST", "/api/oauth/token", basicForm("", ""), form("client_assertion_type", jwtBearer, "client_assertion", ci.Token(t, sub, nil), "client_id", "agw_id_deploy")).Status
	}
	var statuses []int
	for range 4 {
		statuses = append(statuses, send("repo:evil/infra:a"))
	}
	for range 4 {
		statuses = append(statuses, send("repo:acme/infra:a"))
	}
	if got := fmt.Sprint(statuses); got != "[401 401 401 429 200 200 200 429]" {
		t.Error(got)
	}
}
