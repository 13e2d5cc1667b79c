package main

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// statusMetrics returns how many metrics have a status as a label, and the statuses.
func statusMetrics(t *testing.T, p *process) (metrics int, statuses map[string]bool) {
	t.Helper()
	_, text := page(t, p.Management+"/metrics")
	statuses = map[string]bool{}
	for line := range strings.Lines(text) {
		if _, status, ok := strings.Cut(line, `status="`); ok && !strings.HasPrefix(line, "#") {
			status, _, _ = strings.Cut(status, `"`)
			statuses[status] = true
			metrics++
		}
	}
	return metrics, statuses
}

// An upstream that answers with every status that three digits can write adds no more metrics than
// HTTP has statuses, and classes of statuses.
func TestMetricsOfStatuses(t *testing.T) {
	t.Parallel()
	var next atomic.Int64
	h := gatewaytest.StartUpstream(t, func(conn net.Conn, _ *http.Request) bool {
		fmt.Fprintf(conn, "HTTP/1.1 %03d Any\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", next.Load())
		return true
	})
	p := serveFor(t, h.URL, "", "ATLAS_GATEWAY_TIMEOUTS_UPSTREAM=5s")
	before, _ := statusMetrics(t, p)
	for status := range 1000 {
		if status/100 == 1 && status != 101 {
			continue // an interim response, behind which the gateway waits for another
		}
		next.Store(int64(status))
		if got, _ := get(t, p.Listener+buckets); got != status && got != http.StatusBadGateway {
			t.Errorf("%d became %d", status, got)
		}
	}
	after, statuses := statusMetrics(t, p)
	registered := 0
	for status := range 1000 {
		if http.StatusText(status) != "" {
			registered++
		}
	}
	// Each status is counted once as Atlas's and once as the gateway's. Besides, there are five
	// classes, other, error and 499.
	if most := 2 * (registered + 5 + 3); after-before > most || h.Signed.Load() < 900 {
		t.Errorf("%d requests added %d metrics, and may add %d", h.Signed.Load(), after-before, most)
	}
	for _, status := range []string{"200", "404", "502", "2xx", "4xx", "5xx", "other"} {
		if !statuses[status] {
			t.Errorf("no metric has the status %s: %v", status, statuses)
		}
	}
	for _, status := range []string{"299", "498", "599", "600", "999", "0"} {
		if statuses[status] {
			t.Errorf("the status %s has a metric", status)
		}
	}
	p.stop(t)
}
