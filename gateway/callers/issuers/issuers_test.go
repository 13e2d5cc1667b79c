package issuers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is the configuration of an issuer whose discovery document says where its keys are.
func config(i *issuertest.Issuer) issuers.Config {
	return issuers.Config{Name: "ci", Issuer: i.URL, Audiences: []string{"other", issuertest.Audience}, Algorithms: []string{"RS256"}}
}

// start returns a Verifier whose configuration is in force.
func start(t testing.TB, c issuers.Config) *issuers.Verifier {
	t.Helper()
	return keep(t, newKeySets(t), c)
}

func newKeySets(t testing.TB) *issuers.KeySets {
	t.Helper()
	k := issuers.NewKeySets()
	t.Cleanup(k.Close)
	return k
}

func keep(t testing.TB, k *issuers.KeySets, c issuers.Config) *issuers.Verifier {
	t.Helper()
	v := k.Verifier(compile(t, c), nil)
	k.Keep(v)
	return v
}

func compile(t testing.TB, list ...issuers.Config) *issuers.Set {
	t.Helper()
	s := issuers.Compile(list, nil, func(path, format string, args ...any) {
		t.Errorf("%s: %v", path, fmt.Errorf(format, args...))
	})
	if s == nil {
		t.FailNow()
	}
	return s
}

// reason verifies a token and returns why it is refused, and "" for a good one.
func reason(t testing.TB, v *issuers.Verifier, token string) issuers.Reason {
	t.Helper()
	_, err := v.Verify(context.Background(), token)
	refused, ok := errors.AsType[*issuers.Error](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		t.Fatalf("%T: %v", err, err)
	case strings.Contains(refused.Error(), "c4na7y"):
		t.Errorf("the error holds something of the token: %v", refused)
	}
	return refused.Reason
}

// A file has the keys of an issuer that is never asked.
func TestKeysInAFile(t *testing.T) {
	t.Parallel()
	key := issuertest.NewKey(t, "a", "ES256")
	file := filepath.Join(t.TempDir(), "keys.json")
	other, third := issuertest.NewKey(t, "es384", "ES384"), issuertest.NewKey(t, "es384, too", "ES384")
	if err := os.WriteFile(file, []byte(issuertest.JWKS(key, other, third)), 0o600); err != nil {
		t.Fatal(err)
	}
	v := start(t, issuers.Config{Name: "cluster", Issuer: "https://kubernetes.default.svc", Audiences: []string{"gateway"}, Algorithms: []string{"ES256", "ES384"}, JWKSFile: file})
	now := time.Now().Unix()
	claims := map[string]any{"iss": "https://kubernetes.default.svc", "aud": []string{"gateway"}, "exp": now + 600}
	for want, token := range map[issuers.Reason]string{
		"":                 key.Sign(t, map[string]any{"kid": nil}, claims),
		issuers.UnknownKey: key.Sign(t, map[string]any{"kid": "b"}, claims),
		issuers.WrongKey:   other.Sign(t, map[string]any{"kid": nil}, claims), // which one?
	} {
		if got := reason(t, v, token); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Keys come from a URL without discovery, through a proxy, or over TLS with a certificate
// authority of the issuer's own.
func TestWhereKeysAre(t *testing.T) {
	t.Parallel()
	plain, encrypted := issuertest.Start(t), issuertest.StartTLS(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(encrypted.CA), 0o600); err != nil {
		t.Fatal(err)
	}
	proxied := 0
	proxy := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		proxied++
		r.RequestURI = ""
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(502)
			return
		}
		defer response.Body.Close()
		response.Write(hijack(w))
	})
	url, trusting, through, untrusting := config(plain), config(encrypted), config(plain), config(encrypted)
	url.JWKSURL = plain.URL + "/keys"
	trusting.CAFile = ca
	// Go sends nothing for loopback to a proxy of the environment, and everything to this one.
	through.ProxyURL = proxy
	for name, test := range map[string]struct {
		c    issuers.Config
		i    *issuertest.Issuer
		want issuers.Reason
	}{
		"url": {url, plain, ""}, "CA": {trusting, encrypted, ""}, "proxy": {through, plain, ""}, "no CA": {untrusting, encrypted, issuers.Unavailable},
	} {
		if got := reason(t, start(t, test.c), test.i.Token(t, "a", nil)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	if proxied == 0 {
		t.Error("nothing went through the proxy")
	}
}

// discovery returns a server of a discovery document, and of keys everywhere else.
func discovery(t *testing.T, document string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			fmt.Fprint(w, document)
			return
		}
		fmt.Fprint(w, issuertest.JWKS(issuertest.NewKey(t, "first", "RS256")))
	}
}

