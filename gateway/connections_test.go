package gateway_test

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Connections to the upstream, and nonces, are kept for the next burst of requests.
func TestUpstreamConnectionsAreReused(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(20 * time.Millisecond)}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	burst := func() {
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
					t.Errorf("%d %s", got.Status, got.Body)
				}
			})
		}
		group.Wait()
	}
	burst()
	burst()
	warm := atlas.Counts()
	for range 5 {
		burst()
	}
	after := atlas.Counts()
	if n := after.Connections - warm.Connections; n > 4 {
		t.Errorf("%d connections more for 80 requests in bursts of 16", n)
	}
	if n := after.Requests - warm.Requests; n > 84 {
		t.Errorf("%d upstream requests for 80 requests", n)
	}
}

// An upstream that resets the connection of each signed request is one that can't be reached. A
// server that takes no count of a nonce twice answers the second sending of a read with 401: the
// credential is not to blame.
func TestUpstreamResetsConnections(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultReset}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "budget: {attempts: 1}")
	for range 3 {
		for method, outcome := range map[string]string{"GET": "", "POST": "unknown"} {
			header, content := readHeader, ""
			if method == "POST" {
				header, content = createHeader, export
			}
			got := g.Send(t, method, v2Exports, header, content)
			if got.Status != 502 || got.Header.Get("Gateway-Error") != "upstream_unreachable" || got.Header.Get("Gateway-Outcome") != outcome {
				t.Errorf("%s: %d %v %s", method, got.Status, got.Header, got.Body)
			}
		}
	}
	if n := atlas.Counts().ByStatus[0]; n > 12 {
		t.Errorf("%d connections were reset for 6 requests", n)
	}
	if err := atlas.SetFaults(nil); err != nil {
		t.Fatal(err)
	}
	if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
		t.Errorf("afterwards: %d %s", got.Status, got.Body)
	}
}

// An upstream whose certificate is not good for its name gets neither a request nor a credential.
func TestUpstreamCertificates(t *testing.T) {
	ours, others := gatewaytest.NewAuthority(t), gatewaytest.NewAuthority(t)
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "ca.pem"), ours.PEM)
	tests := []struct {
		name        string
		certificate *gatewaytest.Certificate
		status      int
	}{
		{"good", ours.Loopback(t), 200},
		{"expired", ours.Issue(t, -time.Minute, net.IPv4(127, 0, 0, 1)), 502},
		{"of another name", ours.Issue(t, time.Hour, net.IPv4(127, 0, 0, 2)), 502},
		{"of another authority", others.Loopback(t), 502},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{TLS: &test.certificate.Certificate})
			if !strings.HasPrefix(atlas.URL(), "https://") {
				t.Fatal(atlas.URL())
			}
			g := gatewaytest.StartFor(t, atlas.URL()+"\n  ca_file: "+file, "")
			got := g.Send(t, "GET", v2Exports, readHeader, "")
			if got.Status != test.status {
				t.Errorf("%d %s", got.Status, got.Body)
			}
			if n := atlas.Counts().Requests; test.status != 200 && n != 0 {
				t.Errorf("the upstream got %d requests", n)
			}
		})
	}
	t.Run("plain http where https is configured", func(t *testing.T) {
		upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
		g := gatewaytest.StartFor(t, strings.Replace(upstream.URL, "http:", "https:", 1), "")
		got := g.Send(t, "GET", v2Exports, readHeader, "")
		if got.Status != 502 || upstream.Total.Load() != 0 {
			t.Errorf("%d %s, the upstream got %d requests", got.Status, got.Body, upstream.Total.Load())
		}
	})
}

// A caller gets 504 if the upstream does not answer, and 502 if there is no upstream.
func TestUpstreamIsSlowOrGone(t *testing.T) {
	hang := make(chan struct{})
	upstream := gatewaytest.StartUpstream(t, func(net.Conn, *http.Request) bool { <-hang; return false })
	defer close(hang)
	g := gatewaytest.StartFor(t, upstream.URL, "timeouts: {upstream: 100ms}")
	got := g.Send(t, "GET", v2Exports, readHeader, "")
	if got.Status != 504 || got.Header.Get("Gateway-Error") != "upstream_timeout" {
		t.Errorf("slow: %d %s", got.Status, got.Body)
	}
	g = gatewaytest.StartFor(t, "http://"+gatewaytest.Refused(t), "")
	got = g.Send(t, "GET", v2Exports, readHeader, "")
	if got.Status != 502 || got.Header.Get("Gateway-Error") != "upstream_unreachable" {
		t.Errorf("gone: %d %s", got.Status, got.Body)
	}
}
