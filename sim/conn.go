package sim

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"time"
)

// recordingListener returns each connection that it accepts as a conn.
type recordingListener struct {
	net.Listener
	record *record
}

// Accept waits for the next connection.
func (l *recordingListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.record.counters.connections.Add(1)
	return &conn{Conn: accepted, record: l.record, number: l.record.lastConnection.Add(1)}, nil
}

// conn keeps what was read from a connection until a request takes it; see cutRequest.
type conn struct {
	net.Conn
	record *record
	number int64

	mu   sync.Mutex
	read []byte
}

// Read reads, and keeps a copy of what it read.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.record.countsOnly.Load() {
		c.mu.Lock()
		c.read = append(c.read, p[:n]...)
		c.mu.Unlock()
	}
	return n, err
}

// Close logs the bytes that no request took.
func (c *conn) Close() error {
	c.mu.Lock()
	rest := c.read
	c.read = nil
	c.mu.Unlock()
	if len(bytes.Trim(rest, "\r\n")) > 0 {
		c.record.counters.malformed.Add(1)
		line, _, _ := strings.Cut(string(rest), "\n")
		method, target, _ := strings.Cut(strings.TrimRight(line, "\r"), " ")
		target, _, _ = strings.Cut(target, " ")
		c.record.log.push(entry{Request: Request{Time: time.Now().UTC(), Connection: c.number, Method: method, Target: target, Malformed: true, Raw: rest}})
	}
	return c.Conn.Close()
}

// reset closes the connection with a TCP reset instead of an orderly end.
func (c *conn) reset() {
	inner := c.Conn
	if secured, ok := inner.(*tls.Conn); ok {
		inner = secured.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		tcp.SetLinger(0)
		tcp.Close()
	}
	c.Close()
}

type connKey struct{}

// withConn lets a handler find its connection. See http.Server.ConnContext.
func withConn(ctx context.Context, accepted net.Conn) context.Context {
	if c, ok := accepted.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
