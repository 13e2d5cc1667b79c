package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// The record of a create is on stable storage before the first byte of the create leaves: the
// kernel was asked to write it, and has said that it is written. strace shows the system calls of
// the program in the order in which they began and ended.
func TestRecordsAreSyncedBeforeCreatesLeave(t *testing.T) {
	t.Parallel()
	trace := filepath.Join(t.TempDir(), "trace")
	// With -D the process that the test starts is the program itself.
	tracer, err := exec.LookPath("strace")
	if err != nil {
		t.Skipf("not traced: strace is not installed (Debian's package strace has it): %v", err)
	}
	command := []string{tracer, "-D", "-f", "-q", "-y", "-s", "5000", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", trace}
	if output, err := exec.CommandContext(t.Context(), tracer, append(slices.Clone(command[1:]), "true")...).CombinedOutput(); err != nil {
		t.Skipf("not traced: strace may not trace here: %v\n%s", err, output)
	}
	atlas := sim.Start(t, sim.Config{})
	p := newProcessFor(t, atlas.URL(), withJournal)
	p.command.Path, p.command.Args = tracer, append(command, p.command.Args...)
	p.start(t, p.command.Start)
	const creates = 3
	for i := range creates {
		body := strings.Replace(bucket, "acme-exports", fmt.Sprintf("acme-exports-%d", i), 1)
		if got := p.send(t, request("POST "+buckets, body, accept, isJSON)); len(got) != 1 || got[0].Status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	p.stop(t)
	var lines []string
	gatewaytest.WaitFor(t, "the end of the trace", func() bool {
		text, err := os.ReadFile(trace)
		lines = strings.Split(string(text), "\n")
		return err == nil && strings.Contains(lines[max(0, len(lines)-2)], "+++ exited with")
	})
	left, err := checkTrace(lines)
	if err != nil || left != creates {
		t.Errorf("%d creates left, want %d: %v", left, creates, err)
	}
}

// What strace writes of a system call: the thread, then the call, or the end of a call whose
// beginning is on an earlier line of the thread. The journal holds the name of a bucket.
var (
	journalCall = regexp.MustCompile(`^(\d+) +(pwrite64|write|fsync|fdatasync)\(\d+<[^>]*/creates\.db-wal>(.*)$`)
	resumedCall = regexp.MustCompile(`^(\d+) +<\.\.\. (fsync|fdatasync) resumed>.* = 0$`)
	createCall  = regexp.MustCompile(`^\d+ +write\(.*"POST .*\\r\\nAuthorization: Digest `)
	bucketName  = regexp.MustCompile(`acme-exports-\d+`)
)

// checkTrace counts the creates that left in a trace. The error says which left before its record
// was in the journal's write-ahead log, and before that was synced.
func checkTrace(lines []string) (left int, err error) {
	recorded := map[string]int{} // which write had the name of a bucket first
	syncing := map[string]int{}  // how many writes there were when a thread began to sync
	written, synced := 0, 0
	for number, line := range lines {
		if call := journalCall.FindStringSubmatch(line); call != nil {
			thread, name, rest := call[1], call[2], call[3]
			switch {
			case name == "pwrite64" || name == "write":
				written++
				for _, bucket := range bucketName.FindAllString(rest, -1) {
					if recorded[bucket] == 0 {
						recorded[bucket] = written
					}
				}
			case strings.HasSuffix(rest, " = 0"):
				synced = written
			default: // unfinished, or failed
				syncing[thread] = written
			}
		} else if call := resumedCall.FindStringSubmatch(line); call != nil {
			synced = max(synced, syncing[call[1]])
			delete(syncing, call[1])
		} else if createCall.MatchString(line) {
			left++
			bucket := bucketName.FindString(line)
			if write := recorded[bucket]; write == 0 || write > synced {
				return left, fmt.Errorf("line %d of the trace: the create of %q leaves; write %d to the journal has it, and %d of %d are synced", number+1, bucket, write, synced, written)
			}
		}
	}
	return left, nil
}

// A create that leaves too early is found.
func TestCheckTrace(t *testing.T) {
	const (
		write   = `7 pwrite64(8</d/creates.db-wal>, "\0acme-exports-1\3", 1, 0) = 1`
		another = `7 pwrite64(8</d/creates.db-wal>, "\0acme-exports-2\3", 1, 0) = 1`
		sync    = `7 fsync(8</d/creates.db-wal>) = 0`
		begins  = `7 fdatasync(8</d/creates.db-wal> <unfinished ...>`
		ends    = `7 <... fdatasync resumed>) = 0`
		failed  = `7 <... fdatasync resumed>) = -1 EIO (Input/output error)`
		fails   = `7 fsync(8</d/creates.db-wal>) = -1 EIO (Input/output error)`
		other   = `7 fsync(5</d/creates.db>) = 0`
		leaves  = `9 write(14<socket:[1]>, "POST /api/atlas/v2/x HTTP/1.1\r\nAuthorization: Digest x\r\n\r\n{\"bucketName\":\"acme-exports-1\"}", 50) = 50`
		without = `9 write(14<socket:[1]>, "POST /api/atlas/v2/x HTTP/1.1\r\nAccept: x", 50) = 50`
	)
	for _, test := range []struct {
		lines []string
		good  bool
	}{
		{[]string{without, another, write, sync, leaves}, true},
		{[]string{write, begins, another, ends, leaves}, true},
		{[]string{leaves}, false},
		{[]string{another, sync, leaves}, false},
		{[]string{write, leaves}, false},
		{[]string{write, begins, leaves, ends}, false},
		{[]string{write, fails, leaves}, false},
		{[]string{write, begins, failed, leaves}, false},
		{[]string{write, other, leaves}, false},
		{[]string{begins, write, ends, leaves}, false},
	} {
		if _, err := checkTrace(test.lines); (err == nil) != test.good {
			t.Errorf("%q: %v", test.lines, err)
		}
	}
}
