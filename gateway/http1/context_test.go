package http1_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/gatewaytest"
)

// unsent reports whether an error says that nothing of a request was sent, since its context
// ended.
func unsent(err, ended error) bool {
	_, ok := errors.AsType[*http1.UnsentError](err)
	return ok && errors.Is(err, ended)
}

// A request whose context has ended is not sent, and the connection goes on.
func TestContextEndsBeforeTheRequest(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if _, err := tr.RoundTrip(request(t, ctx, "DELETE", s.url, "")); !unsent(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if connections, requests := s.connections.Load(), s.requests.Load(); connections != 1 || requests != 20 {
		t.Errorf("%d connections, %d requests", connections, requests)
	}
}

// overdue is a context whose deadline has passed without having ended it: in a process that was
// stopped, what waits for the connection may go on before the timer does.
type overdue struct{ context.Context }

func (overdue) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

// A request whose deadline has passed is not sent, and the connection goes on.
func TestDeadlineHasPassed(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	for range 2 {
		if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
			t.Fatalf("%q %v", got, err)
		}
		response, err := tr.RoundTrip(request(t, overdue{t.Context()}, "DELETE", s.url, ""))
		if err == nil {
			response.Body.Close()
		}
		if !unsent(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	if connections, requests := s.connections.Load(), s.requests.Load(); connections != 1 || requests != 2 {
		t.Errorf("%d connections, %d requests", connections, requests)
	}
}

// A context that ends while the request is sent ends the request and its connection.
func TestContextEndsWithinTheRequest(t *testing.T) {
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
	gatewaytest.Receive(t, "the answer", answered)
}

// A context that ends before the response ends the request and its connection.
func TestContextEndsBeforeTheResponse(t *testing.T) {
	arrived := make(chan struct{})
	s := serve(t, nil, func(net.Conn, *http.Request, int) bool { close(arrived); return true })
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := tr.RoundTrip(request(t, ctx, "GET", s.url, "")); err != context.Canceled {
		t.Error(err)
	}
	gatewaytest.Receive(t, "the end of the connection", s.ended)
}

// A context that ends while the content of a response is read ends the reading and the connection.
func TestContextEndsWithinTheContent(t *testing.T) {
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
	gatewaytest.Receive(t, "the end of the connection", s.ended)
}

// A context that ends while its request waits for a place ends the waiting, and takes no place.
func TestContextEndsBeforeAPlaceIsFree(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	first, err := tr.RoundTrip(request(t, t.Context(), "GET", s.url, ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := tr.RoundTrip(request(t, ctx, "GET", s.url, "")); !unsent(err, context.DeadlineExceeded) {
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
}

// A context that ends once the response was read leaves the connection alone.
func TestContextEndsAfterTheResponse(t *testing.T) {
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
}
