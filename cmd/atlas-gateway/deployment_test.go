package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
)

// The configuration in deploy/ is accepted once the files are there that the unit beside it hands
// over. It uses each of these files. The unit gives the gateway the time that its shutdown may
// take.
func TestDeployment(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join("../../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	certificate := gatewaytest.NewAuthority(t).Loopback(t)
	pair := callers.NewKeyPair("nightly", "", "")
	secrets := map[string]string{
		"tls.crt":           certificate.CertPEM,
		"tls.key":           certificate.KeyPEM,
		"atlas-public-key":  "public",
		"atlas-private-key": "private",
		"signing.key":       callers.NewSigningKey().Reveal(),
		"nightly.ha1":       pair.HA1File.Reveal(),
	}
	const credentials = "/run/credentials/atlas-gateway.service/"
	unit, yaml, dir := read("atlas-gateway.service"), read("atlas-gateway.yaml"), t.TempDir()
	for _, credential := range regexp.MustCompile(`(?m)^LoadCredential=(.+):/etc/atlas-gateway/(.+)$`).FindAllStringSubmatch(unit, -1) {
		name := credential[1]
		if secrets[name] == "" || credential[2] != name || !strings.Contains(yaml, ": "+credentials+name+"\n") {
			t.Errorf("the configuration doesn't use %s", credential)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secrets[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Whoever installs it puts the public key that was printed in the place of the example's.
	yaml = regexp.MustCompile(`public_key: agw\w+`).ReplaceAllString(yaml, "public_key: "+pair.ID)
	file := filepath.Join(dir, "atlas-gateway.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(yaml, credentials, dir+"/")), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	status := run(t.Context(), []string{"check", file}, nil, nil, &stdout, &stderr)
	if status != exitOK || stdout.String() != "the configuration is good: 0.0.0.0:8443 forwards to https://cloud.mongodb.com\n" || stderr.Len() > 0 {
		t.Errorf("exit status %d: %s%s", status, &stdout, &stderr)
	}
	loaded, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	socket := read("atlas-gateway.socket")
	for _, line := range []string{"ListenStream=" + loaded.Config.Listener.Address, "FileDescriptorName=listener"} {
		if !strings.Contains(socket, "\n"+line+"\n") {
			t.Errorf("the socket lacks %s", line)
		}
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindStringSubmatch(unit)
	if stop == nil {
		t.Fatal("the unit has no TimeoutStopSec in seconds")
	}
	if seconds, err := strconv.Atoi(stop[1]); err != nil || time.Duration(seconds)*time.Second <= loaded.Config.Timeouts.Drain+loaded.Config.Timeouts.Shutdown {
		t.Errorf("%s is too short: %v", stop[0], loaded.Config.Timeouts)
	}
}
