package budget_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/sim"
)

// in runs a test in a bubble.
func in(t *testing.T, c budget.Config, settings sim.Settings, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) { test(newWorld(t, c, 1, settings)) })
}

// get sends a GET, and returns the status.
func (w *world) get(caller, target string) (int, error) {
	response, err := w.ways[0].Send(w.Context(), caller, w.request("GET", target, ""))
	if err != nil {
		return 0, err
	}
	return response.Status, nil
}

// must sends a GET that must be answered 200.
func (w *world) must(caller, target string) {
	w.Helper()
	if status, err := w.get(caller, target); err != nil || status != http.StatusOK {
		w.Errorf("%s: %d %v", target, status, err)
	}
}

// check checks why a request was refused, and returns when it is to come again.
func (w *world) check(err error, kind budget.Kind) time.Duration {
	w.Helper()
	refused, ok := errors.AsType[*budget.Error](err)
	if !ok || refused.Kind != kind || refused.RetryAfter <= 0 {
		w.Errorf("got %v, want an error of the kind %d", err, kind)
		return 0
	}
	return refused.RetryAfter
}

// fail has Atlas struck by faults.
func (w *world) fail(faults ...sim.Fault) {
	w.Helper()
	if err := w.atlas.SetFaults(faults); err != nil {
		w.Fatal(err)
	}
}

// drain empties Atlas's bucket of the group, and has the gateway find that out.
func (w *world) drain() {
	w.Helper()
	for status := 0; status != http.StatusTooManyRequests; {
		response, err := w.upstream().Send(w.Context(), w.request("GET", buckets, ""))
		if err != nil {
			w.Fatal(err)
		}
		status = response.Status
	}
	response, err := w.ways[0].Send(w.Context(), "x", w.request("POST", buckets, awsBucket))
	if err != nil || response.Status != http.StatusTooManyRequests {
		w.Fatal(response, err)
	}
}

// small is a bucket that is soon empty: a request each second.
var small = sim.Settings{RateLimit: sim.RateLimit{Capacity: 20, Refill: 60}}

func config(change func(c *budget.Config)) budget.Config {
	c := defaults
	c.Requests, c.PerMinute = 20, 60
	change(&c)
	return c
}

// Of requests that wait, changes go first and polls last, and the callers of one class in turn: a
// caller with many requests waits for its own ones, not others for them.
func TestOrder(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Wait, c.Waiting = time.Minute, 100 }), small, func(w *world) {
		export := w.job()
		poll := exports + "/" + w.id(w.ways[0].Send(w.Context(), "x", w.request("POST", exports, export)))
		w.drain()
		var working sync.WaitGroup
		var mu sync.Mutex
		var order []string
		send := func(name, caller, method, target, body string) {
			working.Go(func() {
				response, err := w.ways[0].Send(w.Context(), caller, w.request(method, target, body))
				mu.Lock()
				defer mu.Unlock()
				if order = append(order, name); err != nil || response.Status != http.StatusOK {
					w.Errorf("%s: %v %v", name, response, err)
				}
			})
			synctest.Wait() // until it waits
		}
		send("poll", "p", "GET", poll, "")
		for i := range 4 {
			send(fmt.Sprint("greedy ", i), "greedy", "GET", buckets, "")
		}
		send("modest", "modest", "GET", buckets, "")
		send("third", "third", "GET", buckets, "")
		send("create", "c", "POST", exports, export)
		working.Wait()
		if want := "create,greedy 0,modest,third,greedy 1,greedy 2,greedy 3,poll"; strings.Join(order, ",") != want {
			w.Errorf("got %q, want %s", order, want)
		}
		if w.waited.Load() != 8 || w.atlas.Counts().ByStatus[429] != 2 {
			w.Errorf("%d waited, %v", w.waited.Load(), w.atlas.Counts().ByStatus)
		}
	})
}

