package serviceaccount_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
	"atlas-export-gateway/sim"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	exports = "/api/atlas/v2/groups/" + sim.GroupID + "/clusters/orders/backup/exports"
	buckets = "/api/atlas/v2/groups/" + sim.GroupID + "/backup/exportBuckets"
)

// clock is a clock that only the test moves.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 8, 10, 3, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time           { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(by time.Duration) { c.nanos.Add(int64(by)) }

// account is a source of a credential that a test may replace.
type account struct {
	secret atomic.Pointer[string]
	reads  atomic.Int64
}

func (a *account) set(secret string) { a.secret.Store(&secret) }

func (a *account) read(context.Context) (serviceaccount.Credential, error) {
	a.reads.Add(1)
	return serviceaccount.Credential{ClientID: sim.ClientID, ClientSecret: secret.New(*a.secret.Load())}, nil
}

// setup starts a simulated Atlas and a client of it, which share a clock.
func setup(t *testing.T, config sim.Config) (*sim.Server, *http.Client, *account, *clock) {
	t.Helper()
	c := newClock()
	config.Now = c.now
	atlas := sim.Start(t, config)
	a := &account{}
	a.set(sim.ClientSecret)
	base := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(base.CloseIdleConnections)
	transport, err := serviceaccount.NewTransport(serviceaccount.Config{Origin: atlas.URL(), Credential: a.read, Base: base, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return atlas, &http.Client{Transport: transport, Timeout: 10 * time.Second}, a, c
}

func do(client *http.Client, method, url, body string) (int, string, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	request, err := http.NewRequest(method, url, content)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func expect(t *testing.T, client *http.Client, url string, status int) {
	t.Helper()
	if got, body, err := do(client, "GET", url, ""); err != nil || got != status {
		t.Errorf("got %d %s %v, want %d", got, body, err, status)
	}
}

func tokenCalls(atlas *sim.Server) int64 { return atlas.Counts().ByOperation["token"] }

// strange starts a server with a token endpoint of the test, and a client of it. Only the test
// moves the clock.
func strange(t *testing.T, credential func(context.Context) (serviceaccount.Credential, error), token http.HandlerFunc) (client *http.Client, url string, calls *atomic.Int64, c *clock) {
	t.Helper()
	c, calls = newClock(), new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/oauth/token" {
			calls.Add(1)
			token(w, r)
		}
	}))
	t.Cleanup(server.Close)
	if credential == nil {
		credential = func(context.Context) (serviceaccount.Credential, error) {
			return serviceaccount.Credential{ClientID: "id", ClientSecret: secret.New("secret")}, nil
		}
	}
	transport, err := serviceaccount.NewTransport(serviceaccount.Config{Origin: server.URL, Base: server.Client().Transport, Credential: credential, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: transport}, server.URL, calls, c
}

// revoke revokes the token of the last request.
func revoke(t *testing.T, atlas *sim.Server) {
	t.Helper()
	requests := atlas.Requests(0)
	token := ""
	for _, field := range requests[len(requests)-1].Header {
		if field.Name == "Authorization" {
			token = strings.TrimPrefix(field.Value, "Bearer ")
		}
	}
	request, err := http.NewRequest("POST", atlas.URL()+"/api/oauth/revoke", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(sim.ClientID, sim.ClientSecret)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil || response.StatusCode != 200 {
		t.Fatal(response, err)
	}
	response.Body.Close()
}

func wait(t *testing.T, condition func() bool) {
	t.Helper()
	for range 2000 {
		if condition() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("waited in vain")
}
