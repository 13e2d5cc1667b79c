package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/inbound"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a connection as the kernel accepts it, from an address. It may be closed while it is used.
type peer struct {
	net.Conn
	address string
	bytes   chan struct{} // one is read for each value
	gone    chan struct{} // closed with the connection
	closed  atomic.Bool
}

func newPeer(address string) *peer {
	return &peer{address: address, bytes: make(chan struct{}), gone: make(chan struct{})}
}

func (p *peer) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(p.address), 50000))
}

func (p *peer) Read([]byte) (int, error) {
	select {
	case <-p.bytes:
		return 1, nil
	case <-p.gone:
		return 0, net.ErrClosed
	}
}

func (p *peer) Write([]byte) (int, error) {
	if p.closed.Load() {
		return 0, net.ErrClosed
	}
	return 1, nil
}

func (p *peer) Close() error {
	if p.closed.CompareAndSwap(false, true) {
		close(p.gone)
	}
	return nil
}

// accepting is a listener that accepts what the test sends.
type accepting struct {
	net.Listener
	peers chan *peer
}

func (a *accepting) Accept() (net.Conn, error) { return <-a.peers, nil }

func (a *accepting) Close() error { return nil }

// tested is a Table with what it has told.
type tested struct {
	*inbound.Table
	listener              net.Listener
	peers                 chan *peer
	authenticated, others int
	evicted               []netip.Prefix
}

func newTested(limit int) *tested {
	t := &tested{peers: make(chan *peer, 1)}
	t.Table = inbound.NewTable(inbound.Config{
		Limit:   limit,
		Counted: func(authenticated, others int) { t.authenticated, t.others = authenticated, others },
		Evicted: func(origin netip.Prefix) { t.evicted = append(t.evicted, origin) },
	})
	t.listener = t.Listener(&accepting{peers: t.peers})
	return t
}

// accept accepts a connection from an address.
func (t *tested) accept(test testing.TB, address string) *held {
	test.Helper()
	p := newPeer(address)
	t.peers <- p
	conn, err := t.listener.Accept()
	if err != nil {
		test.Fatal(err)
	}
	now := time.Now()
	return &held{peer: p, conn: conn, ctx: t.ConnContext(context.Background(), conn), state: served, came: now, since: now}
}

// A connection that has no place waits until it may have another's, until one ends, or until the
// listener does.
func TestWaits(t *testing.T) {
	closing := func(_ *tested, first *held) { first.conn.Close() }
	reading := func(_ *tested, first *held) { first.await() }
	for _, test := range []struct {
		name   string
		before func(table *tested, h *held) // to both connections that have places
		after  func(table *tested, first *held)
		at     time.Duration // when after is called, once the third has come
		waits  time.Duration
		want   error
		goes   bool // the first
	}{
		{"for the end of an authenticated one", keep, closing, time.Hour, time.Hour, nil, true},
		{"for the end of the listener", keep, func(table *tested, _ *held) { table.listener.Close() }, time.Hour, time.Hour, nil, false},
		{"for one that grows older", func(_ *tested, h *held) { h.await() }, nil, 0, 10 * time.Millisecond, nil, true},
		{"for one that is served for too long", nil, nil, 0, 250 * time.Millisecond, nil, true},
		{"for one that the server has served", nil, reading, 20 * time.Millisecond, 20 * time.Millisecond, nil, true},
		{"for one that the server has served at once", nil, reading, 5 * time.Millisecond, 10 * time.Millisecond, nil, true},
		{"for one that was answered", active, func(_ *tested, first *held) { first.answer() }, 20 * time.Millisecond, 20 * time.Millisecond, nil, true},
		{"for one that was refused", active, func(_ *tested, first *held) { first.refuse() }, 20 * time.Millisecond, 20 * time.Millisecond, nil, true},
		{"for one that the server reads beside its handler", active, reading, 20 * time.Millisecond, 250 * time.Millisecond, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newTested(2)
				first, second := table.accept(t, "192.0.2.1"), table.accept(t, "192.0.2.2")
				if test.before != nil {
					test.before(table, first)
					test.before(table, second)
				}
				came := time.Now()
				ended := make(chan struct{})
				if test.after != nil {
					time.AfterFunc(test.at, func() {
						test.after(table, first)
						close(ended)
					})
				}
				third := newPeer("192.0.2.3")
				table.peers <- third
				conn, err := table.listener.Accept()
				waited := time.Since(came)
				if test.after != nil {
					<-ended
				}
				if waited != test.waits || !errors.Is(err, test.want) || third.closed.Load() != (test.want != nil) {
					t.Errorf("after %s, %v; closed: %v", waited, err, third.closed.Load())
				}
				if second.closed.Load() || first.closed.Load() != test.goes {
					t.Errorf("the first went: %v, the second: %v", first.closed.Load(), second.closed.Load())
				}
				first.conn.Close()
				second.conn.Close()
				if conn != nil {
					conn.Close()
				}
				if table.authenticated+table.others != 0 {
					t.Errorf("%d and %d are left", table.authenticated, table.others)
				}
			})
		})
	}
}

