package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/http1"
)

// server is a server that counts.
type server struct {
	url         string
	connections atomic.Int32
	requests    atomic.Int32
	ended       chan struct{} // gets a value for each connection that the other side ends
}

// serve starts a server. answer answers the requests of a connection, by their number from 1. The
// connection is closed once answer returns false.
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

// says returns a function that answers every request with the same bytes.
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

// send sends a request, and returns the status and content of the response, or the error.
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

// certificate returns the configuration of a TLS server, and the roots that trust it.
func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, roots
}
