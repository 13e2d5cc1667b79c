package helm_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// atlas-gateway check finds the configurations good that the chart renders, once the files are
// there.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	program := filepath.Join(folder, "atlas-gateway")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/atlas-gateway")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	run := func(args ...string) (string, error) {
		command := exec.CommandContext(t.Context(), program, args...)
		command.Env = []string{"STATE_DIRECTORY=" + folder}
		output, err := command.CombinedOutput()
		return string(output), err
	}
	write := func(name string, content string) string {
		t.Helper()
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	server := httptest.NewTLSServer(nil) // has a certificate
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write("tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	write("tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	for _, name := range []string{"atlas-public-key", "atlas-private-key", "journal-url"} {
		write(name, "c4na7y")
	}
	if printed, err := run("keys", "signing-key", filepath.Join(folder, "signing.key")); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	keys, err := run("keys", "new", "-caller", "nightly", "-ha1-file", filepath.Join(folder, "nightly.ha1"))
	public := regexp.MustCompile(`public key: (\S+)`).FindStringSubmatch(keys)
	if err != nil || public == nil {
		t.Fatalf("no key: %v", err) // what keys new prints is secret
	}
	here := strings.NewReplacer("/etc/atlas-gateway", folder, "agwabcdefghijkl", public[1])
	for file, want := range map[string]string{
		"example.yaml": ":8443 forwards", "testdata/one.yaml": ":8443 forwards", "testdata/plain.yaml": "0.0.0.0:8080 forwards",
	} {
		i := install(t, valuesOf(t, file))
		configuration := write("atlas-gateway.yaml", here.Replace(i.config.Data["atlas-gateway.yaml"]))
		if printed, err := run("check", configuration); err != nil || !strings.Contains(printed, "the configuration is good: "+want) {
			t.Errorf("%s: %v: %s", file, err, printed)
		}
	}
	i := install(t, valuesOf(t, "testdata/plain.yaml", "config: {listeners: {}}"))
	if printed, err := run("check", write("atlas-gateway.yaml", i.config.Data["atlas-gateway.yaml"])); err == nil || !strings.Contains(printed, "listeners") {
		t.Errorf("an unknown key: %v: %s", err, printed)
	}
}
