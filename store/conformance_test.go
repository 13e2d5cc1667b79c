package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"atlas-export-gateway/store"
)

const quota = 1000

// suite is what every journal does.
var suite = map[string]func(*testing.T, *journal){
	"a record and its answer":                              testLife,
	"a key that is freed":                                  testFree,
	"a result that another record has":                     testTaken,
	"a record that has expired":                            testExpiry,
	"quota":                                                testQuota,
	"a journal that is opened again":                       testReopened,
	"records of an owner that ended":                       testTakenOver,
	"a clock that is set back":                             testSetBack,
	"counts and lists":                                     testLists,
	"one of many begins a key":                             testOneBegins,
	"concurrent calls are linearizable":                    testLinearizable,
	"a schema of a later release":                          testLaterSchema,
	"a schema of an earlier release":                       testEarlierSchema,
	"a call whose context has ended":                       testEndedContext,
	"texts as they are":                                    testTexts,
	"revoked tokens":                                       testRevocations,
	"uses of keys":                                         testKeyUses,
	"a schema without uses of keys":                        testSchemaWithoutKeyUses,
	"two processes that open a journal for the first time": testOpenedTogether,
}

// begin makes a record, which must be new.
func begin(t *testing.T, s *store.Store, r *store.Record) *store.Record {
	t.Helper()
	if existing, err := s.Begin(t.Context(), r, quota); err != nil || existing != nil {
		t.Fatalf("begin %s: %+v, %v", r.Key, existing, err)
	}
	return r
}

func check(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v, want %v", err, want)
	}
}

