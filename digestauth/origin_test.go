package digestauth_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/digestauth"
)

// tap is a server that counts connections and bytes, and sends nothing.
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

	// Other spellings of the same origin.
	for _, host := range []string{here.Host, strings.ToUpper(here.Host)} {
		req, _ := http.NewRequest("GET", "HTTP://"+host+"/", nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}
