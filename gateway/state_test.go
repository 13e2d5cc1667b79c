package gateway_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// The metrics show what is under way as it is when somebody asks, and the limits in force.
func TestStateOfMetrics(t *testing.T) {
	upstream, arrived, proceed := holdingUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, "limits: {in_flight: 7, connections: 9}")
	shows := func(line string) bool { return strings.Contains(g.Metrics(t), "\natlas_gateway_"+line+"\n") }
	for _, line := range []string{`in_flight_requests{count="worked"} 0`, `in_flight_requests{count="buffered"} 0`, "max_in_flight_requests 7", "max_connections 9", "report_only_callers 0"} {
		if !shows(line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	answered := make(chan gatewaytest.Response, 1)
	go func() { answered <- g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, "") }()
	gatewaytest.Receive(t, "the request at Atlas", arrived)
	if !shows(`in_flight_requests{count="worked"} 1`) {
		t.Error("the request that Atlas has is not counted")
	}
	close(proceed)
	if got := gatewaytest.Receive(t, "the answer", answered); got.Status != 200 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if !shows(`in_flight_requests{count="worked"} 0`) || !shows(`upstream_request_duration_seconds_count{method="GET"} 2`) { // one without a credential
		t.Error("what has ended is counted")
	}
}
