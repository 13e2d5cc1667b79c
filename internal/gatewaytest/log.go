package gatewaytest

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// Rewrite replaces the configuration file and has the gateway read it. Rewrite returns the log's
// record of what came of that.
func (g *Gateway) Rewrite(t testing.TB, yaml string) string {
	t.Helper()
	ReplaceFile(t, g.File, yaml)
	return g.Reload(t)
}

// Reload has the gateway read its configuration again, as SIGHUP does. Reload returns the log's
// record of what came of that.
func (g *Gateway) Reload(t testing.TB) string {
	t.Helper()
	before := g.Log.Len()
	g.hangup <- syscall.SIGHUP
	return g.AwaitReload(t, before)
}

// AwaitReload returns the record of the first reload behind an offset of the log.
func (g *Gateway) AwaitReload(t testing.TB, offset int) string {
	t.Helper()
	return g.Await(t, offset, "the configuration was")
}

// Await waits for a text in the log, and returns the first line behind an offset that holds the
// text.
func (g *Gateway) Await(t testing.TB, offset int, text string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for line := range strings.Lines(g.Log.String()[offset:]) {
			if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
				return line
			}
		}
	}
	t.Fatalf("the log does not say %q: %s", text, g.Log.String()[offset:])
	return ""
}

// Record returns the log's record of a request, by the request's number from 0. It waits until the
// record is there.
func (g *Gateway) Record(t testing.TB, number int) string {
	t.Helper()
	var record string
	WaitFor(t, "the record of a request", func() bool {
		n := -1
		for line := range strings.Lines(g.Log.String()) {
			if strings.Contains(line, `"msg":"request"`) && strings.HasSuffix(line, "\n") {
				if n++; n == number {
					record = line
					return true
				}
			}
		}
		return false
	})
	return record
}