func keep(_ *tested, h *held) { inbound.Keep(h.ctx) }

func active(table *tested, h *held) { h.active(table) }

// An origin of IPv6 is a network, since a peer may have all its addresses, and an address of IPv4
// is the same in either form.
func TestOrigins(t *testing.T) {
	for _, test := range []struct {
		addresses [2]string
		same      bool
	}{
		{[2]string{"2001:db8::1", "2001:db8::ffff:1"}, true},
		{[2]string{"2001:db8::1", "2001:db8:0:1::1"}, false},
		{[2]string{"fe80::1%eth0", "fe80::2%eth1"}, true},
		{[2]string{"192.0.2.1", "::ffff:192.0.2.1"}, true},
		{[2]string{"192.0.2.1", "192.0.2.2"}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			table := newTested(3) // one for each origin
			first := table.accept(t, test.addresses[0])
			first.await()
			time.Sleep(time.Second)
			second := table.accept(t, test.addresses[1])
			if first.closed.Load() != test.same {
				t.Errorf("%q: the first was evicted: %v", test.addresses, first.closed.Load())
			}
			first.conn.Close()
			second.conn.Close()
		})
	}
}

// Who reads from an evicted connection, or writes to it, learns what happened, and so does a
// request that is authenticated too late.
func TestErrEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTested(1)
		first := table.accept(t, "192.0.2.1")
		second := table.accept(t, "192.0.2.2") // after the longest turn
		_, read := first.conn.Read(nil)
		_, write := first.conn.Write(nil)
		keep := inbound.Keep(first.ctx)
		for _, err := range []error{read, write, keep} {
			if !errors.Is(err, inbound.ErrEvicted) || !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
		if want := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}; !slices.Equal(table.evicted, want) {
			t.Errorf("%v", table.evicted)
		}
		second.conn.Close()
		if _, err := second.conn.Read(nil); errors.Is(err, inbound.ErrEvicted) {
			t.Error(err)
		}
		// What is not from a Listener is left alone.
		other := newPeer("192.0.2.3")
		table.ConnState(other, http.StateActive)
		for _, ctx := range []context.Context{context.Background(), table.ConnContext(context.Background(), other)} {
			inbound.Refused(ctx)
			if err := inbound.Keep(ctx); err != nil {
				t.Error(err)
			}
		}
	})
}

// A place costs the same, however many peers there are.
func BenchmarkEviction(b *testing.B) {
	for _, limit := range []int{64, 4096, 65536} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			table := newTested(limit)
			for i := 0; b.Loop(); i++ {
				h := table.accept(b, fmt.Sprintf("10.0.%d.%d", i/250%4, i%250))
				h.active(table)
				h.rest(table)
				if i < limit {
					time.Sleep(20 * time.Millisecond / time.Duration(limit))
				}
				table.evicted = table.evicted[:0]
			}
		})
	}
}
