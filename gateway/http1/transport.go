// Package http1 sends requests to one origin over HTTP/1.1 (RFC 9112), each in the goroutine of
// its caller. Package atlas sends to Atlas with it. It refuses requests for another origin.
//
// net/http writes the requests and reads the responses. This package keeps the connections in the
// place of net/http's Transport, for two reasons. It repeats no request that may have been
// carried out, whatever the request's fields say. And it hands no request to goroutines of the
// connection: that took more of the gateway's time than all checks.
//
// Nothing but their order ties a response to its request. A response that nobody asked for ends
// the connection if it arrives before the next request is sent. If it arrives later, it is taken
// for the response to that request, as it is by net/http's Transport: no client of HTTP/1.1 can
// tell the two apart. Config.Quiet makes that rarer for requests that may change something.
//
// The package is made for content that is short and in memory: it reads a response only once the
// content was sent, and a context that ends does not interrupt the reading of a request's Body.
package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"syscall"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// Config says where a [Transport] sends to, and within which bounds. All fields except TLS,
// Proxy, Control and Quiet are required.
type Config struct {
	// Origin is the scheme, host and port, such as "https://cloud.mongodb.com".
	Origin string
	// TLS is for an https origin; nil means Go's defaults. ServerName is set to the origin's host.
	TLS *tls.Config
	// Proxy, if not nil, is the proxy that connections are made through. The environment names none.
	Proxy *Proxy
	// Control, if not nil, is called before a connection is made, as in net.Dialer.
	Control func(network, address string, c syscall.RawConn) error
	// DialTimeout is how long it may take to make a connection, with the proxy's answer and the
	// handshakes of TLS.
	DialTimeout time.Duration
	// IdleTimeout is how long an unused connection is kept.
	IdleTimeout time.Duration
	// Quiet is how long a connection must have been unused, with nothing to read, before a request
	// other than a GET or HEAD is sent on it. If none has been, the request waits for one or
	// is sent on a new one, whichever takes less time. 0 means that any connection will do.
	Quiet time.Duration
	// MaxConnections bounds the connections, used or idle. A request waits for one of them.
	MaxConnections int
	// MaxHeader bounds the header of a response, in bytes.
	MaxHeader int
	// ReadBuffer is how much of a response is read at a time, in bytes.
	ReadBuffer int
}

// A Transport is an http.RoundTripper for one origin. It may be used from several goroutines.
type Transport struct {
	config Config
	origin outbound.Origin
	proxy  *proxy // nil means that connections are direct
	dialer net.Dialer

	// Each connection that is used or being made has a place. A connection is made only if none is
	// idle or if places and idle ones together leave room for it, and it becomes idle before its
	// place is free: so used and idle ones together are bounded.
	places chan struct{}

	mu       sync.Mutex
	idle     []*connection // the most recently used last
	sweeping bool          // closeOld will be called
	retired  bool          // no connection is kept
	dialing  time.Duration // how long the last connection took to make
}

// NewTransport returns a Transport. It checks the origin, and connects to nothing.
func NewTransport(c Config) (*Transport, error) {
	origin, err := outbound.ParseOrigin(c.Origin)
	if err != nil {
		return nil, fmt.Errorf("http1: Origin %w", err)
	}
	t := &Transport{
		config: c,
		origin: origin,
		dialer: net.Dialer{Timeout: c.DialTimeout, Control: c.Control},
		places: make(chan struct{}, c.MaxConnections),
	}
	t.config.TLS = tlsFor(c.TLS, origin)
	if c.Proxy != nil {
		if t.proxy, err = newProxy(*c.Proxy); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// RoundTrip sends req and returns the response once its header has arrived. The caller must close
// the response's Body, which has the connection to itself until then. When the request's context
// ends, the request and the response end too.
//
// A request is sent once, and not at all after its context has ended, with one exception: a GET
// or HEAD without content is sent again, on another connection, when a connection that had been
// used before ends without a byte of a response. A httptrace.ClientTrace hears of each connection
// by GotConn.
//
// An error is an *[outbound.OriginError]; or the context's, when it has ended, in an
// *[UnsentError] if the request had no connection until then; or a *net.OpError with the Op
// "dial", when no connection could be made, which wraps a *[ProxyError] if the proxy made none; or
// one of the connection.
func (t *Transport) RoundTrip(req *http.Request) (response *http.Response, err error) {
	defer outbound.CloseBody(req)
	if err := t.origin.Check(req); err != nil {
		return nil, err
	}
	ctx := req.Context()
	select {
	case t.places <- struct{}{}:
	default:
		select {
		case t.places <- struct{}{}:
		case <-ctx.Done():
			return nil, &UnsentError{ctx.Err()}
		}
	}
	defer func() {
		if response == nil { // after an error, or a panic of the request's Body
			<-t.places
		}
	}()
	trace := httptrace.ContextClientTrace(ctx)
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	quiet := t.config.Quiet
	if reads {
		quiet = 0
	}
	for {
		c, err := t.take(ctx, quiet)
		if err != nil {
			return nil, err
		}
		if err := ended(ctx); err != nil {
			t.keep(c)
			return nil, &UnsentError{err}
		}
		if trace != nil && trace.GotConn != nil {
			trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn, Reused: c.used})
		}
		response, err := c.exchange(req, t.config.MaxHeader)
		if err == nil {
			response.Body = newContent(response, t, c)
			return response, nil
		}
		if errors.Is(err, errNoResponse) && c.used && req.Body == nil && reads {
			continue // until no connection is left that had been used before
		}
		return nil, err
	}
}

