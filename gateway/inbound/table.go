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
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// ErrEvicted is the error of reading from a connection that was closed to make room, of writing to
// it, and of [Keep].
var ErrEvicted = fmt.Errorf("the connection was evicted: %w", net.ErrClosed)

// ErrSilent is the error of reading from a connection that its peer ended before it sent anything,
// or anything behind what Config.Client reads. The checks of balancers do so.
var ErrSilent = fmt.Errorf("the connection brought nothing: %w", io.EOF)

// Config says how many connections there may be, and who is told of them.
type Config struct {
	// Limit is how many connections have a place at a time, at least 1. One origin may have half
	// of that many connections that never showed a good credential. An origin is an address of
	// IPv4, or a network of IPv6 of 64 bits, all of which one peer may have.
	Limit int
	// Client, if not nil, reads from a connection who its client is, where the peer is a proxy
	// that says so, and nothing else. It is called before anything else is read, in the goroutine
	// that reads and under the deadline that is set there. A zero address stands for the peer's.
	// Until it returns, the connection is of the peer's origin, and then of the client's.
	Client func(net.Conn) (netip.AddrPort, error)
	// Counted is called when the numbers of connections change, with those on which a request was
	// authenticated and the others. It is called while the Table is locked.
	Counted func(authenticated, others int)
	// Evicted is called for each connection that was closed to make room, with its origin.
	Evicted func(origin netip.Prefix)
}

// Peers who come all at once must not push out a caller before it could show its credential. So a
// connection is evicted at the earliest youth after it came, and not while it is the server's turn
// to work on what arrived, unless that takes as long as turn.
const (
	youth = 10 * time.Millisecond
	turn  = 250 * time.Millisecond
)

// Table is the connections of callers. It is safe for concurrent use.
type Table struct {
	config Config

	mu            sync.Mutex
	changed       sync.Cond // there may be a place, or a connection to evict, or the listener is closed
	closed        bool
	taken         int                  // places
	authenticated int                  // places whose connections are never evicted
	queues        [authenticated]queue // of the others, by state
	open          map[*connection]struct{}
	arrivals      uint64
}

// NewTable returns an empty Table.
func NewTable(config Config) *Table {
	t := &Table{config: config, open: map[*connection]struct{}{}}
	t.changed.L = &t.mu
	return t
}

// Listener returns a listener whose connections have places in the table. Where no place is free
// and no connection may be evicted, Accept waits with a connection until that changes, and so
// it does with one of an origin that has as many as it may have. What was accepted before the
// listener is closed is served: its peer knows of no other server.
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
	return l.table.admit(accepted), nil
}

// Close closes the listener, once: net/http does so again.
func (l *listener) Close() error {
	l.table.mu.Lock()
	before := l.table.closed
	l.table.closed = true
	l.table.mu.Unlock()
	if before {
		return nil
	}
	l.table.wake()
	return l.Listener.Close()
}

// admit gives a connection a place.
func (t *Table) admit(accepted net.Conn) *connection {
	c := &connection{
		Conn:   accepted,
		table:  t,
		peer:   accepted.RemoteAddr().String(),
		origin: originOf(addressOf(accepted)),
		fresh:  t.config.Client != nil,
		silent: true,
	}
	t.mu.Lock()
	victim := t.makeRoom(c.origin, nil)
	if victim != nil {
		t.move(victim, evicted)
	}
	t.arrivals++
	t.taken++
	c.arrival, c.came = t.arrivals, time.Now()
	c.since = c.came
	c.is.Store(int32(served)) // until the server reads from it for the first time
	t.queues[served].add(c)
	t.open[c] = struct{}{}
	t.count()
	t.mu.Unlock()
	t.evict(victim)
	return c
}

// evict ends a connection that has lost its place; nil is none. The server's goroutine for the
// connection sees ErrEvicted, and closes it again.
func (t *Table) evict(victim *connection) {
	if victim != nil {
		victim.Conn.Close()
		t.config.Evicted(victim.origin)
	}
}

// settle makes a connection one of its client's origin. It waits for that as admit does, except
// that the connection has a place meanwhile, which it may lose.
func (t *Table) settle(c *connection, client netip.Addr) {
	origin := originOf(client)
	t.mu.Lock()
	victim := t.makeRoom(origin, c)
	if victim != nil {
		t.move(victim, evicted)
	}
	if is := c.state(); is < authenticated {
		t.queues[is].remove(c)
		c.origin = origin
		t.queues[is].add(c)
	}
	t.mu.Unlock()
	t.evict(victim)
}

// makeRoom waits until there is a place for a connection from an origin, and returns the
// connection that has to go for that, nil if none has. It also returns when the listener is
// closed. A connection that has a place, under another origin, is placed: then makeRoom waits
// until the origin may have it, or until it is gone.
func (t *Table) makeRoom(origin netip.Prefix, placed *connection) *connection {
	for !t.closed && (placed == nil || placed.state() < evicted && placed.origin != origin) {
		pick := t.first
		if t.surplus(origin) {
			pick = func(s state) *connection { return t.queues[s].of(origin).oldest() }
		} else if placed != nil || t.taken < t.config.Limit {
			return nil
		}
		victim, wait := t.choose(pick)
		if victim != nil {
			return victim
		}
		if wait > 0 {
			timer := time.AfterFunc(wait, t.wake)
			t.changed.Wait()
			timer.Stop()
			continue
		}
		t.changed.Wait()
	}
	return nil
}

