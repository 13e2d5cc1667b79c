package reads_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/reads"
)

// numbered returns the read of one of many jobs.
func numbered(q *reads.Request, n int) *reads.Request {
	request, other := *q.Request, *q
	request.Path = fmt.Sprintf("%s/6a01f3c9%016x", orders, n)
	other.Request = &request
	return &other
}

// Memory is bounded, whatever is asked for, and what was used last stays.
func TestBound(t *testing.T) {
	targets := 100_000
	if testing.Short() {
		targets = 5_000
	}
	const limit = 2 << 20
	r, u := &reads.Reads{}, &upstream{body: strings.Replace(successful, "{", `{"prefix":"`+strings.Repeat("x", 400)+`",`, 1)}
	r.Limit(limit)
	used := read(t, job)
	do(t.Context(), r, config, used, u.fetch)
	before := heap()
	many := func(n int) got {
		other := numbered(used, n)
		return do(t.Context(), r, config, other, (&upstream{body: strings.Replace(u.body, jobID, other.Path[len(orders)+1:], 1)}).fetch)
	}
	for n := range targets {
		many(n)
		if n%100 == 0 {
			if g := do(t.Context(), r, config, used, u.fetch); g.how != reads.Kept {
				t.Fatalf("what is used is gone after %d others: %+v", n, g)
			}
		}
	}
	after := heap()
	t.Logf("%d targets: %d bytes are counted, and %d more are in use than before", targets, r.KeptBytes(), after-before)
	if n := r.KeptBytes(); n > limit || n < limit-4<<10 {
		t.Errorf("%d bytes are kept", n)
	}
	if after-before > limit*3/2 {
		t.Errorf("%d more bytes are in use than before", after-before)
	}
	if g := many(0); g.how != reads.Sent {
		t.Errorf("what was used first: %+v", g)
	}
	r.Limit(0)
	if n := r.KeptBytes(); n != 0 {
		t.Errorf("%d bytes are kept in 0", n)
	}
	runtime.KeepAlive(r)
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one has found, such as pools, is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An answer that takes more than an eighth of the memory is not kept.
func TestLargeAnswers(t *testing.T) {
	for size, kept := range map[int]bool{6 << 10: true, 8 << 10: false} {
		r, u := &reads.Reads{}, &upstream{body: successful[:len(successful)-1] + `,"prefix":"` + strings.Repeat("x", size) + `"}`}
		r.Limit(64 << 10)
		do(t.Context(), r, config, read(t, job), u.fetch)
		if g := do(t.Context(), r, config, read(t, job), u.fetch); (g.how == reads.Kept) != kept {
			t.Errorf("%d bytes: %s", size, g.how)
		}
	}
}

// Only what may be relayed is kept.
func TestRelayable(t *testing.T) {
	r, u := start(), &upstream{body: successful}
	q := read(t, job)
	q.Relayable = func(a *atlas.Response) bool { return a.Header.Get("N") != "1" }
	for i, want := range []reads.How{reads.Sent, reads.Sent, reads.Kept} {
		if g := do(t.Context(), r, config, q, u.fetch); g.how != want {
			t.Errorf("%d: %+v", i, g)
		}
	}
}

// A header belongs to its reader, and what is kept tells nothing of a moment that has passed.
func TestHeaders(t *testing.T) {
	r, u := start(), &upstream{body: successful}
	for _, want := range []string{"7", "", ""} {
		a, err := r.Do(t.Context(), config, read(t, job), u.fetch)
		if err != nil || a.Header.Get("Ratelimit-Remaining") != want || a.Header.Get("Content-Type") != "application/json" || (a.Header.Get("Retry-After") == "") != (want == "") || (a.Header.Get("Set-Cookie") == "") != (want == "") {
			t.Errorf("%v %v", a.Header, err)
		}
		a.Header.Set("Content-Type", "text/html")
		a.Header.Set("Ratelimit-Remaining", "changed")
	}
}

// What is kept is given where Atlas can't be reached and stale_if_error allows its age, also what
// is not used otherwise. Nothing else makes an answer stale.
func TestStale(t *testing.T) {
	c := config
	c.StaleIfError = time.Minute
	const lists = `{"results":[{"state":"Successful"}]}`
	for _, test := range []struct {
		target, body string
		failure      *upstream
		after        time.Duration
		stale        bool
	}{
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.Unreachable}}, 30 * time.Second, true},
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.Disconnected}}, 30 * time.Second, true},
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.TimedOut}}, time.Minute, true},
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.Truncated}}, time.Minute, true},
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.Unsigned}}, time.Minute, true},
		{list, lists, &upstream{status: 502}, 30 * time.Second, true},
		{list, lists, &upstream{status: 503}, 30 * time.Second, true},
		{list + "&envelope=true", `{"status":200,"content":` + lists + `}`, &upstream{status: 504}, 30 * time.Second, true},
		{list + "&envelope=true", `{"status":404,"content":{}}`, &upstream{status: 504}, 30 * time.Second, false},
		{"/api/atlas/v2/groups/byName/production", `{"id":"` + group + `"}`, &upstream{status: 503}, time.Second, false},
		{list, lists, &upstream{status: 503}, 61 * time.Second, false},
		{list, lists, &upstream{status: 500}, 30 * time.Second, false},
		{list, lists, &upstream{status: 404}, 30 * time.Second, false},
		{list, lists, &upstream{status: 429}, 30 * time.Second, false},
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.CredentialRefused}}, 30 * time.Second, false},
		{job, queued, &upstream{err: &atlas.Error{Kind: atlas.Canceled}}, 30 * time.Second, false},
		{job, queued, &upstream{err: errors.New("another")}, 30 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, u := start(), &upstream{body: test.body}
			do(t.Context(), r, c, read(t, test.target), u.fetch)
			time.Sleep(test.after)
			g := do(t.Context(), r, c, read(t, test.target), test.failure.fetch)
			if want := (got{how: reads.Stale, age: test.after, body: test.body}); (g == want) != test.stale {
				t.Errorf("%+v: %+v", test, g)
			}
			if g := do(t.Context(), r, config, read(t, test.target), test.failure.fetch); g.how != reads.Sent {
				t.Errorf("%+v, without stale_if_error: %+v", test, g)
			}
			strict := read(t, test.target)
			strict.Control.MaxAge = 0
			if g := do(t.Context(), r, c, strict, test.failure.fetch); g.how != reads.Sent {
				t.Errorf("%+v, for no-cache: %+v", test, g)
			}
			r.Forget(group)
			if g := do(t.Context(), r, c, read(t, test.target), test.failure.fetch); g.how != reads.Sent {
				t.Errorf("%+v, after a change: %+v", test, g)
			}
		})
	}
}

