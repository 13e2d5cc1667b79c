package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/internal/gatewaytest"
)

// open opens a stream that is closed with the test.
func open(t *testing.T, path string, stderr io.Writer, tell func(error)) *audit.Stream {
	t.Helper()
	s, err := audit.Open(path, stderr, tell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

// must fails the test where a stream fails.
func must(t *testing.T) func(error) {
	return func(err error) { t.Error(err) }
}

// ids returns the ids of the records of a file, which must all be whole.
func ids(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Schema != audit.Schema || !strings.HasSuffix(line, "\n") {
			t.Errorf("%v: %q", err, line)
		}
		list = append(list, r.ID)
	}
	return list
}

// The file is renamed and opened again while records are written: each record is in one of the
// files, once, and those of each writer are in their order.
func TestRotation(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	s := open(t, file, nil, must(t))
	const writers, each = 8, 100
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				r := &audit.Record{Event: audit.Intent, ID: fmt.Sprintf("%d %d", w, i)}
				if w%2 == 0 {
					s.Add(r)
				} else if err := s.Commit(r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	var files []string
	for rotating := true; rotating; {
		select {
		case <-done:
			rotating = false
		default:
		}
		old := fmt.Sprintf("%s.%d", file, len(files))
		if err := os.Rename(file, old); err != nil {
			t.Fatal(err)
		}
		files = append(files, old)
		s.Reopen()
		gatewaytest.WaitFor(t, "the new file", func() bool { _, err := os.Stat(file); return err == nil })
	}
	if err := s.Commit(&audit.Record{ID: "last"}); err != nil { // behind all that wait for nothing
		t.Error(err)
	}
	next, count := map[int]int{}, 0
	for _, file := range append(files, file) {
		for _, id := range ids(t, file) {
			var w, i int
			if id == "last" {
				continue
			}
			if fmt.Sscan(id, &w, &i); next[w] != i {
				t.Errorf("%s: record %d of %d, want %d", file, i, w, next[w])
			}
			next[w]++
			count++
		}
	}
	if dropped, failures := s.Counts(); count != writers*each || len(files) < 2 || dropped+failures > 0 {
		t.Errorf("%d records in %d files, %d dropped, %d failures", count, len(files), dropped, failures)
	}
}

// A record that was committed is in the file, which only its owner can read. A stream that is
// opened again appends to the file, and ends a line that a gateway was killed in.
func TestReopened(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	gatewaytest.WriteFile(t, file, `{"schema":1,"id":"cut`)
	for _, id := range []string{"a", "b"} {
		s := open(t, file, nil, must(t))
		if err := s.Commit(&audit.Record{ID: id}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), "cut\n{") || !strings.HasSuffix(string(text), `"id":"`+id+"\"}\n") {
			t.Errorf("%v: %s", err, text)
		}
		s.Close(t.Context())
		if err := s.Commit(&audit.Record{}); err == nil {
			t.Error("committed to a stream that is closed")
		}
	}
	if _, err := audit.Open(filepath.Join(file, "x"), nil, must(t)); err == nil {
		t.Error("opened below a file")
	}
	fresh := filepath.Join(t.TempDir(), "new.jsonl")
	open(t, fresh, nil, must(t))
	if info, err := os.Stat(fresh); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// disk takes so many bytes, and blocks while it is held.
type disk struct {
	mu, hold sync.Mutex
	free     int
	text     bytes.Buffer
	writes   int
}

func (d *disk) Write(p []byte) (int, error) {
	d.hold.Lock()
	defer d.hold.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	n := min(len(p), d.free)
	d.free -= n
	d.text.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (d *disk) set(free int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = free
}

// What is committed to a full disk fails, and is not written later. What waits for nothing is
// written once there is room, a line that was cut as well.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var told gatewaytest.Buffer
	d := &disk{free: 100}
	s := open(t, audit.Standard, d, func(err error) { fmt.Fprintln(&told, err) })
	s.Add(&audit.Record{ID: "0"})
	s.Add(&audit.Record{ID: "1", Caller: strings.Repeat("x", 100)})
	if err := s.Commit(&audit.Record{ID: "refused"}); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Fatal(err)
	}
	if _, failures := s.Counts(); failures == 0 {
		t.Error("no failure is counted")
	}
	d.set(1 << 20)
	if err := s.Commit(&audit.Record{ID: "2"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	d.mu.Lock()
	defer d.mu.Unlock()
	cut := 0
	for line := range strings.Lines(d.text.String()) {
		var r audit.Record
		if json.Unmarshal([]byte(line), &r) != nil {
			cut++
			continue
		}
		got = append(got, r.ID)
	}
	if strings.Join(got, " ") != "0 1 2" || cut != 1 {
		t.Errorf("%d cut: %s", cut, d.text.String())
	}
	if log := told.String(); log != "no space left on device\n<nil>\n" {
		t.Errorf("told %q", log)
	}
}

// Records that come while the disk is at work share one write. There is a bound for those that
// wait, and a smaller one for refusals.
func TestWaiting(t *testing.T) {
	t.Parallel()
	d := &disk{free: 1 << 30}
	s := open(t, "-", d, must(t))
	d.hold.Lock()
	long := []string{strings.Repeat("k", 64)}
	refusal := &audit.Record{Event: audit.Refusal, CustomDataKeys: long}
	n := 0
	for dropped := uint64(0); dropped == 0; n++ {
		s.Add(refusal)
		dropped, _ = s.Counts()
	}
	results := make(chan error)
	for range 10 {
		go func() { results <- s.Commit(&audit.Record{Event: audit.Intent}) }()
	}
	others := 0
	for full := false; !full; others++ {
		s.Add(&audit.Record{Event: audit.Outcome, CustomDataKeys: long})
		dropped, _ := s.Counts()
		full = dropped > 1
	}
	if n += others; others < n/3 {
		t.Errorf("refusals leave room for %d of %d records", others, n)
	}
	d.hold.Unlock()
	for range 10 {
		if err := gatewaytest.Receive(t, "the end of a commit", results); err != nil && !strings.Contains(err.Error(), "too many") {
			t.Error(err)
		}
	}
	s.Close(t.Context())
	if lines := strings.Count(d.text.String(), "\n"); lines < n-2 || lines > n-2+10 || d.writes > 3 || d.text.Len() > 2<<20+10_000 {
		t.Errorf("%d of %d lines in %d writes, %d bytes", lines, n, d.writes, d.text.Len())
	}
}

// A record has bounds, whatever is in it.
func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	s := open(t, file, nil, must(t))
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = strings.Repeat("\u00e9\x01", 1000)
	}
	long := strings.Repeat("\u20ac", 1000)
	if err := s.Commit(&audit.Record{Time: time.Now(), Caller: long, Key: long, CustomDataKeys: keys}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	var r audit.Record
	if err != nil || json.Unmarshal(text, &r) != nil {
		t.Fatalf("%v %s", err, text)
	}
	if len(r.CustomDataKeys) != 16 || r.Caller != strings.Repeat("\u20ac", 85) || len(r.CustomDataKeys[0]) > 64 || strings.Contains(string(text), "\ufffd") {
		t.Errorf("%s", text)
	}
}

// A disk that hangs lets the first who commits wait for a while, and nobody else before it
// answers.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	d := &disk{free: 1 << 20}
	s := open(t, "-", d, must(t))
	d.hold.Lock()
	start := time.Now()
	for range 20 {
		if err := s.Commit(&audit.Record{Event: audit.Intent}); err == nil {
			t.Error("committed to a disk that hangs")
		}
	}
	if took := time.Since(start); took > time.Minute { // each for itself, they take longer
		t.Errorf("they waited for %s", took)
	}
	d.hold.Unlock()
	gatewaytest.WaitFor(t, "the disk", func() bool { return s.Commit(&audit.Record{Event: audit.Intent}) == nil })
}
