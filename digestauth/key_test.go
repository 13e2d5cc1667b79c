package digestauth_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// vault is a source of the credential that can be changed.
type vault struct {
	mu    sync.Mutex
	key   digestauth.Credential
	err   error
	reads atomic.Int64
}

func (v *vault) set(c digestauth.Credential, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key, v.err = c, err
}

func (v *vault) read(context.Context) (digestauth.Credential, error) {
	v.reads.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key, v.err
}

func password(s string) digestauth.Credential {
	return digestauth.Credential{Username: goodKey.Username, Password: secret.New(s)}
}

// clock is a clock that only the test moves.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(1e9+c.seconds.Load(), 0) }

func isCredentialError(err error) bool {
	var e *digestauth.CredentialError
	return errors.As(err, &e)
}

// A wrong key costs few requests, however many callers there are. The right one is used as soon as
// the source has it.
func TestWrongKey(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	v, now := &vault{key: password("wrong")}, &clock{}
	c, _ := u.client(t, func(c *digestauth.Config) { c.Credential, c.Now = v.read, now.now })

	var wg sync.WaitGroup
	call := func() {
		if resp, err := c.Get(u.URL); err == nil {
			t.Errorf("got status %d", resp.StatusCode)
			resp.Body.Close()
		} else if !isCredentialError(err) {
			t.Errorf("got %v, want a CredentialError", err)
		}
	}
	// For ten seconds, 64 callers that each call again at once.
	for range 10 {
		for range 64 {
			wg.Go(func() {
				for range 3 {
					call()
				}
			})
		}
		wg.Wait()
		now.seconds.Add(1)
	}
	// One request is challenged, and four are refused on fresh nonces. Five seconds later, an old
	// nonce is refused, and fresh ones.
	if n := u.requests.Load(); n > 10 {
		t.Errorf("%d upstream requests in 10 s, want at most 10", n)
	} else {
		t.Logf("%d upstream requests in 10 s", n)
	}

	v.set(goodKey, nil)
	before := u.requests.Load()
	if status, _ := get(t, c, u.URL); status != 200 {
		t.Errorf("got %d with the right key", status)
	}
	if n := u.requests.Load() - before; n > 2 {
		t.Errorf("%d requests to recover", n)
	}
	if failed, example := load(c, u.URL, 16, 64); failed > 0 {
		t.Errorf("%d calls failed after the key was restored: %s", failed, example)
	}
}

// When a key is revoked under load, the requests in flight are refused, and few others are sent.
func TestRevokedKey(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	v, now := &vault{key: goodKey}, &clock{}
	c, _ := u.client(t, func(c *digestauth.Config) { c.Credential, c.Now = v.read, now.now })
	if failed, example := load(c, u.URL, 32, 640); failed > 0 {
		t.Fatal(example)
	}
	if n := v.reads.Load(); n > 32 {
		t.Errorf("the source was read %d times while its key was good", n)
	}
	before := u.requests.Load()
	u.setKey(password("new"))
	if failed, _ := load(c, u.URL, 32, 640); failed != 640 {
		t.Errorf("%d of 640 calls failed", failed)
	}
	if n := u.requests.Load() - before; n > 32+10 {
		t.Errorf("%d upstream requests with a revoked key", n)
	}
	// The server accepts the old key again. It is tried after the hold.
	u.setKey(goodKey)
	if _, err := c.Get(u.URL); !isCredentialError(err) {
		t.Errorf("got %v, want a CredentialError", err)
	}
	now.seconds.Add(5)
	if failed, example := load(c, u.URL, 32, 64); failed > 0 {
		t.Errorf("%d failed: %s", failed, example)
	}
}

// A key that is replaced first in the source and then at the server causes no failed call.
func TestRotatedKey(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	v := &vault{key: goodKey}
	c, _ := u.client(t, func(c *digestauth.Config) { c.Credential = v.read })
	for i := range 5 {
		if failed, example := load(c, u.URL, 16, 160); failed > 0 {
			t.Errorf("%d failed: %s", failed, example)
		}
		next := password(fmt.Sprint("key ", i))
		v.set(next, nil)
		u.setKey(next)
	}
}

