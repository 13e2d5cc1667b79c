package budget_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/sim"
)

// flood has five callers send ten times what Atlas allows, over all gateways in turn, and a sixth one
// create a job every few seconds.
type flood struct {
	*world
	export   string // the content of a create
	job      string // its id
	mu       sync.Mutex
	answered map[string]int
	refused  int
	creates  []time.Duration
}

func (f *flood) run(lasts time.Duration) {
	var working sync.WaitGroup
	begin := time.Now()
	for i := range 5 {
		caller := fmt.Sprintf("caller-%d", i)
		working.Go(func() {
			for n := i; time.Since(begin) < lasts; n++ {
				working.Go(func() { f.get(caller, n) })
				time.Sleep(60 * time.Millisecond) // ten times 500 a minute, for all five
			}
		})
	}
	working.Go(func() {
		for n := 0; time.Since(begin) < lasts; n++ {
			time.Sleep(5 * time.Second)
			began := time.Now()
			response, err := f.ways[n%len(f.ways)].Send(f.Context(), "creator", f.request("POST", exports, f.export))
			if err != nil || response.Status != http.StatusOK {
				f.Errorf("a create: %.200s %v", fmt.Sprint(response), err)
			}
			f.creates = append(f.creates, time.Since(began))
		}
	})
	working.Wait()
}

// get sends a read or a poll.
func (f *flood) get(caller string, n int) {
	target := exports
	if n%2 == 1 {
		target += "/" + f.job
	}
	response, err := f.ways[n%len(f.ways)].Send(f.Context(), caller, f.request("GET", target, ""))
	f.mu.Lock()
	defer f.mu.Unlock()
	refused, ours := errors.AsType[*budget.Error](err)
	switch {
	case ours && refused.Kind == budget.Spent && refused.RetryAfter > 0:
		f.refused++
	case err == nil && response.Status == http.StatusOK:
		f.answered[caller]++
	case err == nil && response.Status == http.StatusTooManyRequests:
		f.refused++
	default:
		f.Errorf("%.200s %v", fmt.Sprint(response), err)
	}
}

// Under ten times the load that Atlas allows, nearly nothing is sent in vain, what Atlas allows is
// used, callers get the same, and creates are answered at once: with one gateway, and with three that
// know nothing of each other.
func TestFlood(t *testing.T) {
	for gateways, most := range map[int]float64{1: .01, 3: .02} {
		t.Run(fmt.Sprint(gateways), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &flood{world: newWorld(t, defaults, gateways, sim.Settings{}), answered: map[string]int{}}
				const minutes int64 = 2 // make flood takes five
				f.export = f.world.job()
				f.job = f.id(f.ways[0].Send(t.Context(), "creator", f.request("POST", exports, f.export)))
				f.run(time.Duration(minutes) * time.Minute)
				counts := f.atlas.Counts()
				sent, limited := counts.Requests-counts.ByStatus[401], counts.ByStatus[429]
				total, least, greatest := 0, 1<<30, 0
				for _, n := range f.answered {
					total, least, greatest = total+n, min(least, n), max(greatest, n)
				}
				slices.Sort(f.creates)
				median := f.creates[len(f.creates)/2]
				t.Logf("%d gateways: %d requests, %d of them 429; callers got %d to %d; %d creates, %s at the median, %s at most; %d refused", gateways, sent, limited, least, greatest, len(f.creates), median, f.creates[len(f.creates)-1], f.refused)
				if float64(limited) > most*float64(sent) {
					t.Errorf("%d of %d requests were answered 429", limited, sent)
				}
				if 10*greatest > 11*least || len(f.answered) != 5 {
					t.Errorf("the callers got %v", f.answered)
				}
				if median > 2*time.Second {
					t.Errorf("creates took %s", f.creates)
				}
				if allowed := 1200 + 500*minutes; sent < allowed*9/10 {
					t.Errorf("%d requests were sent, and %d were allowed", sent, allowed)
				}
			})
		})
	}
}