// A request that would wait for longer than it may is refused at once, and told when its turn would
// be. One that comes back then is served.
func TestRefusedAtOnce(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Wait = 3 * time.Second }), small, func(w *world) {
		w.must("a", buckets) // so that it is known what is left
		var mu sync.Mutex
		refused := 0
		var after time.Duration
		var working sync.WaitGroup
		for range 60 {
			working.Go(func() {
				began := time.Now()
				if _, err := w.get("a", buckets); err != nil {
					mu.Lock()
					defer mu.Unlock()
					if time.Since(began) < 10*time.Millisecond {
						refused++
					}
					after = max(after, w.check(err, budget.Spent))
				}
			})
			synctest.Wait()
		}
		working.Wait()
		if refused < 20 || after > time.Minute {
			w.Errorf("%d were refused at once, and told to wait for %s", refused, after)
		}
		time.Sleep(after)
		w.must("a", buckets)
	})
}

// One caller can't have all the places of those that wait.
func TestPlacesOfWaiters(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Wait, c.Waiting = time.Minute, 8 }), small, func(w *world) {
		for range 20 {
			w.must("x", buckets)
		}
		var working sync.WaitGroup
		var mu sync.Mutex
		results := map[string][]error{}
		for i := range 32 {
			caller := "greedy"
			if i == 31 {
				caller = "modest"
			}
			working.Go(func() {
				_, err := w.get(caller, buckets)
				mu.Lock()
				defer mu.Unlock()
				results[caller] = append(results[caller], err)
			})
			synctest.Wait()
			if n := w.each[0].State(0).Waiting["read"]; n > 4 && caller == "greedy" {
				w.Errorf("%d requests of one caller wait at 8 places", n)
			}
		}
		working.Wait()
		refused := 0
		for _, err := range results["greedy"] {
			if err != nil {
				refused++
				w.check(err, budget.Spent)
			}
		}
		if refused < 20 || results["modest"][0] != nil {
			w.Errorf("%d of 31 were refused; the other caller got %v", refused, results["modest"])
		}
	})
}

