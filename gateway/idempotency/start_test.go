package idempotency_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

const (
	exportsOf = "/groups/" + sim.GroupID + "/clusters/" + sim.OrdersCluster + "/backup/exports"
	bucketsOf = "/groups/" + sim.GroupID + "/backup/exportBuckets"
	v1, v2    = "/api/atlas/v1.0", "/api/atlas/v2"
)

// direct sends at once, whoever the caller is.
type direct struct{ *atlas.Upstream }

func (d direct) Send(ctx context.Context, _ string, r *atlas.Request) (*atlas.Response, error) {
	return d.Upstream.Send(ctx, r)
}

// held is a way to Atlas that keeps the answer to its first create until let is called.
type held struct {
	idempotency.Upstream
	created chan struct{} // closed once Atlas has answered the create
	let     func()

	goes chan struct{}
	one  atomic.Bool
}

// hold has the answer to the next create held.
func (b *bench) hold() *held {
	h := &held{Upstream: b.way, created: make(chan struct{}), goes: make(chan struct{})}
	h.let = sync.OnceFunc(func() { close(h.goes) })
	b.Cleanup(h.let)
	b.way = h
	return h
}

func (h *held) Send(ctx context.Context, caller string, r *atlas.Request) (*atlas.Response, error) {
	response, err := h.Upstream.Send(ctx, caller, r)
	if r.Operation.Method == http.MethodPost && h.one.CompareAndSwap(false, true) {
		close(h.created)
		<-h.goes
	}
	return response, err
}

// bench is a simulated Atlas and what makes creates happen once in front of it.
type bench struct {
	*testing.T
	sim      *sim.Server
	upstream *atlas.Upstream
	way      idempotency.Upstream // that creates are sent on
	path     string               // of the journal
	journal  *store.Store
	creates  *idempotency.Creates
	config   idempotency.Config
	results  map[string]*atomic.Int64
	log      *gatewaytest.Buffer
	bucket   string // the id of an export bucket
}

func newBench(t *testing.T, config idempotency.Config) *bench {
	t.Parallel()
	b := &bench{T: t, sim: sim.Start(t, sim.Config{}), path: filepath.Join(t.TempDir(), "creates.db"), log: &gatewaytest.Buffer{}}
	b.config = idempotency.Config{Keys: idempotency.Derived, Retention: time.Hour, Quarantine: 100 * time.Millisecond, Wait: 20 * time.Second, Quota: 100, Timeout: 20 * time.Second}
	if config.Keys != "" {
		b.config.Keys = config.Keys
	}
	if config.Wait != 0 {
		b.config.Wait, b.config.Timeout = config.Wait, config.Timeout
	}
	if config.Quota != 0 {
		b.config.Quota = config.Quota
	}
	b.upstream = b.upstreamAt(b.sim.URL())
	b.way = direct{b.upstream}
	b.start()
	b.bucket = b.id(b.must("nightly", v2+bucketsOf, `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"`+sim.AWSRole+`"}`))
	return b
}

