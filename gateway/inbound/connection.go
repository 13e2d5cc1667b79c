package inbound

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// state is what a connection is doing, as far as evicting it goes.
type state int32

const (
	// The connection waits for the first byte of a request.
	idle state = iota
	// A handshake, a header or content has begun to arrive, and the connection waits for the rest.
	arriving
	// It is the server's turn.
	served
	// A request on the connection was authenticated.
	authenticated
	evicted
	closed
)

// connection is a connection of a caller.
type connection struct {
	net.Conn
	table   *Table
	peer    string       // its address, and port
	origin  netip.Prefix // changes while the table is locked
	arrival uint64       // its number among all that came
	came    time.Time
	// is changes while the table is locked. Most requests are on a connection that is
	// authenticated, and only read it.
	is atomic.Int32
	// framed says that it speaks HTTP/2.
	framed atomic.Bool
	// rested is when it became idle after a request, in nanoseconds since 1970; 0 while a request
	// is under way, or bytes of one have arrived, or none ever has.
	rested atomic.Int64

	client atomic.Pointer[netip.AddrPort] // what Config.Client has returned, if that is an address
	// Only for the goroutine that reads: Config.Client is still to be called; its error, which every
	// later read has as well; and nothing has been read.
	fresh   bool
	refused error
	silent  bool

	// Only while the table is locked, and only until a request is authenticated:
	place   int       // in the connections of its group
	since   time.Time // when it became served
	begun   bool      // bytes of a request arrived, or of a handshake
	handled bool      // net/http has a request, which is not refused yet
}

func (c *connection) state() state { return state(c.is.Load()) }

// change changes what a connection that is not authenticated is doing.
func (c *connection) change(next func() state) {
	c.table.mu.Lock()
	c.table.move(c, next())
	c.table.mu.Unlock()
}

// Read notes whether the server waits for the peer. net/http reports a handshake and a header only
// once they are whole.
func (c *connection) Read(b []byte) (n int, err error) {
	if c.state() < authenticated {
		c.await()
	}
	err = c.introduce()
	if err == nil {
		n, err = c.Conn.Read(b)
	}
	if c.silent = c.silent && n == 0; c.silent && err == io.EOF {
		err = &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: ErrSilent}
	}
	if n > 0 && c.rested.Load() != 0 && !c.framed.Load() { // a frame need not begin a request
		c.rested.Store(0)
	}
	if n > 0 && c.state() < authenticated {
		c.receive()
	}
	return n, c.explain("read", err)
}

// introduce has Config.Client find out who the client is. Its error is one of reading, so that
// net/http answers nothing.
func (c *connection) introduce() error {
	if !c.fresh {
		return c.refused
	}
	c.fresh = false
	client, err := c.table.config.Client(c.Conn)
	if err != nil && err != io.EOF {
		err = &net.OpError{Op: "read", Net: "tcp", Addr: c.RemoteAddr(), Err: err}
	}
	if c.refused = err; err == nil && client.IsValid() {
		c.client.Store(&client)
		c.table.settle(c, client.Addr())
	}
	return err
}

// RemoteAddr returns the address of the client, once it is known, so that net/http's log has it.
// Before that, it is the peer's.
func (c *connection) RemoteAddr() net.Addr {
	if client := c.client.Load(); client != nil {
		return net.TCPAddrFromAddrPort(*client)
	}
	return c.Conn.RemoteAddr()
}

// await notes that the server reads.
func (c *connection) await() {
	c.change(func() state {
		switch {
		case c.handled: // net/http reads beside the handler, to learn when the peer goes
			return served
		case c.begun && !c.framed.Load():
			return arriving
		}
		return idle // over HTTP/2 also between the frames of a header
	})
}

// receive notes that bytes arrived.
func (c *connection) receive() {
	c.change(func() state {
		c.begun = true
		return served
	})
}

// handle notes that a request's header is whole.
func (c *connection) handle() {
	c.change(func() state {
		c.handled = true
		return served
	})
}

// refuse notes that a request was refused.
func (c *connection) refuse() {
	c.change(func() state {
		c.handled = false
		return arriving
	})
}

// answer notes that the server writes.
func (c *connection) answer() {
	c.change(func() state {
		if !c.handled || c.framed.Load() {
			return c.state()
		}
		c.handled = false
		return arriving
	})
}

// rest notes that no request is under way.
func (c *connection) rest(framed bool) {
	c.change(func() state {
		c.handled, c.begun = false, false
		c.framed.Store(framed)
		return idle
	})
}

// Write notes that a request is answered. One that is answered before it is authenticated is
// refused, in some cases by net/http itself. Over HTTP/2, a frame need not be an answer.
func (c *connection) Write(b []byte) (int, error) {
	if c.state() == served {
		c.answer()
	}
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

// The callers of connections over HTTP/2 have time to read that these end. Behind an answer
// net/http ends them a second later, and so End does it only after two.
const (
	toReadGoAway = 500 * time.Millisecond
	toReadAnswer = 2 * time.Second
)

// endRest has the server read the end of a connection that is idle. What has arrived before that
// is still read and answered. told is when the callers over HTTP/2 were told.
func (c *connection) endRest(told time.Time) {
	rested := c.rested.Load()
	if rested == 0 {
		return
	}
	if c.framed.Load() {
		since, patience := time.Unix(0, rested), toReadAnswer
		if since.Before(told) {
			since, patience = told, toReadGoAway
		}
		if time.Since(since) < patience {
			return
		}
	}
	if half, ok := c.Conn.(interface{ CloseRead() error }); !ok || half.CloseRead() != nil {
		c.Conn.Close()
	}
}

// NetConn returns the connection that the listener below has accepted.
func (c *connection) NetConn() net.Conn { return c.Conn }

// Close closes the connection, and frees its place.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.change(func() state { return closed })
	return err
}

// addressOf returns the address of the peer of a connection, which is zero for what is no address
// of IP.
func addressOf(conn net.Conn) netip.Addr {
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return peer.AddrPort().Addr()
}

// originOf returns the origin of an address, which is empty for the zero address.
func originOf(address netip.Addr) netip.Prefix {
	ip, bits := address.Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	origin, _ := ip.Prefix(bits)
	return origin
}