// wake has makeRoom look again. It locks the table, so that it does not come just before makeRoom
// waits.
func (t *Table) wake() {
	t.mu.Lock()
	t.changed.Broadcast()
	t.mu.Unlock()
}

// surplus reports whether an origin has as many connections as it may have that never showed a
// good credential.
func (t *Table) surplus(origin netip.Prefix) bool {
	return t.held(origin) >= max(1, t.config.Limit/2)
}

// held returns how many connections an origin has that never showed a good credential.
func (t *Table) held(origin netip.Prefix) (n int) {
	for i := range t.queues {
		n += t.queues[i].of(origin).count()
	}
	return n
}

// first returns the connection of a state that goes first: the oldest of the origin that has the
// most, so that no origin can push out the connections of another that has fewer. It is nil if
// there is none.
func (t *Table) first(s state) *connection {
	if largest := t.queues[s].largest; len(largest) > 0 {
		return largest[0].oldest()
	}
	return nil
}

// choose returns the connection to evict among those that pick has for each state: of an idle and
// an arriving one, that of the origin which holds more, or the idle one if both hold as many. It
// returns nil if none may be evicted now, and how long it takes until one may, 0 if it is not a
// matter of time.
func (t *Table) choose(pick func(state) *connection) (victim *connection, wait time.Duration) {
	now := time.Now()
	for _, s := range []state{idle, arriving, served} {
		c := pick(s)
		if c == nil || s == served && victim != nil {
			continue
		}
		left := youth - now.Sub(c.came)
		if s == served {
			left = turn - now.Sub(c.since)
		}
		switch {
		case left > 0 && (wait == 0 || left < wait):
			wait = left
		case left <= 0 && (victim == nil || t.held(c.origin) > t.held(victim.origin)):
			victim = c
		}
	}
	return victim, wait
}

// move changes the state of a connection, if it may change to that one: an authenticated
// connection can only be closed, and nothing follows on evicted and closed.
func (t *Table) move(c *connection, to state) {
	was := c.state()
	if was == to || was >= evicted || was == authenticated && to != closed {
		return
	}
	switch was {
	case idle, arriving, served:
		t.queues[was].remove(c)
	case authenticated:
		t.authenticated--
	}
	c.is.Store(int32(to))
	switch to {
	case idle, arriving, served:
		if to == served {
			c.since = time.Now()
		}
		t.queues[to].add(c)
	case authenticated:
		t.authenticated++
		t.count()
	case evicted, closed:
		delete(t.open, c)
		t.taken--
		t.count()
	}
	t.changed.Broadcast() // connections whose clients become known wait, too
}

func (t *Table) count() { t.config.Counted(t.authenticated, t.taken-t.authenticated) }

// ConnState is for the field of that name of the http.Server.
func (t *Table) ConnState(conn net.Conn, now http.ConnState) {
	c := ours(conn)
	if c == nil {
		return
	}
	switch now {
	case http.StateActive:
		c.rested.Store(0)
	case http.StateIdle:
		c.rested.Store(time.Now().UnixNano())
	}
	if c.state() >= authenticated {
		return
	}
	switch now {
	case http.StateActive:
		c.handle()
	case http.StateIdle:
		secure, ok := conn.(*tls.Conn)
		c.rest(ok && secure.ConnectionState().NegotiatedProtocol == "h2")
	}
}

// End ends the connections on which no request is under way, and waits until the others have ended
// by themselves, or ctx has. It is for a server that has closed its listener, and has told each
// caller over HTTP/2 that its connection ends. http.Server.Shutdown would drop requests that have
// arrived and that it has not read yet, and so End comes before it.
//
// A request that arrives while its connection is being ended is lost, as HTTP/1.1 has it (RFC
// 9112, section 9.5): only its caller can tell whether to send it again. It was not read.
func (t *Table) End(ctx context.Context) error {
	told := time.Now()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		t.mu.Lock()
		left := len(t.open)
		for c := range t.open {
			c.endRest(told)
		}
		t.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// key is what the connection has in the context of a request.
type key struct{}

// ConnContext is for the field of that name of the http.Server. net/http has no other way from a
// request to its connection than the context.
func (t *Table) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, key{}, ours(conn))
}

// Keep keeps the connection of a request from being evicted, now that the request is
// authenticated. ctx is the request's context. The error is ErrEvicted if the connection was
// evicted before. So a request either is never cut off, or is known to be before it has had any
// effect.
func Keep(ctx context.Context) error {
	c := of(ctx)
	if c == nil || c.state() == authenticated {
		return nil
	}
	c.change(func() state { return authenticated })
	if c.state() == evicted {
		return ErrEvicted
	}
	return nil
}

// Refused notes that a request was refused, by its context. What is left of it depends on the peer
// only: to receive the refusal, and to send the content that it announced.
func Refused(ctx context.Context) {
	if c := of(ctx); c != nil && c.state() < authenticated {
		c.refuse()
	}
}

// Addresses returns the address of the peer of a request's connection, and that of the client
// which the peer has named, by the context of the request. They are empty and zero where there is
// none.
func Addresses(ctx context.Context) (peer string, client netip.AddrPort) {
	c := of(ctx)
	if c == nil {
		return "", client
	}
	if named := c.client.Load(); named != nil {
		client = *named
	}
	return c.peer, client
}

// of returns the connection of a request, nil if it is not from a Listener.
func of(ctx context.Context) *connection {
	c, _ := ctx.Value(key{}).(*connection)
	return c
}

// ours returns the connection under one that the server knows, nil if it is not from a Listener.
func ours(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}
