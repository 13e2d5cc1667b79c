package idempotency_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"

	_ "modernc.org/sqlite"
)

const (
	eventsSnapshots = "/groups/" + sim.GroupID + "/clusters/" + sim.EventsCluster + "/backup/snapshots"
	ordersSnapshots = "/groups/" + sim.GroupID + "/clusters/" + sim.OrdersCluster + "/backup/snapshots"
)

func bucketNamed(name string) string {
	return `{"cloudProvider":"AWS","bucketName":"` + name + `","iamRoleId":"` + sim.AWSRole + `"}`
}

// Requests of different forms that come at the same time make one thing.
func TestFormsAtTheSameTime(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	body := bucketNamed("other-exports")
	b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), Operation: "createExportBucket"},
		sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), Operation: "v1CreateExportBucket"})
	var all sync.WaitGroup
	for _, target := range []string{v2 + bucketsOf, v1 + bucketsOf, v2 + bucketsOf + "?envelope=true", v2 + bucketsOf + "?pretty=true"} {
		all.Go(func() {
			answer, err := b.do("nightly", target, body)
			if err != nil || answer.Status != http.StatusOK {
				b.Errorf("%s: %+v, %v", target, answer, err)
				return
			}
			if enveloped := strings.Contains(string(answer.Body), `"content"`); enveloped != strings.Contains(target, "envelope") {
				b.Errorf("%s: %s", target, answer.Body)
			}
		})
	}
	all.Wait()
	if n := b.sent("createExportBucket", body) + b.sent("v1CreateExportBucket", body); n != 1 {
		b.Errorf("the bucket was made %d times", n)
	}
}

// later lets the answers of the journal grow old.
func (b *bench) later(d time.Duration) {
	b.Helper()
	if err := b.creates.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.journal.Close()
	b.age(d)
	b.start()
}

// age lets the records of a journal that is closed grow old.
func (b *bench) age(d time.Duration) {
	b.Helper()
	db, err := sql.Open("sqlite", b.path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{
		`UPDATE atlas_gateway_creates SET sent_at = sent_at - ?1, changed_at = changed_at - ?1 WHERE ?1 > 0`,
		`UPDATE atlas_gateway_creates SET expires_at = expires_at - ?1 WHERE state = 'answered'`,
	} {
		if _, err := db.Exec(statement, d.Milliseconds()); err != nil {
			b.Fatal(err)
		}
	}
}

// A caller's own key is known for as long as Retention says, whatever it created.
func TestGivenKeysOfBuckets(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	body := bucketNamed("other-exports")
	first := b.must("nightly", v2+bucketsOf, body, "one")
	b.later(10 * time.Minute)
	if again := b.must("nightly", v2+bucketsOf, body, "one"); !again.Replayed || b.id(again) != b.id(first) {
		t.Errorf("%+v", again)
	}
	b.later(2 * time.Hour)
	if again := b.must("nightly", v2+bucketsOf, body, "one"); again.Replayed {
		t.Errorf("%+v", again)
	}
}

// The answer to a snapshot that was lost is found, of a sharded cluster as well.
func TestSnapshotsAreFound(t *testing.T) {
	for name, target := range map[string]string{"orders": ordersSnapshots, "events": eventsSnapshots} {
		for _, key := range [][]string{nil, {"one"}} {
			t.Run(name+strings.Join(key, ""), func(t *testing.T) {
				b := newBench(t, idempotency.Config{})
				body := `{"description":"before","retentionInDays":2}`
				b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "takeSnapshots", Count: 1})
				answer, err := b.do("nightly", v2+target, body, key...)
				if err != nil || answer.Status != http.StatusOK || !answer.Replayed {
					t.Errorf("%+v %v\n%s", answer, err, b.log)
				}
				if answer != nil {
					t.Logf("%s", answer.Body)
				}
				if n := b.sent("takeSnapshots", body); n != 1 {
					t.Errorf("sent %d times\n%s", n, b.log)
				}
			})
		}
	}
}

// hiding answers that a thing is not there, as Atlas might until all of its servers know of it.
type hiding struct {
	idempotency.Upstream
	hides atomic.Bool
}

