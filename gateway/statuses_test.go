package gateway_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/internal/gatewaytest"
)

// An upstream that answers with every status that three digits can write makes no more metrics
// than HTTP has statuses and classes.
func TestMetricsOfEveryStatus(t *testing.T) {
	var next atomic.Int64
	upstream := gatewaytest.StartUpstream(t, func(conn net.Conn, r *http.Request) bool {
		fmt.Fprintf(conn, "HTTP/1.1 %03d Any\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", next.Load())
		return true
	})
	g := gatewaytest.StartFor(t, upstream.URL, "timeouts: {upstream: 1s}")
	for status := range 1000 {
		if 100 <= status && status < 200 && status%33 != 0 {
			continue // interim: a response follows, or the connection's end
		}
		next.Store(int64(status))
		if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Header.Get("Gateway-Error") == "" && got.Status != status {
			t.Errorf("%d became %d", status, got.Status)
		}
	}
	counts := map[string]int{}
	labels := map[string]bool{}
	for line := range strings.Lines(g.Metrics(t)) {
		name, rest, _ := strings.Cut(line, "{")
		counts[name]++
		if _, label, ok := strings.Cut(rest, `status="`); ok {
			label, _, _ = strings.Cut(label, `"`)
			labels[label] = true
		}
	}
	const registered, classes, more = 63, 5, 3 // more: 499, other, error
	if n := counts["atlas_gateway_upstream_requests_total"]; n > registered+classes+more {
		t.Errorf("%d metrics of the upstream's statuses", n)
	}
	operations, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	if n := counts["atlas_gateway_requests_total"]; n > registered+classes+more+len(operations.Operations()) {
		t.Errorf("%d metrics of the statuses answered", n)
	}
	for _, label := range []string{"200", "404", "502", "2xx", "4xx", "5xx", "other"} {
		if !labels[label] {
			t.Errorf("no status %q among %v", label, labels)
		}
	}
	for _, label := range []string{"299", "498", "599", "600", "999", "0"} {
		if labels[label] {
			t.Errorf("the status %q has a metric", label)
		}
	}
}
