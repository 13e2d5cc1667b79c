package digestauth_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"
)

// A 401 that can't be answered is returned whole, and no credential is sent.
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

// After the last retry, the 401 is returned whole.
func TestRetriesEnd(t *testing.T) {
	u := newUpstream(t, digestauth.NoncePolicy{Refuse: 1, Rand: func() float64 { return 0 }})
	u.challenge = func(c digestauth.Challenge, h http.Header) {
		c.Stale = true // so that it does not count against the key
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

// A 401 that says that a good key is not allowed to do something does not count against the key.
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
