package budget_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/sim"
)

// failing makes the requests of a group fail, or all.
func (w *world) failing(group string, with error) {
	w.failingIf(func(r *atlas.Request) bool { return group == "*" || r.Group == group }, with)
}

// failingIf makes some requests fail.
func (w *world) failingIf(fails func(*atlas.Request) bool, with error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times = nil
	w.fails = func(r *atlas.Request) error {
		if fails(r) {
			return with
		}
		return nil
	}
}

// ofExports reports whether a request is about the exports of the cluster.
func ofExports(r *atlas.Request) bool { return r.Path == exports }

// A read is sent again after a reset and after a 503, with pauses in between, and a change is not.
func TestRepeats(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		export := w.job()
		w.fail(sim.Fault{Kind: sim.FaultUnavailable, Count: 2})
		w.must("a", buckets)
		if n := w.repeated.Load(); n != 2 {
			w.Errorf("%d repeated", n)
		}
		w.fail(sim.Fault{Kind: sim.FaultUnavailable})
		if status, err := w.get("a", buckets); status != http.StatusServiceUnavailable || w.repeated.Load() != 4 {
			w.Errorf("%d %v, %d repeated", status, err, w.repeated.Load())
		}
		w.fail(sim.Fault{Kind: sim.FaultUnavailable, Count: 1})
		if response, err := w.ways[0].Send(w.Context(), "a", w.request("POST", exports, export)); err != nil || response.Status != http.StatusServiceUnavailable || w.repeated.Load() != 4 {
			w.Errorf("%v %v, %d repeated", response, err, w.repeated.Load())
		}
		w.fail(sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: 3, Count: 1})
		began := time.Now()
		if w.must("a", buckets); time.Since(began) < 3*time.Second {
			w.Errorf("sent again after %s", time.Since(began))
		}
		w.failing(sim.GroupID, errResets)
		if _, err := w.get("a", buckets); err == nil || len(w.times) != 3 || w.times[2].Sub(w.times[1].Time) < 100*time.Millisecond {
			w.Errorf("%v, at %v", err, w.times)
		}
	})
}

// Repetitions don't multiply what an ailing Atlas gets.
func TestRepeatsAreBounded(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.failing(sim.GroupID, errResets)
		for range 100 {
			w.get("a", buckets)
		}
		if n := w.repeated.Load(); n > 10 {
			w.Errorf("%d of 100 reads were repeated", n)
		}
	})
}

// While Atlas fails for long, however it fails, reads and creates are refused at once, and Atlas
// is asked every two seconds. Once Atlas is back, so is the gateway. Another group never notices.
func TestOutage(t *testing.T) {
	for _, how := range []error{errResets, errHangs} {
		in(t, defaults, sim.Settings{}, func(w *world) {
			export := w.job()
			w.must("a", buckets)
			begin := time.Now()
			w.failing(sim.GroupID, how)
			var working sync.WaitGroup
			over := make(chan struct{})
			working.Go(func() { w.unhurt(how, over) })
			for time.Since(begin) < 10*time.Minute {
				working.Go(func() {
					began := time.Now()
					_, err := w.get("a", buckets)
					if took := time.Since(began); err == nil || took > time.Minute {
						w.Errorf("%v: %v after %s", how, err, took)
					}
					if began.Sub(begin) > time.Minute && time.Since(began) > 7*time.Second {
						w.Errorf("%v: refused only after %s", how, time.Since(began))
					}
				})
				time.Sleep(100 * time.Millisecond)
			}
			results := make(chan error, 2)
			for range 2 { // one of them may be the one that is sent every two seconds
				working.Go(func() {
					_, err := w.ways[0].Send(w.Context(), "a", w.request("POST", exports, export))
					results <- err
				})
				synctest.Wait()
			}
			select {
			case err := <-results:
				if w.check(err, budget.Out) > 2*time.Second {
					w.Errorf("%v: a create is to come again only later", how)
				}
			default:
				w.Errorf("%v: no create was refused at once", how)
			}
			if n := w.since(sim.GroupID, begin.Add(2*time.Minute)); n > 8*60 {
				w.Errorf("%v: Atlas was asked %d times in 8 minutes", how, n)
			}
			w.failing("", nil)
			back := time.Now()
			for status := 0; status != http.StatusOK; status, _ = w.get("a", buckets) {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(back); took > 5*time.Second {
				w.Errorf("%v: back after %s", how, took)
			}
			w.must("a", buckets)
			close(over)
			working.Wait()
			if state := w.each[0].State(1); state.Out != 0 {
				w.Errorf("%v: %+v", how, state)
			}
		})
	}
}

// unhurt reads from another group until over is closed, and expects quick answers.
func (w *world) unhurt(how error, over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-time.After(500 * time.Millisecond):
		}
		began := time.Now()
		w.must("b", others)
		if took := time.Since(began); took > time.Second {
			w.Errorf("%v: another group waited for %s", how, took)
		}
	}
}

