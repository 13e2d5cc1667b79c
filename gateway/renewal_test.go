package gateway_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A mistake in the configuration does not keep the listener's certificate from being renewed: the
// new pair is in force, and nothing else of the configuration is.
func TestCertificateRenewsBesideAMistake(t *testing.T) {
	t.Parallel() // it waits most of the time
	atlas := sim.Start(t, sim.Config{})
	reader := gatewaytest.Issue(t, "reader", everything)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	authority := gatewaytest.NewAuthority(t)
	certificates := []*gatewaytest.Certificate{authority.Loopback(t), authority.Loopback(t), authority.Loopback(t)}
	write := func(c *gatewaytest.Certificate) {
		gatewaytest.ReplaceFile(t, certFile, c.CertPEM)
		gatewaytest.ReplaceFile(t, keyFile, c.KeyPEM)
	}
	write(certificates[0])
	g := gatewaytest.StartFor(t, atlas.URL(), "listener: {tls_cert_file: "+certFile+", tls_key_file: "+keyFile+"}", reader)
	shows := func(c *gatewaytest.Certificate) bool {
		t.Helper()
		conn, err := tls.Dial("tcp", g.Address, &tls.Config{RootCAs: authority.Pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Equal(c.Leaf)
	}
	good, err := os.ReadFile(g.File)
	if err != nil {
		t.Fatal(err)
	}
	for i, mistake := range []string{"limit: {}\n", "upstream: [\n"} { // an unknown key; no YAML
		if line := g.Rewrite(t, string(good)+mistake); !strings.Contains(line, "refused; the one before stays") {
			t.Fatal(line)
		}
		offset := g.Log.Len()
		write(certificates[i+1])
		g.Await(t, offset, "the listener's certificate was renewed, and nothing else")
		if !shows(certificates[i+1]) {
			t.Errorf("%q: the certificate is the old one", mistake)
		}
	}
	offset := g.Log.Len()
	g.Rewrite(t, string(good))
	if strings.Contains(g.Log.String()[offset:], "and nothing else") || !shows(certificates[2]) {
		t.Error("the mended configuration has another certificate")
	}
}

// A file that becomes readable, and so is no longer written, counts as changed.
func TestReloadAfterAChangeOfMode(t *testing.T) {
	t.Parallel() // it waits most of the time
	if os.Getuid() == 0 {
		t.Log("root can read a file of any mode: only the change is seen")
	}
	atlas := sim.Start(t, sim.Config{})
	reader := gatewaytest.Issue(t, "reader", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", reader)
	file := reader.Pair.Entry.KeyPairs[0].HA1File
	for _, mode := range []os.FileMode{0o400, 0o600} {
		offset := g.Log.Len()
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if line := g.AwaitReload(t, offset); !strings.Contains(line, "reloaded") {
			t.Error(line)
		}
	}
}
