package callers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

const invalidClient = `{"error":"invalid_client","error_description":"Invalid credentials provided."}`

// A service account gets a token, uses it and revokes it.
func TestServiceAccount(t *testing.T) {
	k, config := issue(t)
	config.TokenLifetime = 30 * time.Minute
	clock := newClock()
	a := build(t, config, callers.Options{Now: clock.now})
	server := serve(t, a)
	client := basic(k.account.ID, k.account.Secret)

	got, resp := oauth(t, server, "token", client, grant)
	var content map[string]any
	if err := json.Unmarshal([]byte(got.Content), &content); err != nil {
		t.Fatal(err, got)
	}
	token, _ := content["access_token"].(string)
	delete(content, "access_token")
	if d := cmp.Diff(map[string]any{"expires_in": 1800.0, "token_type": "Bearer"}, content); d != "" {
		t.Error(d)
	}
	if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Error(resp.Header)
	}
	// Clients read the time of expiry out of the token.
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil || claims.Subject != k.account.ID || claims.ExpiresAt.Unix() != clock.now().Add(30*time.Minute).Unix() {
		t.Error(err, claims)
	}
	bearer := field{"Bearer " + token}
	check := func(want answer) {
		t.Helper()
		if got, _ := do(t, server, "GET", target, bearer); got != want {
			t.Error(got)
		}
	}
	check(in(callers.AccessToken))

	revoke := func(token string, want int) {
		t.Helper()
		if got, _ := oauth(t, server, "revoke", client, url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()); got.Status != want {
			t.Error(got)
		}
	}
	revoke("nonsense", 200)
	revoke("", 400)
	check(in(callers.AccessToken))
	if got, _ := oauth(t, server, "revoke", basic(k.account.ID, secret.New("wrong")), "token="+token); got.Status != 401 {
		t.Error(got)
	}
	check(in(callers.AccessToken))
	revoke(token, 200)
	revoke(token, 200)
	check(refusedBearer(callers.TokenRevoked))

	// Once expired, it need not be remembered.
	clock.pass(31 * time.Minute)
	check(refusedBearer(callers.TokenExpired))
	revoke(accessToken(t, server, k.account), 200)
	if _, revoked := a.Remembered(); revoked != 1 {
		t.Errorf("%d revoked tokens are remembered", revoked)
	}
}

// Revocations are bounded too. None is forgotten, since its token would be good again.
func TestRevokedBounded(t *testing.T) {
	k, config := issue(t)
	a := build(t, config, callers.Options{})
	a.Bound(1, 2)
	server := serve(t, a)
	for _, want := range []int{200, 200, 503} {
		token := accessToken(t, server, k.account)
		if got, _ := oauth(t, server, "revoke", basic(k.account.ID, k.account.Secret), "token="+token); got.Status != want {
			t.Error(got)
		}
	}
	if _, revoked := a.Remembered(); revoked != 2 {
		t.Errorf("%d revoked tokens are remembered", revoked)
	}
}

// A service account can't revoke the tokens of another.
func TestRevokeOfOthers(t *testing.T) {
	k, config := issue(t)
	other := callers.NewServiceAccount("other")
	config.List = append(config.List, other.Entry)
	server := serve(t, build(t, config, callers.Options{}))
	token := accessToken(t, server, k.account)
	if got, _ := oauth(t, server, "revoke", basic(other.ID, other.Secret), "token="+token); got.Status != 200 {
		t.Error(got)
	}
	if got, _ := do(t, server, "GET", target, field{"Bearer " + token}); got != in(callers.AccessToken) {
		t.Error(got)
	}
}