// UnsentError is the error of a request whose context ended before a byte of the request was sent.
type UnsentError struct{ error }

// Unwrap returns the context's error.
func (e *UnsentError) Unwrap() error { return e.error }

// ended returns why a context has ended. Its deadline counts by the clock: in a process that was
// stopped for a while, the timer that ends the context may not have run yet.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// take returns a connection that no request uses: the most recently used one that has been unused
// for as long as quiet, or else a new one. It waits with the one that has been unused the longest
// if that takes less time than a new one, or if there may be no more connections.
func (t *Transport) take(ctx context.Context, quiet time.Duration) (*connection, error) {
	for {
		now := time.Now()
		t.mu.Lock()
		i := len(t.idle) - 1
		for quiet > 0 && i >= 0 && now.Sub(t.idle[i].since) < quiet {
			i--
		}
		if i < 0 && len(t.idle) > 0 && (quiet-now.Sub(t.idle[0].since) < t.dialing || len(t.places)+len(t.idle) > t.config.MaxConnections) {
			i = 0
		}
		if i < 0 {
			t.mu.Unlock()
			return t.dial(ctx)
		}
		c := t.idle[i]
		t.idle = slices.Delete(t.idle, i, i+1)
		t.mu.Unlock()
		pause(ctx, quiet-now.Sub(c.since))
		if c.usable() {
			return c, nil
		}
		c.Close()
	}
}

// pause waits for a time, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (t *Transport) dial(ctx context.Context) (*connection, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.config.DialTimeout)
	defer cancel()
	first := t.origin.HostPort()
	if t.proxy != nil {
		first = t.proxy.origin.HostPort()
	}
	socket, err := t.dialer.DialContext(ctx, "tcp", first)
	if err != nil {
		if t.proxy != nil {
			err = &net.OpError{Op: "dial", Net: "tcp", Err: &ProxyError{Err: fmt.Errorf("it can't be reached: %w", err)}}
		}
		return nil, err
	}
	c := &connection{Conn: socket, socket: socket}
	if err := t.open(ctx, c); err != nil {
		socket.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: socket.RemoteAddr(), Err: err}
	}
	c.reader = bufio.NewReaderSize(c, t.config.ReadBuffer)
	c.writer = bufio.NewWriter(c)
	t.mu.Lock()
	t.dialing = time.Since(began)
	t.mu.Unlock()
	return c, nil
}

// open makes a connection to the origin of a socket.
func (t *Transport) open(ctx context.Context, c *connection) (err error) {
	if c.readable, err = readableFunc(c.socket); err != nil {
		return err
	}
	if t.proxy != nil {
		if c.Conn, err = t.proxy.tunnel(ctx, c.socket, t.origin.HostPort()); err != nil {
			return err
		}
	}
	if t.origin.Scheme() == "https" {
		encrypted := tls.Client(c.Conn, t.config.TLS)
		if err := encrypted.HandshakeContext(ctx); err != nil {
			if t.proxy != nil {
				err = fmt.Errorf("TLS through the proxy: %w", err)
			}
			return err
		}
		c.Conn = encrypted
	}
	return nil
}

// keep keeps a connection for another request.
func (t *Transport) keep(c *connection) {
	c.since = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retired {
		c.Close()
		return
	}
	t.idle = append(t.idle, c)
	if !t.sweeping {
		t.sweeping = true
		time.AfterFunc(t.config.IdleTimeout, t.closeOld)
	}
}

// closeOld closes the connections that have been idle for too long.
func (t *Transport) closeOld() {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := 0
	for old < len(t.idle) && time.Since(t.idle[old].since) >= t.config.IdleTimeout {
		t.idle[old].Close()
		old++
	}
	t.idle = append(t.idle[:0:0], t.idle[old:]...)
	if t.sweeping = len(t.idle) > 0; t.sweeping {
		time.AfterFunc(t.config.IdleTimeout-time.Since(t.idle[0].since), t.closeOld)
	}
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.idle {
		c.Close()
	}
	t.idle = nil
}

// Retire closes the connections that no request uses, and from then on every other connection
// once its response was read. The Transport still sends requests, each on a new connection.
func (t *Transport) Retire() {
	t.mu.Lock()
	t.retired = true
	t.mu.Unlock()
	t.CloseIdleConnections()
}
