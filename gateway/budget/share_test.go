package budget_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/sim"
)

// missing is a bucket that can be deleted as often as a test likes.
const missing = buckets + "/65a9d3e1f20b4c77889900ff"

// Of requests that wait, those of each less urgent class have a turn in ten, whatever more urgent
// ones wait.
func TestShare(t *testing.T) {
	for class, want := range map[string]string{"read": "urgent 9,poll,urgent 1", "write": "urgent 9,poll,read,urgent 2"} {
		in(t, config(func(c *budget.Config) { c.Wait, c.Waiting = time.Minute, 100 }), small, func(w *world) {
			export := w.job()
			poll := exports + "/" + w.id(w.ways[0].Send(w.Context(), "x", w.request("POST", exports, export)))
			w.drain()
			var working sync.WaitGroup
			var mu sync.Mutex
			var order []string
			send := func(name, method, target string) {
				working.Go(func() {
					response, err := w.ways[0].Send(w.Context(), name, w.request(method, target, ""))
					mu.Lock()
					defer mu.Unlock()
					if order = append(order, name); err != nil || response.Status != http.StatusOK && method == "GET" {
						w.Errorf("%s: %v %v", name, response, err)
					}
				})
				synctest.Wait() // until it waits
			}
			send("poll", "GET", poll)
			if class == "write" {
				send("read", "GET", buckets)
			}
			for range strings.Count(want, "read") + 10 {
				if class == "write" {
					send("urgent", "DELETE", missing)
				} else {
					send("urgent", "GET", buckets)
				}
			}
			working.Wait()
			if got := runs(order); got != want {
				w.Errorf("%ss: %s, want %s", class, got, want)
			}
		})
	}
}

// A request that waits for the turn of its class is not refused since many more urgent ones wait.
func TestShareIsExpected(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Wait, c.Waiting = 30*time.Second, 100 }), small, func(w *world) {
		w.drain()
		var working sync.WaitGroup
		for range 28 {
			working.Go(func() { w.ways[0].Send(w.Context(), "urgent", w.request("DELETE", missing, "")) })
			synctest.Wait()
		}
		for i := range 2 {
			working.Go(func() { w.must(fmt.Sprint("read ", i), buckets) })
			synctest.Wait()
		}
		poll := exports + "/" + sim.OrdersSnapshot // there is none, which Atlas says
		if status, err := w.get("poll", poll); status != http.StatusNotFound {
			w.Errorf("%d %v", status, err)
		}
		working.Wait()
	})
}

// runs writes names that follow each other once, those of urgent requests with their number.
func runs(names []string) string {
	var list []string
	for len(names) > 0 {
		n := slices.IndexFunc(names, func(name string) bool { return name != names[0] })
		if n < 0 {
			n = len(names)
		}
		if names[0] == "urgent" {
			list = append(list, fmt.Sprint("urgent ", n))
		} else {
			list = append(list, names[:n]...)
		}
		names = names[n:]
	}
	return strings.Join(list, ",")
}

// While more urgent requests are ten times what Atlas allows, the others are answered as well.
func TestShareOfAFlood(t *testing.T) {
	for method, target := range map[string]string{"GET": buckets, "DELETE": missing} {
		in(t, defaults, sim.Settings{}, func(w *world) {
			export := w.job()
			others := []string{exports + "/" + w.id(w.ways[0].Send(w.Context(), "x", w.request("POST", exports, export)))}
			if method == "DELETE" {
				others = append(others, buckets)
			}
			var working sync.WaitGroup
			begin := time.Now()
			for time.Since(begin) < 90*time.Second {
				working.Go(func() { w.ways[0].Send(w.Context(), "flood", w.request(method, target, "")) })
				if time.Since(begin)%(3*time.Second) < 12*time.Millisecond {
					for _, other := range others {
						working.Go(func() {
							began := time.Now()
							w.must("patient", other)
							if took := time.Since(began); took > 5*time.Second {
								w.Errorf("beside %ss: %s took %s", method, other, took)
							}
						})
					}
				}
				time.Sleep(12 * time.Millisecond)
			}
			working.Wait()
			if counts := w.atlas.Counts(); counts.ByStatus[429] > counts.Requests/100 {
				w.Errorf("beside %ss: %v", method, counts)
			}
		})
	}
}
