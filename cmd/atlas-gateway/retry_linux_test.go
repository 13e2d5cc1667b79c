package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Row 46: a reload that fails since the process has no file descriptors left is tried again, though
// no file changes: a key that was removed is out within seconds of the repair.
func TestReloadIsTriedAgain(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	const removed, stays = "c4na7y-removed-token-000000", "c4na7y-token-that-stays-0000"
	list := func(tokens ...string) string {
		text := "callers:\n  list:\n"
		for i, token := range tokens {
			text += "    - {name: " + string(rune('a'+i)) + ", tokens: [{sha256: " + hash(token) + `}], grants: [{operations: [read], groups: ["*"]}]}` + "\n"
		}
		return text
	}
	p := serveFor(t, atlas.URL(), list(stays, removed))
	client := &http.Client{Timeout: 5 * time.Second} // keeps its connection: the program can accept no other
	status := func(token string) int {
		t.Helper()
		request, err := http.NewRequest("GET", p.Listener+buckets, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", strings.TrimPrefix(accept, "Accept: "))
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body) // or the connection could not be used again
		response.Body.Close()
		return response.StatusCode
	}
	if got := status(removed); got != 200 {
		t.Fatal(got)
	}
	text, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	before := limitFiles(t, p.command.Process.Pid, syscall.Rlimit{Cur: 3, Max: 1 << 16})
	changed := strings.Replace(string(text), list(stays, removed), list(stays), 1)
	if err := os.WriteFile(p.file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	p.command.Process.Signal(syscall.SIGHUP)
	gatewaytest.WaitFor(t, "the refusal", func() bool {
		log := p.stderr.String()
		return strings.Contains(log, "the configuration was refused; the one before stays") && strings.Contains(log, "too many open files") &&
			strings.Contains(log, "the configuration will be tried again")
	})
	if got := status(removed); got != 200 {
		t.Errorf("while the configuration is refused: %d", got)
	}
	repaired := time.Now()
	limitFiles(t, p.command.Process.Pid, before)
	gatewaytest.WaitFor(t, "the reload", func() bool { return status(removed) == 401 })
	t.Logf("the key was out %s after the repair", time.Since(repaired).Round(time.Millisecond))
	if got := status(stays); got != 200 {
		t.Errorf("the other key: %d", got)
	}
}

// limitFiles sets how many files a process may have open, and returns the limits before.
func limitFiles(t *testing.T, process int, limit syscall.Rlimit) (before syscall.Rlimit) {
	t.Helper()
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(process), syscall.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&before)), 0, 0)
	if errno == 0 {
		limit.Max = before.Max
		_, _, errno = syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(process), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	return before
}