// upstreamAt returns the way to an Atlas that has the simulation's API key.
func (b *bench) upstreamAt(origin string) *atlas.Upstream {
	b.Helper()
	half := secret.New(sim.PrivateKey)
	pool := atlas.NewPool(func(string, int, time.Duration) {}, func(atlas.CredentialState) {})
	b.Cleanup(pool.CloseIdleConnections)
	upstream, err := pool.Upstream(atlas.Config{
		Origin: origin, MaxConnections: 64, MaxResponse: 1 << 20, Timeout: b.config.Timeout,
		Credentials: []atlas.Credential{{
			Name: "upstream.credentials[0]", Groups: []string{"*"}, Place: "files", ID: sim.PublicKey, Secret: half,
			Read: func() (string, secret.Secret, error) { return sim.PublicKey, half, nil },
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	pool.Keep(upstream)
	return upstream
}

// start opens the journal, as a process does at its start.
func (b *bench) start() {
	b.Helper()
	var err error
	if b.journal, err = store.OpenFile(b.Context(), b.path); err != nil {
		b.Fatal(err)
	}
	b.results = make(map[string]*atomic.Int64)
	for _, result := range []string{"sent", "joined", "replayed", "failed", "key_malformed", "key_missing", "key_reused", "quota", "no_journal", "open", "nothing_happened", "released"} {
		b.results[result] = new(atomic.Int64)
	}
	rules, err := contract.Load()
	if err != nil {
		b.Fatal(err)
	}
	journal := b.journal
	b.creates = idempotency.New(journal, rules, func() (idempotency.Config, idempotency.Upstream) { return b.config, b.way },
		slog.New(slog.NewTextHandler(b.log, nil)), idempotency.Observer{Create: func(result string) { b.results[result].Add(1) }, Commit: func(time.Duration) {}})
	creates := b.creates
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := creates.Close(ctx); err != nil {
			b.Error(err)
		}
		journal.Close()
	})
}

// request returns a create of a caller's.
func (b *bench) request(caller, target, body string, key ...string) *idempotency.Request {
	b.Helper()
	rules, err := contract.Load()
	if err != nil {
		b.Fatal(err)
	}
	match, err := rules.Match(http.MethodPost, target)
	if err != nil {
		b.Fatal(err)
	}
	version := match.Operation.Versions[len(match.Operation.Versions)-1]
	content, err := match.Check(version, http.Header{}, []byte(body), 1000)
	if err != nil {
		b.Fatal(err)
	}
	return &idempotency.Request{Caller: caller, ID: "0123456789ab-1", Key: key, Match: match, Version: version, Body: []byte(body), Content: content}
}

func (b *bench) do(caller, target, body string, key ...string) (*idempotency.Answer, error) {
	b.Helper()
	return b.creates.Do(b.Context(), b.request(caller, target, body, key...))
}

// must returns the answer to a create, which must be one.
func (b *bench) must(caller, target, body string, key ...string) *idempotency.Answer {
	b.Helper()
	answer, err := b.do(caller, target, body, key...)
	if err != nil {
		b.Fatal(err)
	}
	if answer.Status != http.StatusOK {
		b.Fatalf("%d %s", answer.Status, answer.Body)
	}
	return answer
}

// id returns the id in an answer, with or without an envelope.
func (b *bench) id(answer *idempotency.Answer) string {
	b.Helper()
	var item struct {
		ID      string `json:"id"`
		Bucket  string `json:"_id"`
		Content *struct {
			ID string `json:"id"`
		}
	}
	if err := json.Unmarshal(answer.Body, &item); err != nil {
		b.Fatalf("%s: %v", answer.Body, err)
	}
	if item.Content != nil {
		return item.Content.ID
	}
	return item.ID + item.Bucket
}

// export returns the content of a create of an export job.
func (b *bench) export(snapshot, customData string) string {
	if customData == "" {
		customData = "[]"
	}
	return fmt.Sprintf(`{"snapshotId":%q,"exportBucketId":%q,"customData":%s}`, snapshot, b.bucket, customData)
}

// jobs checks how many jobs Atlas has made.
func (b *bench) jobs(want int) {
	b.Helper()
	if jobs := b.sim.Jobs(); len(jobs) != want {
		b.Errorf("Atlas made %d jobs, want %d\n%s", len(jobs), want, b.log)
	}
}

func (b *bench) faults(list ...sim.Fault) {
	b.Helper()
	if err := b.sim.SetFaults(list); err != nil {
		b.Fatal(err)
	}
}

// sent returns how often Atlas received a create with a content.
func (b *bench) sent(operation, body string) (n int) {
	for _, r := range b.sim.Requests(0) {
		if r.Operation == operation && r.Body == body {
			n++
		}
	}
	return n
}
