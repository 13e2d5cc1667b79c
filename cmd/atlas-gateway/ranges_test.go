package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// check refuses a number that overflows where something is added to it, with file, line, key and
// range.
func TestCheckRefusesWhatOverflows(t *testing.T) {
	for setting, want := range map[string]string{
		"limits: {request_header: 9223372036854775807}": "limits.request_header: is 9223372036854775807; expected 1 to 1048576",
		"limits: {response_body: 9223372036854775807}":  "limits.response_body: is 9223372036854775807; expected 1 to 268435456",
		"timeouts: {upstream: 9223372036854775807ns}":   "timeouts.upstream: is 2562047h47m16.854775807s; expected 1ms to 1h",
	} {
		file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), "upstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\ncallers: {anonymous: true}\n"+setting+"\n")
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), []string{"check", file}, []string{"PUBLIC=a", "PRIVATE=b"}, nil, &stdout, &stderr)
		if want = file + ":3: " + want; status != exitConfig || stdout.Len() > 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit status %d, %s%s", setting, status, &stdout, &stderr)
		}
	}
}
