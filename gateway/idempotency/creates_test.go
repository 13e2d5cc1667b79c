package idempotency_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// check compares the error of a create.
func check(t *testing.T, err error, kind idempotency.Kind, outcome atlas.Outcome) {
	t.Helper()
	failed, ok := errors.AsType[*idempotency.Error](err)
	if !ok || failed.Kind != kind || failed.Outcome != outcome {
		t.Fatalf("%v (%T), want %s, %s", err, err, kind, outcome)
	}
}

// The same create is one, at the same time, later, over both generations, in an envelope, and
// whoever sends it.
func TestTheSameCreate(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	body := b.export(sim.OrdersSnapshot, `[{"key":"a","value":"1"},{"key":"b","value":"2"}]`)
	other := b.export(sim.OrdersSnapshot, `[{"value":"2","key":"b"},{"key":"a","value":"1"}]`)
	targets := []string{v2 + exportsOf, v1 + exportsOf, v2 + exportsOf + "?envelope=true", v1 + exportsOf + "/?pretty=true&envelope=true"}
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		ids  = map[string]int{}
	)
	for i := range 32 {
		wait.Go(func() {
			answer, err := b.do([]string{"nightly", "weekly"}[i%2], targets[i/2%4], []string{body, other}[i/8%2])
			mu.Lock()
			defer mu.Unlock()
			if err != nil || answer.Status != http.StatusOK {
				b.Errorf("%v %v", answer, err)
				return
			}
			ids[b.id(answer)]++
		})
	}
	wait.Wait()
	b.jobs(1)
	for _, target := range targets {
		answer := b.must("nightly", target, other)
		ids[b.id(answer)]++
		enveloped := strings.Contains(target, "envelope")
		if !answer.Replayed || strings.Contains(string(answer.Body), `"status"`) != enveloped {
			t.Errorf("%s: replayed %t: %s", target, answer.Replayed, answer.Body)
		}
	}
	if len(ids) != 1 || ids[b.sim.Jobs()[0].ID] != 36 {
		t.Errorf("the answers name %v", ids)
	}
	b.jobs(1)
	sent, joined, replayed := b.results["sent"].Load(), b.results["joined"].Load(), b.results["replayed"].Load()
	if sent != 2 || joined+replayed != 35 || joined == 0 || replayed < 4 { // one is the bucket
		t.Errorf("%d sent, %d joined, %d replayed", sent, joined, replayed)
	}
	// Another snapshot, or other custom data, is another create.
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot2, `[{"key":"a","value":"1"},{"key":"b","value":"2"}]`))
	b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, `[{"key":"a","value":"2"},{"key":"b","value":"1"}]`))
	b.jobs(3)
}

// An answer that is lost on its way, in each manner, is found at Atlas, and nothing is sent again.
func TestLostAnswers(t *testing.T) {
	for name, fault := range map[string]sim.Fault{
		"reset":     {Kind: sim.FaultResetAfter},
		"503":       {Kind: sim.FaultUnavailableAfter},
		"truncated": {Kind: sim.FaultTruncate},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, idempotency.Config{})
			for _, create := range []struct{ operation, target, body string }{
				{"createBackupExport", v2 + exportsOf, b.export(sim.OrdersSnapshot, `[{"key":"a","value":"1"}]`)},
				{"v1CreateBackupExport", v1 + exportsOf + "/", b.export(sim.OrdersSnapshot2, "")},
				{"createExportBucket", v2 + bucketsOf, `{"cloudProvider":"GCP","bucketName":"another-bucket","roleId":"` + sim.AWSRole + `"}`},
			} {
				fault.Operation, fault.Count = create.operation, 1
				b.faults(fault)
				answer := b.must("nightly", create.target, create.body)
				if !answer.Replayed || b.id(answer) == "" {
					t.Errorf("%s: %+v", create.operation, answer)
				}
				if n := b.sent(create.operation, create.body); n != 1 {
					t.Errorf("%s was sent %d times", create.operation, n)
				}
			}
			b.jobs(2)
		})
	}
}

// A create that was not carried out leaves its key free, and the caller is told.
func TestNothingHappened(t *testing.T) {
	for name, fault := range map[string]sim.Fault{"reset": {Kind: sim.FaultReset}, "503": {Kind: sim.FaultUnavailable}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, idempotency.Config{})
			fault.Operation, fault.Count = "createBackupExport", 1
			b.faults(fault)
			body := b.export(sim.OrdersSnapshot, "")
			_, err := b.do("nightly", v2+exportsOf, body)
			check(t, err, idempotency.NothingHappened, atlas.NotSent)
			b.jobs(0)
			if answer := b.must("nightly", v2+exportsOf, body); answer.Replayed {
				t.Error("nothing was there to be replayed")
			}
			b.jobs(1)
		})
	}
}

