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
	readable func() bool // whether the socket has something to read, also its end
	reader   *bufio.Reader
	writer   *bufio.Writer
	writeErr error       // of the last write that failed
	left     int         // how many bytes of the header may still be read
	stop     func() bool // detaches it from the request's context; false if that has ended
	used     bool        // an earlier request was sent on it
	since    time.Time   // when it became idle
}

var (
	errNoResponse     = errors.New("the connection ended without a response")
	errHeaderTooLarge = errors.New("the response's header is too large")
)

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// Close ends the connection without TLS's closing alert. Sending the alert may block, and the
// server has no use for it.
func (c *connection) Close() error { return c.socket.Close() }

// exchange sends a request and reads the header of the response. After an error the connection is
// closed.
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
	if sendErr != nil && c.writeErr == nil {
		return nil, sendErr // of the request's content, not of the connection
	}
	// A server that ended the connection early may have sent a response that says why.
	c.left = maxHeader
	response, err = c.readHeader(req)
	c.left = math.MaxInt
	switch {
	case err == nil:
		response.Close = response.Close || req.Close || sendErr != nil || response.StatusCode == http.StatusSwitchingProtocols
		return response, nil
	case c.writeErr != nil:
		err = fmt.Errorf("%w: %w", err, c.writeErr)
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

// interim reports whether another response follows (RFC 9110, section 15.2). The gateway has no
// use for interim responses. After 101 another protocol would follow, which nobody has asked for.
func interim(status int) bool {
	return 100 <= status && status <= 199 && status != http.StatusSwitchingProtocols
}

// Write is for the writer. It keeps an error, since net/http does not tell it from one of the
// content.
func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.writeErr = err
	}
	return n, err
}

// Read is for the reader. It bounds the header.
func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// usable reports whether another request may be sent: the server has sent nothing since the last
// response, neither the end of the connection nor bytes that nobody asked for. A connection that
// is not usable must be closed.
func (c *connection) usable() bool {
	if encrypted, ok := c.Conn.(*tls.Conn); ok {
		// The closing alert may have been read from the socket together with the response, and
		// wait in TLS.
		encrypted.SetReadDeadline(past)
		var one [1]byte
		if _, err := encrypted.Read(one[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		encrypted.SetReadDeadline(time.Time{})
	}
	return !c.readable()
}

// content is the content of a response. Close leaves the connection to the next request if the
// whole response was read, and otherwise ends the connection.
type content struct {
	io.Reader
	ctx        context.Context
	transport  *Transport
	connection *connection
	last       bool        // no other response follows on the connection
	whole      atomic.Bool // all of it was read
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
