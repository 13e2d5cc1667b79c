package main

import (
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Row 48: check and serve refuse a number that overflows where something is added to it, with file,
// line, key and range.
func TestCheckRefusesWhatOverflows(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"limits: {request_header: 9223372036854775807}": "limits.request_header: is 9223372036854775807; expected 1 to 1048576",
		"limits: {response_body: 9223372036854775807}":  "limits.response_body: is 9223372036854775807; expected 1 to 268435456",
		"timeouts: {upstream: 9223372036854775807ns}":   "timeouts.upstream: is 2562047h47m16.854775807s; expected 1ms to 1h",
	} {
		file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), "upstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\ncallers: {anonymous: true}\n"+setting+"\nlistener: {address: '127.0.0.1:0'}\nmanagement: {address: '127.0.0.1:0'}\n")
		for _, command := range []string{"check", "serve"} {
			if status, output := runProgram(t, []string{command, file}); status != exitConfig || !strings.HasPrefix(output, file+":3: "+want) {
				t.Errorf("%s: %s: exit status %d: %s", command, setting, status, output)
			}
		}
	}
}

// The largest numbers and times that are accepted work.
func TestLargestNumbers(t *testing.T) {
	t.Parallel()
	var environ []string
	for _, timeout := range []string{"HEADER", "REQUEST", "UPSTREAM", "IDLE", "SHUTDOWN"} {
		environ = append(environ, "ATLAS_GATEWAY_TIMEOUTS_"+timeout+"=1h")
	}
	p := serveFor(t, sim.Start(t, sim.Config{}).URL(), `
  max_connections: 1000000
callers: {anonymous: true, attempts: {per_client: 1000000, overall: 1000000}, token_lifetime: 24h, nonce_lifetime: 1h}
limits: {request_header: 1048576, request_body: 67108864, request_values: 1000000, response_body: 268435456, in_flight: 1000000, connections: 1000000}
responses: {check: enforce, sample: 1000000}
`, environ...)
	for _, bytes := range []string{aGet, aPost} {
		if got := p.send(t, bytes); len(got) != 1 || got[0].Status != 200 {
			t.Errorf("%.20q: %v", bytes, got)
		}
	}
	p.stop(t)
}
