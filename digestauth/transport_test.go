package digestauth_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"

	"github.com/google/go-cmp/cmp"
)

func TestNewTransportRefuses(t *testing.T) {
	good := digestauth.Config{Origin: "https://cloud.mongodb.com/", Credential: source(goodKey)}
	if _, err := digestauth.NewTransport(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*digestauth.Config){
		"no origin":         func(c *digestauth.Config) { c.Origin = "" },
		"no scheme":         func(c *digestauth.Config) { c.Origin = "cloud.mongodb.com" },
		"scheme":            func(c *digestauth.Config) { c.Origin = "ftp://cloud.mongodb.com" },
		"no host":           func(c *digestauth.Config) { c.Origin = "https://:443" },
		"path":              func(c *digestauth.Config) { c.Origin = "https://cloud.mongodb.com/api" },
		"query":             func(c *digestauth.Config) { c.Origin = "https://cloud.mongodb.com?" },
		"user info":         func(c *digestauth.Config) { c.Origin = "https://u:c4na7y@cloud.mongodb.com" },
		"malformed":         func(c *digestauth.Config) { c.Origin = "https://u:c4na7y@%zz" },
		"no credential":     func(c *digestauth.Config) { c.Credential = nil },
		"negative bound":    func(c *digestauth.Config) { c.MaxBody = -1 },
		"too few retries":   func(c *digestauth.Config) { c.MaxRetries = 3 },
		"too many refusals": func(c *digestauth.Config) { c.MaxRefusals = 9 },
	} {
		c := good
		change(&c)
		if _, err := digestauth.NewTransport(c); err == nil || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// tap is a listener that records what its connections send and answers nothing.
func tap(t *testing.T) (authority string, received func() int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1) // a connection is as bad as a byte
			wg.Go(func() {
				defer c.Close()
				c.SetReadDeadline(time.Now().Add(5 * time.Second))
				k, _ := io.Copy(io.Discard, c)
				n.Add(k)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), n.Load
}

func TestOtherOriginsGetNothing(t *testing.T) {
	other, received := tap(t)
	_, port, _ := net.SplitHostPort(other)
	u := newUpstream(t, digestauth.NoncePolicy{})
	u.handler = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://"+other+"/", http.StatusTemporaryRedirect)
		}
	}
	c, tr := u.client(t, nil)
	get(t, c, u.URL) // the Transport knows a nonce now
	before := u.requests.Load()

	here, _ := url.Parse(u.URL)
	for name, change := range map[string]func(*http.Request){
		"other port":       func(r *http.Request) { r.URL.Host = other },
		"other host":       func(r *http.Request) { r.URL.Host = "localhost:" + here.Port() },
		"no port":          func(r *http.Request) { r.URL.Host = here.Hostname() },
		"other scheme":     func(r *http.Request) { r.URL.Scheme = "https" },
		"other Host":       func(r *http.Request) { r.Host = "evil.example" },
		"other Host, port": func(r *http.Request) { r.Host = here.Hostname() + ":" + port },
		"opaque":           func(r *http.Request) { r.URL.Opaque = "//" + other + "/x" },
		"no URL":           func(r *http.Request) { r.URL = nil },
	} {
		req, _ := http.NewRequest("POST", u.URL, nil)
		body := &closeRecorder{Reader: strings.NewReader("x")}
		req.Body = body
		change(req)
		_, err := tr.RoundTrip(req)
		if e := (*digestauth.OriginError)(nil); !errors.As(err, &e) {
			t.Errorf("%s: got %v, want an OriginError", name, err)
		}
		if !body.closed.Load() {
			t.Errorf("%s: the body was not closed", name)
		}
	}
	if n := u.requests.Load() - before; n != 0 {
		t.Errorf("%d requests arrived", n)
	}

	_, err := c.Get(u.URL + "/away")
	if e := (*digestauth.OriginError)(nil); !errors.As(err, &e) {
		t.Errorf("redirect: got %v, want an OriginError", err)
	}
	if n := received(); n != 0 {
		t.Errorf("the other origin got %d bytes or connections", n)
	}

	// The same origin in other words.
	for _, host := range []string{here.Host, strings.ToUpper(here.Host)} {
		req, _ := http.NewRequest("GET", "HTTP://"+host+"/", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}

type closeRecorder struct {
	io.Reader
	closed atomic.Bool
}

func (c *closeRecorder) Close() error { c.closed.Store(true); return nil }

// A 401 that can't be answered comes back whole, and no credential was sent for it.
func TestUnusableChallenge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lines  []string
		reason string
	}{
		{"none", nil, "no WWW-Authenticate"},
		{"Basic", []string{`Basic realm="x"`}, "is not Digest"},
		{"no qop", []string{`Digest realm="MMS Public API", nonce="n"`}, "no qop"},
		{"auth-int", []string{`Digest realm="MMS Public API", nonce="n", qop="auth-int"`}, "auth-int"},
		{"session", []string{`Digest realm="MMS Public API", nonce="n", qop="auth", algorithm=MD5-sess`}, "session"},
		{"no realm", []string{`Digest nonce="n", qop="auth"`}, "the realm is"},
		{"other realm", []string{`Digest realm="evil", nonce="n", qop="auth"`}, "the realm is"},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				u := newUpstream(t, digestauth.NoncePolicy{})
				u.challenge = func(_ digestauth.Challenge, h http.Header) {
					for _, line := range tt.lines {
						h.Add("WWW-Authenticate", line)
					}
				}
				c, tr := u.client(t, func(c *digestauth.Config) { c.Realm = realm })
				req, _ := http.NewRequest(method, u.URL, strings.NewReader("content"))
				if method == "GET" {
					req.Body, req.ContentLength = nil, 0
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if body := read(t, resp); resp.StatusCode != 401 || body != `{"error":401}` {
					t.Errorf("got %d %q", resp.StatusCode, body)
				}
				err = tr.Explain(resp)
				if e := (*digestauth.ChallengeError)(nil); !errors.As(err, &e) || !strings.Contains(err.Error(), tt.reason) {
					t.Errorf("explained as %v", err)
				}
				if u.requests.Load() != 1 || u.unsigned.Load() != 1 || u.contentBytes.Load() != 0 {
					t.Errorf("%d requests, %d unsigned, %d bytes", u.requests.Load(), u.unsigned.Load(), u.contentBytes.Load())
				}
			})
		}
	}
}