// A caller whose time is over is told that the outcome is unknown, and its retry gets the job.
func TestCallerCannotWait(t *testing.T) {
	b := newBench(t, idempotency.Config{Wait: 300 * time.Millisecond, Timeout: 500 * time.Millisecond})
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}, sim.Fault{Kind: sim.FaultUnavailable, Operation: "listBackupExports"})
	body := b.export(sim.OrdersSnapshot, "")
	_, err := b.do("nightly", v2+exportsOf, body)
	check(t, err, idempotency.Open, atlas.Unknown)
	_, err = b.do("nightly", v1+exportsOf, body) // joins the looking
	check(t, err, idempotency.Open, atlas.Unknown)
	b.faults()
	var answer *idempotency.Answer
	gatewaytest.WaitFor(t, "the job", func() bool {
		answer, err = b.do("nightly", v2+exportsOf, body)
		return err == nil
	})
	if !answer.Replayed || b.id(answer) != b.sim.Jobs()[0].ID {
		t.Errorf("%+v", answer)
	}
	b.jobs(1)
}

// A caller that leaves changes nothing: what was sent is followed to its end.
func TestCallerLeaves(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	held := b.hold()
	ctx, cancel := context.WithCancel(t.Context())
	body := b.export(sim.OrdersSnapshot, "")
	go func() { <-held.created; cancel() }()
	_, err := b.creates.Do(ctx, b.request("nightly", v2+exportsOf, body))
	if failed, ok := errors.AsType[*atlas.Error](err); !ok || failed.Kind != atlas.Canceled || failed.Outcome != atlas.Unknown {
		t.Errorf("%v", err)
	}
	held.let()
	if answer := b.must("nightly", v2+exportsOf, body); !answer.Replayed {
		t.Error("the create was sent again")
	}
	b.jobs(1)
}

// What Atlas refuses is passed on, to all who wait, and is not kept.
func TestRefusalsAreNotKept(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.faults(sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 9, Operation: "createBackupExport", Count: 1})
	for _, want := range []int{http.StatusTooManyRequests, http.StatusOK} {
		answer, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
		if err != nil || answer.Status != want || answer.Replayed {
			t.Errorf("%+v, %v", answer, err)
		}
	}
	for range 2 {
		answer, err := b.do("nightly", v2+exportsOf+"?envelope=true", strings.Replace(b.export(sim.OrdersSnapshot2, ""), b.bucket, "65a9d3e1f20b4c77889900aa", 1))
		if err != nil || answer.Replayed || !strings.Contains(string(answer.Body), "EXPORT_BUCKET_NOT_FOUND") {
			t.Errorf("%+v, %v", answer, err)
		}
	}
	b.jobs(1)
	if counts, err := b.journal.Count(t.Context()); err != nil || counts != (store.Counts{}) {
		t.Errorf("%+v, %v", counts, err)
	}
}

// A job that failed, or that is gone, may be started again at once.
func TestFailedJobs(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	body := b.export(sim.OrdersSnapshot, "")
	first := b.must("nightly", v2+exportsOf, body)
	if err := b.sim.EndJob(b.id(first), sim.Outcome{State: "Failed", ErrorCode: "CANNOT_ASSUME_ROLE", Message: "No."}); err != nil {
		t.Fatal(err)
	}
	second := b.must("nightly", v1+exportsOf, body)
	if second.Replayed || b.id(second) == b.id(first) {
		t.Errorf("%+v", second)
	}
	b.jobs(2)
	// Where Atlas can't be asked, the answer that was stored serves.
	b.faults(sim.Fault{Kind: sim.FaultUnavailable, Operation: "getBackupExport"})
	if third := b.must("nightly", v2+exportsOf+"?envelope=true", body); !third.Replayed || b.id(third) != b.id(second) {
		t.Errorf("%+v", third)
	}
}

// A bucket that was made, deleted elsewhere and is made again is made again.
func TestBucketsAreMadeAgain(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	body := `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"` + sim.AWSRole + `"}`
	b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(200 * time.Millisecond), Operation: "createExportBucket"})
	ids := make(chan string, 3)
	for range 3 {
		go func() {
			answer, err := b.do("nightly", v2+bucketsOf, body)
			if err != nil {
				b.Error(err)
			}
			ids <- b.id(answer)
		}()
	}
	first := gatewaytest.Receive(t, "the first answer", ids)
	if second, third := gatewaytest.Receive(t, "the second answer", ids), gatewaytest.Receive(t, "the third answer", ids); first == b.bucket || second != first || third != first {
		t.Errorf("joined: %s, %s, %s", first, second, third)
	}
	if again := b.must("nightly", v2+bucketsOf, body); b.id(again) == first || again.Replayed {
		t.Errorf("the bucket was not made again: %+v", again)
	}
}

