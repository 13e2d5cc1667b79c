package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/sim"

	"github.com/golang-jwt/jwt/v5"
)

// forIssuer returns settings for one caller, who may do everything by tokens of an issuer for the
// subject nightly.
func forIssuer(i *issuertest.Issuer, more string) string {
	return fmt.Sprintf(`callers:
  issuers: [{name: ci, issuer: %s, audiences: [%q], algorithms: [RS256, ES256]%s}]
  list: [{name: nightly, identities: [{issuer: ci, claims: {sub: nightly}}], grants: [{operations: [manage], groups: ["*"]}]}]
`, i.URL, issuertest.Audience, more)
}

// shows sends a request with a token, and returns the status.
func (p *process) shows(t *testing.T, token string) int {
	t.Helper()
	got := p.send(t, request("GET "+buckets, "", accept, "Authorization: Bearer "+token))
	if len(got) != 1 {
		t.Fatalf("%d responses", len(got))
	}
	if got[0].Status >= 400 && !strings.Contains(got[0].Body, "You are not authorized for this resource.") {
		t.Errorf("the caller is told %s", got[0].Body)
	}
	return got[0].Status
}

// Row 84: tokens that the issuer has not signed are refused, however they name a key or an
// algorithm. Nothing that a token names is fetched.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	i, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), forIssuer(i, ""))
	good, claims := i.Token(t, "nightly", nil), i.Claims("nightly", nil)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := issuertest.Key{ID: "weak", Algorithm: "RS256", Private: small}
	i.Publish(i.Key(), weak)
	theirs := issuertest.Start(t) // an issuer of the attacker's
	theirs.Publish(issuertest.NewKey(t, "first", "ES256"))
	signed := func(header map[string]any) string { return theirs.Key().Sign(t, header, claims) }
	var key map[string]any
	if err := json.Unmarshal([]byte(strings.Trim(strings.TrimPrefix(issuertest.JWKS(theirs.Key()), `{"keys":`), "[]}")+"}"), &key); err != nil {
		t.Fatal(err)
	}
	hmac := func(secret string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims))
		token.Header["kid"] = "first"
		text, err := token.SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"first"}`))
	for name, token := range map[string]string{
		"none": none + "." + parts[1] + ".", "none with a signature": none + "." + parts[1] + "." + parts[2],
		"HS256 with the keys": hmac(issuertest.JWKS(i.Key())), "HS256 with nothing": hmac(""),
		"another key": signed(nil), "a jku": signed(map[string]any{"kid": nil, "jku": theirs.URL + "/keys"}), "an x5u": signed(map[string]any{"x5u": theirs.URL + "/keys"}),
		"a jwk": signed(map[string]any{"kid": nil, "jwk": key}), "an iss": theirs.Token(t, "nightly", nil), "a URL for a kid": signed(map[string]any{"kid": theirs.URL + "/keys"}),
		"a weak key": weak.Sign(t, nil, claims), "crit": i.Key().Sign(t, map[string]any{"crit": []string{"x"}, "x": 1}, claims),
		"other claims": parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"nightly"}`)) + "." + parts[2], "no signature": parts[0] + "." + parts[1] + ".",
	} {
		if got := p.shows(t, token); got != 401 {
			t.Errorf("%s: %d", name, got)
		}
	}
	untouched(t, atlas, "a forged token")
	if n := theirs.Fetches(); n > 0 {
		t.Errorf("keys that a token names were fetched %d times", n)
	}
	if got := p.shows(t, good); got != 200 {
		t.Errorf("a good token: %d", got)
	}
	p.stop(t)
	for _, part := range append(parts, good) {
		if strings.Contains(p.stderr.String(), part) {
			t.Error("the log holds a part of a token")
		}
	}
}

