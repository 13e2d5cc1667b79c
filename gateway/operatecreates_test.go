package gateway_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/config"
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
	call := func(method, target string, local net.IP, fields ...string) int {
		request := httptest.NewRequest(method, target, strings.NewReader(`{"result":"6a01f3c95be2d84417c0aa01","reason":"x"}`))
		request.Host = "localhost:27090"
		for i := 0; i < len(fields); i += 2 {
			if request.Header.Set(fields[i], fields[i+1]); fields[i] == "Host" {
				request.Host = fields[i+1]
			}
		}
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
	// Pages in a browser of this machine reach a listener over loopback that is open for others, too.
	for _, fields := range [][]string{{"Host", "evil.example:27090"}, {"Origin", "http://evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		if status := call("POST", "/creates/x/release", loopback, fields...); status != http.StatusForbidden {
			t.Errorf("%q: %d", fields, status)
		}
	}
}

// A program that runs the gateway as an http.Handler ends what the journal is used for. Its operators'
// pages may be there before the journal is.
func TestHandlerWithJournal(t *testing.T) {
	t.Parallel()
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), gatewaytest.YAML(sim.Start(t, sim.Config{}).URL(), ""))
	parts, err := config.NewSource(file, []string{"PUBLIC=" + sim.PublicKey, "PRIVATE=" + sim.PrivateKey}).Load()
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(parts, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	operators := httptest.NewServer(g.Management())
	defer operators.Close()
	list := func(status int, text string) {
		t.Helper()
		if got := gatewaytest.Send(t, "GET", operators.URL+"/creates?all=true", nil, ""); got.Status != status || !strings.Contains(got.Body, text) {
			t.Errorf("%d %s, want %d %s", got.Status, got.Body, status, text)
		}
	}
	list(http.StatusNotImplemented, "no journal")
	g.UseJournal(journal)
	callers := httptest.NewServer(g)
	defer callers.Close()
	create := func(status int) {
		t.Helper()
		if got := gatewaytest.Send(t, "POST", callers.URL+v2Buckets, createHeader, awsBucket); got.Status != status {
			t.Errorf("%d %s, want %d", got.Status, got.Body, status)
		}
	}
	create(http.StatusOK)
	list(http.StatusOK, "acme-exports")
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
	create(http.StatusServiceUnavailable)
}
