package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// measured skips a test of memory under the race detector, which takes most of the memory.
func measured(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector takes more memory than the program")
	}
}

// peak returns the most memory that a process has held so far, in bytes. It is VmHWM, which only
// Linux has: on other systems it is 0.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("%v: %s", err, status)
	}
	return kib << 10
}

// heap is how large the collector lets a gateway's heap become, however little of it is in use
// (tuneCollector).
const heap = 256 << 20

// stays fails the test if a process has ever held more than most bytes beside its heap. It logs
// the peaks before and after the test.
func (p *process) stays(t *testing.T, before, most int64) {
	t.Helper()
	after := p.peak(t)
	t.Logf("%s: VmHWM %.0f MiB before, %.0f MiB after, at most %.0f", t.Name(), mib(before), mib(after), mib(heap+most))
	if after > heap+most {
		t.Errorf("the gateway took %.0f MiB, more than %.0f", mib(after), mib(heap+most))
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

const (
	atOnce      = 64
	requestBody = 256 << 10 // limits.request_body, by default
	// most is what the requests at a time may cost: each a multiple of limits.request_body.
	most = 12 * requestBody * atOnce
)

// crowd calls f with the numbers from 0 to n-1, atOnce of them at a time.
func crowd(n int, f func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	group.Wait()
}

// holds waits until a process has as many files open as wanted. Its connections are among them.
// On systems other than Linux it does not wait.
func (p *process) holds(t *testing.T, what string, want func(files int) bool) {
	t.Helper()
	if files, ok := p.holdsIn(t, 20*time.Second, want); !ok {
		t.Fatalf("the gateway does not hold %s: %d files are open", what, files)
	}
}

// holdsIn is holds within a time. It returns how many files are open at last.
func (p *process) holdsIn(t *testing.T, limit time.Duration, want func(files int) bool) (files int, ok bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.command.Process.Pid))
		if errors.Is(err, os.ErrNotExist) {
			return 0, true
		}
		if err != nil {
			t.Fatal(err)
		}
		if files = len(entries); want(files) {
			return files, true
		}
	}
	return files, false
}
