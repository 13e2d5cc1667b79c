package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// lists is a way to Atlas whose lists of exports a test changes.
type lists struct {
	idempotency.Upstream
	change func(look int64, results []any) ([]any, error) // look counts from 1
	looks  atomic.Int64
}

func (l *lists) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	response, err := l.Upstream.Send(ctx, caller, r)
	if err != nil || r.Operation.ID != "listBackupExports" {
		return response, err
	}
	var list map[string]any
	if err := json.Unmarshal(response.Body, &list); err != nil {
		return nil, err
	}
	results, _ := list["results"].([]any)
	if list["results"], err = l.change(l.looks.Add(1), results); err != nil {
		return nil, err
	}
	response.Body, err = json.Marshal(list)
	return response, err
}

// A key becomes free only after two looks, one behind the other, that show nothing once Atlas's lists
// must have what was created. One that fails in between shows nothing. An item that is in a list
// twice, since it has moved to the next page, is one.
func TestLooks(t *testing.T) {
	const absent, fails, twice, there = 0, 1, 2, 3
	for name, looks := range map[string][]int{
		"late":                 {absent, absent, there},
		"late after a failure": {absent, absent, fails, absent, there},
		"twice":                {twice},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, idempotency.Config{})
			b.way = &lists{Upstream: direct{b.upstream}, change: func(look int64, results []any) ([]any, error) {
				switch looks[min(int(look), len(looks))-1] {
				case absent:
					return []any{}, nil
				case fails:
					return nil, errors.New("the list fails")
				case twice:
					return slices.Concat(results, results), nil
				}
				return results, nil
			}}
			b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
			answer, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
			if err != nil || !answer.Replayed {
				t.Errorf("%+v, %v\n%s", answer, err, b.log)
			}
			b.jobs(1)
		})
	}
}

// misled is a way to Atlas on which somebody else answers creates that Atlas has carried out.
type misled struct {
	idempotency.Upstream
	body string
}

func (m misled) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	response, err := m.Upstream.Send(ctx, caller, r)
	if err == nil && r.Operation.Method == http.MethodPost {
		response.Status, response.Body = http.StatusForbidden, []byte(m.body)
	}
	return response, err
}

// An error that is not in Atlas's form, or of another status, is no refusal of Atlas's: what became
// of the create is looked for.
func TestErrorsOfOthers(t *testing.T) {
	for _, body := range []string{`{"error":400}`, `{"error":"403"}`, `{"message":"no"}`} {
		t.Run(body, func(t *testing.T) {
			b := newBench(t, idempotency.Config{})
			b.way = misled{direct{b.upstream}, body}
			answer, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
			if err != nil || !answer.Replayed {
				t.Errorf("%+v, %v", answer, err)
			}
			b.jobs(1)
		})
	}
}

// slow is a way to Atlas on which the first create is not sent before its context has ended and the
// test lets it go on.
type slow struct {
	idempotency.Upstream
	began, goes chan struct{}
	one         atomic.Bool
}

func (s *slow) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if r.Operation.Method != http.MethodPost || !s.one.CompareAndSwap(false, true) {
		return s.Upstream.Send(ctx, caller, r)
	}
	close(s.began)
	<-ctx.Done()
	<-s.goes
	return nil, &atlas.Error{Kind: atlas.Canceled, Outcome: atlas.NotSent, Err: ctx.Err()}
}

// Who joins a create that everyone else has left, and that is therefore not sent, has it sent.
func TestJoinsWhatWasLeft(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	way := &slow{Upstream: b.way, began: make(chan struct{}), goes: make(chan struct{})}
	b.way = way
	ctx, cancel := context.WithCancel(t.Context())
	body := b.export(sim.OrdersSnapshot, "")
	left := make(chan error, 1)
	go func() {
		_, err := b.creates.Do(ctx, b.request("nightly", v2+exportsOf, body))
		left <- err
	}()
	gatewaytest.Receive(t, "the create", way.began)
	cancel()
	if err := gatewaytest.Receive(t, "the end of who left", left); err == nil {
		t.Error("it was answered")
	}
	joined := make(chan error, 1)
	go func() {
		_, err := b.do("nightly", v2+exportsOf, body)
		joined <- err
	}()
	time.Sleep(100 * time.Millisecond) // it joins; if it comes later, its create is sent as well
	close(way.goes)
	if err := gatewaytest.Receive(t, "the answer", joined); err != nil {
		t.Error(err)
	}
	b.jobs(1)
}