// What an issuer answers may be anything. It costs little, leads nowhere else, and a set with a
// key that nobody knows has its other keys.
func TestAnswersOfIssuers(t *testing.T) {
	t.Parallel()
	elsewhere := issuertest.Start(t)
	for name, test := range map[string]struct {
		answer func(i *issuertest.Issuer) http.HandlerFunc
		cause  string // "" where the keys are good
	}{
		"a redirect": {func(*issuertest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
			}
		}, "the server answers 302"},
		"an error": {func(*issuertest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }
		}, "the server answers 500"},
		"another issuer": {func(*issuertest.Issuer) http.HandlerFunc {
			return discovery(t, `{"issuer":"`+elsewhere.URL+`","jwks_uri":"`+elsewhere.URL+`/keys"}`)
		}, "the document is of another issuer"},
		"keys without TLS": {func(i *issuertest.Issuer) http.HandlerFunc {
			return discovery(t, `{"issuer":"`+i.URL+`","jwks_uri":"http://keys.example.com/"}`)
		}, "its jwks_uri begins with http://"},
		"keys in a cloud's metadata": {func(i *issuertest.Issuer) http.HandlerFunc {
			return discovery(t, `{"issuer":"`+i.URL+`","jwks_uri":"https://169.254.169.254/"}`)
		}, "its jwks_uri has a link-local address"},
		"keys in a file": {func(i *issuertest.Issuer) http.HandlerFunc {
			return discovery(t, `{"issuer":"`+i.URL+`","jwks_uri":"file:///etc/passwd"}`)
		}, "its jwks_uri is not a URL"},
		"an issuer twice": {func(i *issuertest.Issuer) http.HandlerFunc {
			return discovery(t, `{"issuer":"`+elsewhere.URL+`","issuer":"`+i.URL+`","jwks_uri":"`+i.URL+`/keys"}`)
		}, "the document is not strict JSON"},
		"no JSON": {func(i *issuertest.Issuer) http.HandlerFunc { return discovery(t, `<html>`) }, "the document is not strict JSON"},
		"no end":  {func(*issuertest.Issuer) http.HandlerFunc { return endless }, "the answer has more than 262144 bytes"},
		"no set":  {func(i *issuertest.Issuer) http.HandlerFunc { return jwks(i, `{}`) }, "the keys are not a JWK Set"},
		"many keys": {func(i *issuertest.Issuer) http.HandlerFunc {
			return jwks(i, `{"keys":[`+strings.Repeat(`{},`, 100)+`{}]}`)
		}, "the set has more than 100 keys"},
		"keys that nobody knows": {func(i *issuertest.Issuer) http.HandlerFunc {
			set := issuertest.JWKS(i.Key())
			return jwks(i, strings.Replace(set, "[", `[{"kty":"OKP","crv":"Ed448","x":"AA","kid":"first"},{"kty":"oct","k":"AAAA","kid":"first"},{"kid":7},"a",`, 1))
		}, ""},
	} {
		i := issuertest.Start(t)
		i.Answer(test.answer(i))
		k := newKeySets(t)
		told := make(chan error, 1)
		k.Tell = func(s issuers.State) { told <- s.Err }
		got := reason(t, keep(t, k, config(i)), i.Token(t, "a", nil))
		if test.cause == "" {
			if got != "" {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if got != issuers.Unavailable {
			t.Errorf("%s: %q", name, got)
			continue
		}
		if err := gatewaytest.Receive(t, "the state of the keys", told); !strings.Contains(err.Error(), test.cause) {
			t.Errorf("%s: %v, want %s", name, err, test.cause)
		}
	}
	if n := elsewhere.Fetches(); n > 0 {
		t.Errorf("the keys of another issuer were fetched %d times", n)
	}
}

// Tokens with unknown keys cause one fetch in an interval, all together, and stand in nobody's
// way.
func TestUnknownKeys(t *testing.T) {
	t.Parallel()
	i := issuertest.Start(t)
	v := start(t, config(i))
	known := i.Token(t, "a", nil)
	if got := reason(t, v, known); got != "" {
		t.Fatal(got)
	}
	// The issuer does not answer until known tokens were verified while others wait for it.
	arrived, proceed := make(chan bool, 10), make(chan bool)
	answer := jwks(i, issuertest.JWKS(i.Key()))
	i.Answer(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		select {
		case <-proceed:
		case <-r.Context().Done():
		}
		answer(w, r)
	})
	var wait sync.WaitGroup
	for n := range 100 {
		token := i.Key().Sign(t, map[string]any{"kid": fmt.Sprint(n)}, i.Claims("a", nil))
		wait.Go(func() {
			for range 100 {
				if got := reason(t, v, token); got != issuers.UnknownKey || i.Fetches() > 2 {
					t.Errorf("an unknown key: %q, after %d fetches", got, i.Fetches())
					return
				}
			}
		})
	}
	gatewaytest.Receive(t, "a request to the issuer", arrived)
	for range 100 {
		if got := reason(t, v, known); got != "" {
			t.Fatal(got)
		}
	}
	close(proceed)
	wait.Wait()
	if n := i.Fetches(); n != 2 {
		t.Errorf("10,000 tokens with unknown keys had the keys fetched %d times", n-1)
	}
}