// A reader that asks for a new answer gets one that was asked for after it came, and shares it
// with those who ask for the same.
func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := start(), &upstream{takes: 200 * time.Millisecond, body: queued}
		strict := read(t, job)
		strict.Control.MaxAge = 0
		results := []<-chan got{begin(t.Context(), r, read(t, job), u)}
		time.Sleep(time.Millisecond)
		for range 5 {
			results = append(results, begin(t.Context(), r, strict, u))
		}
		results = append(results, begin(t.Context(), r, read(t, job), u))
		for i, result := range results {
			if g := <-result; g.body != queued || (g.how == reads.Sent) != (i == 0) || g.age != 0 && i != 6 {
				t.Errorf("%d: %+v", i, g)
			}
		}
		if n := u.calls.Load(); n != 2 {
			t.Errorf("%d calls", n)
		}
		if g := do(t.Context(), r, config, strict, u.fetch); g.how != reads.Sent {
			t.Errorf("although one is kept: %+v", g)
		}
		if g := do(t.Context(), r, config, read(t, job), u.fetch); g.how != reads.Kept {
			t.Errorf("who does not ask for a new one: %+v", g)
		}
		time.Sleep(500 * time.Millisecond)
		young := read(t, job)
		young.Control.MaxAge = 600 * time.Millisecond
		if g := do(t.Context(), r, config, young, u.fetch); g.how != reads.Sent {
			t.Errorf("who asks for one that is not as old: %+v", g)
		}
		alone := read(t, list)
		alone.Control.NoStore = true
		kept := r.KeptBytes()
		a, b := begin(t.Context(), r, alone, u), begin(t.Context(), r, alone, u)
		if x, y := <-a, <-b; x.how != reads.Sent || y.how != reads.Sent || r.KeptBytes() != kept {
			t.Errorf("no-store: %+v, %+v", x, y)
		}
	})
}

func TestControlOf(t *testing.T) {
	any := reads.Control{MaxAge: math.MaxInt64}
	for _, test := range []struct {
		header http.Header
		want   reads.Control
	}{
		{nil, any},
		{http.Header{"Cache-Control": {""}}, any},
		{http.Header{"Cache-Control": {"no-cache"}}, reads.Control{}},
		{http.Header{"Cache-Control": {"No-Cache"}}, reads.Control{}},
		{http.Header{"Cache-Control": {"max-age=0"}}, reads.Control{}},
		{http.Header{"Cache-Control": {"max-stale, max-age=5"}}, reads.Control{MaxAge: 5 * time.Second}},
		{http.Header{"Cache-Control": {"max-age=\"5\" , max-age=7"}}, reads.Control{MaxAge: 5 * time.Second}},
		{http.Header{"Cache-Control": {"max-age=5", "no-cache"}}, reads.Control{}},
		{http.Header{"Cache-Control": {"max-age=99999999999"}}, reads.Control{MaxAge: 1 << 31 * time.Second}},
		{http.Header{"Cache-Control": {"max-age"}}, reads.Control{}},
		{http.Header{"Cache-Control": {"max-age=-1"}}, reads.Control{}},
		{http.Header{"Cache-Control": {"no-store"}}, reads.Control{MaxAge: math.MaxInt64, NoStore: true}},
		{http.Header{"Cache-Control": {"no-cachex, x-no-cache, only-if-cached"}}, any},
		{http.Header{"Pragma": {"no-cache"}}, reads.Control{}},
		{http.Header{"Pragma": {"no-cache"}, "Cache-Control": {"max-stale"}}, any},
	} {
		if got := reads.ControlOf(test.header); got != test.want {
			t.Errorf("%v: %+v", test.header, got)
		}
	}
}
