package http1_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
)

// A request whose connection ends is sent again if that can do no harm: if it is a GET that got
// no part of a response, on a connection that had been used before.
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
		got                         string
		requests                    int32
	}{
		{"a GET", "GET", "", "", "200 ok", 2},
		{"a HEAD", "HEAD", "", "", "200 ", 2},
		{"a POST", "POST", "content", "", "", 1},
		{"a POST without content", "POST", "", "", "", 1},
		{"a DELETE", "DELETE", "", "", "", 1},
		{"a PATCH", "PATCH", "content", "", "", 1},
		{"a GET with content", "GET", "content", "", "", 1},
		{"a GET with half a response", "GET", "", "HTTP/1.1 200", "", 1},
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
}

// A GET that can't be written is sent again on another connection.
func TestRepeatsWhatWasNotWritten(t *testing.T) {
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
		if tries++; tries == 1 { // the transport has found the connection usable
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
}

// A GET is not sent again if its connection was new.
func TestRepeatsNothingOnANewConnection(t *testing.T) {
	s := serve(t, nil, func(net.Conn, *http.Request, int) bool { return false })
	tr := transport(t, s.url, func(c *http1.Config) { c.MaxConnections = 1 })
	for i := range int32(3) { // the place is free again
		_, err := send(t, tr, "GET", s.url, "")
		if n := s.requests.Load(); err == nil || n != i+1 {
			t.Errorf("%v, sent %d times", err, n)
		}
	}
}