func (h *hiding) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if h.hides.Load() && r.Operation.ID == "getBackupExport" {
		return &atlas.Response{Status: http.StatusNotFound, Header: http.Header{"Content-Type": {r.MediaType}},
			Body: []byte(`{"error":404,"errorCode":"EXPORT_NOT_FOUND","detail":"none","parameters":[],"reason":"Not Found"}`)}, nil
	}
	return h.Upstream.Send(ctx, caller, r)
}

// What was created just now may not be readable yet, which does not mean that it is gone.
func TestNotReadableYet(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.config.Quarantine = time.Minute
	b.sim.SetSettings(sim.Settings{ParallelExports: true})
	hiding := &hiding{Upstream: b.way}
	b.way = hiding
	body := b.export(sim.OrdersSnapshot, "")
	first := b.must("nightly", v2+exportsOf, body)
	hiding.hides.Store(true)
	if again := b.must("nightly", v2+exportsOf, body); !again.Replayed || b.id(again) != b.id(first) {
		t.Errorf("%+v", again)
	}
	b.later(2 * time.Minute)
	if again := b.must("nightly", v2+exportsOf, body); again.Replayed || b.id(again) == b.id(first) {
		t.Errorf("%+v", again)
	}
	b.jobs(2)
}

// closing closes the journal when the log says something.
type closing struct {
	*gatewaytest.Buffer
	when string
	do   func()
}

func (c *closing) Write(line []byte) (int, error) {
	if strings.Contains(string(line), c.when) {
		c.do()
	}
	return c.Buffer.Write(line)
}

// with replaces what makes creates happen once by one with a log and an observer of the test's.
func (b *bench) with(w *closing, commit func(time.Duration)) *idempotency.Creates {
	b.Helper()
	if err := b.creates.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	rules, err := contract.Load()
	if err != nil {
		b.Fatal(err)
	}
	b.creates = idempotency.New(b.journal, rules, func() (idempotency.Config, idempotency.Upstream) { return b.config, b.way },
		slog.New(slog.NewTextHandler(w, nil)), idempotency.Observer{Create: func(string) {}, Commit: commit})
	creates := b.creates
	b.Cleanup(func() { creates.Close(context.Background()) })
	return creates
}

// A journal that fails behind a create that was sent makes its outcome unknown, never not sent.
func TestJournalFailsWhileLooking(t *testing.T) {
	for _, when := range []string{"state=unknown", "state=sent"} {
		t.Run(when, func(t *testing.T) {
			b := newBench(t, idempotency.Config{})
			journal := b.journal
			b.with(&closing{b.log, when, func() { journal.Close() }}, func(time.Duration) {})
			b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
			_, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
			check(t, err, idempotency.Open, atlas.Unknown)
			b.jobs(1)
		})
	}
}

// A caller who is told that nothing was sent is told the truth.
func TestLeavesBeforeSending(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	b.with(&closing{b.log, "\x00", nil}, func(time.Duration) { // the record is there, and the create has not left
		cancel()
		<-left
	})
	body := b.export(sim.OrdersSnapshot, "")
	_, err := b.creates.Do(ctx, b.request("nightly", v2+exportsOf, body))
	if failed, ok := errors.AsType[*atlas.Error](err); !ok || failed.Outcome != atlas.NotSent {
		t.Errorf("%v", err)
	}
	close(left)
	if err := b.creates.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.sent("createBackupExport", body); n != 0 {
		t.Errorf("sent %d times", n)
	}
	if counts, err := b.journal.Count(t.Context()); err != nil || counts != (store.Counts{}) {
		t.Errorf("%+v, %v", counts, err)
	}
}

// A database that goes away without a word keeps no answer from its caller.
func TestSilentDatabase(t *testing.T) {
	server := postgrestest.Start(t)
	b := newBench(t, idempotency.Config{})
	database, err := url.Parse(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	silent := newSilent(t, database.Host)
	database.Host = silent.address
	if b.journal, err = store.OpenPostgres(t.Context(), database.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.journal.Close() })
	b.with(&closing{b.log, "state=sent", func() { silent.now.Store(true) }}, func(time.Duration) {})
	if answer := b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, "")); answer.Replayed {
		t.Errorf("%+v", answer)
	}
	_, err = b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
	check(t, err, idempotency.NoJournal, atlas.NotSent)
	b.jobs(1)
}

// silent passes connections on until it says nothing any more.
type silent struct {
	address string
	now     atomic.Bool
}

