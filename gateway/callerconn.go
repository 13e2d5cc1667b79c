package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
)

// A caller may end its own side of the connection once it has sent its request, and still read the
// answer. net/http takes that for the end of the caller and cancels the request's context. A full
// close looks the same until the answer is sent: it too begins with a FIN. So a FIN ends no
// request. A connection that was reset does, or one on which a write has failed, since no answer
// can come through. A caller that left by a FIN costs one request to Atlas, and keeps its
// connection's place until the request has ended.

// callerListener accepts connections that tell when they can carry no answer, and that end when
// they read more than unused bytes between the beginnings of two requests.
type callerListener struct {
	net.Listener
	unused int64
}

func (l callerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &callerConn{Conn: conn, unused: l.unused}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c, nil
}

// unusedBytes is how much a connection may read between the beginnings of two requests: 64 times
// what a request may have, and a handshake. HTTP/2 has up to 16 requests at a time, in frames that
// may be small. net/http reads frames that bring no request on, such as an empty CONTINUATION, for
// as long as timeouts.idle allows.
func unusedBytes(l config.Limits) int64 {
	return 1<<20 + 64*(int64(l.RequestHeader)+int64(l.RequestBody))
}

var errUnusedBytes = errors.New("the connection brings no requests")

// callerConn is a connection of a caller. Its context ends when it can carry no answer.
type callerConn struct {
	net.Conn
	unused int64        // how much may be read without a request
	read   atomic.Int64 // since the last request began
	ctx    context.Context
	end    context.CancelFunc
}

func (c *callerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.read.Add(int64(n)) > c.unused {
		n, err = 0, errUnusedBytes
	}
	// net/http interrupts its own reading by a deadline.
	if err != nil && err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.end()
	}
	return n, err
}

func (c *callerConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.end()
	}
	return n, err
}

// CloseRead has Read return what has arrived, and then the end.
func (c *callerConn) CloseRead() error {
	if half, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return half.CloseRead()
	}
	return c.Close()
}

func (c *callerConn) Close() error {
	c.end()
	return c.Conn.Close()
}

type callerConnKey struct{}

// withCallerConn returns the context of a connection that the server has, which TLS and the table
// of connections may have wrapped. net/http has no other way from a request to its connection.
func withCallerConn(ctx context.Context, conn net.Conn) context.Context {
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return context.WithValue(callers.WithConnection(ctx), callerConnKey{}, conn)
		}
		conn = wrapped.NetConn()
	}
}

// begin notes that a request begins, and returns a context that ends when its caller can get no
// answer. With HTTP/2 that is the request's own: net/http closes the connection when the caller
// ends its side, and a caller ends a single request by RST_STREAM.
func begin(r *http.Request) context.Context {
	conn, ok := r.Context().Value(callerConnKey{}).(*callerConn)
	if !ok { // of another server than Serve's
		return r.Context()
	}
	conn.read.Store(0)
	if r.ProtoMajor == 1 {
		return conn.ctx
	}
	return r.Context()
}
