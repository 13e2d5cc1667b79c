//go:build unix

package docs_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/internal/pages"
)

// configurations have the YAML of each page completed to a whole configuration.
var configurations = map[string]func(page string) string{
	"docs/operate.md#credentials-for-atlas yaml 1": func(page string) string {
		return page + "callers: {anonymous: true}\n"
	},
	"docs/operate.md#a-proxy-between-the-gateway-and-atlas yaml 1": func(page string) string {
		return page + strings.TrimPrefix(upstream, "upstream:\n") + "callers: {anonymous: true}\n"
	},
	"docs/operate.md#beyond-loopback yaml 1": func(page string) string {
		return upstream + page + "  list:\n    - {name: nightly, " + tokens + ", grants: [{operations: [export], groups: ['*']}]}\n"
	},
	"docs/operate.md#requests-that-break-the-contract yaml 1": func(page string) string {
		return upstream + page + "      " + tokens + "\n"
	},
	"docs/nightly.md#the-key yaml 1": nightlyConfiguration,
	"docs/operate.md#anonymous-callers yaml 1": func(page string) string {
		return upstream + page + "callers: {anonymous: true, allow_anonymous_off_loopback: true}\n"
	},
	"docs/audit.md#the-audit-stream yaml 1": func(page string) string {
		return upstream + "callers: {anonymous: true}\n" + page
	},
	"docs/tracing.md#traces yaml 1": func(page string) string {
		return upstream + "callers: {anonymous: true}\n" + page
	},
	"docs/creates.md#where-the-journal-is yaml 1": func(page string) string {
		return upstream + "callers: {anonymous: true}\n" + page
	},
	"docs/reads.md#settings yaml 1": func(page string) string {
		return upstream + "callers: {anonymous: true}\n" + page
	},
	"docs/limits.md#atlass-rate-limit-and-atlass-outages yaml 1": func(page string) string {
		return upstream + "callers: {anonymous: true}\n" + page
	},
	"docs/callers.md#temporary-access yaml 1": func(page string) string {
		return upstream + strings.ReplaceAll(page, "2027-", "2227-") // whenever the test runs
	},
	"docs/operate.md#networks-of-callers yaml 1": func(page string) string {
		return upstream + page + "      " + tokens + "\n"
	},
	"docs/operate.md#behind-proxies yaml 1": func(page string) string {
		return upstream + page + "callers: {list: [{name: nightly, " + tokens + "}]}\n"
	},
	"docs/operate.md#issuers-of-tokens yaml 1": func(page string) string {
		return upstream + page + "  list:\n    - {name: nightly, identities: [{issuer: ci, claims: {sub: a}}]}\n"
	},
	"docs/operate.md#client-certificates yaml 1": func(page string) string {
		return upstream + page + "callers:\n  signing_key_file: /etc/atlas-gateway/signing.key\n  list:\n    - {name: nightly, certificates: [{dns: nightly.example.com}]}\n"
	},
	"docs/callers.md#client-certificates yaml 1": func(page string) string {
		return upstream + page + "listener: {tls_cert_file: /etc/atlas-gateway/tls.crt, tls_key_file: /etc/atlas-gateway/tls.key, client_ca_file: /etc/atlas-gateway/clients-ca.pem}\n"
	},
	"docs/callers.md#tokens-of-issuers yaml 1":                             withUpstream,
	"docs/callers.md#kubernetes yaml 1":                                    withUpstream,
	"docs/callers.md#github-actions yaml 1":                                withUpstream,
	"docs/callers.md#gitlab yaml 1":                                        withUpstream,
	"docs/callers.md#microsoft-entra yaml 1":                               withUpstream,
	"docs/callers.md#okta yaml 1":                                          withUpstream,
	"docs/callers.md#terraform-and-the-sdk-without-a-stored-secret yaml 1": withUpstream,
	"docs/callers.md#grants yaml 1": func(page string) string {
		return upstream + "callers:\n  list:\n    - name: nightly\n      " + tokens + "\n      " + strings.ReplaceAll(page, "\n", "\n      ")
	},
}

func withUpstream(page string) string { return upstream + page }

const (
	upstream = "upstream:\n  credentials: [{public_key_file: /run/secrets/atlas-public-key, private_key_file: /run/secrets/atlas-private-key}]\n"
	tokens   = "tokens: [{sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}]"
)

// Prometheus takes the configuration of the operators' page, with the alerts beside it.
func TestScrape(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	folder := t.TempDir()
	rules, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"rules.yaml": string(rules), "prometheus.yaml": pages.Blocks(t, root, "docs/operate.md#scrape yaml 1")[0]} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	contains(t, run(t, folder, promtool, "check", "config", "prometheus.yaml"), "rules found")
}

// atlas-gateway check finds the YAML of the pages good, once the files are there.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	program, folder := filepath.Join(programs, "atlas-gateway"), t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	server := httptest.NewTLSServer(nil) // has a certificate
	defer server.Close()
	certificate := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write("tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	write("clients-ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	write("tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	for _, name := range []string{"atlas-public-key", "atlas-private-key", "atlas-client-id", "atlas-client-secret", "journal-url", "proxy-user", "proxy-password"} {
		write(name, []byte("c4na7y"))
	}
	write("cluster-keys.json", []byte(issuertest.JWKS(issuertest.NewKey(t, "a", "RS256"))))
	run(t, folder, program, "keys", "signing-key", "signing.key")
	here := strings.NewReplacer("/run/secrets", folder, "/etc/atlas-gateway", folder)
	for selector, complete := range configurations {
		file := write("gateway.yaml", []byte(here.Replace(complete(pages.Blocks(t, root, selector)[0]))))
		if printed := run(t, folder, program, "check", file); !strings.Contains(printed, "the configuration is good: ") {
			t.Errorf("%s: %s", selector, printed)
		}
	}
}
