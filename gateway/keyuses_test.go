package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// A days is a clock that shows so many days more than the clock of the machine.
type days struct{ atomic.Int64 }

func (d *days) now() time.Time { return time.Now().Add(time.Duration(d.Load()) * 24 * time.Hour) }

// listed returns what operators are told of callers.
func listed(t *testing.T, g *gatewaytest.Gateway) (list gateway.CallerList) {
	t.Helper()
	got := gatewaytest.Send(t, "GET", g.Management+"/callers", nil, "")
	if err := json.Unmarshal([]byte(got.Body), &list); err != nil || got.Status != 200 {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	return list
}

// unused are the log's warnings behind an offset of keys that nobody uses, by caller and form.
func unused(g *gatewaytest.Gateway, offset int) (keys []string) {
	for line := range strings.Lines(g.Log.String()[offset:]) {
		var record struct {
			Level, Msg, Caller, Form, Key string
			EverUsed                      bool `json:"ever_used"`
			Days                          int
		}
		if json.Unmarshal([]byte(line), &record); strings.Contains(record.Msg, "has not been used for long") && record.Level == "WARN" && record.Key != "" {
			keys = append(keys, fmt.Sprintf("%s %s %t %d", record.Caller, record.Form, record.EverUsed, record.Days))
		}
	}
	return keys
}

// The log warns of each key that could be used and that nobody has used for 90 days, once a day:
// at the start, while the gateway runs, and at a reload.
func TestUnusedKeys(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	nightly, idle := gatewaytest.Issue(t, "nightly", everything), gatewaytest.Issue(t, "idle", everything)
	off := gatewaytest.Issue(t, "off", everything).Change(t, callers.Validity{}, func(e *callers.Entry) { e.Disabled = true })
	over := gatewaytest.Issue(t, "over", everything).Change(t, callers.Validity{NotAfter: "2026-01-01T00:00:00Z"}, func(e *callers.Entry) { e.Tokens[0].Validity = callers.Validity{Disabled: true} })
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	clock := &days{}
	yaml := gatewaytest.YAML(atlas.URL(), "", nightly, off, over)
	g := gatewaytest.StartConfig(t, gatewaytest.Config{YAML: yaml, Prepare: func(g *gateway.Gateway) {
		g.UseJournal(journal)
		g.SetClock(clock.now)
		g.LookEvery(5 * time.Millisecond)
	}})
	may(t, g, nightly, 200)
	expect := func(what string, offset int, want ...string) {
		t.Helper()
		gatewaytest.WaitFor(t, what, func() bool { return len(unused(g, offset)) >= len(want) })
		time.Sleep(50 * time.Millisecond) // ten looks
		if got := unused(g, offset); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	offset := 0
	step := func(what string, day int64, want ...string) {
		t.Helper()
		offset = g.Log.Len()
		clock.Store(day)
		expect(what, offset, want...)
	}
	step("after 89 days", 89)
	step("after 91 days", 91, "nightly digest false 91", "nightly static_token true 91", "nightly access_token false 91")
	may(t, g, nightly, 200) // with the token
	step("a day later", 92, "nightly digest false 92", "nightly access_token false 92")
	offset = g.Log.Len()
	reloaded(t, g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "", nightly, idle, off, over)))
	expect("at a reload", offset)
	step("two days later", 94, "nightly digest false 94", "nightly access_token false 94")

	// The process that takes its place knows how long that has been.
	g.Stop()
	g.Wait(t)
	offset = g.Log.Len()
	g.Restart(t)
	expect("after a restart", offset, "nightly digest false 94", "nightly access_token false 94")
	offset = g.Log.Len()
	reloaded(t, g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "", idle)))
	step("after a key is gone", 96)
}

