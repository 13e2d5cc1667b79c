package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/outbound"
)

// server is a server of the test's own, which counts.
type server struct {
	url         string
	connections atomic.Int32
	requests    atomic.Int32
	ended       chan struct{} // for each connection that the other side ended
}

// serve answers on every connection as the test says, with the number of the request on it,
// from 1, until that returns false, which closes it.
func serve(t *testing.T, config *tls.Config, answer func(c net.Conn, r *http.Request, number int) bool) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + listener.Addr().String(), ended: make(chan struct{}, 100)}
	if config != nil {
		listener = tls.NewListener(listener, config)
		s.url = "https" + strings.TrimPrefix(s.url, "http")
	}
	var group sync.WaitGroup
	stopped, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			group.Go(func() {
				defer c.Close()
				defer context.AfterFunc(stopped, func() { c.Close() })()
				reader := bufio.NewReader(c)
				for number := 1; ; number++ {
					r, err := http.ReadRequest(reader)
					if err != nil {
						select {
						case s.ended <- struct{}{}:
						default:
						}
						return
					}
					s.requests.Add(1)
					if !answer(c, r, number) {
						return
					}
					io.Copy(io.Discard, r.Body)
				}
			})
		}
	})
	return s
}

// says answers every request with the same bytes.
func says(response string) func(net.Conn, *http.Request, int) bool {
	return func(c net.Conn, _ *http.Request, _ int) bool {
		_, err := io.WriteString(c, response)
		return err == nil
	}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func transport(t *testing.T, origin string, change func(*http1.Config)) *http1.Transport {
	t.Helper()
	config := http1.Config{
		Origin:         origin,
		DialTimeout:    10 * time.Second,
		IdleTimeout:    time.Minute,
		MaxConnections: 8,
		MaxHeader:      4 << 10,
		ReadBuffer:     4 << 10,
	}
	if change != nil {
		change(&config)
	}
	transport, err := http1.NewTransport(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func request(t *testing.T, ctx context.Context, method, url, content string) *http.Request {
	t.Helper()
	var body io.Reader
	if content != "" {
		body = strings.NewReader(content)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send returns the status and content of the response, or the error.
func send(t *testing.T, transport *http1.Transport, method, url, content string) (string, error) {
	t.Helper()
	response, err := transport.RoundTrip(request(t, t.Context(), method, url, content))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", string(received)), err
}

// within fails the test when nothing comes in time.
func within[T any](t *testing.T, from <-chan T, what string) {
	t.Helper()
	select {
	case <-from:
	case <-time.After(10 * time.Second):
		t.Fatal(what)
	}
}

// certificate returns what a TLS server needs, and who trusts it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, roots
}

// Requests one after another share a connection, whatever becomes of their content.
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

// A response without content need not be read.
func TestNothingToRead(t *testing.T) {
	s := serve(t, nil, says("HTTP/1.1 204 No Content\r\n\r\n"))
	tr := transport(t, s.url, nil)
	for range 3 {
		response, err := tr.RoundTrip(request(t, t.Context(), "DELETE", s.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A request that says so is the last on its connection.
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
	within(t, s.ended, "the connection is open")
}

// What a request sends is what net/http writes.
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
	if got := <-received; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A connection on which more than the response was said, or that ends, is left alone: the
// next create goes over another, and once.
func TestConnectionsThatEnd(t *testing.T) {
	config, roots := certificate(t)
	closing := func(response string) func(net.Conn, *http.Request, int) bool {
		return func(c net.Conn, r *http.Request, n int) bool { return says(response)(c, r, n) && false }
	}
	tests := []struct {
		name   string
		answer func(net.Conn, *http.Request, int) bool
		tls    bool
	}{
		{"closed", closing(ok), false},
		{"closed, by TLS", closing(ok), true},
		{"closed, as it says", closing("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"), false},
		{"said to be closed", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"), false},
		{"HTTP/1.0", says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), false},
		{"of no stated length", closing("HTTP/1.1 200 OK\r\n\r\nok"), false},
		{"two responses at once", says(ok + ok), false},
		{"two responses at once, by TLS", says(ok + ok), true},
		{"two records at once, by TLS", func(c net.Conn, r *http.Request, n int) bool {
			says(ok)(c, r, n)
			return says(ok)(c, r, n)
		}, true},
		{"a response later", func(c net.Conn, r *http.Request, n int) bool {
			says(ok)(c, r, n)
			time.Sleep(20 * time.Millisecond)
			return says(ok)(c, r, n)
		}, false},
		{"an alert alone, by TLS", func(c net.Conn, r *http.Request, n int) bool {
			says(ok)(c, r, n)
			c.(*tls.Conn).CloseWrite()
			return true
		}, true},
		{"another protocol", says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), false},
		{"another protocol that goes on", says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nok"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var tlsConfig *tls.Config
			if test.tls {
				tlsConfig = config
			}
			s := serve(t, tlsConfig, test.answer)
			tr := transport(t, s.url, func(c *http1.Config) { c.TLS = &tls.Config{RootCAs: roots} })
			for i := range 3 {
				got, err := send(t, tr, "POST", s.url, "content")
				if got != "200 ok" && got != "101 " || err != nil {
					t.Errorf("request %d: %q, %v", i, got, err)
				}
				time.Sleep(200 * time.Millisecond) // for the server's next step to arrive
			}
			if connections, requests := s.connections.Load(), s.requests.Load(); connections != 3 || requests != 3 {
				t.Errorf("%d connections, %d requests", connections, requests)
			}
		})
	}
}

// A connection whose response was not read to its end is closed.
func TestContentThatIsNotRead(t *testing.T) {
	s := serve(t, nil, says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha"))
	tr := transport(t, s.url, nil)
	for range 2 {
		response, err := tr.RoundTrip(request(t, t.Context(), "GET", s.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(response.Body, make([]byte, 2))
		response.Body.Close()
		response.Body.Close()
		if n, err := response.Body.Read(make([]byte, 2)); n != 0 || err != http.ErrBodyReadAfterClose {
			t.Errorf("%d %v", n, err)
		}
		within(t, s.ended, "the connection is open")
	}
	if n := s.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A connection that ends under a request has it sent again where that can do no harm: a GET
// that had no part of a response, on a connection that may have been closing already.
func TestRepeats(t *testing.T) {
	end := func(last string) func(net.Conn, *http.Request, int) bool {
		return func(c net.Conn, r *http.Request, number int) bool {
			if number == 1 {
				return says(ok)(c, r, number)
			}
			io.WriteString(c, last)
			return false
		}
	}
	tests := []struct {
		name, method, content, last string
		first                       bool // on a new connection
		got                         string
		requests                    int32
	}{
		{"a GET", "GET", "", "", false, "200 ok", 2},
		{"a HEAD", "HEAD", "", "", false, "200 ", 2},
		{"a POST", "POST", "content", "", false, "", 1},
		{"a POST without content", "POST", "", "", false, "", 1},
		{"a DELETE", "DELETE", "", "", false, "", 1},
		{"a PATCH", "PATCH", "content", "", false, "", 1},
		{"a GET with content", "GET", "content", "", false, "", 1},
		{"a GET with half a response", "GET", "", "HTTP/1.1 200", false, "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, nil, end(test.last))
			tr := transport(t, s.url, nil)
			if _, err := send(t, tr, "POST", s.url, ""); err != nil {
				t.Fatal(err)
			}
			s.requests.Store(0)
			r := request(t, t.Context(), test.method, s.url, test.content)
			var reused []bool
			trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = append(reused, i.Reused) }}
			response, err := tr.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
			got := ""
			if err == nil {
				content, _ := io.ReadAll(response.Body)
				response.Body.Close()
				got = fmt.Sprint(response.StatusCode, " ", string(content))
			}
			if n := s.requests.Load(); got != test.got || n != test.requests {
				t.Errorf("%q, %v, sent %d times", got, err, n)
			}
			if len(reused) != int(test.requests) || !reused[0] || len(reused) == 2 && reused[1] {
				t.Errorf("connections used before: %v", reused)
			}
		})
	}
	t.Run("a GET that can't be written", func(t *testing.T) {
		var server atomic.Pointer[net.TCPConn]
		s := serve(t, nil, func(c net.Conn, r *http.Request, n int) bool {
			server.Store(c.(*net.TCPConn))
			return says(ok)(c, r, n)
		})
		tr := transport(t, s.url, nil)
		if _, err := send(t, tr, "GET", s.url, ""); err != nil {
			t.Fatal(err)
		}
		r := request(t, t.Context(), "GET", s.url, "")
		tries := 0
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
			if tries++; tries == 1 { // the connection was looked at
				server.Load().SetLinger(0)
				server.Load().Close()
				time.Sleep(50 * time.Millisecond) // for the reset to arrive
			}
		}}
		response, err := tr.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil || tries != 2 {
			t.Fatalf("%v, %d tries", err, tries)
		}
		response.Body.Close()
	})
	t.Run("on a new connection", func(t *testing.T) {
		s := serve(t, nil, func(net.Conn, *http.Request, int) bool { return false })
		tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
		for i := range int32(3) { // the place is free again
			_, err := send(t, tr, "GET", s.url, "")
			if n := s.requests.Load(); err == nil || n != i+1 {
				t.Errorf("%v, sent %d times", err, n)
			}
		}
	})
}

// The header of a response, interim ones included, is bounded.
func TestLongHeader(t *testing.T) {
	for name, response := range map[string]string{
		"a long field": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 4<<10) + "\r\nContent-Length: 0\r\n\r\n",
		"interim ones": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 200) + ok,
	} {
		s := serve(t, nil, says(response))
		if got, err := send(t, transport(t, s.url, nil), "GET", s.url, ""); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	// Content is not: who reads it bounds it.
	s := serve(t, nil, says("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100_000)))
	if got, err := send(t, transport(t, s.url, nil), "GET", s.url, ""); len(got) != 100_004 || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The end of the context ends a request wherever it is, and its connection.
func TestContextEnds(t *testing.T) {
	t.Run("before the request", func(t *testing.T) { // nothing is sent, and the connection goes on
		s := serve(t, nil, says(ok))
		tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
				t.Fatalf("%q %v", got, err)
			}
			if _, err := tr.RoundTrip(request(t, ctx, "DELETE", s.url, "")); err != context.Canceled {
				t.Fatal(err)
			}
		}
		if connections, requests := s.connections.Load(), s.requests.Load(); connections != 1 || requests != 20 {
			t.Errorf("%d connections, %d requests", connections, requests)
		}
	})
	t.Run("within the request", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() { // reads a little, and answers once it is too late
			c, err := listener.Accept()
			if err != nil {
				answered <- err
				return
			}
			defer c.Close()
			io.ReadFull(c, make([]byte, 10))
			cancel()
			time.Sleep(50 * time.Millisecond)
			io.WriteString(c, ok)
			_, err = io.Copy(io.Discard, c)
			answered <- err
		}()
		url := "http://" + listener.Addr().String()
		if _, err := transport(t, url, nil).RoundTrip(request(t, ctx, "POST", url, strings.Repeat("x", 32<<20))); err != context.Canceled {
			t.Error(err)
		}
		within(t, answered, "the connection is open")
	})
	t.Run("before the response", func(t *testing.T) {
		arrived := make(chan struct{})
		s := serve(t, nil, func(net.Conn, *http.Request, int) bool { close(arrived); return true })
		tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if _, err := tr.RoundTrip(request(t, ctx, "GET", s.url, "")); err != context.Canceled {
			t.Error(err)
		}
		within(t, s.ended, "the connection is open")
	})
	t.Run("within the content", func(t *testing.T) {
		s := serve(t, nil, says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
		tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
		ctx, cancel := context.WithCancel(t.Context())
		response, err := tr.RoundTrip(request(t, ctx, "GET", s.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(10*time.Millisecond, cancel)
		if got, err := io.ReadAll(response.Body); string(got) != "half" || err != context.Canceled {
			t.Errorf("%q %v", got, err)
		}
		response.Body.Close()
		within(t, s.ended, "the connection is open")
	})
	t.Run("before a place is free", func(t *testing.T) {
		s := serve(t, nil, says(ok))
		tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
		first, err := tr.RoundTrip(request(t, t.Context(), "GET", s.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := tr.RoundTrip(request(t, ctx, "GET", s.url, "")); err != context.DeadlineExceeded {
			t.Error(err)
		}
		io.Copy(io.Discard, first.Body)
		first.Body.Close()
		if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		if connections, requests := s.connections.Load(), s.requests.Load(); connections != 1 || requests != 2 {
			t.Errorf("%d connections, %d requests", connections, requests)
		}
	})
	t.Run("after the response", func(t *testing.T) { // the connection goes on
		s := serve(t, nil, says(ok))
		tr := transport(t, s.url, nil)
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			response, err := tr.RoundTrip(request(t, ctx, "GET", s.url, ""))
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			cancel()
		}
		if n := s.connections.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// No more requests are under way than there may be connections, and none is lost.
func TestMaxConnections(t *testing.T) {
	var now, most atomic.Int32
	s := serve(t, nil, func(c net.Conn, r *http.Request, n int) bool {
		for i := now.Add(1); i > most.Load(); {
			most.Store(i)
		}
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		return says(ok)(c, r, n)
	})
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 3 })
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if got, err := send(t, tr, "POST", s.url, "content"); got != "200 ok" || err != nil {
				t.Errorf("%q %v", got, err)
			}
		})
	}
	group.Wait()
	if connections, most := s.connections.Load(), most.Load(); connections != 3 || most != 3 {
		t.Errorf("%d connections, %d requests at a time", connections, most)
	}
}

// A connection that is not used for IdleTimeout is closed, and at once on request.
func TestIdleConnections(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.IdleTimeout = 30 * time.Millisecond })
	send(t, tr, "GET", s.url, "")
	within(t, s.ended, "the connection is open")
	send(t, tr, "GET", s.url, "")
	within(t, s.ended, "the second connection is open")

	s = serve(t, nil, says(ok))
	tr = transport(t, s.url, nil)
	send(t, tr, "GET", s.url, "")
	tr.CloseIdleConnections()
	within(t, s.ended, "the connection is open")
	if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// A transport that another replaces keeps no connection, and those in use come to their end.
func TestRetire(t *testing.T) {
	under, answer := make(chan struct{}, 1), make(chan struct{})
	s := serve(t, nil, func(c net.Conn, r *http.Request, _ int) bool {
		if r.URL.Path == "/slow" {
			under <- struct{}{}
			<-answer
		}
		io.WriteString(c, ok)
		return true
	})
	tr := transport(t, s.url, nil)
	get := func(path string) {
		if got, err := send(t, tr, "GET", s.url+path, ""); got != "200 ok" || err != nil {
			t.Errorf("%q %v", got, err)
		}
	}
	var group sync.WaitGroup
	group.Go(func() { get("/slow") })
	within(t, under, "no request")
	get("/") // on a connection beside the one in use
	tr.Retire()
	within(t, s.ended, "the unused connection is open")
	close(answer)
	group.Wait()
	within(t, s.ended, "the used connection is open")
	get("/")
	within(t, s.ended, "another connection is open")
	if n := s.connections.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// A server that refuses content before it has read it is heard.
func TestEarlyResponse(t *testing.T) {
	s := serve(t, nil, func(c net.Conn, r *http.Request, n int) bool {
		says("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")(c, r, n)
		c.(*net.TCPConn).CloseWrite()
		io.CopyN(io.Discard, r.Body, 1<<20)
		return false // with content unread, which resets the connection
	})
	got, err := send(t, transport(t, s.url, nil), "POST", s.url, strings.Repeat("x", 32<<20))
	if got != "413 large" {
		t.Errorf("%q %v", got, err)
	}
}

// Content that can't be read to its end ends the request, and its connection.
func TestContentThatFails(t *testing.T) {
	s := serve(t, nil, func(c net.Conn, r *http.Request, n int) bool {
		io.Copy(io.Discard, r.Body)
		return true
	})
	r := request(t, t.Context(), "POST", s.url, "content")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(errors.New("failed"))))
	if _, err := transport(t, s.url, nil).RoundTrip(r); err == nil || !strings.HasSuffix(err.Error(), "failed") {
		t.Error(err)
	}
	within(t, s.ended, "the connection is open")
}

// A panic of the request's content takes neither place nor connection with it.
func TestContentThatPanics(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	func() {
		defer func() { recover() }()
		r := request(t, t.Context(), "POST", s.url, "content")
		r.Body = io.NopCloser(panicking{})
		tr.RoundTrip(r)
		t.Error("there was no panic")
	}()
	within(t, s.ended, "the connection is open")
	if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("content") }

// Whoever closes a response, and how often: the connection goes to one next request.
func TestContentIsClosedTwice(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	for range 200 {
		response, err := tr.RoundTrip(request(t, t.Context(), "GET", s.url, ""))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { response.Body.Close() })
		}
		group.Wait()
	}
	if n := s.connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// Half a response is never taken for a whole one.
func TestHalves(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, half := range []string{
		"", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf",
		chunked, chunked + "4\r\nha", chunked + "4\r\nhalf", chunked + "4\r\nhalf\r\n",
		chunked + "4\r\nhalf\r\n0\r\n", chunked + "4\r\nhalf\r\n0\r\nX: y\r\n", chunked + "4\r\nhalf\r\n0\r\n\r",
		"HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi",
		chunked + "-1\r\nhalf\r\n0\r\n\r\n", chunked + "fffffffffffffffff\r\nhalf\r\n0\r\n\r\n",
	} {
		s := serve(t, nil, func(c net.Conn, r *http.Request, n int) bool { return says(half)(c, r, n) && false })
		tr := transport(t, s.url, nil)
		for range 2 {
			if got, err := send(t, tr, "POST", s.url, "content"); err == nil {
				t.Errorf("%.80q is whole: %q", half, got)
			}
		}
		if connections, requests := s.connections.Load(), s.requests.Load(); connections != 2 || requests != 2 {
			t.Errorf("%.80q: %d connections, %d requests", half, connections, requests)
		}
	}
}

// Requests that come, end early and meet connections that close get their own responses.
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
		for range 4 { // every place is free
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

// A connection with TLS is closed without a last alert, which a server that reads no more
// would hold up.
func TestNoAlert(t *testing.T) {
	config, roots := certificate(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ended := make(chan string, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			ended <- err.Error()
			return
		}
		defer c.Close()
		encrypted := tls.Server(c, config)
		r, err := http.ReadRequest(bufio.NewReader(encrypted))
		if err != nil {
			ended <- err.Error()
			return
		}
		says(ok)(encrypted, r, 1)
		left, err := io.ReadAll(c)
		ended <- fmt.Sprint(len(left), " bytes, ", err)
	}()
	url := "https://" + listener.Addr().String()
	tr := transport(t, url, func(c *http1.Config) { c.TLS = &tls.Config{RootCAs: roots} })
	if got, err := send(t, tr, "GET", url, ""); got != "200 ok" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	tr.CloseIdleConnections()
	if got := <-ended; got != "0 bytes, <nil>" {
		t.Errorf("the server got %s", got)
	}
}

// A connection that can't be made is told from one that broke: nothing was sent.
func TestNoConnection(t *testing.T) {
	config, roots := certificate(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	forbidden := errors.New("forbidden")
	for name, test := range map[string]struct {
		url    string
		change func(*http1.Config)
		is     error
	}{
		"closed":               {"http://" + closed.Addr().String(), nil, syscall.ECONNREFUSED},
		"of another authority": {serve(t, config, says(ok)).url, func(c *http1.Config) { c.TLS = nil }, nil},
		"of another name":      {strings.Replace(serve(t, config, says(ok)).url, "127.0.0.1", "127.0.0.2", 1), func(c *http1.Config) { c.TLS = &tls.Config{RootCAs: roots} }, nil},
		"no TLS":               {strings.Replace(serve(t, nil, says(ok)).url, "http:", "https:", 1), func(c *http1.Config) { c.TLS = &tls.Config{RootCAs: roots} }, nil},
		"no answer to TLS":     {"https://" + mute.Addr().String(), func(c *http1.Config) { c.TLS = &tls.Config{}; c.DialTimeout = 50 * time.Millisecond }, context.DeadlineExceeded},
		"an address refused":   {serve(t, nil, says(ok)).url, func(c *http1.Config) { c.Control = func(string, string, syscall.RawConn) error { return forbidden } }, forbidden},
	} {
		tr := transport(t, test.url, func(c *http1.Config) {
			c.MaxConnections = 1
			if test.change != nil {
				test.change(c)
			}
		})
		for range 2 { // the place is free again
			_, err := send(t, tr, "POST", test.url, "content")
			dial, ok := errors.AsType[*net.OpError](err)
			if !ok || dial.Op != "dial" || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Nothing is sent for another origin.
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
		within(t, closed, "the content is open")
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
