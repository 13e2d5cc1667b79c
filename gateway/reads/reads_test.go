package reads_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/reads"
)

const (
	group   = "64f0c1a2b3d4e5f607182930"
	another = "64f0c1a2b3d4e5f607182931"
	orders  = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports"
	list    = orders + "?itemsPerPage=100"
	jobID   = "6a01f3c95be2d84417c0aa01"
	job     = orders + "/" + jobID

	queued     = `{"id":"` + jobID + `","state":"Queued"}`
	successful = `{"id":"` + jobID + `","state":"Successful"}`
)

var rules = func() *contract.Contract {
	c, err := contract.Load()
	if err != nil {
		panic(err)
	}
	return c
}()

// read returns a read of a target.
func read(t testing.TB, target string) *reads.Request {
	t.Helper()
	match, err := rules.Match(http.MethodGet, target)
	if err != nil {
		t.Fatal(err)
	}
	return &reads.Request{
		Request:   &atlas.Request{Operation: match.Operation, Group: match.Parameter("groupId"), Path: match.Path, Query: match.Query, MediaType: match.Operation.Versions[0].MediaType},
		Identity:  1,
		Control:   reads.Control{MaxAge: math.MaxInt64},
		Relayable: func(*atlas.Response) bool { return true },
	}
}

var config = reads.Config{Freshness: time.Second, Timeout: time.Minute}

// upstream is a fetch that counts its calls, takes a while, and answers with what is there when it
// ends. It ends with its context.
type upstream struct {
	calls  atomic.Int64
	takes  time.Duration
	status int
	body   string
	err    error
}

func (u *upstream) fetch(ctx context.Context) (*atlas.Response, error) {
	n := u.calls.Add(1)
	if u.takes > 0 {
		select {
		case <-time.After(u.takes):
		case <-ctx.Done():
			return nil, &atlas.Error{Kind: atlas.Canceled, Err: ctx.Err()}
		}
	}
	if u.err != nil {
		return nil, u.err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Ratelimit-Remaining": {"7"}, "Retry-After": {"1"}, "Set-Cookie": {"c4na7y=1"}, "N": {fmt.Sprint(n)}}
	return &atlas.Response{Status: cmp.Or(u.status, 200), Header: header, Body: []byte(u.body)}, nil
}

// got is what a read got.
type got struct {
	how  reads.How
	age  time.Duration
	body string
	err  error
}

func do(ctx context.Context, r *reads.Reads, c reads.Config, q *reads.Request, fetch reads.Fetch) got {
	a, err := r.Do(ctx, c, q, fetch)
	g := got{how: a.How, age: a.Age, err: err}
	if err == nil {
		g.body = string(a.Body)
	}
	return g
}

// start returns Reads that keep up to a mebibyte.
func start() *reads.Reads {
	r := &reads.Reads{}
	r.Limit(1 << 20)
	return r
}

// begin begins a read, waits until it waits, and returns what it gets.
func begin(ctx context.Context, r *reads.Reads, q *reads.Request, u *upstream) <-chan got {
	result := make(chan got, 1)
	go func() { result <- do(ctx, r, config, q, u.fetch) }()
	synctest.Wait()
	return result
}

// Who reads a job that is being read joins, and who reads it soon afterwards gets what was kept,
// for as long as the job's state allows.
func TestJob(t *testing.T) {
	for _, test := range []struct {
		body         string
		within, then time.Duration // after the first answer: still kept, and no longer
	}{
		{queued, 800 * time.Millisecond, 801 * time.Millisecond},
		{successful, time.Hour - 200*time.Millisecond, time.Hour},
		{`{"id":"` + jobID + `","state":"Cancelled"}`, time.Minute, 2 * time.Hour},
		{`{"id":"` + jobID + `","state":"Failed"}`, time.Minute, 2 * time.Hour},
		{`{"id":"` + jobID + `","state":"SomethingNew"}`, 800 * time.Millisecond, 801 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, u := start(), &upstream{takes: 200 * time.Millisecond, body: test.body}
			first := begin(t.Context(), r, read(t, job), u)
			time.Sleep(50 * time.Millisecond)
			second := begin(t.Context(), r, read(t, job), u)
			if g, want := <-first, (got{how: reads.Sent, body: test.body}); g != want {
				t.Errorf("first: %+v", g)
			}
			if g, want := <-second, (got{how: reads.Joined, age: 200 * time.Millisecond, body: test.body}); g != want {
				t.Errorf("second: %+v", g)
			}
			ended := time.Now()
			for _, later := range []time.Duration{0, test.within} {
				time.Sleep(time.Until(ended.Add(later)))
				if g, want := do(t.Context(), r, config, read(t, job), u.fetch), (got{how: reads.Kept, age: 200*time.Millisecond + later, body: test.body}); g != want {
					t.Errorf("%s after %s: %+v", test.body, later, g)
				}
			}
			time.Sleep(time.Until(ended.Add(test.then)))
			if g := do(t.Context(), r, config, read(t, job), u.fetch); g.how != reads.Sent || u.calls.Load() != 2 {
				t.Errorf("%s after %s: %+v, %d calls", test.body, test.then, g, u.calls.Load())
			}
		})
	}
}

