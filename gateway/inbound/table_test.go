package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"atlas-export-gateway/gateway/inbound"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a connection as the kernel accepts it, from an address. Each Read gets a byte.
type peer struct {
	net.Conn
	address string
	closed  bool
}

func (p *peer) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(p.address), 50000))
}

func (p *peer) Read([]byte) (int, error) { return p.use() }

func (p *peer) Write([]byte) (int, error) { return p.use() }

func (p *peer) use() (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	return 1, nil
}

func (p *peer) Close() error {
	p.closed = true
	return nil
}

// accepting is a listener that accepts what the test sends.
type accepting struct {
	net.Listener
	peers chan *peer
}

func (a *accepting) Accept() (net.Conn, error) {
	p, ok := <-a.peers
	if !ok {
		return nil, net.ErrClosed
	}
	return p, nil
}

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

// held is a connection of a peer that has a place.
type held struct {
	*peer
	conn  net.Conn
	ctx   context.Context
	state string // as the test expects it: idle, busy or authenticated
}

func (t *tested) accept(test testing.TB, address string) *held {
	test.Helper()
	p := &peer{address: address}
	t.peers <- p
	conn, err := t.listener.Accept()
	if err != nil {
		test.Fatal(err)
	}
	return &held{peer: p, conn: conn, ctx: t.ConnContext(test.Context(), conn), state: "idle"}
}

// expected returns the connection that is to go if one comes from an address, nil if none is. It is
// what the package says of the order, without its heaps.
func expected(all []*held, limit int, address string) *held {
	count := map[[2]string]int{} // by address and state
	for _, h := range all {
		count[[2]string{h.address, h.state}]++
	}
	best := func(state string, of func(*held) bool) (found *held) {
		for _, h := range all { // in the order in which they came
			if h.state == state && of(h) && (found == nil || count[[2]string{h.address, state}] > count[[2]string{found.address, state}]) {
				found = h
			}
		}
		return found
	}
	of := func(*held) bool { return true }
	if count[[2]string{address, "idle"}]+count[[2]string{address, "busy"}] >= max(1, limit/2) {
		of = func(h *held) bool { return h.address == address }
	} else if len(all) < limit {
		return nil
	}
	if h := best("idle", of); h != nil {
		return h
	}
	return best("busy", of)
}

// Whatever connections do, the one goes that is to go, and the numbers are right.
func TestEvictions(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		limit := 1 + random.IntN(12)
		table := newTested(limit)
		addresses := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"}[:1+random.IntN(6)]
		var all []*held
		for step := range 400 {
			var one *held
			if len(all) > 0 {
				one = all[random.IntN(len(all))]
			}
			what := random.IntN(8)
			switch {
			case one == nil || what < 4:
				address := addresses[random.IntN(len(addresses))]
				goes := expected(all, limit, address)
				if goes == nil && len(all) == limit { // it would wait
					continue
				}
				all = append(all, table.accept(t, address))
				if goes != nil {
					if !goes.closed {
						t.Fatalf("seed %d, step %d: not the one that is to go", seed, step)
					}
					all = slices.DeleteFunc(all, func(h *held) bool { return h == goes })
					if err := inbound.Keep(goes.ctx); err != inbound.ErrEvicted {
						t.Fatalf("an evicted connection was kept: %v", err)
					}
					goes.conn.Close() // as the server does
				}
			case what == 4:
				one.conn.Read(nil)
				one.begin()
			case what == 5:
				table.ConnState(one.conn, http.StateActive)
				one.begin()
			case what == 6:
				table.ConnState(one.conn, http.StateIdle)
				if one.state == "busy" {
					one.state = "idle"
				}
			case random.IntN(4) == 0:
				one.conn.Close()
				all = slices.DeleteFunc(all, func(h *held) bool { return h == one })
			case random.IntN(3) == 0:
				if err := inbound.Keep(one.ctx); err != nil {
					t.Fatal(err)
				}
				one.state = "authenticated"
			}
			if err := table.check(all); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// check holds the table to what the test knows: all that have a place.
func (t *tested) check(all []*held) error {
	authenticated := 0
	for _, h := range all {
		if h.closed {
			return errors.New("one went that was to stay")
		}
		if h.state == "authenticated" {
			authenticated++
		}
	}
	if t.authenticated != authenticated || t.others != len(all)-authenticated {
		return fmt.Errorf("%d and %d, want %d of %d", t.authenticated, t.others, authenticated, len(all))
	}
	return nil
}

func (h *held) begin() {
	if h.state == "idle" {
		h.state = "busy"
	}
}

// Where all connections are authenticated, the next waits until one ends, or the listener.
func TestWaits(t *testing.T) {
	for _, end := range []string{"a connection", "the listener"} {
		table := newTested(2)
		first, second := table.accept(t, "192.0.2.1"), table.accept(t, "192.0.2.2")
		for _, h := range []*held{first, second} {
			if err := inbound.Keep(h.ctx); err != nil {
				t.Fatal(err)
			}
		}
		third := &peer{address: "192.0.2.3"}
		table.peers <- third
		accepted := make(chan error)
		go func() {
			_, err := table.listener.Accept()
			accepted <- err
		}()
		select {
		case err := <-accepted:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		var want error
		if end == "the listener" {
			want = net.ErrClosed
			table.listener.Close()
		} else {
			first.conn.Close()
			first.conn.Close() // once more makes no difference
		}
		if err := <-accepted; !errors.Is(err, want) || third.closed != (want != nil) {
			t.Errorf("%s: %v, closed: %v", end, err, third.closed)
		}
		if second.closed || len(table.evicted) > 0 {
			t.Errorf("%s: evicted %v", end, table.evicted)
		}
	}
}

// An origin of IPv6 is a network, since a peer may have all its addresses, and an address of IPv4 is
// the same in either form.
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
		table := newTested(3) // one for each origin
		first := table.accept(t, test.addresses[0])
		table.accept(t, test.addresses[1])
		if first.closed != test.same {
			t.Errorf("%q: the first was evicted: %v", test.addresses, first.closed)
		}
	}
}

// Who reads from an evicted connection, or writes to it, learns what happened.
func TestErrEvicted(t *testing.T) {
	table := newTested(1)
	first := table.accept(t, "192.0.2.1")
	second := table.accept(t, "192.0.2.2")
	_, read := first.conn.Read(nil)
	_, write := first.conn.Write(nil)
	for _, err := range []error{read, write} {
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
	other := &peer{address: "192.0.2.3"}
	table.ConnState(other, http.StateActive)
	for _, ctx := range []context.Context{t.Context(), table.ConnContext(t.Context(), other)} {
		if err := inbound.Keep(ctx); err != nil {
			t.Error(err)
		}
	}
}

// A place costs the same, however many peers there are.
func BenchmarkEviction(b *testing.B) {
	for _, limit := range []int{64, 4096, 65536} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			table := inbound.NewTable(inbound.Config{Limit: limit, Counted: func(int, int) {}, Evicted: func(netip.Prefix) {}})
			peers := make(chan *peer, 1)
			listener := table.Listener(&accepting{peers: peers})
			for i := 0; b.Loop(); i++ {
				peers <- &peer{address: fmt.Sprintf("10.0.%d.%d", i/250%4, i%250)}
				if _, err := listener.Accept(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
