//go:build !race

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// The memory of the program does not grow with a list: after 50,000 items of a list without an end
// it is some tens of MiB, in each format. The race detector takes more than that.
func TestListsTakeLittleMemory(t *testing.T) {
	t.Parallel() // it is of a process of its own, or waits
	const pages, most = 100, 44 << 20
	for _, args := range []string{"exports list --cluster orders", "buckets list"} {
		for _, format := range formats {
			if args == "buckets list" && format != "table" {
				continue // as with exports
			}
			s := servePages(t, endlessPages)
			command, stderr := process(t, s.environ(s.owner), append(strings.Fields(args), "--all", "-o", format)...)
			stdout, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			written := make(chan int64)
			go func() {
				n, _ := io.Copy(io.Discard, stdout) // ends with the process
				written <- n
			}()
			for deadline := time.Now().Add(time.Minute); s.pages.Load() <= pages && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			command.Process.Kill()
			n := <-written
			command.Wait()
			_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatalf("%v: %s", err, status)
			}
			t.Logf("%s -o %s: %d pages, VmHWM %d MiB, %d KiB written", args, format, s.pages.Load(), kib>>10, n>>10)
			if s.pages.Load() <= pages || kib<<10 > most || n < (pages-2)*500*24 {
				t.Errorf("%s -o %s: %d pages, VmHWM %d MiB, %d bytes written: %s", args, format, s.pages.Load(), kib>>10, n, stderr)
			}
		}
	}
}
