package gateway_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"atlas-export-gateway/sim"
)

// A connection that brings requests may read any amount, and content may come in frames of a byte.
func TestManyRequestsOnOneConnection(t *testing.T) {
	g, roots := startTLS(t, sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}}).URL(), "callers: {anonymous: true}\nlimits: {request_body: 16384}\n")
	client := &http.Client{Transport: newHTTP2(t, roots), Timeout: 20 * time.Second}
	body := `{"x":"` + strings.Repeat("x", 16_000) + `"}`
	for range 300 { // of 16 KB, where 3 MB may come without a request
		if status, _ := overHTTP2(t, client, g, "POST", v2Exports, "", body); status != 400 {
			t.Fatalf("%d", status)
		}
	}
	request, err := http.NewRequest("POST", g.URL+v2Exports, iotest.OneByteReader(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Accept": {latest}, "Content-Type": {plain}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 400 || response.ProtoMajor != 2 {
		t.Errorf("content in frames of a byte: %s", response.Status)
	}
}
