package main

import (
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
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
