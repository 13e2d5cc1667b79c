package digestauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
)

// confirmed is a change of a Config: Config.Confirm is a request for /confirm.
func (u *upstream) confirmed(t testing.TB) func(*digestauth.Config) {
	return func(c *digestauth.Config) {
		var err error
		if c.Confirm, err = http.NewRequest(http.MethodGet, u.URL+"/confirm", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// refusing makes the upstream answer signed requests for a path with a 401 and a new nonce. It
// returns how many there were, and how many signed requests there were for /confirm.
func (u *upstream) refusing(path string) (refused, confirms *atomic.Int64) {
	refused, confirms = new(atomic.Int64), new(atomic.Int64)
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			switch r.URL.Path {
			case path:
				refused.Add(1)
				r.Header.Set("Authorization", "Digest refused")
			case "/confirm":
				confirms.Add(1)
			}
		}
		inner.ServeHTTP(w, r)
	})
	return refused, confirms
}

// A caller whose requests the server refuses, one by one or many at a time, has none of the other
// callers refused, and delays them no more than a caller whose requests are accepted.
func TestOneCallerIsRefused(t *testing.T) {
	const latency, callers, calls = 20 * time.Millisecond, 8, 200
	for _, crowd := range []int{1, 16} {
		var took [2]time.Duration
		for i, path := range []string{"/good", "/bad"} {
			u := newUpstream(t, digestauth.NoncePolicy{})
			refused, confirms := u.refusing("/bad")
			inner := u.Config.Handler
			u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(latency)
				inner.ServeHTTP(w, r)
			})
			c, tr := u.client(t, u.confirmed(t))
			stop := make(chan struct{})
			var group sync.WaitGroup
			var ended atomic.Int64
			for range crowd {
				group.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							one(t, c, tr, u.URL+path)
							ended.Add(1)
						}
					}
				})
			}
			began := time.Now()
			failed, example := load(c, u.URL, callers, calls)
			took[i] = time.Since(began)
			close(stop)
			group.Wait()
			t.Logf("beside %d calling %s: %.0f calls/s; %d such calls cost %d refused requests and %d to confirm",
				crowd, path, calls/took[i].Seconds(), ended.Load(), refused.Load(), confirms.Load())
			if failed > 0 {
				t.Errorf("beside %d refused callers, %d calls failed: %s", crowd, failed, example)
			}
			if refused.Load() > 9*ended.Load() || confirms.Load() > ended.Load() {
				t.Errorf("%d refused calls cost %d requests and %d to confirm", ended.Load(), refused.Load(), confirms.Load())
			}
		}
		if took[1] > 3*took[0] {
			t.Errorf("beside %d refused callers the others took %v, beside as many others %v", crowd, took[1], took[0])
		}
	}
}

// one sends a request, which must be answered 200 or, for /bad, 401 as a request of its own.
func one(t *testing.T, c *http.Client, tr *digestauth.Transport, url string) {
	resp, err := c.Get(url)
	if err != nil {
		t.Error(err)
		return
	}
	resp.Body.Close()
	if !strings.HasSuffix(url, "/bad") {
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d", url, resp.StatusCode)
		}
		return
	}
	var own *digestauth.RefusedError
	if err := tr.Explain(resp); resp.StatusCode != 401 || !errors.As(err, &own) || own.Refusals != 9 {
		t.Errorf("the refused caller got %d, %v", resp.StatusCode, err)
	}
}

// A wrong key is held back after as few requests with Config.Confirm as without it.
func TestConfirmedWrongKey(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	v, now := &vault{key: password("wrong")}, &clock{}
	c, _ := u.client(t, func(c *digestauth.Config) {
		u.confirmed(t)(c)
		c.Credential, c.Now = v.read, now.now
	})
	for second := range 10 {
		if failed, _ := load(c, u.URL, 64, 192); failed != 192 {
			t.Errorf("second %d: %d of 192 calls failed", second, failed)
		}
		now.seconds.Add(1)
	}
	if n := u.requests.Load(); n > 10 {
		t.Errorf("%d upstream requests in 10 s, want at most 10", n)
	}
	if _, err := c.Get(u.URL); !isCredentialError(err) {
		t.Errorf("got %v, want a CredentialError", err)
	}
	v.set(goodKey, nil)
	if failed, example := load(c, u.URL, 16, 64); failed > 0 {
		t.Errorf("%d calls failed after the key was restored: %s", failed, example)
	}
}

// When a key is revoked under load, it is held back as well, also while a caller has its own
// requests refused.
func TestConfirmedRevokedKey(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	v, now := &vault{key: goodKey}, &clock{}
	c, _ := u.client(t, func(c *digestauth.Config) {
		u.confirmed(t)(c)
		c.Credential, c.Now = v.read, now.now
	})
	if failed, example := load(c, u.URL, 32, 640); failed > 0 {
		t.Fatal(example)
	}
	before := u.requests.Load()
	u.setKey(password("new"))
	if failed, _ := load(c, u.URL, 32, 640); failed != 640 {
		t.Errorf("%d of 640 calls failed", failed)
	}
	// Each of the 32 is refused on the nonce that it had, and on a fresh one.
	if n := u.requests.Load() - before; n > 2*32+10 {
		t.Errorf("%d upstream requests with a revoked key", n)
	} else {
		t.Logf("%d upstream requests with a revoked key", n)
	}
	if _, err := c.Get(u.URL); !isCredentialError(err) {
		t.Errorf("got %v, want a CredentialError", err)
	}
	u.setKey(goodKey)
	now.seconds.Add(5)
	if failed, example := load(c, u.URL, 32, 64); failed > 0 {
		t.Errorf("%d failed: %s", failed, example)
	}
}

