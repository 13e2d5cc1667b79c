package gateway_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/sim"

	"github.com/golang-jwt/jwt/v5"
)

// jwtYAML is callers with identities at the issuers ci and cluster. One of them is called
// anonymous.
func jwtYAML(t testing.TB, ci *issuertest.Issuer, cluster issuertest.Key, more string) string {
	t.Helper()
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "keys.json"), issuertest.JWKS(cluster))
	return fmt.Sprintf(`
callers:
  issuers:
    - name: ci
      issuer: %s
      audiences: [%q]
      algorithms: [RS256, PS256, ES256, EdDSA]
      %s
    - {name: cluster, issuer: "https://kubernetes.default.svc", audiences: [%[2]q], algorithms: [RS256], jwks_file: %[4]s}
  list:
    - name: deploy
      identities: [{issuer: ci, claims: {sub: "repo:acme/infra:*", protected: true, attempt: [1, 2]}}]
      grants: %[5]s
    - name: anonymous
      identities: [{issuer: ci, claims: {sub: "repo:acme/infra:**", /realm/roles: [reader, exporter]}}]
      grants: %[5]s
    - name: exporter
      identities: [{issuer: cluster, claims: {/kubernetes.io/namespace: backups, /kubernetes.io/serviceaccount/name: "export*"}}]
      grants: %[5]s
`, ci.URL, issuertest.Audience, more, file, everything)
}

// jwtCase is a token, and what comes of it.
type jwtCase struct {
	name   string
	token  string
	caller string // "" for a token that is refused
	reason callers.Reason
	shown  string // the key of the record, or what was tried
}

