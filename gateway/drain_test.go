package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A gateway that is told to stop reports itself not ready, and completes the requests under way.
func TestDrain(t *testing.T) {
	upstream, arrived, proceed := holdingUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, "timeouts: {drain: 300ms}")
	status := func(page string) int { return gatewaytest.Send(t, "GET", g.Management+page, nil, "").Status }
	if ready, healthy := status("/readyz"), status("/healthz"); ready != 200 || healthy != 200 {
		t.Errorf("readyz: %d, healthz: %d", ready, healthy)
	}
	under := make(chan gatewaytest.Response, 1)
	go func() { under <- g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, "") }()
	gatewaytest.Receive(t, "the request at Atlas", arrived)
	g.Stop()
	gatewaytest.WaitFor(t, "readyz to say no", func() bool { return status("/readyz") == 503 })
	if answer := g.Raw(t, "GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n"); !strings.Contains(answer, "\r\nConnection: close\r\n") {
		t.Errorf("while draining: %s", answer)
	}
	close(proceed)
	if got := gatewaytest.Receive(t, "the answer under way", under); got.Status != 200 {
		t.Errorf("the request under way: %d %s", got.Status, got.Body)
	}
	g.Wait(t)
}

// Clients that keep their connections lose no request while the gateway drains.
func TestDrainLosesNoRequest(t *testing.T) {
	upstream := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	for round := range 3 {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			t.Parallel()
			drainUnderLoad(t, upstream.URL())
		})
	}
}

// drainUnderLoad stops a gateway while 32 clients send. They end long before the drain does, also
// on a busy machine.
func drainUnderLoad(t *testing.T, upstream string) {
	g := gatewaytest.StartFor(t, upstream, "timeouts: {drain: 6s}")
	transport := &http.Transport{MaxIdleConnsPerHost: 32, ResponseHeaderTimeout: 20 * time.Second}
	stopped := make(chan struct{})
	var lost, served atomic.Int64
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for {
				select {
				case <-stopped:
					return
				default:
				}
				// net/http does not repeat a POST whose connection was closed.
				request, err := http.NewRequest("POST", g.URL+v2Buckets, io.NopCloser(strings.NewReader(`{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"`+role+`"}`)))
				if err != nil {
					t.Error(err)
					return
				}
				request.Header.Set("Accept", latest)
				request.Header.Set("Content-Type", plain)
				answer, err := transport.RoundTrip(request)
				if err != nil {
					lost.Add(1)
					continue
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != 200 {
					t.Errorf("status %d", answer.StatusCode)
				}
				served.Add(1)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	g.Stop()
	time.Sleep(250 * time.Millisecond)
	close(stopped)
	group.Wait()
	transport.CloseIdleConnections()
	if n := lost.Load(); n > 0 {
		t.Errorf("%d requests of %d were lost", n, n+served.Load())
	}
}