// Keys of callers take the place of the derived ones.
func TestGivenKeys(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	body := b.export(sim.OrdersSnapshot, "")
	derived := b.id(b.must("nightly", v2+exportsOf, body))
	one := b.id(b.must("nightly", v2+exportsOf, body, "one"))
	two := b.id(b.must("nightly", v2+exportsOf, body, `"two"`))
	other := b.id(b.must("weekly", v2+exportsOf, body, "one"))
	if ids := map[string]bool{derived: true, one: true, two: true, other: true}; len(ids) != 4 {
		t.Errorf("%v", ids)
	}
	again := b.must("nightly", v2+exportsOf, body, `"one"`)
	if !again.Replayed || b.id(again) != one {
		t.Errorf("%+v", again)
	}
	_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot2, ""), "one")
	check(t, err, idempotency.KeyReused, atlas.NotSent)
	for _, key := range [][]string{{""}, {"a", "b"}, {"a b"}, {`"open`}, {`"a" `}, {"é"}, {strings.Repeat("a", 256)}, {`""`}} {
		_, err := b.do("nightly", v2+exportsOf, body, key...)
		check(t, err, idempotency.KeyMalformed, atlas.NotSent)
	}
	if answer := b.must("nightly", v2+exportsOf, body, strings.Repeat("a", 255)); answer.Replayed {
		t.Error("a key of 255 characters is another")
	}
	b.jobs(5)
}

// A key that is given for another create while the first one is under way is refused at once: nobody
// gets the answer to a create that he has not asked for.
func TestGivenKeyUnderWay(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	held := b.hold()
	answered := make(chan error, 1)
	go func() {
		_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""), "one")
		answered <- err
	}()
	gatewaytest.Receive(t, "the create at Atlas", held.created)
	other := make(chan error, 1)
	go func() {
		_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot2, ""), "one")
		other <- err
	}()
	select {
	case err := <-other:
		check(t, err, idempotency.KeyReused, atlas.NotSent)
	case <-time.After(5 * time.Second):
		held.let()
		t.Errorf("another create waits for the first one, and gets %v", <-other)
	}
	held.let()
	if err := gatewaytest.Receive(t, "the answer", answered); err != nil {
		t.Error(err)
	}
	b.jobs(1)
}

func TestKeysThatAreRequired(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.config.Keys = idempotency.Required
	_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
	check(t, err, idempotency.KeyMissing, atlas.NotSent)
	b.jobs(0)
	b.config.Keys = idempotency.Explicit
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	for range 2 {
		b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
	}
	b.jobs(2)
}

// A caller has so many creates open and no more; others are unhurt.
func TestQuota(t *testing.T) {
	b := newBench(t, idempotency.Config{Quota: 1})
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	held := b.hold()
	answered := make(chan error)
	go func() {
		_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
		answered <- err
	}()
	gatewaytest.Receive(t, "the first create at Atlas", held.created)
	_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot2, ""))
	check(t, err, idempotency.QuotaReached, atlas.NotSent)
	b.must("weekly", v2+exportsOf, b.export(sim.OrdersSnapshot3, ""))
	held.let()
	if err := gatewaytest.Receive(t, "the first answer", answered); err != nil {
		t.Error(err)
	}
	b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot2, ""))
	b.jobs(3)
}

// Without a journal nothing is sent. With one again, everything goes on.
func TestNoJournal(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.journal.Close()
	_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
	check(t, err, idempotency.NoJournal, atlas.NotSent)
	b.jobs(0)
}

// The journal that ends behind a create that was sent does not keep the answer from its caller,
// and the next process finds what was created.
func TestJournalEndsBehindACreate(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	held := b.hold()
	body := b.export(sim.OrdersSnapshot, "")
	answered := make(chan *idempotency.Answer)
	go func() {
		answer, err := b.do("nightly", v2+exportsOf, body)
		if err != nil {
			b.Error(err)
		}
		answered <- answer
	}()
	gatewaytest.Receive(t, "the create at Atlas", held.created)
	b.journal.Close()
	held.let()
	first := gatewaytest.Receive(t, "the answer", answered)
	b.jobs(1)

	b.start() // the record says sent, and its owner is gone
	again := b.must("nightly", v2+exportsOf, body)
	if !again.Replayed || b.id(again) != b.id(first) {
		t.Errorf("%+v", again)
	}
	b.jobs(1)
}

// Of several things that match, none is taken: a person has to look.
func TestSeveralMatch(t *testing.T) {
	b := newBench(t, idempotency.Config{Wait: 2 * time.Second, Timeout: time.Second})
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	body := b.export(sim.OrdersSnapshot, "")
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport"})
	done := make(chan struct{})
	go func() { // what somebody does without the gateway, at the same time
		defer close(done)
		b.upstream.Send(context.Background(), &atlas.Request{Operation: b.request("x", v2+exportsOf, body).Match.Operation, Group: sim.GroupID,
			Path: v2 + exportsOf, MediaType: "application/vnd.atlas.2023-01-01+json", Body: []byte(body)})
	}()
	<-done
	_, err := b.do("nightly", v2+exportsOf, body)
	check(t, err, idempotency.Open, atlas.Unknown)
	b.jobs(2)
	open, err := b.journal.Open(t.Context(), 10)
	if err != nil || len(open) != 1 || !strings.HasPrefix(open[0].Note, "several match") {
		t.Errorf("%+v, %v", open, err)
	}
	// Released by an operator, the key is free.
	b.faults()
	if err := b.journal.Free(t.Context(), open[0].ID); err != nil {
		t.Fatal(err)
	}
	gatewaytest.WaitFor(t, "the key to be free", func() bool {
		_, err = b.do("nightly", v2+exportsOf, body)
		return err == nil
	})
	b.jobs(3)
}
