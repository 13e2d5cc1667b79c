package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// A connection is used by one request at a time.
type connection struct {
	net.Conn // the socket, or TLS on it
	socket   net.Conn
	look     func() bool // reports whether the socket has nothing to read, not even its end
	reader   *bufio.Reader
	writer   *bufio.Writer
	broken   error       // of a write
	left     int         // bytes of the header that may still be read
	stop     func() bool // ends the watch on the request's context; false if the context ended first
	used     bool        // by an earlier request
	since    time.Time   // when it became idle
}

var (
	errNoResponse     = errors.New("the connection ended without a response")
	errHeaderTooLarge = errors.New("the response's header is too large")
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// Close ends the connection without TLS's last alert: to send it may block, and the server
// has no use for it.
func (c *connection) Close() error { return c.socket.Close() }

// exchange sends a request and reads the header of the response to it. After an error the
// connection is closed.
func (c *connection) exchange(req *http.Request, maxHeader int) (response *http.Response, err error) {
	ctx := req.Context()
	c.stop = context.AfterFunc(ctx, func() { c.SetDeadline(past) })
	defer func() {
		if response == nil {
			c.stop()
			c.Close()
		}
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
	}()
	sendErr := req.Write(c.writer)
	if sendErr == nil {
		sendErr = c.writer.Flush()
	}
	if sendErr != nil && c.broken == nil {
		return nil, sendErr // the request's own
	}
	// A server that ends the connection early may have said why.
	c.left = maxHeader
	response, err = c.readHeader(req)
	c.left = math.MaxInt
	switch {
	case err == nil:
		response.Close = response.Close || req.Close || sendErr != nil || response.StatusCode == http.StatusSwitchingProtocols
		return response, nil
	case c.broken != nil:
		err = fmt.Errorf("%w: %w", err, c.broken)
	}
	return nil, err
}

// readHeader reads the header of the final response.
func (c *connection) readHeader(req *http.Request) (*http.Response, error) {
	if _, err := c.reader.Peek(1); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoResponse, err)
	}
	for {
		response, err := http.ReadResponse(c.reader, req)
		if err != nil || !interim(response.StatusCode) {
			return response, err
		}
	}
}

// interim reports whether another response follows the one with this status (RFC 9110, section
// 15.2). The gateway has no use for interim responses. After 101 another protocol follows, which
// the gateway did not ask for.
func interim(status int) bool {
	return 100 <= status && status <= 199 && status != http.StatusSwitchingProtocols
}

// Write is for the writer: it notes an error, which net/http passes on as one of the content.
func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.broken = err
	}
	return n, err
}

// Read is for the reader: it bounds the header.
func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// quiet reports whether the server has sent nothing since the last response: neither the end of
// the connection nor anything that was not asked for. If it has, the connection is of no use.
func (c *connection) quiet() bool {
	if encrypted, ok := c.Conn.(*tls.Conn); ok {
		// The last alert may have been read from the socket, behind the response, and wait here.
		encrypted.SetReadDeadline(past)
		var one [1]byte
		if _, err := encrypted.Read(one[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		encrypted.SetReadDeadline(time.Time{})
	}
	return c.look()
}

// content is the content of a response. Close keeps the connection for another request if all of
// the response was read, and closes it otherwise.
type content struct {
	io.Reader
	ctx        context.Context
	transport  *Transport
	connection *connection
	last       bool // response on its connection
	whole      atomic.Bool
	closed     atomic.Bool
}

func newContent(response *http.Response, t *Transport, c *connection) *content {
	r := &content{Reader: response.Body, ctx: response.Request.Context(), transport: t, connection: c, last: response.Close}
	r.whole.Store(response.Body == http.NoBody)
	return r
}

func (r *content) Read(p []byte) (int, error) {
	if r.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := r.Reader.Read(p)
	switch {
	case err == io.EOF:
		r.whole.Store(true)
	case err != nil && r.ctx.Err() != nil:
		err = r.ctx.Err()
	}
	return n, err
}

func (r *content) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	c := r.connection
	if c.stop() && r.whole.Load() && !r.last && c.reader.Buffered() == 0 {
		c.used = true
		r.transport.keep(c)
	} else {
		c.Close()
	}
	<-r.transport.places
	return nil
}
