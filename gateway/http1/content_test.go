package http1_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/gatewaytest"
)

// A response without content need not be read before it is closed.
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

// A connection is closed if its response was not read to the end.
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
		gatewaytest.Receive(t, "the end of the connection", s.ended)
	}
	if n := s.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// The response of a server that refuses content before reading all of it is returned.
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

// A request whose content can't be read to the end ends, and so does its connection.
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
	gatewaytest.Receive(t, "the end of the connection", s.ended)
}

// After a panic of a request's content, its place is free and its connection is closed.
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
	gatewaytest.Receive(t, "the end of the connection", s.ended)
	if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("content") }

// However often a response is closed, and by whom, one next request gets the connection.
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

// The header of a response is bounded, interim responses included.
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
	// Content is not bounded here: its reader bounds it.
	s := serve(t, nil, says("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 100_000)))
	if got, err := send(t, transport(t, s.url, nil), "GET", s.url, ""); len(got) != 100_004 || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