// Failures of requests that were sent before one that Atlas has answered are old news: they end
// nothing.
func TestOldFailures(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.failingIf(ofExports, errHangs)
		begin := time.Now()
		var working sync.WaitGroup
		for second := range 59 {
			if second < 8 { // each of these fails after a minute
				working.Go(func() { w.get("a", exports) })
				synctest.Wait()
			}
			w.must("a", buckets)
			time.Sleep(time.Until(begin.Add(time.Duration(second)*time.Second + 500*time.Millisecond)))
			w.must("a", buckets)
			time.Sleep(time.Until(begin.Add(time.Duration(second+1) * time.Second)))
		}
		working.Wait()
		if state := w.each[0].State(0); state.Out != 0 {
			w.Errorf("%+v", state)
		}
		w.must("a", buckets)
	})
}

// Atlas may hang for what one caller reads. The other callers of the group are answered as before.
func TestOneCallerHangs(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.must("b", buckets)
		w.failingIf(ofExports, errHangs)
		var working sync.WaitGroup
		hang := func() {
			working.Go(func() { w.get("a", exports) })
			synctest.Wait()
		}
		for range 6 {
			hang()
		}
		time.Sleep(15 * time.Second)
		for range 20 {
			began := time.Now()
			w.must("b", buckets)
			if took := time.Since(began); took > time.Second {
				w.Errorf("another caller waited for %s", took)
			}
			hang()
			time.Sleep(3 * time.Second)
		}
		working.Wait()
	})
}

// Atlas may fail for what one caller reads, again and again. Another caller who comes rarely is
// answered, at the second try at the latest.
func TestOneCallerFails(t *testing.T) {
	once := defaults
	once.Attempts = 1
	in(t, once, sim.Settings{}, func(w *world) {
		w.failingIf(ofExports, errResets)
		over := make(chan struct{})
		var working sync.WaitGroup
		working.Go(func() {
			for {
				working.Go(func() { w.get("a", exports) })
				select {
				case <-over:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
		for range 10 {
			time.Sleep(12*time.Second + 50*time.Millisecond)
			if w.each[0].State(0).Out != 1 {
				w.Error("Atlas has not failed for long")
			}
			if _, err := w.get("b", buckets); err != nil {
				time.Sleep((w.check(err, budget.Out) + time.Second - 1).Truncate(time.Second)) // as Retry-After has it
				w.must("b", buckets)
			}
		}
		close(over)
		working.Wait()
	})
}

// Where Atlas hangs for all, there are not many who find that out, and one caller does not try
// again and again.
func TestManyCallersHang(t *testing.T) {
	for _, callers := range []int{1, 40} {
		in(t, defaults, sim.Settings{}, func(w *world) {
			w.must("a", buckets)
			time.Sleep(2 * time.Second)
			w.failing(sim.GroupID, errHangs)
			var working sync.WaitGroup
			for i := range 40 {
				working.Go(func() { w.get(fmt.Sprint("caller-", i%callers), buckets) })
			}
			time.Sleep(9 * time.Second)
			if n := w.since(sim.GroupID, time.Time{}); n != 4 {
				w.Errorf("%d requests of %d callers hang", n, callers)
			}
			working.Wait()
		})
	}
}

// Requests that hang don't take all connections from those of other groups.
func TestConnectionsAreShared(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Requests, c.Connections = 1200, 12 }), sim.Settings{}, func(w *world) {
		for range 4 { // so that Atlas is known to answer
			w.must("a", buckets)
		}
		w.failing(sim.GroupID, errHangs)
		var working sync.WaitGroup
		for range 40 {
			working.Go(func() {
				_, err := w.get("a", buckets)
				if failed, ok := errors.AsType[*atlas.Error](err); ok && failed.Kind == atlas.TimedOut {
					return
				}
				w.check(err, budget.Out)
			})
		}
		time.Sleep(time.Second)
		w.mu.Lock()
		hanging := len(w.times)
		w.mu.Unlock()
		if hanging != 9 {
			w.Errorf("%d of 12 connections hang", hanging)
		}
		w.must("b", others)
		working.Wait()
	})
}
