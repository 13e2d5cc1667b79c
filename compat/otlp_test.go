package compat_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// The gateway writes and reads OTLP without the package of the collector's service, which links
// gRPC. That package reads every byte of what the gateway sends, and the gateway counts what that
// package's answer says was rejected.
func TestOTLP(t *testing.T) {
	receiver := gatewaytest.StartReceiver(t, nil)
	var mu sync.Mutex
	names := map[string]int{}
	receiver.Refuse = func(w http.ResponseWriter, r *http.Request) bool {
		body, _ := io.ReadAll(r.Body)
		var batch collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &batch); err != nil || len(batch.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, of := range batch.ResourceSpans {
			for _, in := range of.ScopeSpans {
				for _, span := range in.Spans {
					names[span.Name]++
				}
			}
		}
		answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 2, ErrorMessage: "two too many"}})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		w.Write(answer)
		return true
	}
	g := gatewaytest.StartFor(t, sim.Start(t, sim.Config{}).URL(), "tracing: {endpoint: '"+receiver.URL+"'}\n")
	const target = "/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/backup/exportBuckets"
	if got := g.Send(t, "GET", target, map[string]string{"Accept": "application/vnd.atlas.2024-05-30+json"}, ""); got.Status != 200 {
		t.Fatal(got)
	}
	gatewaytest.WaitFor(t, "spans that were rejected", func() bool {
		return strings.Contains(g.Metrics(t), "\natlas_gateway_trace_spans_dropped_total 2\n")
	})
	mu.Lock()
	defer mu.Unlock()
	if name := "GET /api/atlas/v2/groups/{groupId}/backup/exportBuckets"; names[name] != 3 || len(names) != 1 {
		t.Errorf("the collector has read %v", names)
	}
}
