package gateway_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// readiness returns the status of /readyz?verbose, and its lines.
func readiness(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	got := gatewaytest.Send(t, "GET", g.Management+"/readyz?verbose", nil, "")
	return fmt.Sprint(got.Status, "\n", got.Body)
}

// The checks of a gateway are listed by name. What is not configured has none, and only a gateway
// that was told to stop is not ready.
func TestReadinessChecks(t *testing.T) {
	t.Parallel() // it waits most of the time
	atlas := sim.Start(t, sim.Config{})
	plainly := gatewaytest.StartFor(t, atlas.URL(), "")
	const credential, passed, configured = "[+]credential/upstream.credentials[0] ok\n", "readyz check passed\n", "200\n[+]serving ok\n[+]configuration ok\n"
	if got, want := readiness(t, plainly), configured+credential+"[+]upstream ok\n"+passed; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := gatewaytest.Send(t, "GET", plainly.Management+"/readyz", nil, ""); got.Status != 200 || got.Body != "ready\n" {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	if got := gatewaytest.Send(t, "GET", plainly.Management+"/readyz?verbose=false&x=1", nil, ""); !strings.HasPrefix(got.Body, "[+]serving ok\n") {
		t.Errorf("with a value: %q", got.Body)
	}
	plainly.Rewrite(t, "c4na7y: [")
	if got, want := readiness(t, plainly), "200\n[+]serving ok\n[-]configuration failed: the newest one was refused, and the one before is in force\n"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, passed) {
		t.Errorf("%s, want %s", got, want)
	}
}

// The certificate and the journal have a check where there is one.
func TestReadinessOfCertificateAndJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority := gatewaytest.NewAuthority(t)
	certificate, expired := authority.Loopback(t), authority.Issue(t, -time.Minute)
	file := func(name, content string) string { return gatewaytest.WriteFile(t, filepath.Join(dir, name), content) }
	journal, err := store.OpenFile(t.Context(), filepath.Join(dir, "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	g := gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(sim.Start(t, sim.Config{}).URL(), "timeouts: {drain: 1s}\nlistener: {tls_cert_file: "+file("crt", certificate.CertPEM)+", tls_key_file: "+file("key", certificate.KeyPEM)+"}"),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal) },
	})
	const before, behind = "[+]configuration ok\n[+]certificate/listener ok\n[+]credential/upstream.credentials[0] ok\n", "[+]upstream ok\nreadyz check "
	if got, want := readiness(t, g), "200\n[+]serving ok\n"+before+"[+]journal ok\n"+behind+"passed\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	old := gatewaytest.StartFor(t, sim.Start(t, sim.Config{}).URL(), "listener: {tls_cert_file: "+file("old.crt", expired.CertPEM)+", tls_key_file: "+file("old.key", expired.KeyPEM)+"}")
	if got, want := readiness(t, old), "\n[-]certificate/listener failed: it has expired\n"; !strings.Contains(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	journal.Close()
	if got, want := readiness(t, g), "200\n[+]serving ok\n"+before+"[-]journal failed: it can't be read\n"+behind+"passed\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	g.Stop()
	gatewaytest.WaitFor(t, "readyz to say no", func() bool {
		return gatewaytest.Send(t, "GET", g.Management+"/readyz", nil, "").Status == http.StatusServiceUnavailable
	})
	if got, want := readiness(t, g), "503\n[-]serving failed: draining\n"+before; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, behind+"failed\n") {
		t.Errorf("%s, want %s", got, want)
	}
}

// Once Atlas has failed for a while, a check and a metric say for how many of its buckets.
func TestReadinessWhileAtlasFails(t *testing.T) {
	t.Parallel() // it waits most of the time
	upstream := gatewaytest.StartUpstream(t, gatewaytest.Reset)
	g := gatewaytest.StartFor(t, upstream.URL, "budget: {attempts: 1}")
	for deadline := time.Now().Add(30 * time.Second); g.Send(t, "GET", v2Exports, readHeader, "").Header.Get("Gateway-Error") != "upstream_out"; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Atlas is still asked")
		}
	}
	if got := readiness(t, g); !strings.HasPrefix(got, "200\n") || !strings.Contains(got, "\n[-]upstream failed: Atlas fails for 1 of its buckets\nreadyz check passed\n") {
		t.Error(got)
	}
	if !strings.Contains(g.Metrics(t), "\natlas_gateway_upstream_out_buckets 1\n") {
		t.Error("the metrics do not say it")
	}
}