// Who reads a list gets what was asked after it came: those who come while it is being read share
// the next request, which waits for the first, but not for longer than a second.
func TestList(t *testing.T) {
	for takes, second := range map[time.Duration]time.Duration{200 * time.Millisecond: 200 * time.Millisecond, 5 * time.Second: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r, u := start(), &upstream{takes: takes, body: "[]"}
			began := time.Now()
			var all []<-chan got
			for range 10 {
				all = append(all, begin(t.Context(), r, read(t, list), u))
				time.Sleep(10 * time.Millisecond)
			}
			for i, result := range all {
				want, at := got{how: reads.Joined, body: "[]"}, second+takes
				if i == 0 {
					want.how, at = reads.Sent, takes
				}
				if g := <-result; g != want || time.Since(began) != at {
					t.Errorf("%d: %+v after %s", i, g, time.Since(began))
				}
			}
			if n := u.calls.Load(); n != 2 {
				t.Errorf("%d calls", n)
			}
			if g := do(t.Context(), r, config, read(t, list), u.fetch); g.how != reads.Sent || r.KeptBytes() != 0 {
				t.Errorf("afterwards: %+v, %d bytes are kept", g, r.KeptBytes())
			}
		})
	}
}

// What is no answer about a job is not kept, and goes to nobody who came after it was asked for.
// Who came before it was asked for gets the same.
func TestFailures(t *testing.T) {
	refused := &atlas.Error{Kind: atlas.Unreachable, Err: errors.New("refused")}
	for _, test := range []struct {
		query string
		*upstream
	}{
		{"", &upstream{status: 404, body: `{"error":404}`}},
		{"", &upstream{status: 503, body: `{"error":503}`}},
		{"", &upstream{err: refused}},
		{"", &upstream{body: `{"state":1}`}},
		{"", &upstream{body: `{"state":"Queued","state":"Queued"}`}},
		{"", &upstream{body: `{"id":"` + jobID + `"}`}},
		{"", &upstream{body: `{"id":"6a01f3c95be2d84417c0aa02","state":"Successful"}`}},
		{"?envelope=true", &upstream{body: `{"status":404,"content":` + queued + `}`}},
		{"?envelope=true", &upstream{body: queued}},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := test.upstream
			u.takes = 200 * time.Millisecond
			r := start()
			first := begin(t.Context(), r, read(t, job+test.query), u)
			time.Sleep(time.Millisecond)
			second, third := begin(t.Context(), r, read(t, job+test.query), u), begin(t.Context(), r, read(t, job+test.query), u)
			for name, result := range map[string]<-chan got{"first": first, "second": second, "third": third} {
				g := <-result
				if want := (got{how: g.how, body: u.body, err: u.err}); g != want {
					t.Errorf("%s %s: %+v", u.body, name, g)
				}
			}
			if n := u.calls.Load(); n != 2 || r.KeptBytes() != 0 {
				t.Errorf("%s: %d calls, %d bytes are kept", u.body, n, r.KeptBytes())
			}
		})
	}
}

