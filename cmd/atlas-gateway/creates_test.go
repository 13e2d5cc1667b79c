package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// withJournal are settings with a journal, and with short times: the simulation lists at once what
// it has made.
const withJournal = "creates: {quarantine: 100ms, wait: 5s}\n"

// journaled is a gateway with a journal in front of a simulated Atlas.
type journaled struct {
	*process
	atlas  *sim.Server
	bucket string // the id of an export bucket
}

func serveJournaled(t *testing.T, settings string, environ ...string) *journaled {
	t.Helper()
	j := &journaled{atlas: sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, ParallelExports: true}})}
	j.process = serveFor(t, j.atlas.URL(), settings, environ...)
	j.bucket = idOf(t, j.post(t, buckets, bucket, nil))
	return j
}

// A port that is taken is all that the log tells of: the journal is left before it is closed.
func TestPortInUseBesideAJournal(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, withJournal)
	taken := "ATLAS_GATEWAY_LISTENER_ADDRESS=" + strings.TrimPrefix(j.Listener, "http://")
	for range 10 {
		status, printed := runProgram(t, []string{"serve", j.file}, taken, "STATE_DIRECTORY="+t.TempDir())
		if status != exitFailed || !strings.Contains(printed, "address already in use") || strings.Contains(printed, "journal") {
			t.Fatalf("%d %s", status, printed)
		}
	}
}

// post sends a create.
func (j *journaled) post(t *testing.T, target, body string, fields map[string]string) gatewaytest.Response {
	t.Helper()
	header := map[string]string{"Accept": "application/vnd.atlas.2025-03-12+json", "Content-Type": "application/json"}
	for name, value := range fields {
		header[name] = value
	}
	return gatewaytest.Send(t, http.MethodPost, j.Listener+target, header, body)
}

// export returns the content of a create of an export job.
func (j *journaled) export(purpose string) string {
	return fmt.Sprintf(`{"snapshotId":%q,"exportBucketId":%q,"customData":[{"key":"purpose","value":%q}]}`, sim.OrdersSnapshot, j.bucket, purpose)
}

// idOf returns the id in an answer, which must be 200.
func idOf(t *testing.T, got gatewaytest.Response) string {
	t.Helper()
	var item struct {
		ID     string `json:"id"`
		Bucket string `json:"_id"`
	}
	if err := json.Unmarshal([]byte(got.Body), &item); err != nil || got.Status != http.StatusOK || item.ID+item.Bucket == "" {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	return item.ID + item.Bucket
}

// refused fails the test unless a create is refused before anything is sent, and reads go on.
func (j *journaled) refused(t *testing.T, purpose string) {
	t.Helper()
	if got := j.post(t, exports, j.export(purpose), nil); !isRefused(got) {
		t.Errorf("%s: %d %v %s", purpose, got.Status, got.Header, got.Body)
	}
	if status, body := get(t, j.Listener+exports); status != http.StatusOK {
		t.Errorf("a read: %d %s", status, body)
	}
}

// isRefused reports whether an answer says that the journal did not take a create.
func isRefused(got gatewaytest.Response) bool {
	return got.Status == http.StatusServiceUnavailable && got.Header.Get("Gateway-Error") == "journal" &&
		got.Header.Get("Gateway-Outcome") == "not_sent" && got.Header.Get("Retry-After") != ""
}

// sends has a create sent whose answer takes a while, and returns what waits for the answer.
func (j *journaled) sends(t *testing.T, purpose string) (answer func() gatewaytest.Response) {
	t.Helper()
	if err := j.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(2 * time.Second), Operation: "createBackupExport", Count: 1}}); err != nil {
		t.Fatal(err)
	}
	body, answered := j.export(purpose), make(chan gatewaytest.Response, 1)
	go func() { answered <- j.post(t, exports, body, nil) }()
	gatewaytest.WaitFor(t, "the create", func() bool {
		_, metrics := get(t, j.Management+"/metrics")
		return strings.Contains(metrics, `atlas_gateway_open_creates{state="sent"} 1`)
	})
	return func() gatewaytest.Response {
		t.Helper()
		return gatewaytest.Receive(t, "the answer to the create", answered)
	}
}

