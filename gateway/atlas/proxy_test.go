package atlas_test

import (
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A signed create for which no connection was made in time was not sent, although it was handed
// over.
func TestCreateWithoutATunnel(t *testing.T) {
	server, proxy := sim.Start(t, sim.Config{}), gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{})
	p := newPool(t)
	c := configure(server.URL())
	c.Proxy, c.Timeout = &atlas.Proxy{Origin: proxy.URL}, 300*time.Millisecond
	u := use(t, p, c)
	must(t, u, read(t)) // which leaves a nonce to sign with
	before := server.Counts().Requests
	proxy.Hangs.Store(true)
	p.CloseIdleConnections()
	handed := false
	e := fail(t, t.Context(), u, create(t, func() error { handed = true; return nil }))
	checkError(t, &atlas.Error{Kind: atlas.TimedOut, Outcome: atlas.NotSent}, e)
	if n := server.Counts().Requests - before; n > 0 || !handed {
		t.Errorf("%d requests, handed over: %t", n, handed)
	}
}
