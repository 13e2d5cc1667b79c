package serviceaccount_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
	"atlas-export-gateway/sim"
)

// Requests that wait for a token share one, which is fetched once.
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

// A token is renewed before it expires; until then requests use the old one. After a pause in
// which it expired, another one is fetched.
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
	expect(t, client, atlas.URL()+buckets, 200) // the renewal failed; the old token is good
	wait(t, func() bool {                       // the renewal is tried again after a while
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

// A token endpoint may send any lifetime. If it sends none (RFC 6749, section 5.1), it is an hour.
func TestTokenLifetimes(t *testing.T) {
	for _, test := range []struct {
		lifetime   string
		halfAnHour int64 // how many tokens were fetched after that time
	}{
		{`,"expires_in":-1`, 2},
		{`,"expires_in":0`, 2},
		{`,"expires_in":60`, 2},
		{``, 1},
		{`,"expires_in":3074457346`, 1}, // from here on, three times as much overflows a Duration
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

// Retry-After is seconds or a date, and counts for an hour at most.
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
			w.Header().Set("Date", at.UTC().Format(http.TimeFormat))
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

// A credential that can't be read does not count as a request for a token.
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
	for range 30 { // more than TokensPerMinute
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

// While the token endpoint fails, few tokens are asked for, and never more than TokensPerMinute.
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

// If each token is revoked, still no more are asked for than TokensPerMinute.
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

// A request waits for a token no longer than its context. The other requests still get the token.
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
