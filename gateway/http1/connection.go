package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"time"
)

// A connection is used by one request at a time.
type connection struct {
	net.Conn
	look   func() bool // whether the socket has nothing to read, not even an end
	reader *bufio.Reader
	writer *bufio.Writer
	left   int         // what may be read
	stop   func() bool // has the context of the request no longer end it
	used   bool        // by an earlier request
	since  time.Time   // when it became idle
}

var (
	errNoResponse     = errors.New("the server ended the connection without a response")
	errHeaderTooLarge = errors.New("the response's header is too large")
)

// past is a deadline that is over.
var past = time.Unix(1, 0)

// exchange sends a request and reads the header of the response to it.
func (c *connection) exchange(req *http.Request, maxHeader int) (*http.Response, error) {
	ctx := req.Context()
	c.stop = context.AfterFunc(ctx, func() { c.SetDeadline(past) })
	c.left = maxHeader
	sendErr := req.Write(c.writer)
	if sendErr == nil {
		sendErr = c.writer.Flush()
	}
	if sendErr != nil {
		// The server may have refused the rest, and said so.
		c.SetReadDeadline(time.Now().Add(time.Second))
	}
	response, err := c.readHeader(req)
	c.left = math.MaxInt
	switch {
	case err == nil:
		response.Close = response.Close || sendErr != nil || response.StatusCode == http.StatusSwitchingProtocols
		return response, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case sendErr != nil:
		err = sendErr
	}
	return nil, err
}

// readHeader reads the header of the final response.
func (c *connection) readHeader(req *http.Request) (*http.Response, error) {
	if _, err := c.reader.Peek(1); err != nil {
		return nil, errors.Join(errNoResponse, err)
	}
	for {
		response, err := http.ReadResponse(c.reader, req)
		if err != nil || !interim(response.StatusCode) {
			return response, err
		}
	}
}

// interim reports whether another response follows (RFC 9110, section 15.2). The gateway has
// no use for it. After 101 another protocol would, which no one has asked for.
func interim(status int) bool {
	return 100 <= status && status <= 199 && status != http.StatusSwitchingProtocols
}

// Read is for the reader: it reads no more than is left.
func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// quiet reports whether the server has said nothing since the last response: neither that
// it closes the connection nor what no one asked for.
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

// content is a response's. Closing it leaves the connection to the next request, if all of
// the response was read, and ends it otherwise.
type content struct {
	io.Reader
	ctx        context.Context
	transport  *Transport
	connection *connection // nil once it is closed
	whole      bool        // read to its end
	last       bool        // on its connection
}

func (r *content) Read(p []byte) (int, error) {
	if r.connection == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := r.Reader.Read(p)
	switch {
	case err == io.EOF:
		r.whole = true
	case err != nil && r.ctx.Err() != nil:
		err = r.ctx.Err()
	}
	return n, err
}

func (r *content) Close() error {
	c := r.connection
	if c == nil {
		return nil
	}
	r.connection = nil
	if c.stop() && r.whole && !r.last && c.reader.Buffered() == 0 {
		r.transport.keep(c)
	} else {
		c.Close()
	}
	<-r.transport.places
	return nil
}
