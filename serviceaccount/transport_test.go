package serviceaccount_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/outbound"
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

// clock is a time of day that stands still until it is moved.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 8, 10, 3, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time           { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(by time.Duration) { c.nanos.Add(int64(by)) }

// account is a credential that a test may replace.
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

// However many requests wait, one token is fetched, and they share it.
func TestTokenIsShared(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Operation: "token", Latency: sim.Duration(50 * time.Millisecond), BeforeAuthentication: true}}})
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() { expect(t, client, atlas.URL()+buckets, 200) })
	}
	group.Wait()
	if n := tokenCalls(atlas); n != 1 {
		t.Errorf("%d tokens were fetched for 64 requests", n)
	}
}

// A token is renewed before it expires, while requests go on with the old one, and
// fetched again after a pause in which it expired.
func TestTokenIsRenewed(t *testing.T) {
	atlas, client, _, c := setup(t, sim.Config{})
	expect(t, client, atlas.URL()+buckets, 200)
	c.advance(44 * time.Minute) // less than 75 % of an hour
	expect(t, client, atlas.URL()+buckets, 200)
	if n := tokenCalls(atlas); n != 1 {
		t.Errorf("%d tokens after 44 minutes", n)
	}
	c.advance(11 * time.Minute) // more than 90 %, and not yet expired
	atlas.SetFaults([]sim.Fault{{Kind: sim.FaultUnavailable, Operation: "token", Count: 1, BeforeAuthentication: true}})
	expect(t, client, atlas.URL()+buckets, 200)
	wait(t, func() bool { return tokenCalls(atlas) == 2 })
	expect(t, client, atlas.URL()+buckets, 200) // the renewal failed, the old token is good
	wait(t, func() bool {                       // it is tried again after a while
		c.advance(200 * time.Millisecond)
		expect(t, client, atlas.URL()+buckets, 200)
		return tokenCalls(atlas) == 3
	})
	c.advance(2 * time.Hour)
	expect(t, client, atlas.URL()+buckets, 200)
	if n, failed := tokenCalls(atlas), atlas.Counts().ByStatus[401]; n != 4 || failed != 0 {
		t.Errorf("%d tokens, %d requests refused", n, failed)
	}
}

// strange starts a server whose token endpoint answers as the test says, and a client of it on a
// clock that stands still.
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

// A token endpoint may say any lifetime, or none (RFC 6749, section 5.1), which is an hour.
func TestTokenLifetimes(t *testing.T) {
	for _, test := range []struct {
		lifetime   string
		halfAnHour int64 // tokens after that time
	}{
		{`,"expires_in":-1`, 2},
		{`,"expires_in":0`, 2},
		{`,"expires_in":60`, 2},
		{``, 1},
		{`,"expires_in":3074457346`, 1}, // from here on, a share of it overflows a Duration
		{`,"expires_in":4294967295`, 1},
		{`,"expires_in":9223372036854775807`, 1},
	} {
		client, url, calls, c := strange(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"access_token":"a","token_type":"Bearer"`+test.lifetime+`}`)
		})
		expect(t, client, url, 200)
		c.advance(30 * time.Minute)
		expect(t, client, url, 200)
		if n := calls.Load(); n != test.halfAnHour {
			t.Errorf("%s: %d tokens", test.lifetime, n)
		}
	}
}

// Retry-After is seconds or a date, and honoured for an hour at most.
func TestTokenRetryAfter(t *testing.T) {
	at := newClock().now()
	for value, want := range map[string]time.Duration{
		"30":                   30 * time.Second,
		"7200":                 time.Hour,
		"99999999999999999999": time.Hour,
		"-5":                   0,
		"soon":                 0,
		at.Add(10 * time.Minute).UTC().Format(http.TimeFormat): 10 * time.Minute,
		at.Add(-time.Minute).UTC().Format(http.TimeFormat):     0,
	} {
		client, url, _, _ := strange(t, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(429)
		})
		_, _, err := do(client, "GET", url, "")
		var failed *serviceaccount.TokenError
		if !errors.As(err, &failed) || failed.RetryAfter != want {
			t.Errorf("%s: %v, %+v", value, err, failed)
		}
	}
}

// A credential that can't be read takes no token's turn.
func TestUnreadableCredentialAsksForNoToken(t *testing.T) {
	var readable atomic.Bool
	client, url, calls, _ := strange(t, func(context.Context) (serviceaccount.Credential, error) {
		if !readable.Load() {
			return serviceaccount.Credential{}, errors.New("no such file")
		}
		return serviceaccount.Credential{ClientID: "id", ClientSecret: secret.New("secret")}, nil
	}, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"access_token":"a","token_type":"Bearer","expires_in":3600}`)
	})
	for range 30 { // more than a minute has turns
		var refused *serviceaccount.CredentialError
		if _, _, err := do(client, "GET", url, ""); !errors.As(err, &refused) || refused.Source == nil {
			t.Fatalf("got %v", err)
		}
	}
	readable.Store(true)
	expect(t, client, url, 200)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

// A token that Atlas refuses is replaced, and the request sent once more: a create is
// carried out once.
func TestRefusedTokenIsReplaced(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{})
	status, body, err := do(client, "POST", atlas.URL()+buckets, `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"`+sim.AWSRole+`"}`)
	if err != nil || status != 200 {
		t.Fatal(status, body, err)
	}
	_, id, _ := strings.Cut(body, `"_id":"`)
	revoke(t, atlas)
	status, body, err = do(client, "POST", atlas.URL()+exports, `{"snapshotId":"`+sim.OrdersSnapshot+`","exportBucketId":"`+id[:24]+`"}`)
	if err != nil || status != 200 {
		t.Errorf("after a revocation: %d %s %v", status, body, err)
	}
	if n := atlas.Counts(); n.JobsCreated != 1 || n.ByOperation["token"] != 2 || n.ByOperation["createBackupExport"] != 2 {
		t.Errorf("%+v", n)
	}
}

