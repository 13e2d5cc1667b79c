package callers_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/secret"
)

// exchanging returns a configuration with an issuer, and a caller deploy that its token with the
// sub "job" proves, who has a service account without a secret.
func exchanging(i *issuertest.Issuer) callers.Config {
	config := withIssuer(i)
	config.List[0].ServiceAccounts = []callers.ServiceAccount{{ClientID: "agw_id_deploy"}}
	return config
}

func asAssertion(token string) string {
	return grant + "&" + url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {token}}.Encode()
}

// A token of an issuer proves a service account only where nobody can listen, as a secret does.
func TestAssertionIsPrivate(t *testing.T) {
	i := issuertest.Start(t)
	for private, want := range map[bool]answer{true: {200, "", ""}, false: {401, invalidClient, "Basic"}} {
		m := callers.NewMemory()
		t.Cleanup(m.Close)
		server := serve(t, reload(t, m, exchanging(i), callers.Options{AllowBasic: func(*http.Request) bool { return private }}))
		for _, send := range []func(token string) answer{
			func(token string) answer { got, _ := oauth(t, server, "token", "", asAssertion(token)); return got },
			func(token string) answer {
				got, _ := oauth(t, server, "token", basic("agw_id_deploy", secret.New(token)), grant)
				return got
			},
		} {
			got := send(i.Token(t, "job", nil))
			if got.Status == 200 {
				got.Content = ""
			}
			if got != want {
				t.Errorf("private %t: %+v, want %+v", private, got, want)
			}
		}
	}
}

// Without service accounts that a token could prove, the content of a request without a credential
// is not read.
func TestAssertionIsNotAskedFor(t *testing.T) {
	k, config := issue(t)
	server := serve(t, build(t, config, callers.Options{}))
	if got, _ := oauth(t, server, "token", "", "a=1&a=2&"+asAssertion("a.b.c")); got != (answer{401, invalidClient, "Basic"}) {
		t.Errorf("%+v", got)
	}
	if got, _ := oauth(t, server, "token", basic(k.account.ID, k.account.Secret), grant); got.Status != 200 {
		t.Errorf("%+v", got)
	}
}

// A service account needs a secret unless its caller has identities.
func TestSecretIsLeftOut(t *testing.T) {
	i := issuertest.Start(t)
	config := exchanging(i)
	config.List = append(config.List, callers.Entry{Name: "other", ServiceAccounts: []callers.ServiceAccount{{ClientID: "agw_id_other"}}})
	var refused []string
	callers.Compile(config, true, func(path, format string, args ...any) { refused = append(refused, path) })
	if got := strings.Join(refused, " "); got != "list[1].service_accounts[0].secret_sha256" {
		t.Error(got)
	}
}
