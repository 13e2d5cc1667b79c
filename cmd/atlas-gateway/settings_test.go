package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/internal/canary"
	"atlas-export-gateway/internal/gatewaytest"
)

// A misplaced secret stands in a configuration, or in a variable of the environment, as CANARY.
// The error names the settings.
type misplaced struct {
	name, config, environ string
	want                  []string // settings
}

const (
	goodUpstream = "upstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\n"
	anonymous    = "callers: {anonymous: true}\n"
)

// misplacedEverywhere has the secret in each setting that has to do with secrets.
var misplacedEverywhere = misplaced{"everywhere", `
listener: {tls_cert_file: CANARY, tls_key_file: CANARY}
upstream:
  base_url: https://user:CANARY@cloud.mongodb.com
  proxy_url: http://user:CANARY@proxy
  proxy_user_file: CANARY
  proxy_password_file: CANARY
  credentials:
    - {public_key_file: CANARY, private_key_file: CANARY}
    - {public_key_env: CANARY, private_key_env: CANARY}
    - {client_id_file: CANARY, client_secret_file: CANARY}
    - {client_id_env: CANARY, client_secret_env: CANARY}
    - {private_key_file: CANARY}
    - {private_key_file: CANARY, client_secret_file: CANARY}
callers:
  signing_key_file: CANARY
  list:
    - name: a:CANARY
      key_pairs: [{public_key: a:CANARY, ha1_file: CANARY}]
      tokens: [{sha256: CANARY}]
      service_accounts: [{client_id: a:CANARY, secret_sha256: CANARY}]
tracing: {endpoint: "https://user:CANARY@receiver"}
`, "", []string{
	"tracing.endpoint", "listener.tls_cert_file", "upstream.base_url", "upstream.proxy_url", "upstream.proxy_user_file", "upstream.proxy_password_file", "credentials[0].public_key_file", "credentials[0].private_key_file", "credentials[1].public_key_env", "credentials[1].private_key_env",
	"credentials[2].client_id_file", "credentials[2].client_secret_file", "credentials[3].client_id_env", "credentials[3].client_secret_env", "credentials[4]:", "credentials[5]:",
	"signing_key_file", "list[0].name", "list[0].key_pairs[0].public_key", "list[0].key_pairs[0].ha1_file", "list[0].tokens[0].sha256", "list[0].service_accounts[0].client_id", "list[0].service_accounts[0].secret_sha256",
}}

