package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// long has pages of old exports, each like the one that the test creates, before or behind those of
// the simulation.
type long struct {
	idempotency.Upstream
	pages int
	age   func(number int) time.Duration // of an old export
	front bool                           // the exports of the simulation are on the first page
	again bool                           // the first page, whatever page is asked for
	asked atomic.Int64
}

func (l *long) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if r.Operation.ID != "listBackupExports" {
		return l.Upstream.Send(ctx, caller, r)
	}
	l.asked.Add(1)
	query, _ := url.ParseQuery(r.Query)
	number, _ := strconv.Atoi(query.Get("pageNum"))
	real := l.pages + 1
	if l.again {
		number = 1
	}
	if l.front || l.again {
		real = 1
	}
	first := *r
	first.Query = "includeCount=false&itemsPerPage=500&pageNum=1"
	response, err := l.Upstream.Send(ctx, caller, &first)
	if err != nil || response.Status != http.StatusOK {
		return response, err
	}
	var list struct {
		Results []map[string]any `json:"results"`
	}
	if err := json.Unmarshal(response.Body, &list); err != nil {
		return nil, err
	}
	if number != real {
		list.Results = nil
	}
	for i := len(list.Results); i < 500 && (number <= l.pages || l.again); i++ {
		n := 500*number + i // of the export
		list.Results = append(list.Results, map[string]any{
			"id": fmt.Sprintf("%024x", n), "createdAt": time.Now().Add(-24*time.Hour - l.age(n)).UTC().Format(time.RFC3339),
			"snapshotId": sim.OrdersSnapshot, "exportBucketId": query.Get("bucket"), "state": "Successful", "customData": []any{},
		})
	}
	response.Body, err = json.Marshal(list)
	return response, err
}

// A list of any length shows what was created. One with the newest first is read no further than it
// has to be, and one in another order to its end.
func TestLongLists(t *testing.T) {
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	for name, test := range map[string]struct {
		front bool
		age   func(int) time.Duration
		asked int64
	}{
		"newest first": {true, minutes, 1},
		"oldest first": {false, func(n int) time.Duration { return minutes(100_000 - n) }, 26},
		"no order":     {false, func(n int) time.Duration { return minutes(n + n%2*10_000) }, 26},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, idempotency.Config{})
			way := &long{Upstream: direct{b.upstream}, pages: 25, front: test.front, age: test.age}
			b.way = way
			b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
			answer := b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
			if !answer.Replayed || b.id(answer) != b.sim.Jobs()[0].ID {
				t.Errorf("%+v", answer)
			}
			if n := way.asked.Load(); n != test.asked {
				t.Errorf("%d pages were read, want %d", n, test.asked)
			}
			b.jobs(1)
		})
	}
}

// elsewhere answers the lists with JSON that is none of Atlas's.
type elsewhere struct {
	idempotency.Upstream
	body  string
	asked atomic.Int64
}

func (e *elsewhere) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if r.Operation.ID != "listBackupExports" {
		return e.Upstream.Send(ctx, caller, r)
	}
	e.asked.Add(1)
	return &atlas.Response{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(e.body)}, nil
}

// A JSON that is no list shows nothing: a create whose answer was lost is not taken for one that was
// not carried out.
func TestListsThatAreNone(t *testing.T) {
	for _, body := range []string{`{}`, `{"status":"under maintenance"}`, `{"results":null}`, `null`} {
		t.Run(body, func(t *testing.T) {
			b := newBench(t, idempotency.Config{Wait: time.Second, Timeout: 2 * time.Second})
			way := &elsewhere{Upstream: direct{b.upstream}, body: body}
			b.way = way
			b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
			for range 2 {
				_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
				check(t, err, idempotency.Open, atlas.Unknown)
			}
			if way.asked.Load() == 0 {
				t.Error("nobody has looked")
			}
			b.jobs(1)
		})
	}
}

// A server that does not turn pages is not asked for them without end, and no key becomes free.
func TestListsWithoutPages(t *testing.T) {
	b := newBench(t, idempotency.Config{Wait: time.Second, Timeout: 2 * time.Second})
	way := &long{Upstream: direct{b.upstream}, age: func(int) time.Duration { return time.Hour }, again: true}
	b.way = way
	b.faults(sim.Fault{Kind: sim.FaultReset, Operation: "createBackupExport", Count: 1})
	_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
	check(t, err, idempotency.Open, atlas.Unknown)
	if n := way.asked.Load(); n > 20 {
		t.Errorf("%d pages were read", n)
	}
	b.jobs(0)
}

