package gateway_test

import (
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A gateway whose numbers and times are the largest that are accepted serves reads and creates.
func TestLargestSettings(t *testing.T) {
	g := gatewaytest.Start(t, `
upstream:
  base_url: `+sim.Start(t, sim.Config{}).URL()+`
  max_connections: 1000000
  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]
callers: {anonymous: true, attempts: {per_client: 1000000, overall: 1000000}, token_lifetime: 24h, nonce_lifetime: 1h}
limits: {request_header: 1048576, request_body: 67108864, request_values: 1000000, response_body: 268435456, in_flight: 1000000, connections: 1000000}
timeouts: {header: 1h, request: 1h, upstream: 1h, idle: 1h, drain: 1ms, shutdown: 1h}
responses: {check: enforce, sample: 1000000}
`)
	if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
		t.Errorf("a read: %d %s", got.Status, got.Body)
	}
	if got := g.Send(t, "POST", v2Buckets, map[string]string{"Accept": of2024, "Content-Type": plain}, awsBucket); got.Status != 200 || got.Header.Get("Gateway-Outcome") != "answered" {
		t.Errorf("a create: %d %s", got.Status, got.Body)
	}
}