// Keys are rotated: a token with a new key has it fetched, and one with an old key is refused.
func TestRotation(t *testing.T) {
	t.Parallel()
	i := issuertest.Start(t)
	v := start(t, config(i))
	old := i.Token(t, "a", nil)
	before, err := v.Verify(context.Background(), old)
	if err != nil || !before.Holds() {
		t.Fatal(err)
	}
	i.Publish(issuertest.NewKey(t, "second", "RS256"))
	if got := reason(t, v, i.Token(t, "a", nil)); got != "" {
		t.Errorf("with the new key: %s", got)
	}
	if got := reason(t, v, old); got != issuers.UnknownKey || before.Holds() {
		t.Errorf("with the old key: %q", got)
	}
}

// An issuer that is out at the start is asked again by itself, and keys that it had are kept for a
// time.
func TestOutage(t *testing.T) {
	t.Parallel()
	i := issuertest.Start(t)
	i.Down()
	c := config(i)
	c.Refresh, c.Keep = time.Second, time.Second
	k := newKeySets(t)
	told := make(chan issuers.State, 10)
	k.Tell = func(s issuers.State) { told <- s }
	v := keep(t, k, c)
	token := i.Token(t, "a", nil)
	if s := gatewaytest.Receive(t, "the state at the start", told); s.Issuer != "ci" || s.Age >= 0 || s.Err == nil {
		t.Errorf("at the start: %+v", s)
	}
	if got := reason(t, v, token); got != issuers.Unavailable {
		t.Errorf("at the start: %q", got)
	}
	i.Answer(nil)
	if s := gatewaytest.Receive(t, "the state afterwards", told); s.Err != nil {
		t.Errorf("afterwards: %+v", s)
	}
	good, err := v.Verify(context.Background(), token)
	if err != nil {
		t.Fatal(err)
	}
	i.Down()
	if s := gatewaytest.Receive(t, "the state once it is out again", told); s.Err == nil || s.Age < 0 {
		t.Errorf("out again: %+v", s)
	}
	for deadline := time.Now().Add(10 * time.Second); good.Holds(); {
		if time.Now().After(deadline) {
			t.Fatal("keys are kept for ever")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := reason(t, v, token); got != issuers.Unavailable {
		t.Errorf("after the time that keys are kept: %q", got)
	}
}

// A configuration that comes into force keeps the keys of the issuers that it has, and ends the
// fetching of others.
func TestKeep(t *testing.T) {
	t.Parallel()
	i, other := issuertest.Start(t), issuertest.Start(t)
	k := newKeySets(t)
	c := config(i)
	c.Refresh = time.Second
	if got := reason(t, keep(t, k, c), i.Token(t, "a", nil)); got != "" {
		t.Fatal(got)
	}
	var asked atomic.Int64
	i.Answer(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(503)
	})
	c.Audiences = []string{"another"}
	changed := keep(t, k, c)
	if got := reason(t, changed, i.Token(t, "a", nil)); got != issuers.WrongAudience {
		t.Errorf("another audience: %q", got)
	}
	if got := reason(t, changed, i.Token(t, "a", map[string]any{"aud": "another"})); got != "" {
		t.Errorf("keys were not kept: %s", got)
	}
	replaced := keep(t, k, config(other))
	if got := reason(t, replaced, i.Token(t, "a", nil)); got != issuers.WrongIssuer {
		t.Errorf("an issuer that was dropped: %q", got)
	}
	if got := reason(t, replaced, other.Token(t, "a", nil)); got != "" {
		t.Errorf("the issuer that took its place: %s", got)
	}
	before := asked.Load()
	time.Sleep(1200 * time.Millisecond) // longer than refresh
	if asked.Load() != before {
		t.Error("an issuer that was dropped is asked for keys")
	}
	if states := k.States(); len(states) != 1 || states[0].Age < 0 {
		t.Errorf("%+v", states)
	}
}

// A token waits for a slow issuer for a few seconds, or until its request has ended.
func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	i := issuertest.Start(t)
	proceed := make(chan bool)
	var ended atomic.Bool // the fetch, since it took too long
	i.Answer(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-proceed:
		case <-r.Context().Done():
			ended.Store(true)
		}
	})
	v := start(t, config(i))
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := v.Verify(ctx, i.Token(t, "a", nil)); err == nil || ctx.Err() == nil {
		t.Error(err)
	}
	began := time.Now()
	if got := reason(t, v, i.Token(t, "a", nil)); got != issuers.Unavailable || time.Since(began) < time.Second || ended.Load() {
		t.Errorf("%q after %s, the fetch has ended: %t", got, time.Since(began), ended.Load())
	}
	close(proceed)
}
