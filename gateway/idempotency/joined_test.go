package idempotency_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Snapshots with other contents are other creates, also at the same time and with the same words:
// one that is to be kept for a year is not that which is kept for a day. Atlas takes one at a time.
func TestSnapshotsOfOtherContents(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), Operation: "takeSnapshots"})
	body := func(days string) string { return `{"description":"before","retentionInDays":` + days + `}` }
	var (
		all sync.WaitGroup
		mu  sync.Mutex
		ids = map[string]string{}
	)
	for i := range 8 {
		days := []string{"1", "365"}[i%2]
		all.Go(func() {
			answer, err := b.do([]string{"nightly", "yearly"}[i/2%2], v2+ordersSnapshots, body(days))
			if err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			switch id := ids[days]; {
			case answer.Status != http.StatusOK:
				if n := b.sent("takeSnapshots", body(days)); n == 0 {
					b.Errorf("of %s days: %d, and it was not sent", days, answer.Status)
				}
			case id != "" && id != b.id(answer):
				b.Errorf("of %s days: %s and %s", days, id, b.id(answer))
			default:
				ids[days] = b.id(answer)
			}
		})
	}
	all.Wait()
	if len(ids) != 1 {
		t.Errorf("%v", ids)
	}
}

// greedy has no turn for one of the callers.
type greedy struct {
	idempotency.Upstream
	asked atomic.Int64
}

func (g *greedy) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if caller == "greedy" && r.Operation.Create() {
		g.asked.Add(1)
		time.Sleep(20 * time.Millisecond)
		return nil, &budget.Error{Kind: budget.Spent, RetryAfter: time.Second}
	}
	return g.Upstream.Send(ctx, caller, r)
}

// Who joins a create of another caller is not refused for what that caller has spent.
func TestErrorsOfAnotherCaller(t *testing.T) {
	for name, spend := range map[string]func(*bench){
		"quota": func(b *bench) {
			b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(2 * time.Second), Operation: "createBackupExport", Count: 1})
			go b.creates.Do(context.Background(), b.request("greedy", v2+exportsOf, b.export(sim.OrdersSnapshot, "")))
			gatewaytest.WaitFor(b.T, "the first create", func() bool {
				counts, err := b.journal.Count(b.Context())
				return err == nil && counts.Sent == 1
			})
		},
		"turns": func(b *bench) { b.way = &greedy{Upstream: b.way} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, idempotency.Config{Quota: 1})
			spend(b)
			var (
				all     sync.WaitGroup
				ended   atomic.Bool
				refused atomic.Int64
			)
			for range 8 {
				all.Go(func() {
					for !ended.Load() {
						if _, err := b.do("greedy", v2+exportsOf, b.export(sim.OrdersSnapshot2, "")); err != nil {
							refused.Add(1)
						}
					}
				})
			}
			gatewaytest.WaitFor(t, "refusals", func() bool { return refused.Load() > 8 })
			for range 8 {
				if answer, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot2, "")); err != nil || answer.Status != http.StatusOK {
					t.Errorf("%+v, %v", answer, err)
				}
			}
			ended.Store(true)
			all.Wait()
		})
	}
}

// A create that is under way in another cluster, with the same words, can't have made what a list
// of this one shows.
func TestLookWhileAnotherClusterIsBusy(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(8 * time.Second), Operation: "takeSnapshots", Count: 1})
	busy := make(chan error, 1)
	go func() {
		_, err := b.creates.Do(context.Background(), b.request("nightly", v2+eventsSnapshots, `{"description":"nightly"}`))
		busy <- err
	}()
	gatewaytest.WaitFor(t, "the other create", func() bool {
		counts, err := b.journal.Count(t.Context())
		return err == nil && counts.Sent == 1
	})
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "takeSnapshots", Count: 1})
	answer := b.must("nightly", v2+ordersSnapshots, `{"description":"nightly"}`)
	select {
	case err := <-busy:
		t.Errorf("%+v came after the other one, %v", answer, err)
	default:
		if err := <-busy; err != nil {
			t.Error(err)
		}
	}
}

// An operator has said which job a create with a caller's own key has started. The caller gets it,
// also once it has failed.
func TestSettledAndFailed(t *testing.T) {
	b := newBench(t, idempotency.Config{Wait: time.Second, Timeout: time.Second})
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}, sim.Fault{Kind: sim.FaultUnavailable, Operation: "listBackupExports"})
	body := b.export(sim.OrdersSnapshot, "")
	_, err := b.do("nightly", v2+exportsOf, body, "one")
	check(t, err, idempotency.Open, atlas.Unknown)
	open, err := b.journal.Open(t.Context(), 10)
	if err != nil || len(open) != 1 {
		t.Fatalf("%+v, %v", open, err)
	}
	job := b.sim.Jobs()[0].ID
	if err := b.creates.Settle(t.Context(), open[0].ID, job, "a person looked"); err != nil {
		t.Fatal(err)
	}
	if err := b.sim.EndJob(job, sim.Outcome{State: "Failed", ErrorCode: "CANNOT_ASSUME_ROLE", Message: "No."}); err != nil {
		t.Fatal(err)
	}
	if answer := b.must("nightly", v2+exportsOf, body, "one"); b.id(answer) != job || !answer.Replayed {
		t.Errorf("%+v", answer)
	}
	b.jobs(1)
}
