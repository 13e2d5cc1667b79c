package gatewaytest

import (
	"net"
	"sync/atomic"
	"testing"
)

// Listen opens a listener on loopback. Nothing closes it.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Serve opens a listener on loopback, which the end of the test closes, and calls handle with each
// connection. The connection is closed when handle returns.
func Serve(t testing.TB, handle func(net.Conn)) net.Listener {
	t.Helper()
	l := Listen(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return l
}

// Refused returns an address on loopback at which nothing listens. No listener gets the port before
// the end of the test: a connection uses it.
func Refused(t testing.TB) string {
	t.Helper()
	l := Serve(t, func(conn net.Conn) { conn.Read(make([]byte, 1)) })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

// Tap opens a listener on loopback to which nothing should connect, and counts the connections.
func Tap(t testing.TB) (address string, reached *atomic.Int64) {
	t.Helper()
	reached = new(atomic.Int64)
	l := Serve(t, func(net.Conn) { reached.Add(1) })
	return l.Addr().String(), reached
}