// revoke revokes the token that the last request bore.
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

// A wrong secret does not hammer Atlas; the right one in its place is tried at once.
func TestWrongSecret(t *testing.T) {
	atlas, client, a, c := setup(t, sim.Config{})
	a.set("c4na7y-wrong-secret")
	for range 10 {
		var group sync.WaitGroup
		for range 64 {
			group.Go(func() {
				_, _, err := do(client, "GET", atlas.URL()+buckets, "")
				var credential *serviceaccount.CredentialError
				if !errors.As(err, &credential) {
					t.Errorf("got %v, want a CredentialError", err)
				}
				if strings.Contains(fmt.Sprint(err), "c4na7y") {
					t.Errorf("the error holds the secret: %v", err)
				}
			})
		}
		group.Wait()
		c.advance(time.Second)
	}
	if n := atlas.Counts().Requests; n != 1 {
		t.Errorf("%d requests in 10 s with a wrong secret", n)
	}
	a.set(sim.ClientSecret)
	expect(t, client, atlas.URL()+buckets, 200)
}

// A token that is refused however fresh it is condemns the credential, and the 401 is
// returned with its content.
func TestFreshTokensAreRefused(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultNoChallenge, Operation: "listExportBuckets"}}})
	status, body, err := do(client, "GET", atlas.URL()+buckets, "")
	if err != nil || status != 401 || body == "" {
		t.Errorf("got %d %q %v", status, body, err)
	}
	for range 20 {
		do(client, "GET", atlas.URL()+buckets, "")
	}
	if n := tokenCalls(atlas); n != 2 {
		t.Errorf("%d tokens were fetched", n)
	}
}

// While no token is to be had, few are asked for, and never more than a minute allows.
func TestTokenEndpointFails(t *testing.T) {
	atlas, client, _, c := setup(t, sim.Config{
		Settings: sim.Settings{TokensPerMinute: -1},
		Faults:   []sim.Fault{{Kind: sim.FaultUnavailable, Operation: "token", BeforeAuthentication: true}},
	})
	hammer := func(seconds int) {
		for range seconds * 10 {
			_, _, err := do(client, "GET", atlas.URL()+buckets, "")
			var token *serviceaccount.TokenError
			if !errors.As(err, &token) || token.Status != 503 && token.Status != 429 {
				t.Fatalf("got %v, want a TokenError", err)
			}
			c.advance(100 * time.Millisecond)
		}
	}
	hammer(10)
	if n := tokenCalls(atlas); n < 3 || n > 5 {
		t.Errorf("%d tokens were asked for in 10 s", n)
	}
	hammer(50)
	if n := tokenCalls(atlas); n < 8 || n > 10 {
		t.Errorf("%d tokens were asked for in a minute", n)
	}
	atlas.SetFaults(nil)
	c.advance(8 * time.Second)
	expect(t, client, atlas.URL()+buckets, 200)
}

// Revoked again and again, tokens are still not asked for more often than a minute allows.
func TestTokensPerMinute(t *testing.T) {
	atlas, client, _, c := setup(t, sim.Config{Settings: sim.Settings{TokensPerMinute: -1}})
	for i := range 30 {
		status, _, err := do(client, "GET", atlas.URL()+buckets, "")
		if err != nil || status != 200 {
			var token *serviceaccount.TokenError
			if i < 10 || !errors.As(err, &token) || token.RetryAfter <= 0 || token.RetryAfter > time.Minute {
				t.Fatalf("request %d: %d %v", i, status, err)
			}
			break
		}
		revoke(t, atlas)
		c.advance(time.Second)
	}
	if n := tokenCalls(atlas); n != 10 {
		t.Errorf("%d tokens were asked for within a minute", n)
	}
	c.advance(time.Minute)
	expect(t, client, atlas.URL()+buckets, 200)
}

// A request waits for a token no longer than its context; the others get theirs.
func TestContextEndsTheWait(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Operation: "token", Latency: sim.Duration(300 * time.Millisecond), BeforeAuthentication: true}}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", atlas.URL()+buckets, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(request); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	expect(t, client, atlas.URL()+buckets, 200)
	if n := tokenCalls(atlas); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
}

// Nothing goes to another origin, and a token answer that is none is an error that does
// not quote it.
func TestRefusals(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{})
	other := sim.Start(t, sim.Config{})
	var origin *outbound.OriginError
	if _, _, err := do(client, "GET", other.URL()+buckets, ""); !errors.As(err, &origin) {
		t.Errorf("another port: %v", err)
	}
	if n := other.Counts().Connections; n != 0 {
		t.Errorf("another port: %d connections", n)
	}
	atlas.SetFaults([]sim.Fault{{Kind: sim.FaultTruncate, Operation: "token"}})
	var token *serviceaccount.TokenError
	if _, _, err := do(client, "GET", atlas.URL()+buckets, ""); !errors.As(err, &token) || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("half a token: %v", err)
	}
	for _, config := range []serviceaccount.Config{
		{},
		{Origin: atlas.URL()},
		{Origin: "https://user:c4na7y@cloud.mongodb.com", Base: http.DefaultTransport, Credential: (&account{}).read},
		{Origin: atlas.URL(), Base: http.DefaultTransport, Credential: (&account{}).read, MaxBody: -1},
	} {
		if _, err := serviceaccount.NewTransport(config); err == nil || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%+v: %v", config.Origin, err)
		}
	}
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
