package http1_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
)

// A server sends a response that nobody asked for right behind an answer, or up to a millisecond
// later. No request that may change something gets it.
func TestUnaskedResponses(t *testing.T) {
	config, roots := certificate(t)
	for name, tlsConfig := range map[string]*tls.Config{"TCP": nil, "TLS": config} {
		for _, bound := range []int{1, 8} {
			t.Run(fmt.Sprint(name, ", ", bound, " connections"), func(t *testing.T) {
				t.Parallel()
				var answers, late atomic.Int64
				s := serve(t, tlsConfig, func(c net.Conn, r *http.Request, n int) bool {
					io.Copy(io.Discard, r.Body)
					began := time.Now()
					says(ok)(c, r, n)
					time.Sleep(time.Duration(answers.Add(1)%11) * 100 * time.Microsecond)
					if time.Since(began) > 15*time.Millisecond { // the machine is busy
						late.Add(1)
						return false // a request may be on its way
					}
					says("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")(c, r, n)
					if time.Since(began) > 15*time.Millisecond {
						late.Add(1)
					}
					return true
				})
				tr := transport(t, s.url, func(c *http1.Config) {
					c.TLS, c.MaxConnections, c.Quiet = &tls.Config{RootCAs: roots}, bound, 30*time.Millisecond
				})
				var unasked, failed atomic.Int64
				var group sync.WaitGroup
				for range 4 {
					group.Go(func() {
						for i := range 20 {
							method := []string{"POST", "PATCH", "DELETE"}[i%3]
							switch got, err := send(t, tr, method, s.url, ""); {
							case got == "200 unasked":
								unasked.Add(1)
							case got != "200 ok" || err != nil:
								failed.Add(1)
								t.Logf("%q, %v", got, err)
							}
						}
					})
				}
				group.Wait()
				if unasked.Load()+failed.Load() > late.Load() {
					t.Errorf("of 80 requests %d got a response that nobody asked for, and %d failed; %d responses were late", unasked.Load(), failed.Load(), late.Load())
				}
			})
		}
	}
}

// A request that may change something is sent on a connection that was quiet, or a new one, within
// MaxConnections. A GET is sent at once.
func TestQuiet(t *testing.T) {
	s := serve(t, nil, says(ok))
	const quiet = 300 * time.Millisecond
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections, c.Quiet = 2, quiet })
	check := func(method string, connections int32, least, most time.Duration) {
		t.Helper()
		began := time.Now()
		if got, err := send(t, tr, method, s.url, ""); got != "200 ok" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if took, n := time.Since(began), s.connections.Load(); n != connections || took < least || took > most {
			t.Errorf("%s: %d connections, want %d, and %v", method, n, connections, took)
		}
	}
	check("POST", 1, 0, quiet/2)
	check("GET", 1, 0, quiet/2)
	check("POST", 2, 0, quiet/2)
	check("POST", 2, quiet/4, 10*quiet) // waits: there may be no third
	time.Sleep(quiet)
	check("POST", 2, 0, quiet/2)
	check("GET", 2, 0, quiet/2)
	check("DELETE", 2, 0, quiet/2) // on the other connection

	ctx, cancel := context.WithTimeout(t.Context(), quiet/10)
	defer cancel()
	if _, err := tr.RoundTrip(request(t, ctx, "POST", s.url, "")); !unsent(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if n := s.requests.Load(); n != 7 {
		t.Errorf("%d requests", n)
	}
}

// A request waits for a connection to be quiet if a new one takes longer than that.
func TestQuietTakesLessThanDialing(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) {
		c.Quiet = 50 * time.Millisecond
		c.Control = func(string, string, syscall.RawConn) error { time.Sleep(100 * time.Millisecond); return nil }
	})
	for range 3 {
		if got, err := send(t, tr, "POST", s.url, ""); got != "200 ok" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