// What an earlier create has made is not taken for what a later one that looks the same has made,
// also when the key of the earlier one is free since.
func TestLikeCreates(t *testing.T) {
	for name, kind := range map[string]sim.FaultKind{"carried out": sim.FaultResetAfter, "not carried out": sim.FaultReset} {
		for what, create := range map[string]struct{ operation, target string }{
			"export": {"createBackupExport", exportsOf},
			"bucket": {"createExportBucket", bucketsOf},
		} {
			t.Run(what+" "+name, func(t *testing.T) {
				b := newBench(t, idempotency.Config{})
				body := bucketNamed("other-exports")
				if what == "export" {
					body = b.export(sim.OrdersSnapshot, "")
				}
				first := b.id(b.must("nightly", v2+create.target, body))
				if what == "export" {
					if err := b.sim.EndJob(first, sim.Outcome{State: "Failed", ErrorCode: "CANNOT_ASSUME_ROLE", Message: "No."}); err != nil {
						t.Fatal(err)
					}
				}
				b.faults(sim.Fault{Kind: kind, Operation: create.operation, Count: 1})
				second, err := b.do("nightly", v2+create.target, body)
				if kind == sim.FaultReset {
					check(t, err, idempotency.NothingHappened, atlas.NotSent)
					second, err = b.do("nightly", v2+create.target, body)
				}
				if err != nil || b.id(second) == first || second.Replayed != (kind == sim.FaultResetAfter) {
					t.Errorf("%+v, %v, and the first is %s\n%s", second, err, first, b.log)
				}
			})
		}
	}
}

// hanging does not answer the lists of one group.
type hanging struct {
	idempotency.Upstream
	group string
	asked atomic.Int64
}

func (h *hanging) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if r.Group == h.group && r.Operation.Method == http.MethodGet {
		h.asked.Add(1)
		<-ctx.Done()
		return nil, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.Unknown, Err: ctx.Err()}
	}
	return h.Upstream.Send(ctx, caller, r)
}

// A group whose lists hang keeps none of the others waiting.
func TestHangingGroup(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	way := &hanging{Upstream: direct{b.upstream}, group: sim.EmptyGroupID}
	b.way = way
	const many = 12
	b.faults(sim.Fault{Kind: sim.FaultReset, Operation: "createExportBucket", Count: many})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range many {
		request := b.request("nightly", v2+"/groups/"+sim.EmptyGroupID+"/backup/exportBuckets", bucketNamed(fmt.Sprint("bucket-", i)))
		go b.creates.Do(ctx, request)
	}
	gatewaytest.WaitFor(t, "the looks that hang", func() bool {
		counts, err := b.journal.Count(t.Context())
		return err == nil && counts.Unknown == many && way.asked.Load() > 0
	})
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
	if answer := b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, "")); !answer.Replayed {
		t.Errorf("%+v", answer)
	}
	b.jobs(1)
}

// The journal's clock hides no job. It is set back by ten minutes here, while the gateway is down
// for a quarter of an hour.
func TestStoreClockSetBack(t *testing.T) {
	b := newBench(t, idempotency.Config{Wait: 300 * time.Millisecond, Timeout: time.Second})
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}, sim.Fault{Kind: sim.FaultUnavailable, Operation: "listBackupExports"})
	body := b.export(sim.OrdersSnapshot, "")
	_, err := b.do("nightly", v2+exportsOf, body)
	check(t, err, idempotency.Open, atlas.Unknown)
	b.sim.Advance(15 * time.Minute)
	b.later(5 * time.Minute)
	b.faults()
	gatewaytest.WaitFor(t, "an answer", func() bool {
		_, err = b.do("nightly", v2+exportsOf, body)
		return err == nil
	})
	b.jobs(1)
}

// The journal's clock shortens no wait. It is set ahead by ten hours here, while a create that another
// process has sent is still on its way.
func TestStoreClockSetAhead(t *testing.T) {
	b := newBench(t, idempotency.Config{Wait: 20 * time.Second, Timeout: 5 * time.Second})
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(3 * time.Second), Operation: "createBackupExport", Count: 1})
	body := b.export(sim.OrdersSnapshot, "")
	ended := make(chan struct{})
	defer func() { gatewaytest.Receive(t, "the end of the create", ended) }()
	earlier := b.creates
	request := b.request("nightly", v2+exportsOf, body)
	go func() {
		defer close(ended)
		earlier.Do(context.Background(), request)
	}()
	gatewaytest.WaitFor(t, "the create", func() bool { return strings.Contains(b.log.String(), "state=sent kind=export") })
	b.journal.Close()
	b.age(10 * time.Hour)
	b.start()
	if answer := b.must("nightly", v2+exportsOf, body); !answer.Replayed {
		t.Errorf("%+v\n%s", answer, b.log)
	}
	b.jobs(1)
}

// A create that is under way is not released: it has an answer soon, or its outcome is unknown.
func TestReleaseOfWhatIsUnderWay(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	held := b.hold()
	body := b.export(sim.OrdersSnapshot, "")
	request := b.request("nightly", v2+exportsOf, body)
	answered := make(chan error)
	go func() {
		_, err := b.creates.Do(context.Background(), request)
		answered <- err
	}()
	var id string
	gatewaytest.WaitFor(t, "the record", func() bool {
		open, err := b.journal.Open(t.Context(), 1)
		if err != nil || len(open) == 0 {
			return false
		}
		id = open[0].ID
		return true
	})
	if err := b.creates.Release(t.Context(), id, "impatience"); !errors.Is(err, idempotency.ErrSent) {
		t.Errorf("%v", err)
	}
	held.let()
	if err := gatewaytest.Receive(t, "the answer", answered); err != nil {
		t.Error(err)
	}
	if err := b.creates.Release(t.Context(), id, "a second one is wanted"); err != nil {
		t.Error(err)
	}
	if answer := b.must("nightly", v2+exportsOf, body); answer.Replayed {
		t.Errorf("%+v", answer)
	}
	b.jobs(2)
}
