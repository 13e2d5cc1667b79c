package digestauth_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const realm = "MMS Public API"

var goodKey = digestauth.Credential{Username: "abcdefgh", Password: secret.New("c4na7y-right")}

// upstream is a server that requires a digest credential.
type upstream struct {
	*httptest.Server
	nonces *digestauth.Nonces

	// Set before use.
	algorithm string
	handler   http.HandlerFunc                            // for admitted requests
	challenge func(c digestauth.Challenge, h http.Header) // sends a challenge; nil is Atlas's form

	// What arrived.
	requests, unsigned, refused, admitted, contentBytes atomic.Int64

	mu  sync.Mutex
	key digestauth.Credential
}

func newUpstream(t testing.TB, policy digestauth.NoncePolicy) *upstream {
	u := &upstream{nonces: digestauth.NewNonces(policy, nil), key: goodKey}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) setKey(c digestauth.Credential) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.key = c
}

func (u *upstream) ha1(username, algorithm string) (secret.Secret, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, err := digestauth.HA1(algorithm, username, realm, u.key.Password)
	return s, err == nil && username == u.key.Username
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.requests.Add(1)
	v := digestauth.Verifier{Realm: realm, HA1: u.ha1, CheckNonce: u.nonces.Check}
	if u.algorithm != "" {
		v.Algorithms = []string{u.algorithm}
	}
	_, err := v.Verify(r)
	n, _ := io.Copy(io.Discard, r.Body)
	u.contentBytes.Add(n)
	if err != nil {
		if r.Header.Get("Authorization") == "" {
			u.unsigned.Add(1)
		} else {
			u.refused.Add(1)
		}
		c := digestauth.Challenge{Realm: realm, Nonce: u.nonces.Issue(), Algorithm: u.algorithm}
		if u.challenge != nil {
			u.challenge(c, w.Header())
		} else {
			w.Header().Set("WWW-Authenticate", c.String())
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":401}`)
		return
	}
	u.admitted.Add(1)
	if u.handler != nil {
		u.handler(w, r)
		return
	}
	io.WriteString(w, "done")
}

// client returns a client that signs with key, and its Transport.
func (u *upstream) client(t testing.TB, change func(*digestauth.Config)) (*http.Client, *digestauth.Transport) {
	c := digestauth.Config{Origin: u.URL, Credential: source(goodKey)}
	if change != nil {
		change(&c)
	}
	tr, err := digestauth.NewTransport(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}, tr
}

func source(c digestauth.Credential) func(context.Context) (digestauth.Credential, error) {
	return func(context.Context) (digestauth.Credential, error) { return c, nil }
}

// get returns the status and content.
func get(t testing.TB, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, read(t, resp)
}

func read(t testing.TB, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
