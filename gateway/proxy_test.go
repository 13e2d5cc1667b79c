package gateway_test

import (
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// After a reload with another proxy, or another password for it, requests go through new tunnels,
// and after one that changes nothing of that through the same ones.
func TestReloadChangesTheProxy(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	first := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{})
	second := gatewaytest.StartProxy(t, gatewaytest.ProxyConfig{User: "gateway", Password: "c4na7y-password-2"})
	dir := t.TempDir()
	user := gatewaytest.WriteFile(t, filepath.Join(dir, "user"), "gateway")
	password := gatewaytest.WriteFile(t, filepath.Join(dir, "password"), "c4na7y-password-1")
	with := func(proxy, settings string) string {
		return gatewaytest.YAML(atlas.URL()+"\n  proxy_url: "+proxy, settings)
	}
	tunnels := func(direct, one, two int64) {
		t.Helper()
		if a, b, all := first.Tunnels.Load(), second.Tunnels.Load(), int64(atlas.Counts().Connections); a != one || b != two || all != direct+one+two {
			t.Errorf("%d and %d tunnels, %d connections", a, b, all)
		}
	}
	lists := func(g *gatewaytest.Gateway, want int) {
		t.Helper()
		if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != want {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	lists(g, 200)
	tunnels(1, 0, 0)
	reloaded(t, g.Rewrite(t, with(first.URL, "")))
	lists(g, 200)
	tunnels(1, 1, 0)
	reloaded(t, g.Rewrite(t, with(first.URL, "responses: {check: enforce}")))
	lists(g, 200)
	tunnels(1, 1, 0)
	reloaded(t, g.Rewrite(t, with(second.URL+"\n  proxy_user_file: "+user+"\n  proxy_password_file: "+password, "")))
	lists(g, 502)
	tunnels(1, 1, 0)
	gatewaytest.WriteFile(t, password, "c4na7y-password-2")
	reloaded(t, g.Reload(t))
	lists(g, 200)
	lists(g, 200)
	tunnels(1, 1, 1)
	if refused := "the proxy refuses CONNECT: it answers 407"; !strings.Contains(g.Log.String(), refused) {
		t.Errorf("the log does not say that %s", refused)
	}
}
