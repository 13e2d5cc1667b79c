package http1_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/outbound"
)

// Requests that follow each other share a connection, whatever their responses are.
func TestConnectionsAreKept(t *testing.T) {
	config, roots := certificate(t)
	for name, response := range map[string]string{
		"200 ok": ok,
		"204 ":   "HTTP/1.1 204 No Content\r\n\r\n",
		"404 ":   "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"201 in": "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nin\r\n0\r\n\r\n",
		"200 hi": "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
	} {
		for _, tlsConfig := range []*tls.Config{nil, config} {
			s := serve(t, tlsConfig, says(response))
			tr := transport(t, s.url, func(c *http1.Config) { c.TLS = &tls.Config{RootCAs: roots} })
			for _, method := range []string{"GET", "POST", "DELETE", "POST"} {
				got, err := send(t, tr, method, s.url+"/x?y", strings.Repeat("c", len(method)-3))
				if got != name || err != nil {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
			if n := s.connections.Load(); n != 1 {
				t.Errorf("%s, TLS %t: %d connections", name, tlsConfig != nil, n)
			}
		}
	}
}

// A request with Close is the last one on its connection.
func TestLastRequest(t *testing.T) {
	s := serve(t, nil, says(ok))
	r := request(t, t.Context(), "GET", s.url, "")
	r.Close = true
	response, err := transport(t, s.url, nil).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	gatewaytest.Receive(t, "the end of the connection", s.ended)
}

// A request is sent as net/http writes it.
func TestRequestIsSent(t *testing.T) {
	received := make(chan string, 1)
	s := serve(t, nil, func(c net.Conn, r *http.Request, _ int) bool {
		content, _ := io.ReadAll(r.Body)
		received <- fmt.Sprint(r.Method, r.RequestURI, r.Host, r.Header, " ", r.ContentLength, " ", string(content))
		return says(ok)(c, nil, 0)
	})
	r := request(t, t.Context(), "POST", s.url+"/a/b?c=d", "content")
	r.Header = http.Header{"Accept": {"application/json"}, "User-Agent": {"test"}}
	response, err := transport(t, s.url, nil).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	want := "POST/a/b?c=d" + strings.TrimPrefix(s.url, "http://") + "map[Accept:[application/json] Content-Length:[7] User-Agent:[test]] 7 content"
	if got := gatewaytest.Receive(t, "the request", received); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Each request gets its own response, also while others end early and connections close.
func TestUnderLoad(t *testing.T) {
	config, roots := certificate(t)
	for _, tlsConfig := range []*tls.Config{nil, config} {
		s := serve(t, tlsConfig, func(c net.Conn, r *http.Request, n int) bool {
			id := r.URL.RawQuery
			if len(id)%3 == 0 {
				time.Sleep(time.Duration(n%5) * time.Millisecond)
			}
			_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
			return err == nil && n%17 != 0
		})
		tr := transport(t, s.url, func(c *http1.Config) {
			c.TLS = &tls.Config{RootCAs: roots}
			c.IdleTimeout = 5 * time.Millisecond
			c.MaxConnections = 4
		})
		var group sync.WaitGroup
		for worker := range 8 {
			group.Go(func() {
				for i := range 100 {
					id := fmt.Sprintf("%d-%d", worker, i)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%12)*4*time.Millisecond)
					response, err := tr.RoundTrip(request(t, ctx, []string{"GET", "POST"}[i%2], s.url+"/?"+id, ""))
					if err == nil {
						var got []byte
						got, err = io.ReadAll(response.Body)
						response.Body.Close()
						if err == nil && string(got) != id {
							t.Errorf("%q for %q", got, id)
						}
					}
					cancel()
				}
			})
		}
		group.Wait()
		for range 4 { // all places are free
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			response, err := tr.RoundTrip(request(t, ctx, "GET", s.url+"/?x", ""))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
		}
	}
}

// A request for another origin is not sent.
func TestOtherOrigins(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, nil)
	for _, url := range []string{"http://example.com", strings.Replace(s.url, "http:", "https:", 1), s.url + "0"} {
		r := request(t, t.Context(), "POST", url, "")
		closed := make(chan struct{})
		r.Body = closing{closed}
		_, err := tr.RoundTrip(r)
		if _, ok := errors.AsType[*outbound.OriginError](err); !ok {
			t.Errorf("%s: %v", url, err)
		}
		gatewaytest.Receive(t, "the end of the content", closed)
	}
	if _, err := http1.NewTransport(http1.Config{Origin: "ftp://example.com"}); err == nil {
		t.Error("ftp is an origin")
	}
	if n := s.connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

type closing struct{ closed chan struct{} }

func (c closing) Read([]byte) (int, error) { return 0, io.EOF }
func (c closing) Close() error             { close(c.closed); return nil }
