package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
)

// A caller may end its own side of the connection once it has sent its request, and still read the
// answer. net/http takes that for the end of the caller and cancels the request's context. A full
// close looks the same until the answer is sent: it too begins with a FIN. So a FIN ends no request.
// A connection that was reset does, or one on which a write has failed, since no answer can come
// through. A caller that left by a FIN costs one request to Atlas, and keeps its connection's place
// until the request has ended.

// callerListener accepts connections that tell when they can carry no answer.
type callerListener struct{ net.Listener }

func (l callerListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &callerConn{Conn: conn}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c, nil
}

// callerConn is a connection of a caller. Its context ends when it can carry no answer.
type callerConn struct {
	net.Conn
	ctx context.Context
	end context.CancelFunc
}

func (c *callerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
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

func (c *callerConn) Close() error {
	c.end()
	return c.Conn.Close()
}

type callerConnKey struct{}

// withCallerConn returns the context of a connection that the server has, which TLS and the table of
// connections may have wrapped. net/http has no other way from a request to its connection.
func withCallerConn(ctx context.Context, conn net.Conn) context.Context {
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return context.WithValue(ctx, callerConnKey{}, conn)
		}
		conn = wrapped.NetConn()
	}
}

// callerContext returns a context that ends when the caller of a request can get no answer. With
// HTTP/2 that is the request's: net/http closes the connection when the caller ends its side, and a
// caller ends a single request by RST_STREAM.
func callerContext(r *http.Request) context.Context {
	if conn, ok := r.Context().Value(callerConnKey{}).(*callerConn); ok && r.ProtoMajor == 1 {
		return conn.ctx
	}
	return r.Context()
}