// Every form of a token, good and bad: what is answered, logged and counted. The caller is told
// the same of all that are refused, and Atlas hears of none.
func TestJWT(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	cluster := issuertest.NewKey(t, "cluster", "RS256")
	first := ci.Key()
	keys := []issuertest.Key{first}
	for _, algorithm := range []string{"PS256", "ES256", "EdDSA"} {
		keys = append(keys, issuertest.NewKey(t, algorithm, algorithm))
	}
	ci.Publish(keys...)
	g := gatewaytest.StartFor(t, atlas.URL(), jwtYAML(t, ci, cluster, ""))
	// Atlas challenges the gateway once.
	g.Send(t, "GET", v2Buckets, as("Bearer "+ci.Token(t, "repo:acme/infra:ref:a", map[string]any{"realm": map[string]any{"roles": "reader"}})), "")
	counted := map[callers.Reason]int{}
	for _, test := range jwtCases(t, ci, keys, cluster) {
		want := outcome{Status: 200, Record: record{Status: 200, Caller: test.caller, Key: test.shown, Form: "jwt"}, Atlas: 1}
		if test.caller == "" {
			counted[test.reason]++
			want = refused(test.reason)
		}
		offset := len(g.Log.String())
		got := try(t, g, atlas, func() gatewaytest.Response { return g.Send(t, "GET", v2Buckets, as("Bearer "+test.token), "") })
		if got != want {
			t.Errorf("%s:\n%+v, want\n%+v", test.name, got, want)
		}
		var tried struct{ Tried string }
		if line := g.Await(t, offset, `"msg":"request"`); test.caller == "" && (json.Unmarshal([]byte(line), &tried) != nil || tried.Tried != test.shown) {
			t.Errorf("%s: tried %q, want %q", test.name, tried.Tried, test.shown)
		}
	}
	// The token endpoint is for service accounts, of which there are none.
	token := ci.Token(t, "repo:acme/infra:a", map[string]any{"protected": true, "attempt": 1})
	if got := g.Send(t, "GET", "/api/oauth/token", as("Bearer "+token), ""); got.Header.Get("Gateway-Error") != "not_served" {
		t.Errorf("the token endpoint: %d %s", got.Status, got.Body)
	}
	metrics := g.Metrics(t)
	for reason, n := range counted {
		if line := fmt.Sprintf(`atlas_gateway_refusals_total{kind="unauthorized",operation="listExportBuckets",reason="%s"} %d`, reason, n); !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if !strings.Contains(metrics, `atlas_gateway_issuer_keys_age_seconds{issuer="ci"}`) || strings.Contains(metrics, `issuer="cluster"`) {
		t.Error("the age of fetched keys is not in the metrics, or that of others is")
	}
}

func jwtCases(t *testing.T, ci *issuertest.Issuer, keys []issuertest.Key, cluster issuertest.Key) []jwtCase {
	first, now := keys[0], time.Now().Unix()
	const sub = "repo:acme/infra:pull_request"
	claims := func(changes map[string]any) map[string]any {
		all := map[string]any{"protected": true, "attempt": 2}
		maps.Copy(all, changes)
		return ci.Claims(sub, all)
	}
	with := func(changes map[string]any) string { return first.Sign(t, nil, claims(changes)) }
	pod := func(changes map[string]any) string {
		all := map[string]any{
			"iss": "https://kubernetes.default.svc", "aud": []string{issuertest.Audience}, "iat": now, "nbf": now, "exp": now + 3600,
			"kubernetes.io": map[string]any{"namespace": "backups", "serviceaccount": map[string]any{"name": "exporter", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"}},
			"sub":           "system:serviceaccount:backups:exporter",
		}
		maps.Copy(all, changes)
		return cluster.Sign(t, nil, all)
	}
	hmac := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims(nil)))
	hmac.Header["kid"] = "first"
	forged, err := hmac.SignedString([]byte(issuertest.JWKS(first)))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(with(nil), ".")
	cases := []jwtCase{
		{"good", with(nil), "deploy", "", "ci:" + sub},
		{"again", with(nil), "deploy", "", "ci:" + sub},
		{"of the cluster", pod(nil), "exporter", "", "cluster:system:serviceaccount:backups:exporter"},
		{"a caller called anonymous, by a list", with(map[string]any{"protected": false, "realm": map[string]any{"roles": []any{"other", "exporter"}}}), "anonymous", "", "ci:" + sub},
		{"a subject that can't be printed", with(map[string]any{"sub": "repo:acme/infra:\u202e\n" + strings.Repeat("a", 200)}), "deploy", "", `ci:repo:acme/infra:\u202e\n` + strings.Repeat("a", 104)},

		{"a false claim", with(map[string]any{"protected": false}), "", callers.NoCaller, "ci:" + sub},
		{"a number of another form", with(map[string]any{"attempt": json.Number("2.0")}), "", callers.NoCaller, "ci:" + sub},
		{"a subject that goes on", with(map[string]any{"sub": "repo:acme/infra:ref:refs/heads/main"}), "", callers.NoCaller, "ci:repo:acme/infra:ref:refs/heads/main"},
		{"no subject", with(map[string]any{"sub": nil}), "", callers.NoCaller, "ci:"},
		{"another namespace", pod(map[string]any{"kubernetes.io": map[string]any{"namespace": "default", "serviceaccount": map[string]any{"name": "exporter"}}}), "", callers.NoCaller, "cluster:system:serviceaccount:backups:exporter"},
		{"a claim with the pointer for a name", pod(map[string]any{"kubernetes.io": nil, "/kubernetes.io/namespace": "backups", "/kubernetes.io/serviceaccount/name": "exporter"}), "", callers.NoCaller, "cluster:system:serviceaccount:backups:exporter"},
		{"the cluster's claims of the other issuer", with(map[string]any{"sub": "a", "kubernetes.io": map[string]any{"namespace": "backups", "serviceaccount": map[string]any{"name": "exporter"}}}), "", callers.NoCaller, "ci:a"},

		{"expired", with(map[string]any{"iat": now - 900, "nbf": now - 900, "exp": now - 60}), "", callers.TokenExpired, "ci"},
		{"not yet valid", with(map[string]any{"nbf": now + 60}), "", callers.TokenNotYetValid, "ci"},
		{"good for too long", with(map[string]any{"exp": now + 86500}), "", callers.WrongLifetime, "ci"},
		{"another issuer", with(map[string]any{"iss": "https://issuer.example.com"}), "", callers.WrongIssuer, ""},
		{"another audience", with(map[string]any{"aud": "https://atlas.example.com"}), "", callers.WrongAudience, "ci"},
		{"none", encodePart(`{"alg":"none"}`) + "." + parts[1] + ".", "", callers.WrongAlgorithm, "ci"},
		{"HS256 with the public key", forged, "", callers.WrongAlgorithm, "ci"},
		{"an unknown key", first.Sign(t, map[string]any{"kid": "fifth"}, claims(nil)), "", callers.UnknownKey, "ci"},
		{"another key's signature", first.Sign(t, map[string]any{"alg": "PS256", "kid": "PS256"}, claims(nil)), "", callers.WrongSignature, "ci"},
		{"the cluster's key", cluster.Sign(t, map[string]any{"kid": "first"}, claims(nil)), "", callers.WrongSignature, "ci"},
		{"crit", first.Sign(t, map[string]any{"crit": []string{"exp"}}, claims(nil)), "", callers.Malformed, "ci"},
		{"a member twice in the header", first.SignRaw(t, `{"kid":"first","alg":"RS256","alg":"RS256"}`, parts[1]), "", callers.Malformed, ""},
		{"a member twice in the claims", first.SignRaw(t, `{"kid":"first","alg":"RS256"}`, fmt.Sprintf(`{"iss":%q,"sub":"a","sub":"a"}`, ci.URL)), "", callers.Malformed, ""},
		{"huge", with(map[string]any{"pad": strings.Repeat("a", 12<<10)}), "", callers.Malformed, ""},
		{"cut off", strings.Join(parts[:2], "."), "", callers.WrongCredential, ""},
		{"with four parts", strings.Join(append(parts, "a"), "."), "", callers.WrongCredential, ""},
		{"dots", "..", "", callers.Malformed, ""},
	}
	for _, key := range keys[1:] {
		cases = append(cases, jwtCase{key.Algorithm, key.Sign(t, nil, claims(nil)), "deploy", "", "ci:" + sub})
	}
	return cases
}

// A gateway starts while its issuer is out, says so, and lets nobody in; then the issuer comes, is
// rotated, and goes again, and what it has published last is good.
func TestJWTOutage(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	ci.Down()
	g := gatewaytest.StartFor(t, atlas.URL(), jwtYAML(t, ci, issuertest.NewKey(t, "cluster", "RS256"), "refresh: 1s"))
	claims := ci.Claims("repo:acme/infra:a", map[string]any{"protected": true, "attempt": 1})
	send := func(key issuertest.Key) func() outcome {
		return func() outcome {
			return try(t, g, atlas, func() gatewaytest.Response {
				return g.Send(t, "GET", v2Buckets, as("Bearer "+key.Sign(t, nil, claims)), "")
			})
		}
	}
	first, second := ci.Key(), issuertest.NewKey(t, "second", "RS256")
	if got, want := send(first)(), refused(callers.IssuerUnavailable); got != want {
		t.Errorf("out at the start: %+v, want %+v", got, want)
	}
	if !strings.Contains(g.Metrics(t), `atlas_gateway_issuer_keys_age_seconds{issuer="ci"} +Inf`) {
		t.Error("the metrics do not say that there are no keys")
	}
	g.Await(t, 0, `"level":"WARN","msg":"the keys of an issuer can't be fetched, and its tokens are refused","issuer":"ci","cause":"discovery: the server answers 503"`)
	ci.Answer(nil)
	g.Await(t, 0, `"level":"INFO","msg":"the keys of an issuer were fetched again","issuer":"ci"`)
	if got := send(first)(); got.Status != 200 {
		t.Errorf("there again: %+v", got)
	}
	ci.Publish(second)
	await(t, func() bool { return send(first)() == refused(callers.UnknownKey) })
	if got := send(second)(); got.Status != 200 {
		t.Errorf("the key after rotation: %+v", got)
	}
	ci.Down()
	g.Await(t, 0, `"level":"WARN","msg":"the keys of an issuer can't be fetched; those that are there are used for now","issuer":"ci"`)
	if got := send(second)(); got.Status != 200 {
		t.Errorf("out again: %+v", got)
	}
}

// await waits until something holds.
func await(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

// While tokens with unknown keys wait for a slow issuer, others are answered. All of them have its
// keys fetched once.
func TestJWTUnknownKeys(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), jwtYAML(t, ci, issuertest.NewKey(t, "cluster", "RS256"), ""))
	claims := ci.Claims("repo:acme/infra:a", map[string]any{"protected": true, "attempt": 1})
	good := as("Bearer " + ci.Key().Sign(t, nil, claims))
	if got := g.Send(t, "GET", v2Buckets, good, ""); got.Status != 200 {
		t.Fatal(got)
	}
	arrived, proceed := make(chan bool, 10), make(chan bool)
	ci.Answer(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		select {
		case <-proceed:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNotFound)
	})
	var wait sync.WaitGroup
	for n := range 8 {
		unknown := as("Bearer " + ci.Key().Sign(t, map[string]any{"kid": fmt.Sprint(n)}, claims))
		wait.Go(func() {
			if got := g.Send(t, "GET", v2Buckets, unknown, ""); got.Status != 401 {
				t.Errorf("an unknown key: %d", got.Status)
			}
		})
	}
	gatewaytest.Receive(t, "a request to the issuer", arrived)
	for range 8 {
		if got := g.Send(t, "GET", v2Buckets, good, ""); got.Status != 200 {
			t.Errorf("meanwhile: %d", got.Status)
		}
	}
	if n := len(arrived); n > 0 {
		t.Errorf("%d more requests to the issuer", n)
	}
	close(proceed)
	wait.Wait()
}

