package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/inbound"
)

// The states of a connection, as a test expects them.
const (
	idle          = "idle"
	arriving      = "arriving"
	served        = "served"
	authenticated = "authenticated"
)

// held is a connection that has a place, with what the test knows of it.
type held struct {
	*peer
	conn                    net.Conn
	ctx                     context.Context
	state                   string
	came, since             time.Time // since is when it became served
	begun, handled, reading bool
}

func (h *held) become(state string) {
	if h.state == authenticated || h.state == state {
		return
	}
	if h.state = state; state == served {
		h.since = time.Now()
	}
}

// await has the server read from the connection, unless it does already.
func (h *held) await() {
	if h.reading {
		return
	}
	h.reading = true
	go h.conn.Read(make([]byte, 1))
	synctest.Wait()
	switch {
	case h.handled:
		h.become(served)
	case h.begun:
		h.become(arriving)
	default:
		h.become(idle)
	}
}

// send sends a byte, if the server reads.
func (h *held) send() {
	if !h.reading {
		return
	}
	h.reading = false
	h.bytes <- struct{}{}
	synctest.Wait()
	h.begun = true
	h.become(served)
}

func (h *held) active(table *tested) {
	table.ConnState(h.conn, http.StateActive)
	h.handled = true
	h.become(served)
}

func (h *held) refuse() {
	inbound.Refused(h.ctx)
	h.handled = false
	h.become(arriving)
}

func (h *held) answer() {
	h.conn.Write(nil)
	if h.state == served && h.handled {
		h.refuse()
	}
}

func (h *held) rest(table *tested) {
	table.ConnState(h.conn, http.StateIdle)
	h.handled, h.begun = false, false
	h.become(idle)
}

// expected returns the connection that is to go if one comes from an address, and whether the new
// one is to wait. It is what the package says of the order, without its heaps.
func expected(all []*held, limit int, address string) (goes *held, waits bool) {
	count := map[[2]string]int{} // by address and state
	for _, h := range all {
		count[[2]string{h.address, h.state}]++
	}
	of := func(*held) bool { return true }
	if count[[2]string{address, idle}]+count[[2]string{address, arriving}]+count[[2]string{address, served}] >= max(1, limit/2) {
		of = func(h *held) bool { return h.address == address }
	} else if len(all) < limit {
		return nil, false
	}
	total := func(h *held) int {
		return count[[2]string{h.address, idle}] + count[[2]string{h.address, arriving}] + count[[2]string{h.address, served}]
	}
	for _, state := range []string{idle, arriving, served} {
		var next *held
		for _, h := range all { // in the order in which they came
			if h.state == state && of(h) && (next == nil || count[[2]string{h.address, state}] > count[[2]string{next.address, state}]) {
				next = h
			}
		}
		if next == nil || state == served && goes != nil {
			continue
		}
		may := state == served && time.Since(next.since) >= 250*time.Millisecond || state != served && time.Since(next.came) >= 10*time.Millisecond
		if may && (goes == nil || total(next) > total(goes)) {
			goes = next
		}
	}
	return goes, goes == nil
}

// Whatever connections do, the one goes that is to go, and the numbers are right.
func TestEvictions(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			limit := 1 + random.IntN(12)
			table := newTested(limit)
			addresses := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"}[:1+random.IntN(6)]
			var all []*held
			for step := range 300 {
				time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
				if random.IntN(50) == 0 {
					time.Sleep(time.Second)
				}
				if len(all) > 0 && random.IntN(3) > 0 {
					if one := random.IntN(len(all)); !act(table, all[one], random) {
						all = slices.Delete(all, one, one+1)
					}
				} else {
					address := addresses[random.IntN(len(addresses))]
					goes, waits := expected(all, limit, address)
					if waits {
						continue
					}
					all = append(all, table.accept(t, address))
					if goes != nil {
						if err := inbound.Keep(goes.ctx); err != inbound.ErrEvicted || !goes.closed.Load() {
							t.Fatalf("seed %d, step %d: not the one that is to go: %v", seed, step, err)
						}
						all = slices.DeleteFunc(all, func(h *held) bool { return h == goes })
						goes.conn.Close() // as the server does
					}
				}
				if err := table.check(all); err != nil {
					t.Fatalf("seed %d, step %d: %v", seed, step, err)
				}
			}
			for _, h := range all {
				h.conn.Close()
			}
		})
	}
}

// act has something happen to a connection, and reports whether it is still there.
func act(table *tested, h *held, random *rand.Rand) bool {
	switch random.IntN(20) {
	case 0:
		h.conn.Close()
		return false
	case 1:
		keep(table, h)
		h.become(authenticated)
	case 2, 3:
		h.active(table)
	case 4, 5:
		h.refuse()
	case 6, 7:
		h.rest(table)
	case 8:
		h.answer()
	case 9, 10, 11:
		h.send()
	default:
		h.await()
	}
	return true
}

// check holds the table to what the test knows: all that have a place.
func (t *tested) check(all []*held) error {
	kept := 0
	for _, h := range all {
		if h.closed.Load() {
			return errors.New("one went that was to stay")
		}
		if h.state == authenticated {
			kept++
		}
	}
	if t.authenticated != kept || t.others != len(all)-kept {
		return fmt.Errorf("%d and %d, want %d of %d", t.authenticated, t.others, kept, len(all))
	}
	return nil
}