// What the token endpoint refuses, without reading more than a bounded content.
func TestTokenRefusals(t *testing.T) {
	k, config := issue(t)
	config.Attempts = callers.Attempts{PerClient: 100, Overall: 1000}
	server := serve(t, build(t, config, callers.Options{}))
	good := field{basic(k.account.ID, k.account.Secret)}
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name        string
		method      string
		f           field
		contentType string
		content     string
		want        answer
	}{
		{"no credential", "POST", nil, form, grant, answer{401, invalidClient, "Basic"}},
		{"wrong secret", "POST", field{basic(k.account.ID, secret.New("wrong"))}, form, grant, answer{401, invalidClient, "Basic"}},
		{"unknown client", "POST", field{basic("agw_id_nobody", k.account.Secret)}, form, grant, answer{401, invalidClient, "Basic"}},
		{"empty client", "POST", field{basic("", secret.Secret{})}, form, grant, answer{401, invalidClient, "Basic"}},
		{"a key pair", "POST", field{basic(k.pair.ID, k.pair.Secret)}, form, grant, answer{401, invalidClient, "Basic"}},
		{"the hash of the secret", "POST", field{basic(k.account.ID, secret.New(k.account.Entry.ServiceAccounts[0].SecretSHA256))}, form, grant, answer{401, invalidClient, "Basic"}},
		{"garbage", "POST", field{"Basic !"}, form, grant, answer{401, invalidClient, "Basic"}},
		{"bearer", "POST", field{"Bearer " + k.token.Secret.Reveal()}, form, grant, answer{401, invalidClient, "Basic"}},
		{"two fields", "POST", append(good, good...), form, grant, answer{401, invalidClient, "Basic"}},
		{"credential in the form", "POST", nil, form, grant + "&client_id=" + k.account.ID + "&client_secret=" + k.account.Secret.Reveal(), answer{401, invalidClient, "Basic"}},
		{"GET", "GET", good, "", "", answer{405, `{"error":"invalid_request","error_description":"The method is not POST."}`, ""}},
		{"other grant", "POST", good, form, "grant_type=password", answer{400, `{"error":"unsupported_grant_type","error_description":"The grant type is not client_credentials."}`, ""}},
		{"no grant", "POST", good, form, "", answer{400, `{"error":"unsupported_grant_type","error_description":"The grant type is not client_credentials."}`, ""}},
		{"twice", "POST", good, form, grant + "&" + grant, answer{400, `{"error":"invalid_request","error_description":"A parameter is repeated."}`, ""}},
		{"JSON", "POST", good, "application/json", `{"grant_type":"client_credentials"}`, answer{400, `{"error":"invalid_request","error_description":"The content is not a form."}`, ""}},
		{"no form", "POST", good, form, "%zz", answer{400, `{"error":"invalid_request","error_description":"The content is not a form."}`, ""}},
		{"large", "POST", good, form, grant + "&a=" + strings.Repeat("b", callers.MaxForm), answer{413, `{"error":"invalid_request","error_description":"The content is too large."}`, ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, server.URL+"/api/oauth/token", strings.NewReader(tt.content))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Authorization": tt.f, "Content-Type": {tt.contentType}}
			got, _ := receive(t, server, r)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Attempts are limited by client and overall. A stranger's attempts don't count against a client
// with the right secret.
func TestAttempts(t *testing.T) {
	k, config := issue(t)
	config.Attempts = callers.Attempts{PerClient: 3, Overall: 8}
	clock := newClock()
	server := serve(t, build(t, config, callers.Options{Now: clock.now}))
	try := func(id string, secret secret.Secret, want int) {
		t.Helper()
		got, resp := oauth(t, server, "token", basic(id, secret), grant)
		if got.Status != want {
			t.Errorf("%v, want %d", got, want)
		}
		if after := resp.Header.Get("Retry-After"); want == 429 && after != "20" && after != "8" {
			t.Errorf("Retry-After: %q", after)
		}
	}
	wrong := secret.New("wrong")
	for range 3 {
		try(k.account.ID, wrong, 401)
	}
	for range 5 {
		try(k.account.ID, wrong, 429)
	}
	for range 3 {
		try(k.account.ID, k.account.Secret, 200)
	}
	try(k.account.ID, k.account.Secret, 429)
	// Overall, whatever the id: five are left, and no more than those are answered 401.
	refused := 0
	for i := range 20 {
		if got, _ := oauth(t, server, "token", basic(fmt.Sprint("nobody", i), wrong), grant); got.Status == 401 {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("%d of 20 strangers were answered", refused)
	}
	clock.pass(20 * time.Second)
	try(k.account.ID, k.account.Secret, 200)
	try(k.account.ID, wrong, 401)
	try(k.account.ID, wrong, 429)
}
