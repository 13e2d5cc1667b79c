package inbound_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/inbound"
)

// proxied is a Table all of whose connections are of one proxy. Their peers say who their clients
// are on a channel of each connection.
type proxied struct {
	*tested
	says map[net.Conn]chan netip.AddrPort
}

const balancer = "10.0.0.7"

func newProxied(limit int) *proxied {
	p := &proxied{&tested{peers: make(chan *peer, 1)}, map[net.Conn]chan netip.AddrPort{}}
	p.Table = inbound.NewTable(inbound.Config{
		Limit:   limit,
		Counted: func(authenticated, others int) { p.authenticated, p.others = authenticated, others },
		Evicted: func(origin netip.Prefix) { p.evicted = append(p.evicted, origin) },
		Client: func(conn net.Conn) (netip.AddrPort, error) {
			select {
			case client := <-p.says[conn]:
				return client, nil
			case <-conn.(*peer).gone:
				return netip.AddrPort{}, net.ErrClosed
			}
		},
	})
	p.listener = p.Listener(&accepting{peers: p.peers})
	return p
}

// accept accepts a connection, from which the server reads. Its client is not known yet.
func (p *proxied) accept(t *testing.T) *held {
	h := p.tested.accept(t, balancer)
	p.says[h.peer] = make(chan netip.AddrPort)
	go h.conn.Read(make([]byte, 1))
	synctest.Wait()
	return h
}

// name has the proxy name a client.
func (p *proxied) name(h *held, client string) {
	p.says[h.peer] <- netip.MustParseAddrPort(client)
	synctest.Wait()
}

// close closes connections, after which none may be left.
func (p *proxied) close(t *testing.T, all ...*held) {
	t.Helper()
	for _, h := range all {
		h.conn.Close()
	}
	synctest.Wait()
	if p.authenticated+p.others != 0 {
		t.Errorf("%d and %d are left", p.authenticated, p.others)
	}
}

// A connection through a proxy counts for its client, once that is known, and for the proxy before.
func TestOriginOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newProxied(6) // three for each origin
		var all []*held
		for _, client := range []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "[2001:db8::1]:1", "[2001:db8::2]:1"} {
			h := table.accept(t)
			table.name(h, client)
			peer, got := inbound.Addresses(h.ctx)
			if peer != balancer+":50000" || got.String() != client || h.conn.RemoteAddr().String() != client {
				t.Errorf("%s is %s by %s, and %s", client, got, peer, h.conn.RemoteAddr())
			}
			all = append(all, h)
			time.Sleep(time.Second)
		}
		// A fourth one of one client takes the place of that client's first, although there is room.
		fourth := table.accept(t)
		table.name(fourth, "192.0.2.1:4")
		if !all[0].closed.Load() || !slices.Equal(table.evicted, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}) {
			t.Errorf("evicted: %v", table.evicted)
		}
		for i, h := range all[1:] {
			if h.closed.Load() {
				t.Errorf("connection %d was evicted", i+1)
			}
		}
		table.close(t, append(all, fourth)...)
	})
}

// Connections whose clients are not known are the proxy's, which may have half of the places, too.
func TestClientsThatAreNotNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newProxied(6)
		var all []*held
		for range 4 {
			all = append(all, table.accept(t))
			if _, client := inbound.Addresses(all[0].ctx); client.IsValid() || all[0].conn.RemoteAddr().(*net.TCPAddr).IP.String() != balancer {
				t.Errorf("%s, %s", client, all[0].conn.RemoteAddr())
			}
			time.Sleep(time.Second)
		}
		if want := []netip.Prefix{netip.MustParsePrefix(balancer + "/32")}; !all[0].closed.Load() || !slices.Equal(table.evicted, want) {
			t.Errorf("evicted: %v", table.evicted)
		}
		table.close(t, all...)
	})
}

// A connection whose client has as many as it may have waits until one of them may go, and loses
// its place meanwhile if another needs it more. It blocks nobody else.
func TestClientWithTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newProxied(4)
		var young []*held
		for range 2 {
			h := table.accept(t)
			table.name(h, "192.0.2.1:1")
			young = append(young, h)
		}
		third := table.accept(t)
		table.name(third, "192.0.2.1:3")
		if young[0].closed.Load() || young[1].closed.Load() || third.conn.RemoteAddr().String() != "192.0.2.1:3" {
			t.Error("one went before it had its time")
		}
		other := table.accept(t) // has the last place
		table.name(other, "192.0.2.2:1")
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if !young[0].closed.Load() || young[1].closed.Load() || third.closed.Load() || other.closed.Load() {
			t.Error("not the oldest of the client went")
		}
		table.close(t, append(young, third, other)...)
	})
}

// Waiting for the client's origin ends with the connection, and with the listener.
func TestClientWithTooManyEnds(t *testing.T) {
	for name, end := range map[string]func(table *proxied, third *held){
		"with the connection": func(_ *proxied, third *held) { third.conn.Close() },
		"with the listener":   func(table *proxied, _ *held) { table.listener.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := newProxied(4)
				var two []*held
				for range 2 {
					h := table.accept(t)
					table.name(h, "192.0.2.1:1")
					two = append(two, h)
				}
				third := table.accept(t)
				table.name(third, "192.0.2.1:3")
				end(table, third)
				synctest.Wait()
				time.Sleep(time.Second)
				for _, h := range two {
					if h.closed.Load() {
						t.Error("a connection went for one that had ended")
					}
				}
				table.close(t, append(two, third)...)
			})
		})
	}
}

// A connection whose client can't be known is read no further, and its error is one of reading.
func TestClientIsRefused(t *testing.T) {
	for _, cause := range []error{errors.New("refused"), io.EOF} {
		table := &tested{peers: make(chan *peer, 1)}
		table.Table = inbound.NewTable(inbound.Config{
			Limit:   1,
			Counted: func(int, int) {},
			Evicted: func(netip.Prefix) {},
			Client:  func(net.Conn) (netip.AddrPort, error) { return netip.AddrPort{}, cause },
		})
		table.listener = table.Listener(&accepting{peers: table.peers})
		h := table.accept(t, balancer)
		close(h.bytes) // there is more to read
		for range 2 {
			n, err := h.conn.Read(make([]byte, 1))
			operation, ok := err.(*net.OpError)
			if n != 0 || !errors.Is(err, cause) || cause != io.EOF && (!ok || operation.Op != "read") {
				t.Errorf("%d, %v", n, err)
			}
		}
		h.conn.Close()
	}
	if peer, client := inbound.Addresses(context.Background()); peer != "" || client.IsValid() {
		t.Error(peer, client)
	}
}
