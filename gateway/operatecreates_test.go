package gateway_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// Creates are read wherever the operators' listener is, and changed over loopback only.
func TestCreatesAreChangedOverLoopback(t *testing.T) {
	t.Parallel()
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	var management http.Handler
	gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(sim.Start(t, sim.Config{}).URL(), ""),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal); management = g.Management() },
	})
	call := func(method, target string, local net.IP) int {
		request := httptest.NewRequest(method, target, strings.NewReader(`{"result":"6a01f3c95be2d84417c0aa01","reason":"x"}`))
		ctx := context.WithValue(request.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: local, Port: 27090})
		answer := httptest.NewRecorder()
		management.ServeHTTP(answer, request.WithContext(ctx))
		return answer.Code
	}
	outside, loopback := net.IPv4(192, 0, 2, 1), net.IPv4(127, 0, 0, 1)
	for _, local := range []net.IP{outside, loopback} {
		if status := call("GET", "/creates", local); status != http.StatusOK {
			t.Errorf("%s: the list is answered %d", local, status)
		}
	}
	for _, target := range []string{"/creates/x/settle", "/creates/x/release"} {
		if status := call("POST", target, outside); status != http.StatusForbidden {
			t.Errorf("%s from outside: %d", target, status)
		}
	}
	if status := call("POST", "/creates/x/settle", loopback); status != http.StatusNotFound {
		t.Errorf("over loopback: %d", status)
	}
}