// A request whose context ends while it waits is not sent, and leaves its turn to others.
func TestGoneWhileWaiting(t *testing.T) {
	in(t, config(func(c *budget.Config) {}), small, func(w *world) {
		w.drain()
		before := w.atlas.Counts().Requests
		ctx, cancel := context.WithCancel(w.Context())
		var working sync.WaitGroup
		for range 5 {
			working.Go(func() {
				_, err := w.ways[0].Send(ctx, "gone", w.request("GET", buckets, ""))
				if failed, ok := errors.AsType[*atlas.Error](err); !ok || failed.Kind != atlas.Canceled || failed.Outcome != atlas.NotSent {
					w.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		working.Wait()
		if n := w.atlas.Counts().Requests; n != before {
			w.Errorf("%d were sent", n-before)
		}
		w.must("other", buckets)
	})
}

// A 429 of Atlas's, also one that comes as a 400, ends the requests of its group until the time that
// Atlas names, and no others. A read is sent again then; a create is answered as Atlas did.
func TestPause(t *testing.T) {
	for _, kind := range []sim.FaultKind{sim.FaultRateLimit, sim.FaultRateLimit400} {
		in(t, defaults, sim.Settings{}, func(w *world) {
			export := w.job()
			w.fail(sim.Fault{Kind: kind, RetryAfter: 7, Count: 1})
			began := time.Now()
			w.must("a", buckets)
			if took := time.Since(began); took < 7*time.Second || took > 9*time.Second || w.repeated.Load() != 1 {
				w.Errorf("%s: took %s, %d repeated", kind, took, w.repeated.Load())
			}
			w.fail(sim.Fault{Kind: kind, RetryAfter: 7, Count: 1})
			response, err := w.ways[0].Send(w.Context(), "a", w.request("POST", exports, export))
			if err != nil || response.Status < 400 || response.Header.Get("Retry-After") != "7" || w.atlas.Counts().JobsCreated != 0 {
				w.Errorf("%s: %v %v", kind, response, err)
			}
			if state := w.each[0].State(1); state.Paused != 1 || state.Least[0].Group != sim.GroupID || state.Least[0].Pause <= 6*time.Second {
				w.Errorf("%s: %+v", kind, state)
			}
			began = time.Now()
			w.must("a", others)
			if took := time.Since(began); took > time.Second {
				w.Errorf("%s: another group waited for %s", kind, took)
			}
			w.must("a", buckets)
			if took := time.Since(began); took < 5*time.Second {
				w.Errorf("%s: the group was asked after %s", kind, took)
			}
		})
	}
}

// A pause that is longer than a request may wait is told to the caller at once: the first learns it
// from Atlas's own answer.
func TestLongPause(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.fail(sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 60, Count: 1})
		if status, err := w.get("a", buckets); status != http.StatusTooManyRequests {
			w.Errorf("%d %v", status, err)
		}
		_, err := w.get("a", buckets)
		if after := w.check(err, budget.Spent); after < 59*time.Second || after > 61*time.Second {
			w.Errorf("told to wait for %s", after)
		}
		time.Sleep(time.Minute)
		w.must("a", buckets)
	})
}

// Where Atlas does not tell what is left, the configuration says how much there is.
func TestWithoutFields(t *testing.T) {
	in(t, config(func(c *budget.Config) { c.Wait = time.Second }), sim.Settings{RateLimit: sim.RateLimit{Off: true}}, func(w *world) {
		answered := 0
		for begin := time.Now(); time.Since(begin) < time.Minute; {
			if _, err := w.get("a", buckets); err != nil {
				time.Sleep(w.check(err, budget.Spent) + 1)
				continue
			}
			answered++
		}
		if answered < 70 || answered > 80 {
			w.Errorf("%d were sent in a minute, 80 are allowed", answered)
		}
	})
}

// What other clients of Atlas spend is seen in the next answer, and nothing is sent in vain.
func TestOthersSpend(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.must("a", buckets)
		other := budget.New(budget.Observer{Waited: func(string, time.Duration) {}, Repeated: func() {}}).Way(w.upstream(), defaults)
		for range 1150 {
			if _, err := other.Send(w.Context(), "b", w.request("GET", buckets, "")); err != nil {
				w.Fatal(err)
			}
		}
		w.must("a", buckets)
		if left := w.each[0].State(1).Least[0].Left; left > 700 {
			w.Errorf("%.0f are thought to be left", left)
		}
	})
}

// A bucket that was not used for long is forgotten when there are too many, but not one that a
// request waits for.
func TestForgets(t *testing.T) {
	in(t, defaults, sim.Settings{}, func(w *world) {
		w.fail(sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 10, Count: 1})
		began := time.Now()
		var waiting sync.WaitGroup
		waiting.Go(func() { w.must("a", buckets) })
		time.Sleep(time.Second)
		w.failing("*", errResets) // which takes the least work
		once := defaults
		once.Attempts = 1
		way := w.each[0].Way(w.upstream(), once)
		var working sync.WaitGroup
		for i := range 5000 {
			r := w.request("GET", strings.Replace(buckets, sim.GroupID, fmt.Sprintf("%024x", i), 1), "")
			working.Go(func() { way.Send(w.Context(), "b", r) })
			if i%100 == 0 {
				working.Wait()
			}
		}
		working.Wait()
		if n := len(w.each[0].State(1 << 20).Least); n > 4096 {
			w.Errorf("%d buckets are remembered", n)
		}
		if state := w.each[0].State(0); state.Paused != 1 {
			w.Errorf("%+v", state)
		}
		w.failing("", nil)
		waiting.Wait()
		if took := time.Since(began); took < 10*time.Second {
			w.Errorf("a pause of 10 s was forgotten after %s", took)
		}
	})
}