func TestStrongestAlgorithm(t *testing.T) {
	md5 := func(c digestauth.Challenge) string { c.Algorithm = digestauth.MD5; return c.String() }
	for name, challenge := range map[string]func(digestauth.Challenge, http.Header){
		"one line": func(c digestauth.Challenge, h http.Header) {
			h.Set("WWW-Authenticate", `Basic realm="a, b", `+md5(c)+", "+c.String())
		},
		"three lines": func(c digestauth.Challenge, h http.Header) {
			h["Www-Authenticate"] = []string{"Bearer", md5(c), c.String()}
		},
	} {
		for _, algorithm := range []string{digestauth.SHA256, digestauth.SHA512256} {
			t.Run(name+" "+algorithm, func(t *testing.T) {
				u := newUpstream(t, digestauth.NoncePolicy{})
				u.algorithm, u.challenge = algorithm, challenge // it lets nothing else in
				c, _ := u.client(t, nil)
				for range 2 {
					if status, body := get(t, c, u.URL); status != 200 || body != "done" {
						t.Fatalf("got %d %q", status, body)
					}
				}
				if u.requests.Load() != 3 {
					t.Errorf("%d requests", u.requests.Load())
				}
			})
		}
	}
}

func TestNextNonce(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{Uses: 1})
	u.handler = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Authentication-Info", `rspauth="", qop=auth, nextnonce="`+u.nonces.Issue()+`"`)
	}
	c, _ := u.client(t, nil)
	for range 5 {
		get(t, c, u.URL)
	}
	if got, want := u.requests.Load(), int64(6); got != want {
		t.Errorf("%d requests for 5 calls, want %d", got, want)
	}
}

