package gatewaytest

import (
	"encoding/base64"
	"os"
	"strings"
	"sync"
	"testing"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/canary"
)

// secrets are the secrets of each test, by the test's name.
var secrets sync.Map

func secretsOf(t testing.TB) *canary.Secrets {
	test, _, _ := strings.Cut(t.Name(), "/")
	s, _ := secrets.LoadOrStore(test, new(canary.Secrets))
	return s.(*canary.Secrets)
}

// KeepSecret adds a secret to those of the test: no log, metric or answer of a gateway may hold
// it. A text of fewer than 8 bytes is not added, since a word may be as short.
//
// These are secrets without a call of KeepSecret: what the configuration of a gateway names, the
// keys of the callers that [Issue] makes, the Authorization fields that [Send] sends, and the
// access tokens that Send receives.
func KeepSecret(t testing.TB, name, secret string) {
	if len(secret) >= 8 {
		secretsOf(t).Add(name, secret)
	}
}

// FindSecrets fails the test where a text holds one of the test's secrets.
func FindSecrets(t testing.TB, where, text string) {
	t.Helper()
	for _, found := range secretsOf(t).Find(text) {
		t.Errorf("a secret is in %s: %s", where, found)
	}
}

// keepConfigured adds the secrets that a configuration names, as they are now.
func keepConfigured(t testing.TB, c *config.Config, environ []string) {
	for _, credential := range c.Upstream.Credentials {
		keepFile(t, "Atlas's private key", credential.PrivateKeyFile)
		keepFile(t, "Atlas's client secret", credential.ClientSecretFile)
		for _, variable := range environ {
			if name, value, _ := strings.Cut(variable, "="); name == credential.PrivateKeyEnv || name == credential.ClientSecretEnv {
				KeepSecret(t, "Atlas's secret "+name, value)
			}
		}
	}
	keepFile(t, "the proxy's password", c.Upstream.ProxyPasswordFile)
	keepFile(t, "the fields for the receiver of spans", c.Tracing.HeadersFile)
	keepFile(t, "the signing key", c.Callers.SigningKeyFile)
	keepFile(t, "the listener's key", c.Listener.TLSKeyFile)
	for _, caller := range c.Callers.List {
		for _, pair := range caller.KeyPairs {
			keepFile(t, "HA1 of "+caller.Name, pair.HA1File)
		}
	}
}

// keepFile adds each line of a file, and what a line holds behind its last colon or in base64.
func keepFile(t testing.TB, name, file string) {
	content, _ := os.ReadFile(file) // there may be no such file
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		KeepSecret(t, name, line)
		if colon := strings.LastIndexByte(line, ':'); colon >= 0 {
			KeepSecret(t, name, strings.TrimSpace(line[colon+1:]))
		}
		if key, err := base64.StdEncoding.DecodeString(line); err == nil {
			KeepSecret(t, name, string(key))
		}
	}
}
