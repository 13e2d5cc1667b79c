package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"atlas-export-gateway/store"
)

// call is a call of one of the methods that change or read the record of a key.
type call struct {
	method, key, id string
}

// reply is what it returned: the ID and state of the record that there is, or the error's name.
type reply struct {
	id    string
	state store.State
	err   string
}

// model is what a journal is to do, for one key: it has no record, or one.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, o := range history {
			key := o.Input.(call).key
			byKey[key] = append(byKey[key], o)
		}
		var all [][]porcupine.Operation
		for _, operations := range byKey {
			all = append(all, operations)
		}
		return all
	},
	Init: func() any { return reply{} },
	Step: func(state, input, output any) (bool, any) {
		have, in, out := state.(reply), input.(call), output.(reply)
		switch in.method {
		case "begin":
			if have.id == "" {
				return out == reply{}, reply{id: in.id, state: store.Sent}
			}
			return out == have, have
		case "find":
			if have.id == "" {
				return out == reply{err: "gone"}, have
			}
			return out == have, have
		}
		if have.id != in.id || in.method == "unknown" && have.state == store.Answered {
			return out == reply{err: "gone"}, have
		}
		switch in.method {
		case "free":
			have = reply{}
		case "unknown":
			have.state = store.Unknown
		case "answered":
			have.state = store.Answered
		}
		return out == reply{}, have
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// testLinearizable has many goroutines call the methods on few keys, and looks for an order in which
// one after the other would have returned the same.
func testLinearizable(t *testing.T, j *journal) {
	stores := []*store.Store{j.open(t)}
	if j.shared {
		stores = append(stores, j.open(t), j.open(t))
	}
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		wait    sync.WaitGroup
		began   = time.Now()
	)
	for client := range 9 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			last := make(map[string]string) // the ID that this client saw last, by key
			for range 60 {
				in := call{method: []string{"begin", "begin", "find", "unknown", "answered", "free"}[random.IntN(6)], key: fmt.Sprint("key", random.IntN(3))}
				r := record(in.key)
				if in.id = last[in.key]; in.method == "begin" || in.id == "" {
					in.id = r.ID
				}
				start := time.Since(began)
				out := in.run(t, stores[client%len(stores)], r)
				end := time.Since(began)
				if in.method == "begin" && out.id == "" {
					last[in.key] = in.id
				} else if out.id != "" {
					last[in.key] = out.id
				}
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: int64(start), Output: out, Return: int64(end)})
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if result := porcupine.CheckOperationsTimeout(model, history, time.Minute); result != porcupine.Ok {
		t.Errorf("%d calls are not linearizable: %s", len(history), result)
	}
}

func (c call) run(t *testing.T, s *store.Store, r *store.Record) reply {
	var (
		have *store.Record
		err  error
	)
	switch c.method {
	case "begin":
		r.ID = c.id
		have, err = s.Begin(t.Context(), r, quota)
	case "find":
		have, err = s.Find(t.Context(), c.key)
	case "unknown":
		err = s.Unknown(t.Context(), c.id, "x")
	case "answered":
		err = s.Answered(t.Context(), c.id, c.id, store.Answer{Status: 200}, time.Hour)
	case "free":
		err = s.Free(t.Context(), c.id)
	}
	switch {
	case errors.Is(err, store.ErrGone):
		return reply{err: "gone"}
	case err != nil:
		t.Error(err)
		return reply{err: err.Error()}
	case have == nil:
		return reply{}
	}
	return reply{id: have.ID, state: have.State}
}
