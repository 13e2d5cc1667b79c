package budget_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/sim"
)

// A read is not sent again after a pause that is longer than it may take: it gets Atlas's answer at
// once.
func TestRepeatsEndInTime(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.fail(sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: 3600, Count: 1})
		began := time.Now()
		if status, err := w.get("a", buckets); status != http.StatusServiceUnavailable || w.repeated.Load() != 0 || time.Since(began) > time.Second {
			w.Errorf("%d %v after %s, %d repeated", status, err, time.Since(began), w.repeated.Load())
		}
	})
}

// No request waits for its turn for longer than it may take in all.
func TestWaitsNoLongerThanItMay(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Timeout = 5 * time.Second }), small, func(w *world) {
		w.drain()
		var working sync.WaitGroup
		for range 20 {
			working.Go(func() {
				began := time.Now()
				w.get("a", buckets)
				if took := time.Since(began); took > 5*time.Second+latency {
					w.Errorf("it took %s", took)
				}
			})
		}
		working.Wait()
	})
}

// Atlas that is out and has asked for a pause is not asked within the pause.
func TestPauseOfAnOutage(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		export := w.job()
		w.must("a", buckets)
		w.failingIf(ofExports, errHangs)
		var working sync.WaitGroup
		for _, caller := range []string{"a", "b", "c", "d"} {
			working.Go(func() { w.get(caller, exports) })
		}
		synctest.Wait()
		w.failing("", nil)
		w.fail(sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 40, Count: 1})
		began := time.Now()
		if response, err := w.ways[0].Send(w.Context(), "a", w.request("POST", exports, export)); err != nil || response.Status != http.StatusTooManyRequests {
			w.Fatal(response, err)
		}
		time.Sleep(15 * time.Second)
		for time.Since(began) < 40*time.Second {
			if _, err := w.get("e", buckets); w.check(err, budget.Out) < 40*time.Second-time.Since(began) {
				w.Errorf("after %s: %v", time.Since(began), err)
			}
			time.Sleep(time.Second)
		}
		if n := w.since(sim.GroupID, began); n > 0 {
			w.Errorf("Atlas was asked %d times", n)
		}
		working.Wait()
	})
}

// Once Atlas is back for one group, each other one that is out is tried by its next request.
func TestBackForAll(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.must("a", buckets)
		w.must("a", others)
		w.failing("*", errResets)
		for range 200 {
			w.get("a", buckets)
			w.get("a", others)
			time.Sleep(200 * time.Millisecond)
		}
		if state := w.each[0].State(0); state.Out != 2 {
			w.Fatalf("%+v", state)
		}
		time.Sleep(3 * time.Second)
		if _, err := w.get("a", others); !errors.Is(err, errResets) { // the one that finds out
			w.Fatal(err)
		}
		w.failing("", nil)
		w.must("a", buckets)
		w.must("a", others)
	})
}