// Row 85: tokens that the issuer has signed, and that are for others, for ever, of another time,
// or of somebody else; and texts that are read in two ways.
func TestWrongTokens(t *testing.T) {
	t.Parallel()
	i, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), forIssuer(i, ""))
	now := time.Now().Unix()
	for name, changes := range map[string]map[string]any{
		"another audience": {"aud": "https://cloud.mongodb.com"}, "no audience": {"aud": nil}, "for ever": {"exp": nil}, "for a year": {"exp": now + 365*86400},
		"expired": {"exp": now - 60, "iat": now - 600, "nbf": now - 600}, "not yet valid": {"nbf": now + 600}, "made tomorrow": {"iat": now + 86400, "exp": now + 90000},
		"somebody else": {"sub": "nightly2"}, "nobody": {"sub": nil}, "a list of subjects": {"sub": []any{[]string{"nightly"}}}, "another issuer": {"iss": i.URL + "/"},
	} {
		if got := p.shows(t, i.Token(t, "nightly", changes)); got != 401 {
			t.Errorf("%s: %d", name, got)
		}
	}
	claims := func(more string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"exp":%d%s`, i.URL, issuertest.Audience, now+600, more)
	}
	for name, token := range map[string]string{
		"a subject twice":    i.Key().SignRaw(t, `{"alg":"RS256","kid":"first"}`, claims(`,"sub":"other","sub":"nightly"}`)),
		"an algorithm twice": i.Key().SignRaw(t, `{"alg":"none","alg":"RS256","kid":"first"}`, claims(`,"sub":"nightly"}`)),
		"two objects":        i.Key().SignRaw(t, `{"alg":"RS256","kid":"first"}`, claims(`,"sub":"nightly"}{}`)),
		"padding":            i.Token(t, "nightly", nil) + "=",
		"16 KiB":             i.Token(t, "nightly", map[string]any{"pad": strings.Repeat("a", 12200)}),
	} {
		if got := p.shows(t, token); got != 401 {
			t.Errorf("%s: %d", name, got)
		}
	}
	untouched(t, atlas, "a wrong token")
	if got := p.shows(t, i.Token(t, "nightly", nil)); got != 200 {
		t.Errorf("a good token: %d", got)
	}
}

// Row 86: 10,000 tokens, each with another key that nobody knows, cause one fetch. Callers with
// known keys are answered while the issuer does not answer.
func TestFloodOfUnknownKeys(t *testing.T) {
	t.Parallel()
	i, atlas := issuertest.Start(t), sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), forIssuer(i, ", jwks_url: "+i.URL+"/keys, unknown_key_interval: 24h, refresh: 24h"))
	good := i.Token(t, "nightly", nil)
	if got := p.shows(t, good); got != 200 {
		t.Fatalf("%d\n%s", got, p.stderr.String())
	}
	arrived, proceed := make(chan bool, 10), make(chan bool)
	i.Answer(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		select {
		case <-proceed:
		case <-r.Context().Done():
		}
		io.WriteString(w, issuertest.JWKS(i.Key()))
	})
	parts := strings.Split(good, ".")
	unknown := refusedFlood(t, p, func(worker, n int) string {
		header := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"RS256","kid":"%d-%d"}`, worker, n))
		return header + "." + parts[1] + "." + parts[2]
	})
	gatewaytest.Receive(t, "a request to the issuer", arrived)
	t.Logf("a known key, beside tokens with unknown keys while the issuer hangs: %s", p.answers(t, good))
	close(proceed)
	unknown.Wait()
	if n := i.Fetches(); n != 2 {
		t.Errorf("the keys were fetched %d times, once at the start", n)
	}
	if got := p.shows(t, good); got != 200 {
		t.Errorf("a known key afterwards: %d", got)
	}
	wrong := refusedFlood(t, p, func(worker, n int) string { return fmt.Sprintf("c4na7y-%d-%d", worker, n) })
	t.Logf("a known key, beside as many tokens of no issuer: %s", p.answers(t, good))
	wrong.Wait()
}

// refusedFlood sends 10,000 requests with tokens that are refused, eight at a time.
func refusedFlood(t *testing.T, p *process, token func(worker, n int) string) *sync.WaitGroup {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 20 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for n := range 10_000 / 8 {
				r, _ := http.NewRequest("GET", p.Listener+buckets, nil)
				r.Header.Set("Authorization", "Bearer "+token(worker, n))
				answer, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusUnauthorized {
					t.Errorf("a token that nobody has: %d", answer.StatusCode)
					return
				}
			}
		})
	}
	return &wait
}