// A key that is replaced first in the source and then at the server causes no failed call, also
// beside a caller whose requests are refused all the time.
func TestConfirmedRotatedKey(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	u.refusing("/bad")
	v := &vault{key: goodKey}
	c, _ := u.client(t, func(c *digestauth.Config) {
		u.confirmed(t)(c)
		c.Credential = v.read
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if resp, err := c.Get(u.URL + "/bad"); err == nil {
						resp.Body.Close()
					}
				}
			}
		})
	}
	for i := range 10 {
		if failed, example := load(c, u.URL, 16, 160); failed > 0 {
			t.Errorf("%d failed: %s", failed, example)
		}
		next := password(fmt.Sprint("key ", i))
		v.set(next, nil)
		u.setKey(next)
	}
	close(stop)
	wg.Wait()
}

// What the answer to Config.Confirm says about the key. The server refuses all other requests.
func TestConfirmAnswers(t *testing.T) {
	for answer, bad := range map[string]bool{
		"200": false, "403": false, "404": false, "429": false, "500": false, "503": false, "reset": false,
		"401": true, "401 without a challenge": false, "401 that is vouched for": false, "401 stale": false, "401 once": false,
	} {
		t.Run(answer, func(t *testing.T) {
			u := newUpstream(t, digestauth.NoncePolicy{})
			var signed, confirms atomic.Int64
			inner := u.Config.Handler
			u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					inner.ServeHTTP(w, r)
					return
				}
				signed.Add(1)
				if r.URL.Path == "/confirm" {
					confirms.Add(1)
					var status int
					if fmt.Sscan(answer, &status); status == 0 {
						panic(http.ErrAbortHandler)
					} else if status != 401 {
						w.WriteHeader(status)
						return
					}
					switch {
					case strings.HasSuffix(answer, "challenge"):
						w.WriteHeader(401)
						return
					case strings.HasSuffix(answer, "for"):
						w.Header().Set("X-Error-Code", "NOT_IN_GROUP")
					case strings.HasSuffix(answer, "once") && confirms.Load() > 1:
						inner.ServeHTTP(w, r)
						return
					}
				}
				c := digestauth.Challenge{Realm: realm, Nonce: u.nonces.Issue(), Stale: strings.HasSuffix(answer, "stale")}
				w.Header().Set("WWW-Authenticate", c.String())
				w.WriteHeader(401)
			})
			c, _ := u.client(t, func(c *digestauth.Config) {
				u.confirmed(t)(c)
				c.Authenticated = func(r *http.Response) bool { return r.Header.Get("X-Error-Code") != "" }
			})
			for range 3 {
				resp, err := c.Get(u.URL)
				if err == nil {
					resp.Body.Close()
				}
				if isCredentialError(err) != bad || !bad && (err != nil || resp.StatusCode != 401) {
					t.Errorf("got %v", err)
				}
			}
			// Three calls, each sent 9 times.
			if n := signed.Load(); bad && n > 4 || n > 3*9+12 {
				t.Errorf("%d signed requests, %d of them to confirm", n, confirms.Load())
			}
		})
	}
}

// A caller that leaves while the key is being confirmed leaves alone, and an answer to Confirm that
// does not come stops nobody.
func TestConfirmHangs(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	u.refusing("/bad")
	hang, reached := make(chan struct{}), make(chan struct{}, 1)
	proceed := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(proceed) // before the upstream's end, which waits for what hangs
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/confirm" {
			reached <- struct{}{}
			<-hang
		}
		inner.ServeHTTP(w, r)
	})
	c, _ := u.client(t, u.confirmed(t))
	get(t, c, u.URL)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL+"/bad", nil)
		if err == nil {
			_, err = c.Do(req)
		}
		gone <- err
	}()
	select {
	case <-reached:
	case err := <-gone:
		t.Fatalf("the key was not confirmed: %v", err)
	}
	began := time.Now()
	if failed, example := load(c, u.URL, 8, 200); failed > 0 || time.Since(began) > time.Second {
		t.Errorf("while the key is being confirmed: %d calls failed in %v: %s", failed, time.Since(began), example)
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left got %v", err)
	}
	proceed()
	if status, _ := get(t, c, u.URL); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestConfirmIsChecked(t *testing.T) {
	for _, confirm := range []func() (*http.Request, error){
		func() (*http.Request, error) { return http.NewRequest("POST", "https://cloud.mongodb.com/", nil) },
		func() (*http.Request, error) {
			return http.NewRequest("GET", "https://cloud.mongodb.com/", strings.NewReader("x"))
		},
		func() (*http.Request, error) { return http.NewRequest("GET", "https://other.example/", nil) },
	} {
		req, err := confirm()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := digestauth.NewTransport(digestauth.Config{Origin: "https://cloud.mongodb.com", Credential: source(goodKey), Confirm: req}); err == nil {
			t.Errorf("%s %s was accepted", req.Method, req.URL)
		}
	}
}
