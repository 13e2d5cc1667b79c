package gatewaytest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Proxy is an HTTP proxy that makes tunnels with CONNECT, and does nothing else.
type Proxy struct {
	// URL is the proxy's URL, and Tunnels counts the tunnels that it has made.
	URL     string
	Tunnels atomic.Int64
	// Asked has a line for each CONNECT: the host and port, and the user information that came
	// with it. Carried has all bytes that went through tunnels to the other side.
	Asked, Carried Buffer
	// Hangs has the proxy answer no CONNECT.
	Hangs atomic.Bool
}

// ProxyConfig says what a [Proxy] is. The zero value speaks plain HTTP and serves everyone.
type ProxyConfig struct {
	// TLS, if not nil, is the proxy's certificate.
	TLS *tls.Certificate
	// User and Password, if set, are what it asks for.
	User, Password string
	// Answer, if not nil, answers a CONNECT in the place of a tunnel. The connection ends when it
	// returns.
	Answer func(conn net.Conn, r *http.Request)
}

// StartProxy serves a proxy until the test ends.
func StartProxy(t testing.TB, c ProxyConfig) *Proxy {
	t.Helper()
	p := &Proxy{}
	listener := Serve(t, func(conn net.Conn) {
		if c.TLS != nil {
			conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*c.TLS}})
			defer conn.Close()
		}
		p.serve(conn, c)
	})
	p.URL = "http://" + listener.Addr().String()
	if c.TLS != nil {
		p.URL = "https" + strings.TrimPrefix(p.URL, "http")
	}
	return p
}

func (p *Proxy) serve(conn net.Conn, c ProxyConfig) {
	reader := bufio.NewReader(conn)
	r, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	r.Header["Authorization"] = r.Header["Proxy-Authorization"]
	user, password, _ := r.BasicAuth()
	io.WriteString(&p.Asked, r.Method+" "+r.Host+" "+user+"\n")
	switch {
	case p.Hangs.Load():
		io.Copy(io.Discard, reader)
		return
	case c.Answer != nil:
		c.Answer(conn, r)
		return
	case r.Method != http.MethodConnect:
		io.WriteString(conn, Message(http.StatusMethodNotAllowed, ""))
		return
	case user != c.User || password != c.Password:
		io.WriteString(conn, Message(http.StatusProxyAuthRequired, "c4na7y "+r.Header.Get("Authorization"), `Proxy-Authenticate: Basic realm="c4na7y"`))
		return
	}
	server, err := net.Dial("tcp", r.Host)
	if err != nil {
		io.WriteString(conn, Message(http.StatusBadGateway, ""))
		return
	}
	defer server.Close()
	p.Tunnels.Add(1)
	io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		io.Copy(conn, server)
		conn.Close()
	}()
	io.Copy(server, io.TeeReader(reader, &p.Carried))
}
