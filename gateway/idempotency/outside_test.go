package idempotency_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"

	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/sim"
)

// outside returns a create whose content the contract does not allow.
func (b *bench) outside(target, body string, key ...string) *idempotency.Request {
	b.Helper()
	r := b.request("nightly", target, `{"snapshotId":"`+sim.OrdersSnapshot+`","exportBucketId":"`+b.bucket+`"}`, key...)
	r.Body, r.Outside = []byte(body), true
	if err := json.Unmarshal(r.Body, &r.Content); err != nil {
		b.Fatal(err)
	}
	return r
}

// lenient has creates sent to an Atlas that ignores what it does not know: it is in front of the
// simulation, which refuses such members.
func (b *bench) lenient() {
	b.Helper()
	simulation, err := url.Parse(b.sim.URL())
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(simulation)
		content, err := io.ReadAll(r.In.Body)
		if err != nil || len(content) == 0 {
			return
		}
		known := map[string]any{}
		if err := json.Unmarshal(content, &known); err != nil {
			b.Error(err)
		}
		maps.DeleteFunc(known, func(name string, _ any) bool {
			return !slices.Contains([]string{"snapshotId", "exportBucketId", "description"}, name)
		})
		text, _ := json.Marshal(known)
		r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	}})
	b.Cleanup(server.Close)
	b.way = direct{b.upstreamAt(server.URL)}
}

// A create whose content is outside the contract is the same as another one if all of their
// contents is the same: whatever the order of the members, and with a key of the caller's too.
func TestOutsideTheContract(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.lenient()
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	start := `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"` + b.bucket + `"`
	seen := map[string]int{}
	send := func(body string, key ...string) (replayed bool) {
		t.Helper()
		answer, err := b.creates.Do(t.Context(), b.outside(v2+exportsOf, body, key...))
		if err != nil || answer.Status != http.StatusOK {
			t.Fatalf("%s: %v %v", body, answer, err)
		}
		seen[b.id(answer)]++
		return answer.Replayed
	}
	inside := func() bool {
		t.Helper()
		answer := b.must("nightly", v2+exportsOf, start+`}`)
		seen[b.id(answer)]++
		return answer.Replayed
	}
	for _, step := range []struct {
		name     string
		replayed bool
		do       func() bool
	}{
		{"one within the contract", false, inside},
		{"with another member", false, func() bool { return send(start + `,"force":true}`) }},
		{"the same again", true, func() bool { return send(start + `,"force":true}`) }},
		{"in another order", true, func() bool {
			return send(`{ "force" : true, "exportBucketId":"` + b.bucket + `","snapshotId":"` + sim.OrdersSnapshot + `"}`)
		}},
		{"with another value", false, func() bool { return send(start + `,"force":false}`) }},
		{"the first one again", true, inside},
		{"with a key", false, func() bool { return send(start+`,"force":true}`, "one") }},
		{"with the key again", true, func() bool { return send(start+`,"force":true}`, "one") }},
	} {
		if replayed := step.do(); replayed != step.replayed {
			t.Errorf("%s: replayed %t", step.name, replayed)
		}
	}
	b.jobs(4)
	if len(seen) != 4 {
		t.Errorf("the answers name %v", seen)
	}
	_, err := b.creates.Do(t.Context(), b.outside(v2+exportsOf, start+`,"force":false}`, "one"))
	check(t, err, idempotency.KeyReused, "not_sent")
}

// A snapshot may be taken again with the same words, also with words outside the contract.
func TestSnapshotsOutsideTheContract(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.lenient()
	for range 2 {
		r := b.request("nightly", v2+"/groups/"+sim.GroupID+"/clusters/"+sim.OrdersCluster+"/backup/snapshots", `{"description":"d"}`)
		r.Body, r.Outside, r.Content = []byte(`{"description":"d","retentionInDays":"1","x":1}`), true, map[string]any{"description": "d", "retentionInDays": "1", "x": 1.0}
		answer, err := b.creates.Do(t.Context(), r)
		if err != nil || answer.Replayed {
			t.Fatalf("%+v %v", answer, err)
		}
	}
	if n := b.sent("takeSnapshots", `{"description":"d"}`); n != 2 {
		t.Errorf("Atlas has received %d creates", n)
	}
}

// Numbers that differ only where a float64 does not are other numbers.
func TestLongNumbersOutsideTheContract(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.lenient()
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	for _, number := range []string{"9007199254740992", "9007199254740993", "0.1", "0.10000000000000000001"} {
		body := `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":"` + b.bucket + `","window":` + number + `}`
		answer, err := b.creates.Do(t.Context(), b.outside(v2+exportsOf, body))
		if err != nil || answer.Replayed {
			t.Errorf("%s: %+v %v", number, answer, err)
		}
	}
	b.jobs(4)
}