// An error of a reader's own, and a panic, are for nobody else.
func TestOwnErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start()
		var results []chan got
		for i := range 5 {
			result := make(chan got, 1)
			results = append(results, result)
			go func() {
				result <- do(t.Context(), r, config, read(t, list), func(context.Context) (*atlas.Response, error) {
					time.Sleep(time.Millisecond)
					if i == 2 {
						panic("2")
					}
					return nil, errors.New(fmt.Sprint(i))
				})
			}()
			synctest.Wait()
		}
		for i, result := range results {
			g := <-result
			if want := fmt.Sprint(i); g.err == nil || g.err.Error() != want && !strings.HasPrefix(g.err.Error(), "panic: "+want+"\n") {
				t.Errorf("%d: %+v", i, g)
			}
		}
	})
}

// The reader that began a flight may leave at any moment: who waits gets the answer. The request
// ends once nobody waits.
func TestLeaders(t *testing.T) {
	for _, target := range []string{job, list} {
		for _, leaves := range []time.Duration{0, 10 * time.Millisecond, 199 * time.Millisecond, 200 * time.Millisecond, 201 * time.Millisecond, 300 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				r, u := start(), &upstream{takes: 200 * time.Millisecond, body: queued}
				ctx, leave := context.WithCancel(t.Context())
				time.AfterFunc(leaves, leave)
				begin(ctx, r, read(t, target), u)
				// With a list, the second begins the next flight, and leaves before it begins or
				// later.
				begin(ctx, r, read(t, target), u)
				if g := <-begin(t.Context(), r, read(t, target), u); g.err != nil || g.body != queued {
					t.Errorf("%s, left after %s: %+v", target, leaves, g)
				}
			})
		}
		synctest.Test(t, func(t *testing.T) {
			r, u := start(), &upstream{takes: time.Hour, body: queued}
			ctx, leave := context.WithCancel(t.Context())
			first, second := begin(ctx, r, read(t, target), u), begin(ctx, r, read(t, target), u)
			leave()
			for range 2 {
				select {
				case g := <-first:
					failed, ok := errors.AsType[*atlas.Error](g.err)
					if first = nil; !ok || failed.Kind != atlas.Canceled {
						t.Errorf("the first: %+v", g)
					}
				case g := <-second:
					failed, ok := errors.AsType[*atlas.Error](g.err)
					if second = nil; !ok || failed.Kind != atlas.Canceled {
						t.Errorf("the second: %+v", g)
					}
				}
			}
			// The bubble ends only when the goroutines do.
		})
	}
}

// Each reader waits for its own time, whenever the request it waits for began.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config
		c.Timeout = 10 * time.Second
		r, u := start(), &upstream{takes: time.Minute, body: queued}
		ctx, leave := context.WithTimeout(t.Context(), 30*time.Second)
		defer leave()
		go do(ctx, r, c, read(t, job), u.fetch)
		time.Sleep(500 * time.Millisecond)
		came := time.Now()
		g := do(t.Context(), r, c, read(t, job), u.fetch)
		failed, ok := errors.AsType[*atlas.Error](g.err)
		if !ok || failed.Kind != atlas.TimedOut || time.Since(came) != c.Timeout || g.how != reads.Joined {
			t.Errorf("%+v after %s", g, time.Since(came))
		}
	})
}

// Targets are the same only in all that Atlas gets, and by the same credential.
func TestTargets(t *testing.T) {
	r := start()
	other := func(change func(q *reads.Request)) *reads.Request {
		q := read(t, job)
		change(q)
		return q
	}
	for i, q := range []*reads.Request{
		read(t, job),
		read(t, job+"?pretty=true"),
		read(t, job+"?envelope=false"),
		read(t, strings.Replace(job, "orders", "events", 1)),
		read(t, strings.Replace(job, group, another, 1)),
		read(t, strings.Replace(job, "/v2/", "/v1.0/", 1)),
		other(func(q *reads.Request) { q.Identity = 2 }),
		other(func(q *reads.Request) { q.MediaType = "application/vnd.atlas.2024-01-01+json" }),
		other(func(q *reads.Request) { q.Fields = http.Header{"Use-Effective-Instance-Fields": {"true"}} }),
		other(func(q *reads.Request) { q.Fields = http.Header{"Use-Effective-Instance-Fields": {"true", ""}} }),
	} {
		u := &upstream{body: successful}
		if g := do(t.Context(), r, config, q, u.fetch); g.how != reads.Sent {
			t.Errorf("%d: %+v", i, g)
		}
		if g := do(t.Context(), r, config, q, u.fetch); g.how != reads.Kept {
			t.Errorf("%d again: %+v", i, g)
		}
	}
}