// A reload puts other identities in force for a token that was verified before.
func TestJWTReload(t *testing.T) {
	t.Parallel()
	ci, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	yaml := gatewaytest.YAML(atlas.URL(), jwtYAML(t, ci, issuertest.NewKey(t, "cluster", "RS256"), ""))
	g := gatewaytest.Start(t, yaml)
	header := as("Bearer " + ci.Token(t, "repo:acme/infra:a", map[string]any{"protected": true, "attempt": 1}))
	send := func() int { return g.Send(t, "GET", v2Buckets, header, "").Status }
	if got := send(); got != 200 {
		t.Fatal(got)
	}
	g.Rewrite(t, strings.Replace(yaml, "attempt: [1, 2]", "attempt: [2]", 1))
	if got := send(); got != 401 {
		t.Errorf("with another claim: %d", got)
	}
	g.Rewrite(t, yaml)
	if got := send(); got != 200 {
		t.Errorf("with the first claim: %d", got)
	}
	rotated := issuertest.NewKey(t, "first", "RS256")
	pod := as("Bearer " + rotated.Sign(t, nil, map[string]any{
		"iss": "https://kubernetes.default.svc", "aud": issuertest.Audience, "exp": time.Now().Unix() + 600,
		"kubernetes.io": map[string]any{"namespace": "backups", "serviceaccount": map[string]any{"name": "exporter"}},
	}))
	if got := g.Send(t, "GET", v2Buckets, pod, "").Status; got != 401 {
		t.Errorf("with a key that is not in the file: %d", got)
	}
	offset := len(g.Log.String())
	gatewaytest.WriteFile(t, keysFile(t, yaml), issuertest.JWKS(rotated))
	g.AwaitReload(t, offset)
	if got := g.Send(t, "GET", v2Buckets, pod, "").Status; got != 200 {
		t.Errorf("with the key that is now in the file: %d", got)
	}
	if n := ci.Fetches(); n != 1 {
		t.Errorf("reloads had the keys fetched %d times", n)
	}
}

// keysFile returns the jwks_file of a configuration.
func keysFile(t *testing.T, yaml string) string {
	t.Helper()
	_, behind, ok := strings.Cut(yaml, "jwks_file: ")
	if !ok {
		t.Fatal("there is no jwks_file")
	}
	file, _, _ := strings.Cut(behind, "}")
	return file
}

func encodePart(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