func newSilent(t *testing.T, to string) *silent {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s := &silent{address: listener.Addr().String()}
	pass := func(to, from net.Conn) {
		defer to.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if !s.now.Load() {
				to.Write(buffer[:n])
			}
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				conn.Close()
				continue
			}
			go pass(server, conn)
			go pass(conn, server)
		}
	}()
	return s
}

// Without a key of a caller's, nobody is told that one was reused.
func TestOtherContentWithoutKey(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.faults(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), Operation: "takeSnapshots"})
	var all sync.WaitGroup
	for _, days := range []string{"2", "3"} {
		all.Go(func() {
			answer, err := b.do("nightly", v2+ordersSnapshots, `{"description":"before","retentionInDays":`+days+`}`)
			if err != nil {
				b.Errorf("%v", err)
				return
			}
			b.Logf("%s: %d %s", days, answer.Status, answer.Body)
		})
	}
	all.Wait()
}

// Atlas's 429 with the status 400 is a refusal as well.
func TestRateLimit400(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.faults(sim.Fault{Kind: sim.FaultRateLimit400, RetryAfter: 9, Operation: "createBackupExport", Count: 1})
	answer, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, ""))
	if err != nil || answer.Status != http.StatusBadRequest || answer.Replayed {
		t.Errorf("%+v, %v", answer, err)
	}
}

// A pair of custom data may lack a member.
func TestCustomDataWithoutValue(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	b.faults(sim.Fault{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1})
	answer, err := b.do("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, `[{"key":"a"}]`))
	if err != nil || !answer.Replayed {
		t.Errorf("%+v, %v", answer, err)
	}
	// Nobody recorded whether Atlas shows it without the member, or with an empty one.
	if same := b.must("nightly", v2+exportsOf, b.export(sim.OrdersSnapshot, `[{"key":"a","value":""}]`)); !same.Replayed {
		t.Errorf("%+v", same)
	}
	b.jobs(1)
}

// unreadable fails whoever asks for one job, or for the list of all.
type unreadable struct {
	idempotency.Upstream
	list bool // as well
	fail func(*atlas.Request) (*atlas.Response, error)
}

func (u *unreadable) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	if r.Operation.ID == "getBackupExport" || u.list && r.Operation.ID == "listBackupExports" {
		return u.fail(r)
	}
	return u.Upstream.Send(ctx, caller, r)
}

// What was created and can't be read now was not refused by Atlas, and not "not sent".
func TestSettledAndUnreadable(t *testing.T) {
	b := newBench(t, idempotency.Config{})
	way := &unreadable{Upstream: direct{b.upstream}, list: true, fail: func(*atlas.Request) (*atlas.Response, error) {
		return nil, &atlas.Error{Kind: atlas.Unreachable, Outcome: atlas.NotSent, Err: errors.New("nobody listens")}
	}}
	b.way = way
	if err := b.sim.SetFaults([]sim.Fault{{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}}); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	body := b.export(sim.OrdersSnapshot, "")
	go func() {
		_, err := b.do("nightly", v2+exportsOf, body)
		failed <- err
	}()
	var open []*store.Record
	gatewaytest.WaitFor(t, "the create to be unknown", func() bool {
		open, _ = b.journal.Open(t.Context(), 1)
		return len(open) == 1 && open[0].State == store.Unknown
	})
	if err := b.creates.Settle(t.Context(), open[0].ID, b.sim.Jobs()[0].ID, "a person looked"); err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if got, ok := errors.AsType[*idempotency.Error](err); !ok || got.Kind != idempotency.Open || got.Outcome != atlas.Unknown {
			t.Errorf("%v", err)
		}
	}
	check(gatewaytest.Receive(t, "the answer to the create", failed))
	way.fail = func(r *atlas.Request) (*atlas.Response, error) {
		return &atlas.Response{Status: http.StatusTooManyRequests, Header: http.Header{"Content-Type": {r.MediaType}}, Body: []byte(`{"error":429}`)}, nil
	}
	_, err := b.do("nightly", v2+exportsOf, body)
	check(err)
	b.way = direct{b.upstream}
	if again := b.must("nightly", v2+exportsOf, body); !again.Replayed {
		t.Errorf("%+v", again)
	}
	b.jobs(1)
}
