package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/internal/gatewaytest"
)

// withAudit returns settings with a journal and an audit stream.
func withAudit(file string, required bool) string {
	return withJournal + fmt.Sprintf("audit: {file: %s, required: %v}\n", file, required)
}

// auditRecords returns the records of streams, and how many lines were cut.
func auditRecords(t *testing.T, files ...string) (records []audit.Record, cut int) {
	t.Helper()
	for _, file := range files {
		for line := range strings.Lines(readFile(t, file)) {
			var r audit.Record
			if json.Unmarshal([]byte(line), &r) != nil {
				cut++
				continue
			}
			records = append(records, r)
		}
	}
	return records, cut
}

// named returns the content of a create of an export job whose custom data has a key of its own.
func (j *journaled) named(name string) string {
	return strings.Replace(j.export("c4na7y submitted"), `"purpose"`, `"`+name+`"`, 1)
}

// The gateway is killed while callers create jobs. The stream has the intent of each job that
// Atlas made, and the outcome of each create that was answered, except of those under way in the
// moment of a kill. Nothing of what was submitted is in it, except the keys of custom data.
func TestAuditOfAKilledGateway(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	j := serveJournaled(t, withAudit(file, true))
	const kills, at, each = 2, 4, 6
	lost := 0
	for kill := range kills {
		var answered atomic.Int32
		var callers sync.WaitGroup
		for caller := range at {
			callers.Go(func() {
				for i := range each {
					request, _ := http.NewRequest("POST", j.Listener+exports, strings.NewReader(j.named(fmt.Sprintf("k%d-%d-%d", kill, caller, i))))
					request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
					request.Header.Set("Content-Type", "application/json")
					if answer, err := http.DefaultClient.Do(request); err == nil {
						answer.Body.Close()
						answered.Add(1)
					}
				}
			})
		}
		gatewaytest.WaitFor(t, "some creates", func() bool { return answered.Load() >= at })
		j.command.Process.Kill()
		callers.Wait()
		j.kill(t)
		lost += at
	}
	for caller := range at {
		idOf(t, j.post(t, exports, j.named(fmt.Sprintf("last-%d", caller)), nil))
	}
	j.stop(t)
	records, cut := auditRecords(t, file)
	intents, outcomes := map[string]bool{}, map[string]bool{}
	for _, r := range records {
		for _, key := range r.CustomDataKeys {
			switch r.Event {
			case audit.Intent:
				intents[key] = true
			case audit.Outcome:
				outcomes[key] = r.Result != ""
			}
		}
	}
	jobs, without := j.atlas.Jobs(), 0
	for _, job := range jobs {
		key := *job.CustomData[0].Key
		if !intents[key] {
			t.Errorf("the stream does not have the intent of %s", key)
		}
		if !outcomes[key] {
			without++
		}
	}
	if started := slices.DeleteFunc(records, func(r audit.Record) bool { return r.Outcome != "started" }); len(started) != kills+1 {
		t.Errorf("%d starts are recorded", len(started))
	}
	if len(jobs) < kills*at || without > lost || cut > kills {
		t.Errorf("%d jobs, %d of them without an outcome, %d lines are cut", len(jobs), without, cut)
	}
	if text := readFile(t, file); strings.Contains(text, "c4na7y") || strings.Contains(text, "acme-exports") {
		t.Errorf("what was submitted is in the stream: %s", text)
	}
}

// fill fills a disk, and returns what makes room again.
func fill(t *testing.T, dir string) (makeRoom func()) {
	t.Helper()
	full := filepath.Join(dir, "full")
	file, err := os.Create(full)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 64<<10))
	}
	file.Close()
	return func() {
		if err := os.Remove(full); err != nil {
			t.Error(err)
		}
	}
}

