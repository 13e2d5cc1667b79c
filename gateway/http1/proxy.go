package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
)

// Proxy is an HTTP proxy that connections are made through, each in a tunnel of CONNECT (RFC 9110,
// section 9.3.6). The proxy learns the origin's host and port. TLS to an https origin goes through
// the tunnel, and is checked as without a proxy.
type Proxy struct {
	// Origin is the scheme, host and port, such as "http://proxy.example.com:3128".
	Origin string
	// TLS is for an https proxy; nil means Go's defaults. ServerName is set to the proxy's host.
	TLS *tls.Config
	// User, if not empty, is sent to the proxy with Password as Basic (RFC 7617). It has no colon.
	User     string
	Password secret.Secret
}

// maxProxyHeader bounds what a proxy answers CONNECT with, in bytes.
const maxProxyHeader = 16 << 10

// A ProxyError says that the proxy made no tunnel, and why. Nothing was sent to the origin. The
// text holds nothing that the proxy sent except its status.
type ProxyError struct {
	// Status is what the proxy answered CONNECT with; 0 if it gave no answer of HTTP.
	Status int
	// Err is why there is no tunnel; nil if Status says it.
	Err error
}

func (e *ProxyError) Error() string {
	switch {
	case e.Status == http.StatusProxyAuthRequired:
		return "the proxy refuses CONNECT: it answers 407, so it does not accept the user and password, or wants some"
	case e.Status != 0:
		return fmt.Sprintf("the proxy refuses CONNECT: it answers %d", e.Status)
	}
	return "the proxy: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *ProxyError) Unwrap() error { return e.Err }

// proxy is a Proxy as a Transport uses it.
type proxy struct {
	origin outbound.Origin
	tls    *tls.Config
	header http.Header // of CONNECT
}

func newProxy(p Proxy) (*proxy, error) {
	origin, err := outbound.ParseOrigin(p.Origin)
	if err != nil {
		return nil, fmt.Errorf("http1: Proxy.Origin %w", err)
	}
	made := &proxy{origin: origin, tls: tlsFor(p.TLS, origin), header: http.Header{"User-Agent": {"atlas-export-gateway"}}}
	if p.User != "" {
		basic := &http.Request{Header: http.Header{}}
		basic.SetBasicAuth(p.User, p.Password.Reveal())
		made.header["Proxy-Authorization"] = basic.Header["Authorization"]
	}
	return made, nil
}

// tunnel has the proxy connect to a host and port, and returns the tunnel, which is the socket or
// TLS on it. The context bounds it.
func (p *proxy) tunnel(ctx context.Context, socket net.Conn, hostPort string) (net.Conn, error) {
	conn := socket
	if p.origin.Scheme() == "https" {
		encrypted := tls.Client(socket, p.tls)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, &ProxyError{Err: fmt.Errorf("TLS with it: %w", err)}
		}
		conn = encrypted
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	err := p.connect(conn, hostPort)
	if !stop() {
		return nil, &ProxyError{Err: fmt.Errorf("it did not answer CONNECT in time: %w", ctx.Err())}
	}
	return conn, err
}

// connect sends CONNECT and reads the answer. In a tunnel the origin says nothing before the
// request or TLS's first message, so whatever is behind the answer is not the origin's.
func (p *proxy) connect(conn net.Conn, hostPort string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostPort}, Host: hostPort, Header: p.header}
	if err := request.Write(conn); err != nil {
		return &ProxyError{Err: fmt.Errorf("it ended the connection: %w", err)}
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyHeader}
	reader := bufio.NewReader(limited)
	for {
		response, err := http.ReadResponse(reader, request)
		switch {
		case err == nil && interim(response.StatusCode):
		case err == nil && response.StatusCode/100 != 2:
			return &ProxyError{Status: response.StatusCode}
		case err == nil && reader.Buffered() > 0:
			return &ProxyError{Err: errors.New("its answer to CONNECT goes on behind the header")}
		case err == nil:
			return nil
		case limited.N <= 0:
			return &ProxyError{Err: fmt.Errorf("its answer to CONNECT has more than %d bytes", maxProxyHeader)}
		case disconnected(err):
			return &ProxyError{Err: fmt.Errorf("it ended the connection before it answered CONNECT: %w", err)}
		default:
			// The error may quote the answer, which may repeat the password.
			return &ProxyError{Err: errors.New("its answer to CONNECT is not HTTP")}
		}
	}
}

// disconnected reports whether an error of reading an answer is that of the connection.
func disconnected(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded)
}

// tlsFor returns the configuration of TLS with an origin.
func tlsFor(c *tls.Config, origin outbound.Origin) *tls.Config {
	if c = c.Clone(); c == nil {
		c = new(tls.Config)
	}
	c.ServerName, _, _ = net.SplitHostPort(origin.HostPort())
	return c
}
