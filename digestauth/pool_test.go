package digestauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/outbound"
)

// Each nonce is used by one request at a time, and counted from 1 without gaps.
func TestOneRequestPerNonce(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{Uses: 50})
	var mu sync.Mutex
	inFlight, counts := map[string]int{}, map[string]uint32{}
	u.Config.Handler = func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if a, err := digestauth.ParseAuthorization(r.Header.Get("Authorization")); err == nil {
				mu.Lock()
				inFlight[a.Nonce]++
				counts[a.Nonce]++
				if inFlight[a.Nonce] != 1 || counts[a.Nonce] != a.NC {
					t.Errorf("%d in flight, nc=%d at use %d", inFlight[a.Nonce], a.NC, counts[a.Nonce])
				}
				mu.Unlock()
				defer func() {
					mu.Lock()
					inFlight[a.Nonce]--
					mu.Unlock()
				}()
			}
			rec := httptest.NewRecorder() // so that the answer leaves after the deferred count
			inner.ServeHTTP(rec, r)
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes())
		})
	}(u.Config.Handler)
	c, _ := u.client(t, nil)
	if failed, example := load(c, u.URL, 16, 800); failed > 0 {
		t.Errorf("%d failed: %s", failed, example)
	}
}

// If many requests find the pool empty, most of them wait for a nonce instead of asking for one.
func TestFewChallenges(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(5 * time.Millisecond)
		inner.ServeHTTP(w, r)
	})
	c, _ := u.client(t, nil)
	get(t, c, u.URL)
	u.nonces.Forget()
	before := u.unsigned.Load()
	if failed, example := load(c, u.URL, 128, 128); failed > 0 {
		t.Errorf("%d failed: %s", failed, example)
	}
	if n := u.unsigned.Load() - before; n > 40 {
		t.Errorf("128 requests at once asked for %d challenges", n)
	}
}

func TestIdleNoncesAge(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	var age atomic.Int64
	c, _ := u.client(t, func(c *digestauth.Config) {
		c.Now = func() time.Time { return time.Unix(1e9+age.Load(), 0) }
		c.NonceIdle = 10 * time.Second
	})
	for _, step := range []struct{ wait, unsigned int64 }{{0, 1}, {10, 1}, {10, 1}, {11, 2}} {
		age.Add(step.wait)
		get(t, c, u.URL)
		if got := u.unsigned.Load(); got != step.unsigned {
			t.Errorf("after %d s: %d challenges, want %d", age.Load(), got, step.unsigned)
		}
	}
	if u.refused.Load() != 0 {
		t.Errorf("%d refused", u.refused.Load())
	}
}

// A request that gets no answer delays the others only for a moment. A request whose context ends
// is not delayed.
func TestHungRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, release := false, make(chan struct{})
		tr, err := digestauth.NewTransport(digestauth.Config{
			Origin: "https://cloud.mongodb.com", Credential: source(goodKey), Base: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
				if !hung {
					hung = true
					<-release
				}
				return answer(r), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		call := func(limit time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", "https://cloud.mongodb.com/", nil)
			_, err := tr.RoundTrip(req)
			return time.Since(start), err
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := call(time.Hour); err != nil {
				t.Errorf("the request that hung: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if took, err := call(10 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Millisecond {
				t.Errorf("after %v: %v, want the deadline after 10ms", took, err)
			}
		})
		for range 8 {
			wg.Go(func() {
				if took, err := call(time.Minute); err != nil || took != time.Second {
					t.Errorf("after %v: %v, want success after 1s", took, err)
				}
			})
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		close(release)
		wg.Wait()
	})
}

// After a refusal few requests are in flight. With successes, there are as many as before.
func TestWindowGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var inFlight, most int
		refused := false
		tr, err := digestauth.NewTransport(digestauth.Config{
			Origin: "https://cloud.mongodb.com", Credential: source(goodKey), Base: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				inFlight++
				most = max(most, inFlight)
				if !refused && r.Header.Get("Authorization") != "" {
					r.Header.Del("Authorization")
					refused = true
				}
				mu.Unlock()
				time.Sleep(10 * time.Millisecond)
				mu.Lock()
				inFlight--
				mu.Unlock()
				return answer(r), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		crowd := func(calls int) int {
			most = 0
			var wg sync.WaitGroup
			for range 64 {
				wg.Go(func() {
					for range calls {
						req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://cloud.mongodb.com/", nil)
						if resp, err := tr.RoundTrip(req); err != nil || resp.StatusCode != 200 {
							t.Error(resp, err)
						}
					}
				})
			}
			wg.Wait()
			return most
		}
		if n := crowd(1); n > 16 {
			t.Errorf("%d requests in flight after a refusal", n)
		}
		crowd(20)
		if n := crowd(1); n != 64 {
			t.Errorf("%d of 64 requests in flight when all is well again", n)
		}
	})
}

// A request that waits keeps the nonce of its own 401, and gets no older one.
func TestRetryKeepsItsNonce(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{Uses: 1})
	var mu sync.Mutex
	signed := map[string]int{}
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			mu.Lock()
			signed[r.URL.Path]++
			mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	})
	c, _ := u.client(t, nil)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for k := range 30 {
				get(t, c, fmt.Sprintf("%s/%d/%d", u.URL, i, k))
			}
		})
	}
	wg.Wait()
	for call, n := range signed {
		if n > 2 {
			t.Errorf("the call %s was signed %d times, want once for a used nonce and once for its own", call, n)
		}
	}
}