// Where records are required, a full disk has changes refused before they are sent. Reads go on,
// and changes once there is room.
func TestRequiredAuditOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	file := filepath.Join(dir, "audit.jsonl")
	j := serveJournaled(t, withAudit(file, true))
	makeRoom := fill(t, dir)
	refused := 0
	for i := range 40 { // the last block may have some room left
		got := j.post(t, exports, j.named(fmt.Sprint("n", i)), nil)
		if got.Status == http.StatusServiceUnavailable && got.Header.Get("Gateway-Error") == "audit_unavailable" && got.Header.Get("Gateway-Outcome") == "not_sent" && got.Header.Get("Retry-After") != "" {
			refused++
		} else if got.Status != http.StatusOK {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	if jobs := len(j.atlas.Jobs()); refused < 20 || jobs+refused != 40 {
		t.Errorf("%d were refused, and Atlas made %d jobs", refused, jobs)
	}
	if status, body := get(t, j.Listener+exports); status != http.StatusOK {
		t.Errorf("a read: %d %s", status, body)
	}
	if got := gatewaytest.Send(t, "POST", j.Management+"/creates/x/release", nil, `{"reason":"x"}`); got.Status != http.StatusServiceUnavailable {
		t.Errorf("an operator's decision: %d %s", got.Status, got.Body)
	}
	if _, metrics := get(t, j.Management+"/metrics"); strings.Contains(metrics, `kind="audit_unavailable",operation="createBackupExport",reason=""} 0`) || strings.Contains(metrics, "atlas_gateway_audit_write_failures_total 0") {
		t.Error("the metrics do not tell")
	}
	makeRoom()
	idOf(t, j.post(t, exports, j.named("after"), nil))
	j.stop(t)
	outcomes := 0
	records, _ := auditRecords(t, file)
	for _, r := range records {
		if r.Error == "audit_unavailable" && r.Event == audit.Outcome && r.Outcome == "not_sent" {
			outcomes++
		}
	}
	if log := j.stderr.String(); outcomes != refused || !strings.Contains(log, "the audit stream can't be written") || !strings.Contains(log, "the audit stream can be written again") {
		t.Errorf("%d of %d refusals are in the stream: %s", outcomes, refused, log)
	}
}

// Where they are not required, changes go on, and what waits is written once there is room.
func TestAuditOnAFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	file := filepath.Join(dir, "audit.jsonl")
	j := serveJournaled(t, withAudit(file, false))
	makeRoom := fill(t, dir)
	for i := range 40 {
		idOf(t, j.post(t, exports, j.named(fmt.Sprint("n", i)), nil))
	}
	gatewaytest.WaitFor(t, "the metric", func() bool {
		_, metrics := get(t, j.Management+"/metrics")
		return strings.Contains(metrics, "atlas_gateway_audit_write_failures_total") && !strings.Contains(metrics, "atlas_gateway_audit_write_failures_total 0")
	})
	makeRoom()
	j.stop(t)
	seen := map[string]int{}
	records, _ := auditRecords(t, file)
	for _, r := range records {
		for _, key := range r.CustomDataKeys {
			seen[key]++
		}
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 creates are in the stream", len(seen))
	}
}

// The stream's disk has no error for a write, and one for fsync: nothing is sent that may be
// missing.
func TestRequiredAuditWithoutSync(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	j := serveJournaled(t, withAudit(file, true))
	recovered := j.breakFiles(t, "fsync,fdatasync:error=EIO", file)
	if got := j.post(t, exports, j.named("while it fails"), nil); got.Header.Get("Gateway-Error") != "audit_unavailable" || len(j.atlas.Jobs()) != 0 {
		t.Errorf("%d %v", got.Status, got.Header)
	}
	recovered()
	idOf(t, j.post(t, exports, j.named("after"), nil))
	j.stop(t)
}

// The file is renamed, and SIGHUP has a new one made.
func TestAuditRotation(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	j := serveJournaled(t, withAudit(file, true))
	idOf(t, j.post(t, exports, j.named("before"), nil))
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	idOf(t, j.post(t, exports, j.named("renamed"), nil))
	j.command.Process.Signal(syscall.SIGHUP)
	gatewaytest.WaitFor(t, "the new file", func() bool { _, err := os.Stat(file); return err == nil })
	idOf(t, j.post(t, exports, j.named("after"), nil))
	j.stop(t)
	old, _ := auditRecords(t, file+".1")
	whole, cut := auditRecords(t, file+".1", file)
	var keys []string
	for i, r := range whole {
		if r.Event == audit.Intent && len(r.CustomDataKeys) == 1 {
			keys = append(keys, fmt.Sprint(r.CustomDataKeys[0], " ", i < len(old)))
		}
	}
	if want := []string{"before true", "renamed true", "after false"}; !slices.Equal(keys, want) || cut > 0 {
		t.Errorf("%v, want %v, %d are cut", keys, want, cut)
	}
}

// The stream may go to standard error, beside the log. A file that can't be opened ends the start,
// and required without a file is no configuration.
func TestAuditSettings(t *testing.T) {
	t.Parallel()
	j := serveJournaled(t, withAudit("stderr", true))
	j.stop(t)
	if log := j.stderr.String(); !strings.Contains(log, `{"schema":1,"time":"`) || !strings.Contains(log, `"event":"outcome"`) {
		t.Errorf("%s", log)
	}
	for setting, want := range map[string]struct {
		status int
		text   string
	}{
		"{file: /proc/none/audit.jsonl}": {exitFailed, "audit.file: open /proc/none/audit.jsonl"},
		"{required: true}":               {exitConfig, "audit.required: needs audit.file"},
	} {
		p := newProcessFor(t, "http://127.0.0.1:1", "audit: "+setting+"\n")
		if status, printed := runProgram(t, []string{"serve", p.file}); status != want.status || !strings.Contains(printed, want.text) {
			t.Errorf("%s: %d %s", setting, status, printed)
		}
	}
}
