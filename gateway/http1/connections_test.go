package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/gatewaytest"
)

// A connection that ends, or on which the server sends more than the response, is not used again.
// The next create is sent on another connection, once.
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
		{"closed, as the response says", closing("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"), false},
		{"open, although the response says that it closes", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"), false},
		{"HTTP/1.0", says("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), false},
		{"closed, to end a response without a length", closing("HTTP/1.1 200 OK\r\n\r\nok"), false},
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
		{"only an alert, by TLS", func(c net.Conn, r *http.Request, n int) bool {
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
				time.Sleep(200 * time.Millisecond) // for what the server sends next to arrive
			}
			if connections, requests := s.connections.Load(), s.requests.Load(); connections != 3 || requests != 3 {
				t.Errorf("%d connections, %d requests", connections, requests)
			}
		})
	}
}

// There are never more requests under way than connections are allowed, and no request is lost.
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

// A connection is closed once it was idle for IdleTimeout, and at once by CloseIdleConnections.
func TestIdleConnections(t *testing.T) {
	s := serve(t, nil, says(ok))
	tr := transport(t, s.url, func(c *http1.Config) { c.IdleTimeout = 30 * time.Millisecond })
	send(t, tr, "GET", s.url, "")
	gatewaytest.Receive(t, "the end of the connection", s.ended)
	send(t, tr, "GET", s.url, "")
	gatewaytest.Receive(t, "the end of the second connection", s.ended)

	s = serve(t, nil, says(ok))
	tr = transport(t, s.url, nil)
	send(t, tr, "GET", s.url, "")
	tr.CloseIdleConnections()
	gatewaytest.Receive(t, "the end of the connection", s.ended)
	if got, err := send(t, tr, "GET", s.url, ""); got != "200 ok" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// A retired transport keeps no connection, and completes the requests under way.
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
	gatewaytest.Receive(t, "a request", under)
	get("/") // on a connection beside the one in use
	tr.Retire()
	gatewaytest.Receive(t, "the end of the unused connection", s.ended)
	close(answer)
	group.Wait()
	gatewaytest.Receive(t, "the end of the used connection", s.ended)
	get("/")
	gatewaytest.Receive(t, "the end of another connection", s.ended)
	if n := s.connections.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// A connection with TLS is closed without a closing alert. Sending the alert would block if the
// server has stopped reading.
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
	if got := gatewaytest.Receive(t, "the end of the connection", ended); got != "0 bytes, <nil>" {
		t.Errorf("the server got %s", got)
	}
}

// The error tells a connection that could not be made from one that broke: nothing was sent.
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
