package callers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"

	"github.com/icholy/digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// keys are the keys of the caller reporting.
type keys struct {
	pair, account, token callers.Issued
}

// issue makes one key of each kind, and the configuration that knows them.
func issue(t testing.TB) (keys, callers.Config) {
	t.Helper()
	ha1 := filepath.Join(t.TempDir(), "ha1")
	k := keys{callers.NewKeyPair("reporting", "", ha1), callers.NewServiceAccount("reporting"), callers.NewToken("reporting")}
	write(t, ha1, k.pair.HA1File.Reveal())
	entry := k.pair.Entry
	entry.ServiceAccounts = k.account.Entry.ServiceAccounts
	entry.Tokens = k.token.Entry.Tokens
	return k, callers.Config{List: []callers.Entry{entry}}
}

func write(t testing.TB, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// build returns the Authenticator of a configuration that is in force from the start.
func build(t testing.TB, c callers.Config, o callers.Options) *callers.Authenticator {
	t.Helper()
	return reload(t, callers.NewMemory(), c, o)
}

// reload returns the Authenticator of a configuration that comes into force.
func reload(t testing.TB, m *callers.Memory, c callers.Config, o callers.Options) *callers.Authenticator {
	t.Helper()
	a := callers.New(compile(t, c), m, o)
	m.Keep(a)
	return a
}

func compile(t testing.TB, c callers.Config) *callers.Directory {
	t.Helper()
	d := callers.Compile(c, true, func(path, format string, args ...any) {
		t.Errorf("%s: %v", path, fmt.Errorf(format, args...))
	})
	if d == nil {
		t.FailNow()
	}
	return d
}

// serve answers as the gateway does: the caller's name and form, or a 401 that says why.
func serve(t testing.TB, a *callers.Authenticator) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler(func() *callers.Authenticator { return a }))
	t.Cleanup(s.Close)
	return s
}

func handler(current func() *callers.Authenticator) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/oauth/token", func(w http.ResponseWriter, r *http.Request) { current().ServeToken(w, r, from(r)) })
	mux.HandleFunc("/api/oauth/revoke", func(w http.ResponseWriter, r *http.Request) { current().ServeRevoke(w, r, from(r)) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		caller, err := current().Authenticate(r, from(r))
		var refusal *callers.Refusal
		switch {
		case errors.As(err, &refusal):
			w.Header()["WWW-Authenticate"] = refusal.Challenge
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, string(refusal.Reason))
		case err != nil:
			panic(err)
		default:
			fmt.Fprintf(w, "%s %s", caller.Name, caller.Form)
		}
	})
	return mux
}

// from returns the address of the peer that sent a request, the zero address where there is none.
func from(r *http.Request) netip.Addr {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return peer.Addr()
}

// answer is what a client sees. The content of a 401 is the refusal's reason.
type answer struct {
	Status    int
	Content   string
	Challenge string // its scheme
}

// field holds a request's Authorization fields: none, one or several.
type field = []string

func do(t testing.TB, server *httptest.Server, method, target string, authorization field) (answer, *http.Response) {
	t.Helper()
	r, err := http.NewRequest(method, server.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Authorization"] = authorization
	return receive(t, server, r)
}

func receive(t testing.TB, server *httptest.Server, r *http.Request) (answer, *http.Response) {
	t.Helper()
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	scheme, _, _ := strings.Cut(strings.Join(resp.Header.Values("WWW-Authenticate"), "|"), " ")
	return answer{resp.StatusCode, string(content), scheme}, resp
}

const target = "/api/atlas/v2/groups/0123456789abcdef01234567/backup/exportBuckets?includeCount=true"

// challenge returns the challenge that a request without a credential gets.
func challenge(t testing.TB, server *httptest.Server) *digest.Challenge {
	t.Helper()
	_, resp := do(t, server, "GET", target, nil)
	c, err := digest.ParseChallenge(resp.Header.Get("WWW-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sign returns the field that answers a challenge as the nc-th use of its nonce.
func sign(t testing.TB, c *digest.Challenge, id string, secret secret.Secret, nc int) string {
	t.Helper()
	credential, err := digest.Digest(c, digest.Options{Method: "GET", URI: target, Count: nc, Username: id, Password: secret.Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	return credential.String()
}

func basic(id string, secret secret.Secret) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret.Reveal())
	return r.Header.Get("Authorization")
}

// oauth sends a form to one of the endpoints for service accounts.
func oauth(t testing.TB, server *httptest.Server, endpoint, authorization, form string) (answer, *http.Response) {
	t.Helper()
	r, err := http.NewRequest("POST", server.URL+"/api/oauth/"+endpoint, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return receive(t, server, r)
}

const grant = "grant_type=client_credentials"

// accessToken returns a new access token of a service account.
func accessToken(t testing.TB, server *httptest.Server, account callers.Issued) string {
	t.Helper()
	got, _ := oauth(t, server, "token", basic(account.ID, account.Secret), grant)
	var content struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(got.Content), &content); err != nil || content.AccessToken == "" {
		t.Fatalf("%+v: %v", got, err)
	}
	return content.AccessToken
}

// newRequest is a request as a server sees it.
func newRequest(f field) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = "127.0.0.1:1"
	r.Header["Authorization"] = f
	return r
}
