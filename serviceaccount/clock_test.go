package serviceaccount_test

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A clock that is set ahead or back by an hour fails no call. The token is good for no longer than
// Atlas accepts it.
func TestSetClock(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		s, client := startConfirming(t)
		expect(t, client, s.URL, 200)
		for range 3 {
			s.clock.advance(by)
			expect(t, client, s.URL, 200)
			s.revoke() // as if it had expired at Atlas
			expect(t, client, s.URL, 200)
			expect(t, client, s.URL, 200)
		}
		if n := s.issued.Load(); n > 7 {
			t.Errorf("set by %v: %d tokens were fetched", by, n)
		}
	}
}

// No pause becomes longer when the clock is set back: neither that after a failure of the token
// endpoint, nor that of a refused credential, nor that of TokensPerMinute.
func TestSetClockEndsPauses(t *testing.T) {
	const issued = `{"access_token":"a","token_type":"Bearer","expires_in":1}`
	for name, failing := range map[string]http.HandlerFunc{
		"unavailable": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"limited": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		},
		"refused": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
		"many":    nil,
	} {
		for _, by := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
			var fails atomic.Bool
			a := &account{}
			a.set("secret")
			client, url, _, c := strange(t, a.read, func(w http.ResponseWriter, r *http.Request) {
				if fails.Load() {
					failing(w, r)
					return
				}
				io.WriteString(w, issued)
			})
			if failing != nil {
				fails.Store(true)
				for range 3 {
					if _, _, err := do(client, "GET", url, ""); err == nil {
						t.Errorf("%s: no error", name)
					}
				}
				fails.Store(false)
			} else {
				for range 10 {
					expect(t, client, url, 200)
					c.advance(time.Second)
				}
				if _, _, err := do(client, "GET", url, ""); err == nil {
					t.Errorf("%s: no error", name)
				}
			}
			c.advance(by)
			if status, _, err := do(client, "GET", url, ""); err != nil || status != 200 {
				t.Errorf("%s, set by %v: %d %v", name, by, status, err)
			}
		}
	}
}