// Of each call's content one copy goes upstream, also when the server had to be asked for a challenge first.
func TestContentIsSentOnce(t *testing.T) {
	const body = `{"snapshotId":"0123456789abcdef01234567"}`
	for name, request := range map[string]func(url string) *http.Request{
		"GetBody": func(url string) *http.Request {
			r, _ := http.NewRequest("POST", url, strings.NewReader(body))
			return r
		},
		"length known": func(url string) *http.Request {
			r, _ := http.NewRequest("POST", url, io.NopCloser(strings.NewReader(body)))
			r.ContentLength = int64(len(body))
			return r
		},
		"length unknown": func(url string) *http.Request {
			r, _ := http.NewRequest("POST", url, io.NopCloser(strings.NewReader(body)))
			r.ContentLength = -1
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, digestauth.NoncePolicy{})
			var mu sync.Mutex
			var fields []string
			inner := u.Config.Handler
			u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				fields = append(fields, fmt.Sprintf("%s %d %s/%s/%s/%s", r.Method, r.ContentLength, r.Header.Get("Content-Type"),
					r.Header.Get("Content-Encoding"), r.Header.Get("Idempotency-Key"), r.Header.Get("X-Other")))
				mu.Unlock()
				inner.ServeHTTP(w, r)
			})
			c, _ := u.client(t, nil)
			for i := range 3 {
				req := request(u.URL)
				req.Header = http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}, "Idempotency-Key": {"k"}, "X-Other": {"o"}}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				read(t, resp)
				if got, want := u.contentBytes.Load(), int64((i+1)*len(body)); got != want {
					t.Errorf("after %d calls %d bytes of content arrived, want %d", i+1, got, want)
				}
			}
			whole := fmt.Sprintf("POST %d application/json/identity/k/o", len(body))
			// The question for a challenge has no content and nothing that speaks of it.
			want := []string{"POST 0 application/json///o", whole, whole, whole}
			if d := cmp.Diff(want, fields); d != "" {
				t.Error(d)
			}

			// A refusal on an old nonce means sending it again.
			u.nonces.Forget()
			before := u.contentBytes.Load()
			resp, err := c.Do(request(u.URL))
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			read(t, resp)
			if got := u.contentBytes.Load() - before; got != 2*int64(len(body)) {
				t.Errorf("%d bytes of content arrived, want two copies", got)
			}
		})
	}
}

// An answer other than 401 to the question for a challenge is not passed off as the answer to the request.
func TestUnaskedForCredential(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, n, r.Header.Get("Authorization"))
	}))
	defer s.Close()
	c, _ := (&upstream{Server: s}).client(t, nil)

	_, err := c.Post(s.URL, "application/json", strings.NewReader("content"))
	var e *digestauth.ProbeError
	if !errors.As(err, &e) || e.Status != 429 || e.Header.Get("Retry-After") != "7" {
		t.Errorf("got %v, want a ProbeError", err)
	}
	// Without content, the question is the request.
	if status, body := get(t, c, s.URL); status != 429 || body != "0" {
		t.Errorf("got %d %q", status, body)
	}
}

// A request that may have been carried out is not repeated, however much it looks as if it could be.
func TestResetIsNotRepeated(t *testing.T) {
	for name, content := range map[string]string{"with content": "content", "without content": ""} {
		for _, field := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
			t.Run(name+" "+field, func(t *testing.T) {
				var posts atomic.Int64
				u := newUpstream(t, digestauth.NoncePolicy{})
				inner := u.Config.Handler
				u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == "POST" && r.Header.Get(field) == "k" {
						posts.Add(1)
						io.Copy(io.Discard, r.Body)
						conn, _, _ := w.(http.Hijacker).Hijack()
						conn.(*net.TCPConn).SetLinger(0) // a reset, not an orderly end
						conn.Close()
						return
					}
					inner.ServeHTTP(w, r)
				})
				c, _ := u.client(t, nil)
				for range 3 { // net/http repeats on used connections only
					get(t, c, u.URL)
				}
				req, _ := http.NewRequest("POST", u.URL, strings.NewReader(content)) // sets GetBody
				req.Header.Set(field, "k")
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
					t.Errorf("got status %d, want an error", resp.StatusCode)
				}
				if posts.Load() != 1 {
					t.Errorf("the POST arrived %d times", posts.Load())
				}
			})
		}
	}
}