// Gateways that share a journal know of each other's uses of keys. While the journal is away, no
// request waits for it, and what was used meanwhile is kept once it is back.
func TestReplicasShareKeyUses(t *testing.T) {
	if os.Getenv("CI") == "" {
		t.Skip("it starts PostgreSQL twice, which takes seconds: CI=true runs it")
	}
	t.Parallel()
	server := postgrestest.Start(t)
	database := server.Database(t)
	f := newFleet(t)
	f.look = 20 * time.Millisecond
	open := func(ctx context.Context) (*store.Store, error) { return store.OpenPostgres(ctx, database) }
	first, second := f.add(open), f.add(open)
	used := func(g *gatewaytest.Gateway, number int) bool {
		return listed(t, g).Callers[0].Keys[number].LastUsed != nil
	}
	if used(second, 1) {
		t.Error("a key was used that was not")
	}
	may(t, first, f.caller, 200)
	gatewaytest.WaitFor(t, "the other replica to know of the use", func() bool { return used(second, 1) })
	a, b := listed(t, first), listed(t, second)
	if a.UsesKept != "journal" || !a.Callers[0].Keys[1].LastUsed.Equal(*b.Callers[0].Keys[1].LastUsed) || used(first, 0) || used(second, 0) {
		t.Errorf("%+v and %+v", a, b)
	}
	server.Kill()
	basic := func(g *gatewaytest.Gateway) int {
		return g.Send(t, "GET", v2Exports, as(gatewaytest.Basic(f.caller.Pair.ID, f.caller.Pair.Secret.Reveal())), "").Status
	}
	for range 3 {
		if status := basic(first); status != 200 {
			t.Errorf("without a journal: %d", status)
		}
	}
	gatewaytest.WaitFor(t, "the log to say that the journal is away", func() bool {
		return strings.Contains(first.Log.String(), "when keys of callers were last used is not kept meanwhile")
	})
	server.Restart(t)
	gatewaytest.WaitFor(t, "the other replica to know of the use", func() bool { return used(second, 0) })
	first.Await(t, 0, "when keys of callers were last used is kept again")
}

// Without a journal, uses are known since the start of the process, and the list says so. Metrics
// and list have keys by the names that the log has, and only those of the configuration in force.
func TestKeyUsesWithoutAJournal(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	end := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	nightly := gatewaytest.Issue(t, "nightly", everything).Change(t, callers.Validity{NotAfter: end.Format(time.RFC3339)}, func(e *callers.Entry) {
		e.SourceNetworks = []string{"127.0.0.0/8"}
		e.ServiceAccounts[0].Disabled = true
	})
	other := gatewaytest.Issue(t, "other", everything)
	began := time.Now().Truncate(time.Second)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly, other)
	may(t, g, nightly, 200)
	may(t, g, other, 200)
	token := nightly.Entry.Tokens[0].SHA256[:8]
	list := listed(t, g)
	caller := list.Callers[0]
	if list.UsesKept != "memory" || len(list.Callers) != 2 || caller.Name != "nightly" || caller.Disabled || fmt.Sprint(caller.SourceNetworks) != "[127.0.0.0/8]" || len(caller.Keys) != 3 {
		t.Fatalf("%+v", list)
	}
	for i, key := range caller.Keys {
		if name := []string{"digest " + nightly.Pair.ID, "static_token " + token, "access_token " + nightly.Account.ID}[i]; name != key.Form+" "+key.Key ||
			key.NotAfter == nil || !key.NotAfter.Equal(end) || key.Disabled != (i == 2) || (key.LastUsed != nil) != (i == 1) || key.Since.Before(began) || time.Since(key.Since) > time.Minute {
			t.Errorf("%s: %+v", name, key)
		}
	}
	series := func(name string) (all []string) {
		for line := range strings.Lines(g.Metrics(t)) {
			if strings.HasPrefix(line, "atlas_gateway_key_"+name) {
				all = append(all, strings.TrimPrefix(strings.TrimSpace(line), "atlas_gateway_key_"))
			}
		}
		return all
	}
	want := fmt.Sprintf("[not_after_timestamp_seconds{caller=%q,form=%q,key=%q} %[4]g not_after_timestamp_seconds{caller=%[1]q,form=%[5]q,key=%[6]q} %[4]g]", "nightly", "digest", nightly.Pair.ID, float64(end.Unix()), "static_token", token)
	if got := fmt.Sprint(series("not_after")); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := series("last_used"); len(got) != 2 || !strings.HasPrefix(got[0], fmt.Sprintf("last_used_timestamp_seconds{caller=%q,form=%q,key=%q} ", "nightly", "static_token", token)) {
		t.Errorf("%q", got)
	}
	reloaded(t, g.Rewrite(t, gatewaytest.YAML(atlas.URL(), "", other)))
	if got := series(""); len(got) != 1 || !strings.Contains(got[0], `caller="other"`) {
		t.Errorf("after a reload: %q", got)
	}
}