// answers expects that a token is accepted, 200 times or for five seconds, and says how long the
// answers took. On a busy machine, 200 may take longer than the ten seconds in which the program
// waits for an issuer.
func (p *process) answers(t *testing.T, token string) string {
	t.Helper()
	var took []time.Duration
	for end := time.Now().Add(5 * time.Second); len(took) < 200 && (len(took) == 0 || time.Now().Before(end)); {
		began := time.Now()
		if got := p.shows(t, token); got != http.StatusOK {
			t.Fatalf("a known key: %d", got)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return fmt.Sprintf("%s at the median, %s at the 99th percentile", took[len(took)/2], took[len(took)*99/100])
}

// Row 87: an issuer that is out at the start, has no end, redirects, or points at other places
// keeps its own callers out, and nobody else. The program holds little of what it answers.
func TestHostileIssuer(t *testing.T) {
	t.Parallel()
	measured(t)
	i, elsewhere, atlas := issuertest.Start(t), issuertest.Start(t), sim.Start(t, sim.Config{})
	token := "c4na7y-hostile-issuer-token"
	settings := strings.Replace(forIssuer(i, ", refresh: 1s"), "list: [", "list: [{name: other, tokens: [{sha256: "+hash(token)+`}], grants: [{operations: [manage], groups: ["*"]}]}, `, 1)
	var mu sync.Mutex
	asked := 0
	answer := map[int]http.HandlerFunc{}
	i.Answer(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		serve := answer[asked]
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			asked++
			serve = answer[asked-1]
		}
		mu.Unlock()
		if serve != nil {
			serve(w, r)
			return
		}
		w.WriteHeader(503)
	})
	document := func(jwks string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": jwks})
		}
	}
	maps.Copy(answer, map[int]http.HandlerFunc{
		0: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		1: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/keys", http.StatusTemporaryRedirect)
		},
		2: document("http://169.254.169.254/keys"),
		3: document("http://keys.example.com/"),
	})
	p := serveFor(t, atlas.URL(), settings)
	before := p.peak(t)
	gatewaytest.WaitFor(t, "five questions", func() bool { mu.Lock(); defer mu.Unlock(); return asked >= 5 })
	if got := p.shows(t, i.Token(t, "nightly", nil)); got != 401 {
		t.Errorf("without keys: %d", got)
	}
	if got := p.shows(t, token); got != 200 {
		t.Errorf("another caller: %d", got)
	}
	if grown := p.peak(t) - before; grown > 24<<20 {
		t.Errorf("the issuer's answers took %d MiB", grown>>20)
	}
	if n := elsewhere.Fetches(); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	i.Answer(nil)
	gatewaytest.WaitFor(t, "the keys", func() bool { return p.shows(t, i.Token(t, "nightly", nil)) == 200 })
	p.stop(t)
	if log := p.stderr.String(); !strings.Contains(log, "the keys of an issuer can't be fetched, and its tokens are refused") || !strings.Contains(log, "the keys of an issuer were fetched again") {
		t.Errorf("the log does not tell of the issuer:\n%s", log)
	}
}

// explain says whose a token in a file is, and does not show it.
func TestExplainTokenFile(t *testing.T) {
	t.Parallel()
	i := issuertest.Start(t)
	dir := t.TempDir()
	settings := gatewaytest.WriteFile(t, filepath.Join(dir, "gateway.yaml"), "upstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\n"+forIssuer(i, ""))
	good := i.Token(t, "nightly", nil)
	file := func(name, token string) string { return gatewaytest.WriteFile(t, filepath.Join(dir, name), token+"\n") }
	for _, test := range []struct {
		args   []string
		status int
		want   []string
	}{
		{[]string{"-token-file", file("good", good)}, exitOK, []string{"callers.list[0].identities[0] (nightly): matches", "the caller is nightly"}},
		{[]string{"-token-file", file("good", good), "-operation", "listExportBuckets", "-group", "64f0c1a2b3d4e5f607182930"}, exitOK, []string{"the caller is nightly", "grants[0] allows it"}},
		{[]string{"-token-file", file("other", i.Token(t, "other", nil))}, exitDenied, []string{`sub is "other"; expected nightly`, "the token is no caller's"}},
		{[]string{"-token-file", file("late", i.Token(t, "nightly", map[string]any{"exp": 1000, "iat": 900, "nbf": 900}))}, exitDenied, []string{"issuer ci: token_expired: the token has expired; the token has \"1970-01-01T00:16:40Z\""}},
		{[]string{"-token-file", filepath.Join(dir, "none")}, exitUsage, []string{"the token: the file can't be read"}},
		{[]string{"-token-file", file("good", good), "-caller", "nightly"}, exitUsage, []string{"tells the caller; -group goes with -operation"}},
	} {
		status, printed := runProgram(t, append(append([]string{"explain"}, test.args...), settings))
		for _, want := range test.want {
			if status != test.status || !strings.Contains(printed, want) {
				t.Errorf("%q: exit status %d, want %d: %s\nwant %s", test.args, status, test.status, printed, want)
			}
		}
		if strings.Contains(printed, strings.Split(good, ".")[2]) {
			t.Error("the token is shown")
		}
	}
	i.Down()
	if status, printed := runProgram(t, []string{"explain", "-token-file", file("good", good), settings}); status != exitDenied || !strings.Contains(printed, "issuer_unavailable") || !strings.Contains(printed, "the keys of ci can't be fetched: discovery: the server answers 503") {
		t.Errorf("%d: %s", status, printed)
	}
}