func TestRequestAndResponse(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	var basic atomic.Int64
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "Basic") {
			basic.Add(1)
		}
		inner.ServeHTTP(w, r)
	})
	_, tr := u.client(t, nil)
	for _, method := range []string{"GET", "", "HEAD", "DELETE", "PATCH", "POST"} {
		for range 2 {
			body := &closeRecorder{Reader: strings.NewReader("content")}
			req, _ := http.NewRequest(method, u.URL+`/a%2Fb/c d?q="x"&y=%zz`, body)
			req.Method = method
			req.Header.Set("Authorization", "Basic YTpi")
			if method != "PATCH" && method != "POST" {
				req.Body = nil
			}
			before := req.Clone(t.Context())
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			read(t, resp)
			if resp.StatusCode != 200 {
				t.Errorf("%s: status %d", method, resp.StatusCode)
			}
			if resp.Request != req {
				t.Errorf("%s: the response is to another request", method)
			}
			if d := cmp.Diff(before.Header, req.Header); d != "" || req.Body != before.Body || *req.URL != *before.URL {
				t.Errorf("%s: the request was changed %s", method, d)
			}
			if req.Body != nil && !body.closed.Load() {
				t.Errorf("%s: the body was not closed", method)
			}
		}
	}
	if basic.Load() != 0 || u.refused.Load() != 0 || u.unsigned.Load() != 1 {
		t.Errorf("%d with the caller's credential, %d refused, %d unsigned", basic.Load(), u.refused.Load(), u.unsigned.Load())
	}
}

func TestContentErrors(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	c, _ := u.client(t, func(c *digestauth.Config) { c.MaxBody = 8 })
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		body   io.Reader
		length int64
		want   func(error) bool
	}{
		{"at the limit", strings.NewReader("12345678"), -1, func(err error) bool { return err == nil }},
		{"none after all", strings.NewReader(""), -1, func(err error) bool { return err == nil }},
		{"too long", strings.NewReader("123456789"), -1, func(err error) bool { return errors.Is(err, digestauth.ErrBodyTooLarge) }},
		{"says it is too long", strings.NewReader("123456789"), 9, func(err error) bool { return errors.Is(err, digestauth.ErrBodyTooLarge) }},
		{"short", strings.NewReader("123"), 4, func(err error) bool { return err != nil }},
		{"broken", io.MultiReader(strings.NewReader("1"), errReader{broken}), -1, func(err error) bool { return errors.Is(err, broken) }},
	} {
		before := u.contentBytes.Load()
		body := &closeRecorder{Reader: tt.body}
		req, _ := http.NewRequest("POST", u.URL, body)
		req.ContentLength = tt.length
		resp, err := c.Do(req)
		if err == nil {
			resp.Body.Close()
		} else if n := u.contentBytes.Load() - before; n != 0 {
			t.Errorf("%s: %d bytes were sent", tt.name, n)
		}
		if !tt.want(err) || !body.closed.Load() {
			t.Errorf("%s: got %v, closed %t", tt.name, err, body.closed.Load())
		}
	}
	// A body that never comes does not outlast the context.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, w := io.Pipe()
	defer w.Close()
	req, _ := http.NewRequestWithContext(ctx, "POST", u.URL, r)
	if _, err := c.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// Nonces are used by one request at a time, and counted from 1 without gaps.
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

// When many requests meet an empty pool, most of them wait for a nonce instead of asking for one.
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