// A key does not count as bad if there are successes between its refusals.
func TestRefusalsInARow(t *testing.T) {
	for refusals, bad := range map[int64]bool{1: false, 3: false, 4: true} {
		u := newUpstream(t, digestauth.NoncePolicy{})
		var left atomic.Int64
		inner := u.Config.Handler
		u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" && left.Add(-1) >= 0 {
				r.Header.Set("Authorization", "Digest refused")
			}
			inner.ServeHTTP(w, r)
		})
		c, _ := u.client(t, nil)
		left.Store(refusals)
		for range 3 { // on fresh nonces at first, on an old and then on fresh ones later
			resp, err := c.Get(u.URL)
			if got := isCredentialError(err); got != bad || !bad && err != nil {
				t.Errorf("%d refusals: %v", refusals, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			if bad {
				break
			}
			left.Store(refusals + 1)
		}
	}
}

// Requests that are refused together count as one refusal, since the server may have restarted
// while they were in flight.
func TestRefusalsAtOnceCountOnce(t *testing.T) {
	const asked = 8
	u := newUpstream(t, digestauth.NoncePolicy{})
	c, _ := u.client(t, func(c *digestauth.Config) { c.MaxChallenges = asked })
	get(t, c, u.URL)

	var signed atomic.Int64
	together := make(chan struct{})
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			switch n := signed.Add(1); { // one uses the idle nonce, the others those that they asked for
			case n == asked+1:
				close(together)
				fallthrough
			case n < asked+1:
				select {
				case <-together:
				case <-time.After(20 * time.Second): // in vain
				}
				r.Header.Set("Authorization", "Digest refused")
			}
		}
		inner.ServeHTTP(w, r)
	})
	if failed, example := load(c, u.URL, asked+1, asked+1); failed > 0 {
		t.Errorf("%d failed: %s", failed, example)
	}
}

func TestSourceErrors(t *testing.T) {
	if text := new(digestauth.CredentialError).Error(); text == "" {
		t.Error("the zero error says nothing")
	}
	u := newUpstream(t, digestauth.NoncePolicy{})
	unreadable := errors.New("unreadable")
	v := &vault{err: unreadable}
	c, _ := u.client(t, func(c *digestauth.Config) { c.Credential = v.read })
	if _, err := c.Get(u.URL); !isCredentialError(err) || !errors.Is(err, unreadable) || !strings.Contains(err.Error(), "reading the credential: unreadable") {
		t.Errorf("got %v, want a CredentialError with the source's", err)
	}
	v.set(digestauth.Credential{Username: "u"}, nil)
	if _, err := c.Get(u.URL); err == nil {
		t.Error("an empty password was accepted")
	}
	if u.requests.Load() != 0 {
		t.Errorf("%d requests without a credential", u.requests.Load())
	}
	v.set(password("wrong"), nil)
	c.Get(u.URL)
	v.set(password("wrong"), unreadable)
	if _, err := c.Get(u.URL); !isCredentialError(err) || !errors.Is(err, unreadable) {
		t.Errorf("got %v, want a CredentialError with the source's", err)
	}
	v.set(goodKey, nil)
	if status, _ := get(t, c, u.URL); status != 200 {
		t.Errorf("got %d", status)
	}
}

// If a connection breaks during a GET, net/http sends the GET again, with a count that the server
// has seen. The refusal of that does not count against the key, however often it happens in a row.
func TestRepeatedByNetHTTP(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{})
	var resets atomic.Int64
	u.handler = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/reset" {
			resets.Add(1)
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}
	c, _ := u.client(t, nil)
	for range 4 {
		get(t, c, u.URL) // leaves a used connection, on which net/http repeats
		if resp, err := c.Get(u.URL + "/reset"); err == nil {
			resp.Body.Close()
			t.Errorf("answered %d", resp.StatusCode)
		} else if !errors.Is(err, digestauth.ErrDisconnected) {
			t.Fatalf("the key was blamed: %v", err)
		}
		if status, _ := get(t, c, u.URL); status != 200 {
			t.Errorf("the next request: %d", status)
		}
	}
	if resets.Load() < 8 {
		t.Errorf("only %d resets", resets.Load())
	}
}