// A change of a group ends the use of what was asked before: it is neither joined nor kept,
// whether it is answered before the change or later. Other groups' stays.
func TestForget(t *testing.T) {
	for _, target := range []string{job, list, "/api/atlas/v2/groups", "/api/atlas/v2/groups/byName/production"} {
		synctest.Test(t, func(t *testing.T) {
			r, before := start(), &upstream{takes: 200 * time.Millisecond, body: successful}
			old := []<-chan got{begin(t.Context(), r, read(t, target), before), begin(t.Context(), r, read(t, target), before)}
			r.Forget(group)
			after := &upstream{body: queued}
			if g, want := do(t.Context(), r, config, read(t, target), after.fetch), (got{how: reads.Sent, body: queued}); g != want {
				t.Errorf("%s: a read after the change: %+v", target, g)
			}
			for _, result := range old {
				if g := <-result; g.body != successful {
					t.Errorf("%s: a read before the change: %+v", target, g)
				}
			}
			if g := do(t.Context(), r, config, read(t, target), after.fetch); g.body != queued {
				t.Errorf("%s: a read after the answer to the old one: %+v", target, g)
			}
			r.Forget(group)
			if g := do(t.Context(), r, config, read(t, target), after.fetch); g.how != reads.Sent || r.KeptBytes() > 2<<10 {
				t.Errorf("%s: what was kept before the change: %+v, %d bytes are kept", target, g, r.KeptBytes())
			}
		})
	}
	r, u := start(), &upstream{body: successful}
	for range 2 {
		do(t.Context(), r, config, read(t, job), u.fetch)
		r.Forget(another)
	}
	if n := u.calls.Load(); n != 1 {
		t.Errorf("a change of another group: %d calls", n)
	}
	r.Forget("")
	if n := r.KeptBytes(); n != 0 {
		t.Errorf("after a change of no one group, %d bytes are kept", n)
	}
}

// What was asked for first is not kept in the place of what was asked for later.
func TestOlderAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, slow := start(), &upstream{takes: 3 * time.Second, body: queued}
		first := begin(t.Context(), r, read(t, job), slow)
		time.Sleep(1100 * time.Millisecond)
		do(t.Context(), r, config, read(t, job), (&upstream{body: successful}).fetch)
		<-first
		if g := do(t.Context(), r, config, read(t, job), slow.fetch); g.how != reads.Kept || g.body != successful {
			t.Errorf("%+v", g)
		}
	})
}

// Nobody joins a request whose readers have all left, also while it takes its time to end.
func TestNobodyJoinsWhatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := start(), &upstream{body: queued}
		ctx, leave := context.WithCancel(t.Context())
		go r.Do(ctx, config, read(t, job), func(ctx context.Context) (*atlas.Response, error) {
			<-ctx.Done()
			time.Sleep(100 * time.Millisecond)
			return nil, &atlas.Error{Kind: atlas.Canceled, Err: ctx.Err()}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		if g := do(t.Context(), r, config, read(t, job), u.fetch); g.err != nil || g.how != reads.Sent {
			t.Errorf("%+v", g)
		}
		time.Sleep(time.Second)
	})
}

// A request that waited for another one to end is not sent once nobody waits for it.
func TestNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, u := start(), &upstream{takes: 500 * time.Millisecond, body: queued}
		first := begin(t.Context(), r, read(t, list), u)
		ctx, leave := context.WithCancel(t.Context())
		second := begin(ctx, r, read(t, list), u)
		leave()
		<-second
		<-first
		synctest.Wait()
		if n := u.calls.Load(); n != 1 {
			t.Errorf("Atlas was asked %d times", n)
		}
	})
}
