package callers

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A request that is refused takes nothing from the limits, also when many with the right secret
// come at once.
func TestRefusedAttemptsTakeNothing(t *testing.T) {
	id := hashOf("mdb_sa_id_1")
	d := &Directory{
		settings: Settings{Attempts: Attempts{PerClient: 10, Overall: 300}},
		accounts: map[hash]serviceAccount{id: {}},
	}
	g, now := newGranted(d, granted{}), time.Now()
	var granted atomic.Int64
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for range 500 {
				if g.take(id, now) == 0 {
					granted.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n, own, overall := granted.Load(), g.byClient[id].TokensAt(now), g.overall.TokensAt(now); n != 10 || own < 0 || overall < 290 {
		t.Errorf("%d were granted; %.1f of its own are left, and %.1f overall", n, own, overall)
	}
}
