package digestauth_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
)

// load sends n POSTs from several goroutines, and returns how many failed and an example of an
// error.
func load(c *http.Client, url string, goroutines, n int) (failed int64, example string) {
	var next, bad atomic.Int64
	var why atomic.Value
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				// The body has no GetBody, like that of a request to a gateway.
				req, _ := http.NewRequest("POST", url+"/x?pageNum=1", io.NopCloser(strings.NewReader(`{"a":1}`)))
				resp, err := c.Do(req)
				if err == nil {
					if resp.StatusCode != 200 {
						err = fmt.Errorf("status %d", resp.StatusCode)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil {
					bad.Add(1)
					why.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	wg.Wait()
	example, _ = why.Load().(string)
	return bad.Load(), example
}

// How many requests a call costs under each rule that servers have for nonces. DIGESTAUTH_CALLS
// sets the number of calls, such as 200000; then 128 are made at a time.
func TestModes(t *testing.T) {
	goroutines, calls := 64, 1000
	if testing.Short() { // too few to count requests per call
		calls = 200
	}
	if n, err := strconv.Atoi(os.Getenv("DIGESTAUTH_CALLS")); err == nil {
		goroutines, calls = 128, n
	}
	for _, mode := range []struct {
		name   string
		policy digestauth.NoncePolicy
		most   float64 // upstream requests per call, the pool's filling not counted; 0 for no bound
	}{
		{"reusable", digestauth.NoncePolicy{}, 1.00},
		{"100 uses", digestauth.NoncePolicy{Uses: 100}, 1.05},
		{"50 ms", digestauth.NoncePolicy{Lifetime: 50 * time.Millisecond}, 0},
		{"rising", digestauth.NoncePolicy{Rising: true}, 1.00},
		{"single use", digestauth.NoncePolicy{Uses: 1}, 2.00},
		{"5% refused", digestauth.NoncePolicy{Refuse: 0.05}, 1.07},
	} {
		run := func(t *testing.T, change func(*upstream) func(*digestauth.Config)) {
			u := newUpstream(t, mode.policy)
			c, _ := u.client(t, change(u))
			start := time.Now()
			failed, example := load(c, u.URL, goroutines, calls)
			requests, unsigned := u.requests.Load(), u.unsigned.Load()
			ratio := float64(requests) / float64(calls)
			t.Logf("%d calls, %d at once: %.4f upstream requests per call, %d unsigned, %d failed, %.0f calls/s",
				calls, goroutines, ratio, unsigned, failed, float64(calls)/time.Since(start).Seconds())
			if failed > 0 {
				t.Errorf("%d of %d calls failed, one with: %s", failed, calls, example)
			}
			if warm := float64(requests-int64(goroutines)) / float64(calls); mode.most > 0 && warm > mode.most && !testing.Short() {
				t.Errorf("%.4f upstream requests per call, want at most %.2f", warm, mode.most)
			}
		}
		t.Run(mode.name, func(t *testing.T) { run(t, func(*upstream) func(*digestauth.Config) { return nil }) })
		t.Run(mode.name+", confirmed", func(t *testing.T) {
			run(t, func(u *upstream) func(*digestauth.Config) { return u.confirmed(t) })
		})
	}
}

// Nonces expire before a server has answered all requests in flight: it needs 1 ms for each of 128
// callers, one after the other.
func TestCrowdedServer(t *testing.T) {
	for _, confirms := range []bool{false, true} {
		u := newUpstream(t, digestauth.NoncePolicy{Lifetime: 50 * time.Millisecond})
		var one sync.Mutex
		inner := u.Config.Handler
		u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			one.Lock()
			defer one.Unlock()
			time.Sleep(time.Millisecond)
			inner.ServeHTTP(w, r)
		})
		var change func(*digestauth.Config)
		if confirms {
			change = u.confirmed(t)
		}
		c, _ := u.client(t, change)
		const calls = 600
		failed, example := load(c, u.URL, 128, calls)
		t.Logf("confirms %v: %.2f upstream requests per call", confirms, float64(u.requests.Load())/calls)
		if failed > 0 {
			t.Errorf("confirms %v: %d of %d calls failed, one with: %s", confirms, failed, calls, example)
		}
	}
}