// recovers waits until a create is answered, and fails the test unless each of others, which were
// answered with an id before, is answered with the same one.
func (j *journaled) recovers(t *testing.T, purpose string, ids map[string]string) {
	t.Helper()
	gatewaytest.WaitFor(t, "the journal", func() bool {
		return j.post(t, exports, j.export(purpose), nil).Status == http.StatusOK
	})
	for purpose, id := range ids {
		if got := j.post(t, exports, j.export(purpose), nil); idOf(t, got) != id || got.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s: %s %v, want %s", purpose, got.Body, got.Header, id)
		}
	}
	gatewaytest.WaitFor(t, "the reconciliation", func() bool {
		_, metrics := get(t, j.Management+"/metrics")
		return strings.Contains(metrics, `atlas_gateway_open_creates{state="sent"} 0`) && strings.Contains(metrics, `atlas_gateway_open_creates{state="unknown"} 0`)
	})
	if jobs := j.atlas.Jobs(); len(jobs) != len(ids)+1 {
		t.Errorf("Atlas made %d jobs, want %d", len(jobs), len(ids)+1)
	}
}

// kill ends the program with SIGKILL, and starts it again with the same journal.
func (j *journaled) kill(t *testing.T) {
	t.Helper()
	j.command.Process.Kill()
	j.command.Wait()
	content, err := os.ReadFile(j.file)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Dir(j.file)
	_, settings, _ := strings.Cut(string(content), "log: {level: debug}\n")
	j.process = serveProcess(t, settings, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "STATE_DIRECTORY="+state)
}

// A create whose gateway was killed is found by the next one: the caller that repeats it gets the
// one job.
func TestKilledBehindACreate(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, withJournal)
	// Atlas makes the job a while after the gateway is gone.
	if err := j.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(2 * time.Second), Operation: "createBackupExport", Count: 1}}); err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(http.MethodPost, j.Listener+exports, strings.NewReader(j.export("killed")))
	request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
	request.Header.Set("Content-Type", "application/json")
	go http.DefaultClient.Do(request)
	gatewaytest.WaitFor(t, "the create", func() bool {
		_, metrics := get(t, j.Management+"/metrics")
		return strings.Contains(metrics, `atlas_gateway_open_creates{state="sent"} 1`)
	})
	time.Sleep(200 * time.Millisecond) // between the record and the network
	j.kill(t)
	got := j.post(t, exports, j.export("killed"), nil)
	if id := idOf(t, got); id != j.atlas.Jobs()[0].ID || got.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s: %v", id, got.Header)
	}
	if jobs := j.atlas.Jobs(); len(jobs) != 1 {
		t.Errorf("%d jobs", len(jobs))
	}
}

// Keys of callers: another caller's is unrelated, another request with the same is refused, and
// the same at the same time is joined.
func TestIdempotencyKeys(t *testing.T) {
	gatewaytest.Concurrent(t)
	t.Parallel()
	nightly, weekly := gatewaytest.Issue(t, "nightly", `[{operations: [manage], groups: ["*"]}]`), gatewaytest.Issue(t, "weekly", `[{operations: [manage], groups: ["*"]}]`)
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, ParallelExports: true}})
	j := &journaled{atlas: atlas, process: serveProcess(t, gatewaytest.YAML(atlas.URL(), withJournal, nightly, weekly), "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)}
	as := func(c *gatewaytest.Caller, key string) map[string]string {
		return map[string]string{"Authorization": c.Bearer(), "Idempotency-Key": key}
	}
	j.bucket = idOf(t, j.post(t, buckets, bucket, as(nightly, "bucket")))
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		ids  = map[string]int{}
	)
	for i := range 16 {
		wait.Go(func() {
			id := idOf(t, j.post(t, exports, j.export("one"), as(nightly, []string{"one", `"one"`}[i%2])))
			mu.Lock()
			defer mu.Unlock()
			ids[id]++
		})
	}
	wait.Wait()
	if len(ids) != 1 {
		t.Errorf("at the same time: %v", ids)
	}
	if other := idOf(t, j.post(t, exports, j.export("one"), as(weekly, "one"))); ids[other] != 0 {
		t.Error("another caller got the same job")
	}
	for _, refused := range []struct {
		key    string
		status int
		kind   string
	}{{"one", 422, "key_reused"}, {strings.Repeat("k", 256), 400, "invalid_key"}, {"a b", 400, "invalid_key"}} {
		got := j.post(t, exports, j.export("two"), as(nightly, refused.key))
		if got.Status != refused.status || got.Header.Get("Gateway-Error") != refused.kind || got.Header.Get("Gateway-Outcome") != "not_sent" {
			t.Errorf("%q: %d %v %s", refused.key, got.Status, got.Header, got.Body)
		}
	}
	if jobs := atlas.Jobs(); len(jobs) != 2 {
		t.Errorf("%d jobs, want one of each caller", len(jobs))
	}
	for _, r := range atlas.Requests(0) {
		for _, field := range r.Header {
			if strings.EqualFold(field.Name, "Idempotency-Key") {
				t.Error("Atlas got a key")
			}
		}
	}
}