// One request that gets no answer holds up the others for a moment only, and those whose context ends not at all.
func TestHungRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, release := false, make(chan struct{})
		tr, err := digestauth.NewTransport(digestauth.Config{
			Origin: "https://cloud.mongodb.com", Credential: source(goodKey), Base: roundTripFunc(func(r *http.Request) (*http.Response, error) {
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

// After a refusal few requests go at once; with successes, as many again as callers want.
func TestCrowdReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var inFlight, most int
		refused := false
		tr, err := digestauth.NewTransport(digestauth.Config{
			Origin: "https://cloud.mongodb.com", Credential: source(goodKey), Base: roundTripFunc(func(r *http.Request) (*http.Response, error) {
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

// A request that has to wait with the nonce of its own 401 gets no staler one instead.
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

// The retries end, and the last 401 comes back whole.
func TestRetriesEnd(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{Refuse: 1, Rand: func() float64 { return 0 }})
	u.challenge = func(c digestauth.Challenge, h http.Header) {
		c.Stale = true // so that it does not speak against the key
		h.Set("WWW-Authenticate", c.String())
	}
	c, tr := u.client(t, nil)
	resp, err := c.Get(u.URL)
	if err != nil {
		t.Fatal(err)
	}
	if body := read(t, resp); resp.StatusCode != 401 || body != `{"error":401}` || u.refused.Load() != 9 {
		t.Errorf("got %d %q after %d refusals, want a 401 after 9", resp.StatusCode, body, u.refused.Load())
	}
	if e := (*digestauth.CredentialError)(nil); !errors.As(tr.Explain(resp), &e) {
		t.Errorf("explained as %v", tr.Explain(resp))
	}
}

// A 401 that means "you may not" is no evidence against the key.
func TestAuthenticated401(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	u.handler = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Error-Code", "NOT_IN_GROUP")
		w.Header().Set("WWW-Authenticate", digestauth.Challenge{Realm: realm, Nonce: u.nonces.Issue()}.String())
		w.WriteHeader(401)
		io.WriteString(w, "not yours")
	}
	c, tr := u.client(t, func(c *digestauth.Config) {
		c.Authenticated = func(r *http.Response) bool { return r.Header.Get("X-Error-Code") == "NOT_IN_GROUP" }
	})
	for range 20 {
		resp, err := c.Get(u.URL)
		if err != nil {
			t.Fatal(err)
		}
		if body := read(t, resp); resp.StatusCode != 401 || body != "not yours" || tr.Explain(resp) != nil {
			t.Fatalf("got %d %q, %v", resp.StatusCode, body, tr.Explain(resp))
		}
	}
	if u.requests.Load() != 21 {
		t.Errorf("%d requests for 20 calls", u.requests.Load())
	}
}

// Nothing that this package says or prints holds the secret or what was signed with it.
func TestErrorsHoldNoSecret(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	wrong := digestauth.Credential{Username: goodKey.Username, Password: secret.New("c4na7y-5e7")}
	var signed bytes.Buffer
	var mu sync.Mutex
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, err := digestauth.ParseAuthorization(r.Header.Get("Authorization")); err == nil {
			mu.Lock()
			fmt.Fprintln(&signed, a.Response)
			mu.Unlock()
		}
		inner.ServeHTTP(w, r)
	})
	c, tr := u.client(t, func(c *digestauth.Config) { c.Credential = source(wrong) })
	_, err := c.Get(u.URL)
	if err == nil {
		t.Fatal("no error")
	}
	said := fmt.Sprintf("%v %+v %#v %v", err, err, errors.Unwrap(err), tr)
	forbidden := []string{"c4na7y"}
	for s := bufio.NewScanner(&signed); s.Scan(); {
		forbidden = append(forbidden, s.Text())
	}
	if len(forbidden) != 5 {
		t.Fatalf("%d credentials were sent", len(forbidden)-1)
	}
	for _, f := range forbidden {
		if strings.Contains(said, f) {
			t.Errorf("%q was printed in %s", f, said)
		}
	}
}
