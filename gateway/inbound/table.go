// Package inbound bounds the connections of callers. A peer needs no key to hold a connection, so
// a connection has its place for good only once a request on it was authenticated. When all places
// are taken, a new connection takes the place of one that never showed a good credential.
//
// The gateway's server accepts from [Table.Listener] and calls the Table's hooks. Its pipeline
// calls [Keep] once it knows the caller. The package knows nothing of keys and requests.
package inbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// ErrEvicted is the error of reading from a connection that was closed to make room, of writing to
// it, and of [Keep].
var ErrEvicted = fmt.Errorf("the connection was evicted: %w", net.ErrClosed)

// Config says how many connections there may be, and who is told of them.
type Config struct {
	// Limit is how many connections have a place at a time, at least 1. One origin may have half of
	// that many connections that never showed a good credential. An origin is an address of IPv4, or
	// a network of IPv6 of 64 bits, all of which one peer may have.
	Limit int
	// Counted is called when the numbers of connections change, with those on which a request was
	// authenticated and the others. It is called while the Table is locked.
	Counted func(authenticated, others int)
	// Evicted is called for each connection that was closed to make room, with its origin.
	Evicted func(origin netip.Prefix)
}

// Table is the connections of callers. It is safe for concurrent use.
type Table struct {
	config Config

	mu            sync.Mutex
	freed         sync.Cond // a place is free, or the listener is closed
	closed        bool
	taken         int // places
	authenticated int // places whose connections are never evicted
	idle, busy    queue
	arrivals      uint64
}

// NewTable returns an empty Table.
func NewTable(config Config) *Table {
	t := &Table{config: config}
	t.freed.L = &t.mu
	return t
}

// Listener returns a listener whose connections have places in the table. Where no place is free
// and no connection may be evicted, Accept waits with a connection until another ends.
func (t *Table) Listener(l net.Listener) net.Listener { return &listener{l, t} }

type listener struct {
	net.Listener
	table *Table
}

func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := l.table.admit(accepted)
	if c == nil {
		accepted.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *listener) Close() error {
	l.table.mu.Lock()
	l.table.closed = true
	l.table.mu.Unlock()
	l.table.freed.Broadcast()
	return l.Listener.Close()
}

// admit gives a connection a place. It returns nil if the listener is closed before there is one.
func (t *Table) admit(accepted net.Conn) *connection {
	c := &connection{Conn: accepted, table: t, origin: originOf(accepted.RemoteAddr())}
	t.mu.Lock()
	victim := t.surplus(c.origin)
	for !t.closed && victim == nil && t.taken >= t.config.Limit {
		if victim = t.first(); victim == nil {
			t.freed.Wait()
		}
	}
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	if victim != nil {
		t.move(victim, evicted)
	}
	t.arrivals++
	t.taken++
	c.arrival = t.arrivals
	t.idle.add(c)
	t.count()
	t.mu.Unlock()
	if victim != nil {
		// The server's goroutine for the connection sees ErrEvicted, and closes it again.
		victim.Conn.Close()
		t.config.Evicted(victim.origin)
	}
	return c
}

// surplus returns the connection that goes if an origin has as many as it may have that never
// showed a good credential, and nil if it has fewer.
func (t *Table) surplus(origin netip.Prefix) *connection {
	silent, sending := t.idle.of(origin), t.busy.of(origin)
	if silent.count()+sending.count() < max(1, t.config.Limit/2) {
		return nil
	}
	if silent.count() > 0 {
		return silent.connections[0]
	}
	return sending.connections[0]
}

// first returns the connection that goes first, nil if none may. Idle ones go before those with a
// request. Of each kind the oldest goes of the origin that has the most, so that no origin can push
// out the connections of another that has fewer.
func (t *Table) first() *connection {
	for _, q := range []*queue{&t.idle, &t.busy} {
		if len(q.largest) > 0 {
			return q.largest[0].connections[0]
		}
	}
	return nil
}

// move changes the state of a connection, if it may change to that one: an authenticated
// connection can only be closed, and nothing follows on evicted and closed.
func (t *Table) move(c *connection, to state) {
	was := c.state()
	if was == to || was >= evicted || was == authenticated && to != closed {
		return
	}
	switch was {
	case idle:
		t.idle.remove(c)
	case busy:
		t.busy.remove(c)
	case authenticated:
		t.authenticated--
	}
	c.is.Store(int32(to))
	switch to {
	case idle:
		t.idle.add(c)
		return
	case busy:
		t.busy.add(c)
		return
	case authenticated:
		t.authenticated++
	default:
		t.taken--
		t.freed.Signal()
	}
	t.count()
}

func (t *Table) count() { t.config.Counted(t.authenticated, t.taken-t.authenticated) }

// ConnState is for the field of that name of the http.Server.
func (t *Table) ConnState(conn net.Conn, now http.ConnState) {
	c := ours(conn)
	if c == nil || c.state() >= authenticated {
		return
	}
	switch now {
	case http.StateActive:
		c.become(busy)
	case http.StateIdle:
		// Frames may arrive at any time over HTTP/2, and need not be requests.
		if secure, ok := conn.(*tls.Conn); ok && secure.ConnectionState().NegotiatedProtocol == "h2" {
			c.framed.Store(true)
		}
		c.become(idle)
	}
}

// key is what the connection has in the context of a request.
type key struct{}

// ConnContext is for the field of that name of the http.Server. net/http has no other way from a
// request to its connection than the context.
func (t *Table) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, key{}, ours(conn))
}

// Keep keeps the connection of a request, by its context, from being evicted, now that the request
// is authenticated. The error is ErrEvicted if the connection was evicted before. So a request
// either is never cut off, or is known to be before it has had any effect.
func Keep(ctx context.Context) error {
	c, _ := ctx.Value(key{}).(*connection)
	if c == nil || c.state() == authenticated {
		return nil
	}
	c.become(authenticated)
	if c.state() == evicted {
		return ErrEvicted
	}
	return nil
}

// ours returns the connection under one that the server knows, nil if it is not from a Listener.
func ours(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}