// checkRecord compares the record of a key; times are compared with the present.
func checkRecord(t *testing.T, s *store.Store, want *store.Record) {
	t.Helper()
	got, err := s.Find(t.Context(), want.Key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.Record{}, "Sent", "Changed", "Age"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Age < 0 || got.Age > time.Minute || time.Since(got.Sent).Abs() > time.Minute || got.Changed.Before(got.Sent) {
		t.Errorf("sent %v, changed %v, %v ago", got.Sent, got.Changed, got.Age)
	}
	byID, err := s.Get(t.Context(), want.ID)
	if err != nil || byID.Key != want.Key {
		t.Errorf("by its ID: %+v, %v", byID, err)
	}
}

func testLife(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	_, err := s.Find(ctx, "a")
	check(t, err, store.ErrGone)

	r := begin(t, s, record("a"))
	r.State = store.Sent
	checkRecord(t, s, r)

	other := record("a")
	existing, err := s.Begin(ctx, other, quota)
	if err != nil || existing == nil || existing.ID != r.ID {
		t.Fatalf("the key was begun twice: %+v, %v", existing, err)
	}
	check(t, s.Unknown(ctx, other.ID, "x"), store.ErrGone)
	check(t, s.Answered(ctx, other.ID, "job", store.Answer{}, time.Hour), store.ErrGone)

	check(t, s.Unknown(ctx, r.ID, "the connection ended"), nil)
	r.State, r.Note = store.Unknown, "the connection ended"
	checkRecord(t, s, r)

	r.State, r.Note, r.Result = store.Answered, "", "6a01f3c95be2d84417c0aa01"
	r.Answer = store.Answer{Status: 200, MediaType: "application/json", Body: []byte("{\"id\":\x00\xff}")}
	check(t, s.Answered(ctx, r.ID, r.Result, r.Answer, time.Hour), nil)
	checkRecord(t, s, r)
	check(t, s.Unknown(ctx, r.ID, "too late"), store.ErrGone)
	checkRecord(t, s, r)

	// An answer that is too long is not kept, the result is.
	long := begin(t, s, record("b"))
	check(t, s.Answered(ctx, long.ID, "another", store.Answer{Status: 200, Body: make([]byte, store.MaxBody+1)}, time.Hour), nil)
	long.State, long.Result, long.Answer = store.Answered, "another", store.Answer{Status: 200}
	checkRecord(t, s, long)
}

func testFree(t *testing.T, j *journal) {
	s := j.open(t)
	first := begin(t, s, record("a"))
	check(t, s.Free(t.Context(), first.ID), nil)
	check(t, s.Free(t.Context(), first.ID), store.ErrGone)
	second := begin(t, s, record("a"))
	// Whoever still has the ID of the first changes nothing of the second.
	check(t, s.Free(t.Context(), first.ID), store.ErrGone)
	check(t, s.Answered(t.Context(), first.ID, "job", store.Answer{}, time.Hour), store.ErrGone)
	second.State = store.Sent
	checkRecord(t, s, second)

	// A record that has a result leaves its key, and keeps the result.
	check(t, s.Answered(t.Context(), second.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	check(t, s.Free(t.Context(), second.ID), nil)
	check(t, s.Free(t.Context(), second.ID), store.ErrGone)
	check(t, s.Unknown(t.Context(), second.ID, "too late"), store.ErrGone)
	check(t, s.Answered(t.Context(), second.ID, "job", store.Answer{}, time.Hour), store.ErrGone)
	_, err := s.Find(t.Context(), "a")
	check(t, err, store.ErrGone)
	third := begin(t, s, record("a"))
	check(t, s.Answered(t.Context(), third.ID, "job", store.Answer{}, time.Hour), store.ErrTaken)
	if taken, err := s.Taken(t.Context(), "export", third.ID, []string{"job"}); err != nil || !taken["job"] {
		t.Errorf("%v, %v", taken, err)
	}
}

func testTaken(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	first, second := begin(t, s, record("a")), begin(t, s, record("b"))
	bucket := record("c")
	bucket.Kind = "bucket"
	begin(t, s, bucket)
	check(t, s.Answered(ctx, first.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	check(t, s.Answered(ctx, second.ID, "job", store.Answer{Status: 200}, time.Hour), store.ErrTaken)
	check(t, s.Answered(ctx, first.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	check(t, s.Answered(ctx, bucket.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	second.State = store.Sent
	checkRecord(t, s, second)

	taken, err := s.Taken(ctx, "export", second.ID, []string{"job", "free"})
	if diff := cmp.Diff(map[string]bool{"job": true}, taken); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	if taken, err := s.Taken(ctx, "export", first.ID, []string{"job"}); err != nil || len(taken) > 0 {
		t.Errorf("its own result: %v, %v", taken, err)
	}

	// The create of second is still under way; first is answered.
	leaves := func(name string, want bool, change func(*store.Record)) {
		r := *first
		change(&r)
		if leaving, err := s.Leaving(ctx, &r); err != nil || leaving != want {
			t.Errorf("%s: leaving %t, %v", name, leaving, err)
		}
	}
	leaves("beside first", true, func(*store.Record) {})
	leaves("beside itself", false, func(r *store.Record) { r.ID = second.ID })
	leaves("with another digest", false, func(r *store.Record) { r.Match = "another digest" })
	leaves("in another group", false, func(r *store.Record) { r.Group = "another" })
	leaves("in another cluster", false, func(r *store.Record) { r.Cluster = "another" })
}

func testExpiry(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	for i := range 5 {
		r := begin(t, s, record(fmt.Sprint(i)))
		check(t, s.Answered(ctx, r.ID, fmt.Sprint(i), store.Answer{Status: 200}, time.Duration(i/4)*time.Hour), nil)
	}
	open := begin(t, s, record("open"))
	_, err := s.Find(ctx, "0")
	check(t, err, store.ErrGone)
	again := begin(t, s, record("0")) // in the place of the one that has expired, which has its result
	expires := func(owned time.Duration, want ...int) {
		t.Helper()
		for i, want := range want {
			if n, err := s.Expire(ctx, owned, 2); err != nil || n != want {
				t.Errorf("call %d removed %d, %v; want %d", i, n, err, want)
			}
		}
	}
	expires(0, 0) // while a create is open that would look the same
	check(t, s.Free(ctx, again.ID), nil)
	check(t, s.Free(ctx, open.ID), nil)
	open = record("open")
	open.Match = "another digest"
	begin(t, s, open)
	expires(time.Hour, 0)
	if taken, err := s.Taken(ctx, "export", open.ID, []string{"0", "3"}); err != nil || len(taken) != 2 {
		t.Errorf("of those that have expired: %v, %v", taken, err)
	}
	expires(0, 2, 2, 0)
	if taken, err := s.Taken(ctx, "export", open.ID, []string{"0", "3"}); err != nil || len(taken) != 0 {
		t.Errorf("of those that were removed: %v, %v", taken, err)
	}
	open.State = store.Sent
	checkRecord(t, s, open)
	if _, err := s.Find(ctx, "4"); err != nil {
		t.Errorf("an hour is not over: %v", err)
	}
}

func testQuota(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	a := begin(t, s, record("a"))
	b := begin(t, s, record("b"))
	_, err := s.Begin(ctx, record("c"), 2)
	check(t, err, store.ErrQuota)
	// The key of a record is answered, whatever the quota.
	if existing, err := s.Begin(ctx, record("a"), 2); err != nil || existing == nil {
		t.Errorf("%+v, %v", existing, err)
	}
	other := record("c")
	other.Caller = "another"
	begin(t, s, other)
	check(t, s.Answered(ctx, a.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	begin(t, s, record("d"))
	check(t, s.Unknown(ctx, b.ID, "x"), nil)
	_, err = s.Begin(ctx, record("e"), 2)
	check(t, err, store.ErrQuota)
}

func testReopened(t *testing.T, j *journal) {
	s := j.open(t)
	r := begin(t, s, record("a"))
	check(t, s.Answered(t.Context(), r.ID, "job", store.Answer{Status: 200, MediaType: "application/json", Body: []byte("{}")}, time.Hour), nil)
	unanswered := begin(t, s, record("b"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := j.open(t)
	r.State, r.Result, r.Answer = store.Answered, "job", store.Answer{Status: 200, MediaType: "application/json", Body: []byte("{}")}
	checkRecord(t, again, r)
	unanswered.State = store.Sent
	checkRecord(t, again, unanswered)
}

func testTakenOver(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	if open, err := s.Keep(ctx, "owner", time.Hour); err != nil || len(open) != 0 {
		t.Fatalf("%v, %v", open, err)
	}
	sent := begin(t, s, record("sent"))
	unknown := begin(t, s, record("unknown"))
	check(t, s.Unknown(ctx, unknown.ID, "the connection ended"), nil)
	answered := begin(t, s, record("answered"))
	check(t, s.Answered(ctx, answered.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	forgotten := record("forgotten") // its owner never had a lease
	forgotten.Owner = "nobody"
	begin(t, s, forgotten)

	keys := func(records []*store.Record) string {
		text := ""
		for _, r := range records {
			text += r.Key + ":" + string(r.State) + ":" + r.Note + " "
		}
		return text
	}
	all := "sent:unknown:its gateway ended before Atlas answered unknown:unknown:the connection ended forgotten:unknown:its gateway ended before Atlas answered "
	open, err := s.Keep(ctx, "another", time.Hour)
	want := "forgotten:unknown:its gateway ended before Atlas answered "
	if !j.shared { // who has the file is its only owner
		want = all
	}
	if got := keys(open); err != nil || got != want {
		t.Errorf("with the lease in force: %q, %v", got, err)
	}
	if j.shared {
		if open, err = s.Keep(ctx, "owner", -time.Hour); err != nil || len(open) != 2 {
			t.Errorf("%v, %v", open, err)
		}
		if open, err = s.Keep(ctx, "another", time.Hour); err != nil || keys(open) != all {
			t.Errorf("after the lease: %q, want %q, %v", keys(open), all, err)
		}
	}
	// An owner that was only slow still tells the answer.
	check(t, s.Answered(ctx, sent.ID, "late", store.Answer{Status: 200}, time.Hour), nil)
}

// testSetBack sets the clock of the store back: all that the journal has is of later then.
func testSetBack(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	if _, err := s.Keep(ctx, "owner", time.Hour); err != nil {
		t.Fatal(err)
	}
	sent, answered := begin(t, s, record("sent")), begin(t, s, record("answered"))
	check(t, s.Answered(ctx, answered.ID, "job", store.Answer{Status: 200}, time.Hour), nil)
	s.Close()
	j.change(t, `UPDATE atlas_gateway_creates SET sent_at = sent_at + 36000000, changed_at = changed_at + 36000000`,
		`UPDATE atlas_gateway_creates SET expires_at = expires_at + 36000000 WHERE state = 'answered'`,
		`UPDATE atlas_gateway_owners SET lease_at = lease_at + 36000000`)
	s = j.open(t)
	// A gateway that ended meanwhile has no lease of ten hours.
	if open, err := s.Keep(ctx, "another", time.Hour); err != nil || len(open) != 1 || open[0].ID != sent.ID || open[0].State != store.Unknown {
		t.Errorf("%+v, %v", open, err)
	}
	if r, err := s.Find(ctx, "answered"); err != nil || r.Result != "job" {
		t.Errorf("%+v, %v", r, err)
	}
	if existing, err := s.Begin(ctx, record("sent"), quota); err != nil || existing == nil {
		t.Errorf("%+v, %v", existing, err)
	}
	if c, err := s.Count(ctx); err != nil || c.Unknown != 1 || c.Oldest != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

func testLists(t *testing.T, j *journal) {
	s := j.open(t)
	ctx := t.Context()
	if c, err := s.Count(ctx); err != nil || c != (store.Counts{}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		begin(t, s, record(key))
		time.Sleep(2 * time.Millisecond) // the clock of the store counts milliseconds
	}
	find := func(key string) *store.Record {
		r, err := s.Find(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	check(t, s.Answered(ctx, find("a").ID, "job", store.Answer{Status: 200, Body: []byte("{}")}, time.Hour), nil)
	check(t, s.Unknown(ctx, find("b").ID, "x"), nil)
	c, err := s.Count(ctx)
	if err != nil || c.Sent != 2 || c.Unknown != 1 || c.Oldest < 4*time.Millisecond || c.Oldest > time.Minute {
		t.Errorf("%+v, %v", c, err)
	}
	keys := func(records []*store.Record, err error) string {
		if err != nil {
			t.Error(err)
		}
		var all []string
		for _, r := range records {
			all = append(all, r.Key)
		}
		return strings.Join(all, " ")
	}
	if got := keys(s.Open(ctx, 10)); got != "b c d" {
		t.Errorf("open: %s", got)
	}
	bodies := func(records []*store.Record, err error) {
		for _, r := range records {
			if r.Answer.Body != nil || err != nil {
				t.Errorf("a list has a body: %+v, %v", r, err)
			}
		}
	}
	bodies(s.Open(ctx, 10))
	bodies(s.Recent(ctx, 10))
	bodies(s.Keep(ctx, "owner", time.Hour))
	if got := keys(s.Open(ctx, 2)); got != "b c" {
		t.Errorf("the first two open: %s", got)
	}
	if got := keys(s.Recent(ctx, 3)); !strings.Contains("b a d|a b d", got) || got == "" {
		t.Errorf("recent: %s", got)
	}
}

func testOneBegins(t *testing.T, j *journal) {
	stores := []*store.Store{j.open(t)}
	if j.shared {
		stores = append(stores, j.open(t), j.open(t))
	}
	for round := range 20 {
		var (
			wait  sync.WaitGroup
			mu    sync.Mutex
			begun int
		)
		for i := range 12 {
			wait.Go(func() {
				existing, err := stores[i%len(stores)].Begin(t.Context(), record(fmt.Sprint(round)), quota)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if existing == nil {
					begun++
				}
			})
		}
		wait.Wait()
		if begun != 1 {
			t.Fatalf("%d began the key", begun)
		}
	}
}

func testEndedContext(t *testing.T, j *journal) {
	s := j.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Begin(ctx, record("a"), quota); err == nil {
		t.Error("no error")
	}
	begin(t, s, record("a")) // nothing was begun
}

func testTexts(t *testing.T, j *journal) {
	s := j.open(t)
	r := record(`'; DROP TABLE atlas_gateway_creates; --`)
	r.Caller, r.Cluster, r.Subject = `o'brien "x"`, "π $1 ?", `\`
	begin(t, s, r)
	r.State = store.Sent
	checkRecord(t, s, r)
}

func testOpenedTogether(t *testing.T, j *journal) {
	if !j.shared {
		t.Skip("a file is opened once")
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() { j.open(t) })
	}
	wait.Wait()
}
