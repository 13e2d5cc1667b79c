package digestauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"

	"github.com/google/go-cmp/cmp"
)

type closeRecorder struct {
	io.Reader
	closed atomic.Bool
}

func (c *closeRecorder) Close() error { c.closed.Store(true); return nil }

// The content of a call is sent once, also if the server has to be asked for a challenge first.
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
			// The request for a challenge has no content, and no fields about it.
			want := []string{"POST 0 application/json///o", whole, whole, whole}
			if d := cmp.Diff(want, fields); d != "" {
				t.Error(d)
			}

			// After a refusal of an old nonce, the content is sent again.
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

// If the answer to the request for a challenge is not a 401, it is not returned as the answer to
// the request.
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
	// A request without content is itself the request for a challenge.
	if status, body := get(t, c, s.URL); status != 429 || body != "0" {
		t.Errorf("got %d %q", status, body)
	}
}

// A request that may have been carried out is not repeated, even with an idempotency key.
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
	// If a body does not end, the call ends with its context.
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
