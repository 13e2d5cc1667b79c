package inbound

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// state is what a connection is doing, as far as evicting it goes.
type state int32

const (
	idle          state = iota // never authenticated, between two requests or silent so far
	busy                       // never authenticated, in a handshake or with a request that is arriving or being answered
	authenticated              // a request on it was
	evicted
	closed
)

// connection is a connection of a caller.
type connection struct {
	net.Conn
	table   *Table
	origin  netip.Prefix
	arrival uint64 // its number among all that came
	place   int    // in the connections of its group
	// is changes while the table is locked. Most requests are on a connection that is authenticated,
	// and only read it.
	is     atomic.Int32
	framed atomic.Bool // speaks HTTP/2
}

func (c *connection) state() state { return state(c.is.Load()) }

// become changes the state, if it may change to that one, and locks nothing if it has it already.
func (c *connection) become(s state) {
	if c.state() == s {
		return
	}
	c.table.mu.Lock()
	c.table.move(c, s)
	c.table.mu.Unlock()
}

// Read notes that a handshake or a header arrives, which net/http reports only once it is whole.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.state() == idle && !c.framed.Load() {
		c.become(busy)
	}
	return n, c.explain("read", err)
}

func (c *connection) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain("write", err)
}

// explain returns ErrEvicted as the cause of an error after an eviction, in the form in which
// net/http knows that the connection is gone.
func (c *connection) explain(operation string, err error) error {
	if err != nil && c.state() == evicted {
		return &net.OpError{Op: operation, Net: "tcp", Addr: c.RemoteAddr(), Err: ErrEvicted}
	}
	return err
}

// Close closes the connection, and frees its place.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.become(closed)
	return err
}

// originOf returns the origin of an address of a peer, which is empty for what is no address of IP.
func originOf(address net.Addr) netip.Prefix {
	peer, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip, bits := peer.AddrPort().Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	origin, _ := ip.Prefix(bits)
	return origin
}