// misplacedSecrets have the secret in one place of the YAML or the environment.
var misplacedSecrets = []misplaced{
	{"for an authority's file", "upstream: {ca_file: CANARY, credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\n" + anonymous, "", []string{"upstream.ca_file"}},
	{"in a variable of two keys", goodUpstream + anonymous, "PRIVATE=two CANARY", []string{"private_key_env"}},
	{"as a number", goodUpstream + anonymous + "limits: {in_flight: CANARY}\n", "", []string{":3: limits.in_flight:"}},
	{"as a time", goodUpstream + anonymous + "timeouts: {idle: CANARY}\n", "", []string{"timeouts.idle"}},
	{"as a switch", goodUpstream + "callers: {anonymous: CANARY}\n", "", []string{":2: callers.anonymous:"}},
	{"as a section", "upstream: CANARY\n" + anonymous, "", []string{":1: upstream:"}},
	{"as a list", "upstream: {credentials: CANARY}\n" + anonymous, "", []string{":1: upstream.credentials:"}},
	{"as an entry", "upstream: {credentials: [CANARY]}\n" + anonymous, "", []string{":1: upstream.credentials[0]:"}},
	{"of an unknown key", "upstream: {credentials: [{public_key: PUBLIC, private_key: CANARY}]}\n" + anonymous, "", []string{"credentials[0].private_key:"}},
	{"twice", "upstream: {credentials: [{private_key_file: CANARY, private_key_file: CANARY}]}\n" + anonymous, "", []string{":1:"}},
	{"without a colon", "upstream:\n  credentials:\n    - public_key_env: PUBLIC\n      private_key_env CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
	{"without a space", "upstream:\n  credentials:\n    - private_key_env:CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
	{"in an open quote", "upstream:\n  credentials:\n    - private_key_env: 'CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
	{"in an open list", "upstream:\n  credentials:\n    - private_key_env: [CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
	{"behind a tab", "upstream:\n\tcredentials: CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
	{"as a tag", "upstream: !CANARY {}\n" + anonymous, "", []string{"upstream"}},
	{"as an anchor", "upstream: &CANARY {}\n" + anonymous, "", []string{"upstream"}},
	{"as an alias", "upstream: *CANARY\n" + anonymous, "", []string{"gateway.yaml"}},
	{"in the environment, as a file's name", goodUpstream + "callers: {list: [{name: a, service_accounts: [{client_id: a, secret_sha256: " + hash("x") + "}]}]}\n", "ATLAS_GATEWAY_CALLERS_SIGNING_KEY_FILE=CANARY", []string{"ATLAS_GATEWAY_CALLERS_SIGNING_KEY_FILE:"}},
	{"in the environment, of no setting", goodUpstream + anonymous, "ATLAS_GATEWAY_UPSTREAM_PRIVATE_KEY=CANARY", []string{"ATLAS_GATEWAY_UPSTREAM_PRIVATE_KEY"}},
	{"in the environment, as a number", goodUpstream + anonymous, "ATLAS_GATEWAY_LIMITS_IN_FLIGHT=CANARY", []string{"ATLAS_GATEWAY_LIMITS_IN_FLIGHT"}},
	{"in the environment, as a time", goodUpstream + anonymous, "ATLAS_GATEWAY_TIMEOUTS_IDLE=CANARY", []string{"ATLAS_GATEWAY_TIMEOUTS_IDLE"}},
	{"for the receiver of spans", goodUpstream + anonymous + "tracing: {endpoint: 'https://receiver', ca_file: CANARY, headers_file: CANARY, resource_attributes: CANARY}\n", "", []string{"tracing.ca_file", "tracing.headers_file", "tracing.resource_attributes"}},
	{"in the environment, for the receiver of spans", goodUpstream + anonymous + "tracing: {endpoint: 'https://receiver'}\n", "OTEL_EXPORTER_OTLP_HEADERS=CANARY", []string{"OTEL_EXPORTER_OTLP_HEADERS"}},
	{"in the environment, as a switch", goodUpstream, "ATLAS_GATEWAY_CALLERS_ANONYMOUS=CANARY", []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS"}},
}

// misplacedInFiles have the secret in files that hold something else. It writes the files.
func misplacedInFiles(t *testing.T, file func(name, content string) string, certificate, other *gatewaytest.Certificate) []misplaced {
	t.Helper()
	return []misplaced{
		{"in files of another form", goodUpstream + "callers:\n  signing_key_file: " + file("signing", nobodys) + "\n  list: [{name: a, key_pairs: [{public_key: a, ha1_file: " + file("ha1", "MD5:"+nobodys) + "}]}]\n", "", []string{"signing_key_file", "ha1_file"}},
		{"in a file of two keys", "upstream: {credentials: [{public_key_file: " + file("two", nobodys+" "+nobodys) + ", private_key_file: " + file("lines", nobodys+"\n"+nobodys) + "}]}\n" + anonymous, "", []string{"public_key_file", "private_key_file"}},
		{"of another certificate", goodUpstream + anonymous + "listener: {tls_cert_file: " + file("cert", certificate.CertPEM) + ", tls_key_file: " + file("key", other.KeyPEM) + "}\n", "", []string{"listener.tls_cert_file"}},
	}
}

// A secret that stands in the place of a setting, or of the name of its file, is not repeated by
// the error, which names the setting.
func TestNoSecretShowsOfASetting(t *testing.T) {
	t.Parallel()
	var secrets canary.Secrets
	secrets.Add("the secret", nobodys)
	dir := t.TempDir()
	file := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	authority := gatewaytest.NewAuthority(t)
	certificate, other := authority.Loopback(t), authority.Loopback(t)
	for line := range strings.Lines(other.KeyPEM) {
		secrets.Add("the listener's key", strings.TrimSpace(line))
	}
	for _, test := range slices.Concat(misplacedSecrets, misplacedInFiles(t, file, certificate, other)) {
		refusesMisplaced(t, &secrets, file, test, "check")
	}
	for _, arguments := range [][]string{{"check"}, {"serve"}, {"explain", "-caller", "a", "-operation", "listExportBuckets", "-group", "b"}} {
		refusesMisplaced(t, &secrets, file, misplacedEverywhere, arguments...)
	}
}

// refusesMisplaced runs a command of the program with a configuration, which it must refuse.
func refusesMisplaced(t *testing.T, secrets *canary.Secrets, file func(name, content string) string, test misplaced, arguments ...string) {
	t.Helper()
	config := file("gateway.yaml", strings.ReplaceAll(test.config, "CANARY", nobodys))
	var environ []string
	if test.environ != "" {
		environ = []string{strings.ReplaceAll(test.environ, "CANARY", nobodys)}
	}
	status, output := runProgram(t, append(arguments, config), environ...)
	if status != exitConfig {
		t.Errorf("%s: %s ends with %d: %s", test.name, arguments[0], status, output)
	}
	for _, setting := range test.want {
		if !strings.Contains(output, setting) {
			t.Errorf("%s: %s does not name %s: %s", test.name, arguments[0], setting, output)
		}
	}
	for _, found := range secrets.Find(output) {
		t.Errorf("%s: %s: %s", test.name, arguments[0], found)
	}
}