// A caller that floods the gateway with keys has so many creates open and no more, takes no
// memory, and leaves the others alone.
func TestFloodOfKeys(t *testing.T) {
	t.Parallel() // it waits most of the time
	measured(t)
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, ParallelExports: true, CountsOnly: true}})
	flood, honest := gatewaytest.Issue(t, "flood", `[{operations: [manage], groups: ["*"]}]`), gatewaytest.Issue(t, "honest", `[{operations: [manage], groups: ["*"]}]`)
	j := &journaled{atlas: atlas, process: serveProcess(t, gatewaytest.YAML(atlas.URL(), "creates: {open_per_caller: 5, wait: 1ms}\n", flood, honest), "ATLAS_GATEWAY_TIMEOUTS_UPSTREAM=10s", "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)}
	j.bucket = idOf(t, j.post(t, buckets, bucket, map[string]string{"Authorization": honest.Bearer()}))
	before := j.peak(t)
	if err := atlas.SetFaults([]sim.Fault{{Kind: sim.FaultReset, Operation: "createBackupExport", Count: 5}}); err != nil {
		t.Fatal(err)
	}
	var (
		wait     sync.WaitGroup
		mu       sync.Mutex
		statuses = map[int]int{}
	)
	for worker := range 8 {
		wait.Go(func() {
			for i := range 50 {
				got := j.post(t, exports, j.export("flood"), map[string]string{"Authorization": flood.Bearer(), "Idempotency-Key": fmt.Sprint(worker, "-", i)})
				mu.Lock()
				statuses[got.Status]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if statuses[http.StatusGatewayTimeout] != 5 || statuses[http.StatusTooManyRequests] != 395 {
		t.Errorf("the flood was answered %v, want 5 of 504 and the rest 429", statuses)
	}
	idOf(t, j.post(t, exports, j.export("honest"), map[string]string{"Authorization": honest.Bearer()}))
	j.stays(t, before, 64<<20)
}

// What operators see of creates, and releasing a key.
func TestCreatesCommand(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, "creates: {quarantine: 1h, wait: 1ms}\n", "ATLAS_GATEWAY_TIMEOUTS_UPSTREAM=1s")
	if err := j.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultReset, Operation: "createBackupExport", Count: 1}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second joins the search
		got := j.post(t, exports, j.export("unknown"), nil)
		if got.Status != http.StatusGatewayTimeout && got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
	}
	status, printed := runProgram(t, []string{"creates", "list", "-management", j.Management})
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	if status != 0 || len(lines) != 2 || !strings.Contains(lines[1], "unknown  export") {
		t.Fatalf("%d %s", status, printed)
	}
	id, _, _ := strings.Cut(lines[1], " ")
	if status, printed = runProgram(t, []string{"creates", "show", id, "-management", j.Management}); status != 0 || !strings.Contains(printed, `"state": "unknown"`) {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed = runProgram(t, []string{"creates", "release", id, "-management", j.Management}); status != exitUsage || !strings.Contains(printed, "-reason is required") {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed = runProgram(t, []string{"creates", "release", id, "-reason", "looked at Atlas", "-management", j.Management}); status != 0 {
		t.Errorf("%d %s", status, printed)
	}
	gatewaytest.WaitFor(t, "the key to be free", func() bool {
		return j.post(t, exports, j.export("unknown"), nil).Status == http.StatusOK
	})
	if log := j.stderr.String(); !strings.Contains(log, `"reason":"looked at Atlas"`) {
		t.Errorf("the log does not have the reason:\n%s", log)
	}
	if status, printed = runProgram(t, []string{"creates", "list", "-all", "-management", j.Management}); status != 0 || !strings.Contains(printed, "answered  export") || !strings.Contains(printed, j.atlas.Jobs()[0].ID) {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed = runProgram(t, []string{"creates", "show", "x", "-management", j.Management}); status != exitFailed || !strings.Contains(printed, "no such record") {
		t.Errorf("%d %s", status, printed)
	}
	for _, management := range []string{strings.TrimPrefix(j.Management, "http://"), "localhost:27090", "http://", ""} {
		status, printed = runProgram(t, []string{"creates", "list", "-management", management})
		if status != exitUsage || !strings.Contains(printed, "creates: -management: expected the URL of the management listener, such as http://127.0.0.1:27090") {
			t.Errorf("%q: %d %s", management, status, printed)
		}
	}
}

// Of several jobs that match, an operator knows the right one.
func TestCreatesAreSettled(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, "creates: {quarantine: 1h, wait: 1ms}\n", "ATLAS_GATEWAY_TIMEOUTS_UPSTREAM=1s")
	if err := j.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultReset, Operation: "createBackupExport", Count: 1}}); err != nil {
		t.Fatal(err)
	}
	if got := j.post(t, exports, j.export("unknown"), nil); got.Status != http.StatusGatewayTimeout {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	// The job that it is said to be is another: the operator has the last word.
	right := idOf(t, j.post(t, exports, j.export("right"), map[string]string{"Idempotency-Key": "right"}))
	_, printed := runProgram(t, []string{"creates", "list", "-management", j.Management})
	id := regexp.MustCompile(`(?m)^([0-9a-f]{32})  unknown`).FindStringSubmatch(printed)
	if id == nil {
		t.Fatal(printed)
	}
	settle := func(result string) (int, string) {
		return runProgram(t, []string{"creates", "settle", id[1], "-result", result, "-reason", "looked", "-management", j.Management})
	}
	if status, printed := settle("x"); status != exitFailed || !strings.Contains(printed, "the id of what was created") {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed := settle(right); status != exitFailed || !strings.Contains(printed, "another record of the journal has this result") {
		t.Errorf("%d %s", status, printed)
	}
	const result = "6a01f3c95be2d84417c0aa01"
	if status, printed := settle(result); status != exitOK || !strings.Contains(printed, result) {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed := settle(result); status != exitFailed || !strings.Contains(printed, "no such record") {
		t.Errorf("%d %s", status, printed)
	}
	_, printed = runProgram(t, []string{"creates", "show", id[1], "-management", j.Management})
	if !strings.Contains(printed, `"state": "answered"`) || !strings.Contains(printed, result) {
		t.Error(printed)
	}
}

// A create that is under way is not released: the operator waits until it is answered, or unknown.
func TestReleaseUnderWay(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, withJournal)
	answer := j.sends(t, "under way")
	_, printed := runProgram(t, []string{"creates", "list", "-management", j.Management})
	id := regexp.MustCompile(`(?m)^([0-9a-f]{32})  sent`).FindStringSubmatch(printed)
	if id == nil {
		t.Fatal(printed)
	}
	release := []string{"creates", "release", id[1], "-reason", "impatience", "-management", j.Management}
	if status, printed := runProgram(t, release); status != exitFailed || !strings.Contains(printed, "still waits for Atlas's answer") {
		t.Errorf("%d %s", status, printed)
	}
	first := idOf(t, answer())
	if status, printed := runProgram(t, release); status != exitOK {
		t.Errorf("%d %s", status, printed)
	}
	if second := idOf(t, j.post(t, exports, j.export("under way"), nil)); second == first {
		t.Errorf("the key was not free: %s", second)
	}
}

// A gateway without a journal says so to operators.
func TestCreatesWithoutJournal(t *testing.T) {
	t.Parallel()
	p := serveFor(t, "http://127.0.0.1:1", "")
	if status, printed := runProgram(t, []string{"creates", "list", "-management", p.Management}); status != exitFailed || !strings.Contains(printed, "has no journal") {
		t.Errorf("%d %s", status, printed)
	}
}

// A journal that can't be had ends the start, and says what to set.
func TestJournalsThatAreRefused(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, withJournal)
	serve := func(environ ...string) (int, string) {
		return runProgram(t, []string{"serve", j.file}, environ...)
	}
	if status, printed := serve("STATE_DIRECTORY=" + filepath.Dir(j.file)); status != exitFailed || !strings.Contains(printed, "another process has the journal") {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed := serve("STATE_DIRECTORY=", "XDG_STATE_HOME=", "HOME="); status != exitConfig || !strings.Contains(printed, "creates.file is required") {
		t.Errorf("%d %s", status, printed)
	}
	if status, printed := serve("STATE_DIRECTORY=/proc/journal"); status != exitFailed || !strings.Contains(printed, "creates.file: the journal's directory can't be made") {
		t.Errorf("%d %s", status, printed)
	}
}
