package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/config"

	"github.com/google/go-cmp/cmp"
)

var environ = []string{"PUBLIC=a", "PRIVATE=b", "WORDS=two words"}

func TestLoad(t *testing.T) {
	least := config.Config{
		Listener:   config.Listener{Address: "127.0.0.1:8080"},
		Management: config.Management{Address: "127.0.0.1:27090"},
		Upstream: config.Upstream{BaseURL: "https://cloud.mongodb.com", MaxConnections: 256, Credentials: []config.CredentialSource{
			{Groups: []string{"*"}, PublicKeyFile: "testdata/key", PrivateKeyFile: "testdata/key"},
		}},
		Callers:   config.Callers{Anonymous: true},
		Limits:    config.Limits{RequestHeader: 16 << 10, RequestBody: 256 << 10, RequestValues: 10_000, ResponseBody: 8 << 20, InFlight: 512, Connections: 4096},
		Timeouts:  config.Timeouts{Header: 5 * time.Second, Request: 15 * time.Second, Upstream: time.Minute, Idle: 2 * time.Minute, Drain: 3 * time.Second, Shutdown: 75 * time.Second},
		Requests:  config.Requests{Check: "enforce"},
		Responses: config.Responses{Check: "report", Sample: 100},
		Creates:   config.Creates{Journal: "file", Keys: "derived", Retention: 24 * time.Hour, Quarantine: time.Minute, Wait: 10 * time.Second, OpenPerCaller: 1000},
		Reads:     config.Reads{Share: "on", Freshness: time.Second, KeptBytes: 16 << 20},
		Budget:    config.Budget{Requests: 1200, PerMinute: 500, Wait: 20 * time.Second, Attempts: 3},
		Log:       config.Log{Level: "info", Format: "json"},
	}
	most := config.Config{
		Listener:   config.Listener{Address: "[::1]:0", PublicURL: "https://exports.internal.example/atlas/", Hosts: []string{"exports", "::1", "exports.internal.example"}},
		Management: config.Management{Address: "localhost:0"},
		Upstream: config.Upstream{BaseURL: "http://127.0.0.1:9", Realm: "MMS Public API", MaxConnections: 8, Credentials: []config.CredentialSource{
			{Groups: []string{"64f0c1a2b3d4e5f607182930", "65*"}, PublicKeyFile: "testdata/key", PrivateKeyFile: "testdata/key"},
			{Groups: []string{"*"}, PublicKeyEnv: "PUBLIC", PrivateKeyEnv: "PRIVATE"},
		}},
		Callers:   config.Callers{Anonymous: true},
		Limits:    config.Limits{RequestHeader: 1, RequestBody: 1, RequestValues: 1, ResponseBody: 1, InFlight: 1, Connections: 1},
		Timeouts:  config.Timeouts{Header: time.Second, Request: 90 * time.Second, Upstream: 500 * time.Millisecond, Idle: time.Hour, Drain: time.Millisecond, Shutdown: 2 * time.Second},
		Requests:  config.Requests{Check: "report"},
		Responses: config.Responses{Check: "enforce", Sample: 1},
		Creates:   config.Creates{Journal: "off", Keys: "derived", Retention: time.Minute, Quarantine: time.Second, Wait: time.Millisecond, OpenPerCaller: 1},
		Reads:     config.Reads{Share: "off", Freshness: 2 * time.Second, KeptBytes: 1, StaleIfError: time.Hour},
		Budget:    config.Budget{Requests: 1, PerMinute: 1, Wait: time.Millisecond, Attempts: 1},
		Log:       config.Log{Level: "debug", Format: "text"},
	}
	overridden := least
	overridden.Listener.Address = "127.0.0.1:1"
	overridden.Limits.InFlight = 9
	overridden.Timeouts.Drain = 7 * time.Second
	fromEnvironment := least
	fromEnvironment.Upstream.Credentials = []config.CredentialSource{{Groups: []string{"*"}, PublicKeyEnv: "MONGODB_ATLAS_PUBLIC_API_KEY", PrivateKeyEnv: "MONGODB_ATLAS_PRIVATE_API_KEY"}}
	tests := []struct {
		name, file string
		environ    []string
		want       config.Config
	}{
		{"the least", "testdata/good-least.yaml", nil, least},
		{"the most", "testdata/good-most.yaml", environ, most},
		{"overridden", "testdata/good-least.yaml", []string{"ATLAS_GATEWAY_LISTENER_ADDRESS=127.0.0.1:1", "ATLAS_GATEWAY_LIMITS_IN_FLIGHT=9", "ATLAS_GATEWAY_TIMEOUTS_DRAIN=7s"}, overridden},
		{"only the environment", "", []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"}, fromEnvironment},
	}
	for _, test := range tests {
		got, err := config.Load(test.file, test.environ)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.want, got.Config); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
	}
}

// goodFile is a configuration file that is accepted.
const goodFile = `upstream:
  base_url: http://127.0.0.1:9
  credentials:
    - public_key_file: testdata/key
      private_key_file: testdata/key
callers:
  anonymous: true
`

// badChanges are changes of goodFile, each of which makes it a file that is refused. want is in
// the error.
var badChanges = []struct{ name, change, to, want string }{
	{"an unknown key", "anonymous: true", "anonymus: true", ":7: callers.anonymus: unknown key; did you mean anonymous?"},
	{"half a name of a credential's key", "public_key_file", "public_key", ":4: upstream.credentials[0].public_key: unknown key; did you mean public_key_env or public_key_file?"},
	{"a mark of direction in a key", "anonymous: true", "\u200eanonymous: true", ":7: callers.<U+200E>anonymous: unknown key; did you mean anonymous without U+200E (left-to-right mark)?"},
	{"a space without width in a file's name", "private_key_file: testdata/key", "private_key_file: testdata/key\u200b", ":5: upstream.credentials[0].private_key_file: the file can't be read: no such file or directory; it holds U+200B (zero width space)"},
	{"a key twice", "  anonymous: true", "  anonymous: true\n  anonymous: false", ":8: the key anonymous is there twice; the first is in line 7"},
	{"a tab", "  anonymous: true", "\tanonymous: true", ":7: a tab; indent with spaces"},
	{"a number beyond int", "callers:", "limits: {in_flight: 9223372036854775808}\ncallers:", ":6: limits.in_flight: the number is out of range"},
	{"a file with a byte order mark", "private_key_file: testdata/key", "private_key_file: testdata/key-mark", ":5: upstream.credentials[0].private_key_file: the file or variable must hold a key and nothing else; it holds U+FEFF (byte order mark)"},
	{"an unknown section", "callers:", "caller:", ":6: caller: unknown key; did you mean callers?"},
	{"a key within the list", "- public_key_file", "- public_file", ":4: upstream.credentials[0].public_file: unknown key"},
	{"no callers", "  anonymous: true", "  anonymous: false", ":6: callers: is required"},
	{"anonymous off loopback", "callers:", "listener: {address: '0.0.0.0:8080'}\ncallers:", ":8: callers.anonymous: is for a listener on a loopback address"},
	{"anonymous on every address", "callers:", "listener: {address: ':8080'}\ncallers:", ":8: callers.anonymous: is for a listener on a loopback address"},
	{"anonymous off loopback, without the host that requests name", "anonymous: true", "anonymous: true\n  allow_anonymous_off_loopback: true\nlistener: {address: ':8080', allow_plain_http: true}", ":9: listener.public_url: is required with callers.allow_anonymous_off_loopback"},
	{"a query in the public URL", "callers:", "listener: {public_url: 'https://gateway.example.com/exports?x'}\ncallers:", ":6: listener.public_url: has a query or a fragment"},
	{"dots in the public path", "callers:", "listener: {public_url: 'https://gateway.example.com/exports/../x'}\ncallers:", ":6: listener.public_url: has a path with an empty segment, or with other characters than"},
	{"an escape in the public path", "callers:", "listener: {public_url: 'https://gateway.example.com/e%78ports'}\ncallers:", ":6: listener.public_url: has a path with an empty segment, or with other characters than"},
	{"slashes in the public path", "callers:", "listener: {public_url: 'https://gateway.example.com//exports'}\ncallers:", ":6: listener.public_url: has a path with an empty segment, or with other characters than"},
	{"a password in the public URL", "callers:", "listener: {public_url: 'https://user:c4na7y@gateway.example.com/exports'}\ncallers:", ":6: listener.public_url: holds user information"},
	{"a host with its port", "callers:", "listener: {hosts: [gateway, 'gateway:8080']}\ncallers:", `:6: listener.hosts[1]: is "gateway:8080"; expected a name or an address, without scheme and port`},
	{"a pattern for a host", "callers:", "listener: {hosts: ['*.example.com']}\ncallers:", `:6: listener.hosts[0]: is "*.example.com"; expected a name`},
	{"proxies that name no client", "callers:", "listener: {trusted_proxies: [10.0.0.7/32]}\ncallers:", ":6: listener.trusted_proxies: needs client_address, "},
	{"clients that no proxy names", "callers:", "listener: {client_address: forwarded}\ncallers:", ":6: listener.client_address: needs trusted_proxies, "},
	{"no proxies", "callers:", "listener: {client_address: forwarded, trusted_proxies: []}\ncallers:", ":6: listener.client_address: needs trusted_proxies, "},
	{"a word for the client's address", "callers:", "listener: {client_address: x-forwarded-for, trusted_proxies: [10.0.0.7/32]}\ncallers:", `:6: listener.client_address: is "x-forwarded-for"; expected one of proxy_protocol, forwarded, x_forwarded_for; did you mean x_forwarded_for?`},
	{"proxies everywhere", "callers:", "listener: {client_address: forwarded, trusted_proxies: [10.0.0.7/32, 0.0.0.0/0]}\ncallers:", ":6: listener.trusted_proxies[1]: is everybody, "},
	{"proxies everywhere in IPv6", "callers:", "listener: {client_address: forwarded, trusted_proxies: ['::/0']}\ncallers:", ":6: listener.trusted_proxies[0]: is everybody, "},
	{"all of IPv4 in IPv6", "callers:", "listener: {client_address: forwarded, trusted_proxies: ['::ffff:0.0.0.0/96']}\ncallers:", ":6: listener.trusted_proxies[0]: is everybody, "},
	{"the address of a proxy", "callers:", "listener: {client_address: forwarded, trusted_proxies: [10.0.0.7]}\ncallers:", ":6: listener.trusted_proxies[0]: is an address: for this one alone, write 10.0.0.7/32"},
	{"a proxy with a network behind it", "callers:", "listener: {client_address: forwarded, trusted_proxies: [10.0.0.7/24]}\ncallers:", ":6: listener.trusted_proxies[0]: has bits behind its first 24: did you mean 10.0.0.0/24?"},
	{"the name of a proxy", "callers:", "listener: {client_address: forwarded, trusted_proxies: [proxy.example.com]}\ncallers:", ":6: listener.trusted_proxies[0]: expected a network, such as "},
	{"plain HTTP off loopback", "  anonymous: true", "  list: [{name: a, tokens: [{sha256: '" + strings.Repeat("0a", 32) + "'}], grants: []}]\nlistener: {address: '0.0.0.0:8080'}", ":8: listener.address: is not a loopback address: set tls_cert_file and tls_key_file, or allow_plain_http"},
	{"a certificate without its key", "callers:", "listener: {tls_cert_file: testdata/key}\ncallers:", ":6: listener.tls_key_file: is required with tls_cert_file"},
	{"a key without its certificate", "callers:", "listener: {tls_key_file: testdata/key}\ncallers:", ":6: listener.tls_cert_file: is required with tls_key_file"},
	{"a certificate that is missing", "callers:", "listener:\n  tls_cert_file: testdata/none\n  tls_key_file: testdata/key\ncallers:", ":7: listener.tls_cert_file: the file can't be read: no such file or directory"},
	{"a certificate's key that is missing", "callers:", "listener:\n  tls_cert_file: testdata/key\n  tls_key_file: testdata/none\ncallers:", ":8: listener.tls_key_file: the file can't be read: no such file or directory"},
	{"files that are no certificate and key", "callers:", "listener: {tls_cert_file: testdata/key, tls_key_file: testdata/key}\ncallers:", ":6: listener.tls_cert_file: with tls_key_file: tls: failed to find any PEM data"},
	{"authorities of clients without TLS", "callers:", "listener: {client_ca_file: testdata/key}\ncallers:", ":6: listener.client_ca_file: needs tls_cert_file and tls_key_file: "},
	{"a file without authorities of clients", "callers:", "listener: {client_ca_file: testdata/key}\ncallers:", ":6: listener.client_ca_file: the file holds no PEM certificate"},
	{"client certificates without authorities", "callers:", "listener: {client_certificates: required}\ncallers:", ":6: listener.client_certificates: needs client_ca_file: "},
	{"a word for client certificates", "callers:", "listener: {client_ca_file: testdata/key, client_certificates: requird}\ncallers:", `:6: listener.client_certificates: is "requird"; expected one of optional, required; did you mean required?`},
	{"a caller's certificate without authorities", "  anonymous: true", "  list: [{name: a, certificates: [{dns: a.example}]}]", ":7: callers.list[0].certificates: needs listener.client_ca_file: "},
	{"a bound token without authorities", "  anonymous: true", "  list: [{name: a, service_accounts: [{client_id: a, secret_sha256: '" + strings.Repeat("0a", 32) + "', bind_certificate: true}]}]", ":7: callers.list[0].service_accounts[0].bind_certificate: needs listener.client_ca_file: "},
	{"a name of no kind", "  anonymous: true", "  list: [{name: a, certificates: [{email: a@example}]}]", ":7: callers.list[0].certificates[0].email: unknown key"},
	{"a glob for a trust domain", "  anonymous: true", "  list: [{name: a, certificates: [{uri: 'spiffe://*/ns'}]}]", ":7: callers.list[0].certificates[0].uri: expected scheme://host/path"},
	{"a caller without a key", "  anonymous: true", "  list: [{name: a}]", ":7: callers.list[0]: the caller has no key"},
	{"an operation in a grant", "  anonymous: true", "  list: [{name: a, tokens: [{sha256: '" + strings.Repeat("0a", 32) + "'}], grants: [{operations: [createBackupExprt], groups: ['*']}]}]", ":7: callers.list[0].grants[0].operations[0]: "},
	{"a grant without groups", "  anonymous: true", "  list: [{name: a, tokens: [{sha256: '" + strings.Repeat("0a", 32) + "'}], grants: [{operations: [read]}]}]", ":7: callers.list[0].grants[0].groups: "},
	{"a list that was emptied", "  anonymous: true", "  anonymous: true\n  list:", ":8: callers.list: has no value"},
	{"a misspelt setting of callers", "  anonymous: true", "  anonymous: true\n  reelm: x", ":8: callers.reelm: unknown key; did you mean realm?"},
	{"an address without a port", "callers:", "listener: {address: localhost}\ncallers:", `:6: listener.address: is "localhost"; expected host:port`},
	{"a port by name", "callers:", "management: {address: 'localhost:http'}\ncallers:", `:6: management.address: the port is "http"`},
	{"plain http to another host", "http://127.0.0.1:9", "http://cloud.mongodb.com", ":2: upstream.base_url: http is for a loopback address only; use https"},
	{"a password in the URL", "http://127.0.0.1:9", "https://user:c4na7y@cloud.mongodb.com", ":2: upstream.base_url: holds user information; keys belong in files or the environment"},
	{"a link-local address", "http://127.0.0.1:9", "https://169.254.169.254", ":2: upstream.base_url: a link-local address is never Atlas"},
	{"a password without a scheme", "http://127.0.0.1:9", "user:c4na7y@cloud.mongodb.com", ":2: upstream.base_url: holds user information"},
	{"a password behind slashes", "http://127.0.0.1:9", "https:///user:c4na7y@cloud.mongodb.com", ":2: upstream.base_url: holds user information"},
	{"a variable of two words", "public_key_file: testdata/key\n      private_key_file: testdata/key", "public_key_env: PUBLIC\n      private_key_env: WORDS", ":5: upstream.credentials[0].private_key_env: the file or variable must hold a key and nothing else"},
	{"a base path", "http://127.0.0.1:9", "https://cloud.mongodb.com/api", ":2: upstream.base_url: has a path; expected scheme and host only"},
	{"another scheme", "http://127.0.0.1:9", "ftp://127.0.0.1", ":2: upstream.base_url: does not begin with http:// or https://"},
	{"half a key", "      private_key_file: testdata/key\n", "", ":4: upstream.credentials[0]: expected both public_key_file and private_key_file"},
	{"a key and an account", "private_key_file: testdata/key", "private_key_file: testdata/key\n      client_id_env: PUBLIC\n      client_secret_env: PRIVATE", ":4: upstream.credentials[0]: expected one pair"},
	{"an account's variable that is not set", "public_key_file: testdata/key\n      private_key_file: testdata/key", "client_id_env: PUBLIC\n      client_secret_env: NO_SECRET", ":5: upstream.credentials[0].client_secret_env: the environment variable NO_SECRET is not set"},
	{"a key in capitals in place of its variable", "public_key_file: testdata/key\n      private_key_file: testdata/key", "public_key_env: PUBLIC\n      private_key_env: HUNTER2", ":5: upstream.credentials[0].private_key_env: the environment variable is not set"},
	{"files and variables", "private_key_file: testdata/key", "private_key_env: PRIVATE", ":4: upstream.credentials[0]: expected one pair of public_key_file and private_key_file,"},
	{"a file that is missing", "private_key_file: testdata/key", "private_key_file: testdata/none", ":5: upstream.credentials[0].private_key_file: the file can't be read: no such file or directory"},
	{"an empty file", "private_key_file: testdata/key", "private_key_file: testdata/key-empty", ":5: upstream.credentials[0].private_key_file: the file or variable must hold a key and nothing else"},
	{"a key in place of its file", "private_key_file: testdata/key", "private_key_file: c4na7y", ":5: upstream.credentials[0].private_key_file: the file can't be read"},
	{"a key in place of its variable", "public_key_file: testdata/key\n      private_key_file: testdata/key", "public_key_env: PUBLIC\n      private_key_env: c4na7y", ":5: upstream.credentials[0].private_key_env: expected the name of an environment variable, not a key"},
	{"a key in place of a certificate's", "callers:", "listener: {tls_cert_file: testdata/key, tls_key_file: c4na7y}\ncallers:", ":6: listener.tls_key_file: the file can't be read"},
	{"a file of two words", "private_key_file: testdata/key", "private_key_file: testdata/key-words", "must hold a key and nothing else"},
	{"a bad pattern", "- public_key_file", "- groups: ['[']\n      public_key_file", ":4: upstream.credentials[0].groups[0]: \"[\" is not a pattern"},
	{"a group that can't exist", "- public_key_file", "- groups: [64F0C1A2B3D4E5F607182930]\n      public_key_file", ":4: upstream.credentials[0].groups[0]: \"64F0C1A2B3D4E5F607182930\" is not an id, 24 hexadecimal digits in lower case, and would match nothing"},
	{"a file without authorities", "  credentials:", "  ca_file: testdata/key\n  credentials:", ":3: upstream.ca_file: the file holds no PEM certificate"},
	{"a file of authorities that is missing", "  credentials:", "  ca_file: testdata/none\n  credentials:", ":3: upstream.ca_file: the file can't be read: no such file or directory"},
	{"one address for both listeners", "callers:", "management: {address: '127.0.0.1:8080'}\ncallers:", ":6: management.address: is the listener's"},
	{"a negative limit", "callers:", "limits: {in_flight: -1}\ncallers:", ":6: limits.in_flight: is -1; expected 1 to 1000000"},
	{"a negative time", "callers:", "timeouts: {idle: -1s}\ncallers:", ":6: timeouts.idle: is -1s; expected 1ms to 1h"},
	{"a time without a unit", "callers:", "timeouts: {idle: 5}\ncallers:", ":6: timeouts.idle: expected a duration such as 500ms, 10s or 1m30s"},
	{"a bad mode", "callers:", "responses: {check: enforced}\ncallers:", `:6: responses.check: is "enforced"; expected one of off, report, enforce; did you mean enforce?`},
	{"a bad level", "callers:", "log: {level: inf}\ncallers:", "did you mean info?"},
	{"a bad format", "callers:", "log: {format: yaml}\ncallers:", ":6: log.format"},
	{"a list where a text belongs", "http://127.0.0.1:9", "[a]", ":2: upstream.base_url: expected a text"},
}

// Each error names the file, the line and the key, and says what to write instead.
func TestLoadRefuses(t *testing.T) {
	for _, test := range badChanges {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(goodFile, test.change) {
				t.Fatalf("nothing to change: %q", test.change)
			}
			file := filepath.Join(t.TempDir(), "gateway.yaml")
			if err := os.WriteFile(file, []byte(strings.Replace(goodFile, test.change, test.to, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Load(file, environ)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), file) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error:\n got %v\nwant %s", err, test.want)
			}
			if strings.Contains(err.Error(), "c4na7y") || strings.Contains(err.Error(), "two words") {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

// What stands beside an address without a port is not refused for it.
func TestAddressWithoutAPort(t *testing.T) {
	for _, change := range []string{"listener: {address: localhost}", "listener: {address: gateway.example.com}", "listener: {address: '127.0.0.1:'}", "listener: {address: '0.0.0.0:https'}", "listener: {address: '::'}"} {
		file := filepath.Join(t.TempDir(), "gateway.yaml")
		if err := os.WriteFile(file, []byte(goodFile+change+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file, environ); err == nil || !strings.HasPrefix(err.Error(), file+":8: listener.address: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", change, err)
		}
	}
}

// A file may begin with a byte order mark.
func TestByteOrderMark(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte("\ufeff"+goodFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if parts, err := config.Load(file, environ); err != nil || !parts.Config.Callers.Anonymous {
		t.Error(err)
	}
}

// One error names all mistakes, in the order of the file.
func TestLoadNamesEverything(t *testing.T) {
	_, err := config.Load("testdata/bad-values.yaml", []string{"PUBLIC=a", "ATLAS_GATEWAY_RESPONSES_CHECK=none"})
	want := strings.ReplaceAll(`environment: ATLAS_GATEWAY_RESPONSES_CHECK: is "none"; expected one of off, report, enforce
FILE:1: listener.address: is "localhost"; expected host:port
FILE:3: upstream.base_url: does not begin with http:// or https://
FILE:4: upstream.credentials[0].groups[0]: "[" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character
FILE:4: upstream.credentials[0]: expected both public_key_env and private_key_env
FILE:6: callers.nonce_lifetime: is -1s; expected 10s to 1h
FILE:8: callers.list[0].name: expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit
FILE:9: callers.list[0].tokens[0].sha256: expected a SHA-256 hash, 64 hexadecimal digits
FILE:10: callers.list[0].grants[0].groups: is required; write ["*"] to allow all
FILE:10: callers.list[0].grants[0].operations[0]: "x" is not an operationId, read, export, manage or *
FILE:11: limits.in_flight: is -1; expected 1 to 1000000
FILE:12: log.level: is "loud"; expected one of debug, info, warn, error`, "FILE", "testdata/bad-values.yaml")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// Kubernetes sets variables about the Services of a namespace. The names of the variables about a
// Service called atlas-gateway begin like those of the gateway's settings. Load ignores them.
func TestLoadLeavesServiceLinks(t *testing.T) {
	_, err := config.Load("testdata/good-least.yaml", []string{
		"ATLAS_GATEWAY_SERVICE_HOST=10.0.171.239",
		"ATLAS_GATEWAY_SERVICE_PORT=8080",
		"ATLAS_GATEWAY_SERVICE_PORT_HTTPS=8443",
		"ATLAS_GATEWAY_PORT=tcp://10.0.171.239:8080",
		"ATLAS_GATEWAY_PORT_8080_TCP=tcp://10.0.171.239:8080",
		"ATLAS_GATEWAY_PORT_8080_TCP_PROTO=tcp",
		"ATLAS_GATEWAY_PORT_8080_TCP_PORT=8080",
		"ATLAS_GATEWAY_PORT_8080_TCP_ADDR=10.0.171.239",
		"ATLAS_GATEWAY_METRICS_SERVICE_HOST=10.0.171.240", // of the Service atlas-gateway-metrics
		"ATLAS_GATEWAY_METRICS_PORT=tcp://10.0.171.240:27090",
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLoadRefusesTheEnvironment(t *testing.T) {
	for variable, want := range map[string]string{
		"ATLAS_GATEWAY_LISTENER_ADRESS=x":                    "environment: ATLAS_GATEWAY_LISTENER_ADRESS is not a setting; did you mean ATLAS_GATEWAY_LISTENER_ADDRESS?",
		"ATLAS_GATEWAY_LIMITS_IN_FLIGHT=x":                   "environment: ATLAS_GATEWAY_LIMITS_IN_FLIGHT: expected a whole number",
		"ATLAS_GATEWAY_LIMITS_IN_FLIGHT=9223372036854775808": "environment: ATLAS_GATEWAY_LIMITS_IN_FLIGHT: the number is out of range",
		"ATLAS_GATEWAY_LOG_LEVEL\u200b=info":                 "environment: ATLAS_GATEWAY_LOG_LEVEL<U+200B> is not a setting; did you mean ATLAS_GATEWAY_LOG_LEVEL without U+200B (zero width space)?",
		"ATLAS_GATEWAY_TIMEOUTS_IDLE=x":                      "environment: ATLAS_GATEWAY_TIMEOUTS_IDLE: expected a duration",
		"ATLAS_GATEWAY_CALLERS_ANONYMOUS=":                   "environment: ATLAS_GATEWAY_CALLERS_ANONYMOUS: expected true or false",
		"ATLAS_GATEWAY_LOG_LEVEL=loud":                       "environment: ATLAS_GATEWAY_LOG_LEVEL: is \"loud\"; expected one of ",
		"ATLAS_GATEWAY_CALLERS_LIST=x":                       "environment: ATLAS_GATEWAY_CALLERS_LIST is a list, which can be set in the file only",
		"ATLAS_GATEWAY_LISTENER_PORT=8080":                   "environment: ATLAS_GATEWAY_LISTENER_PORT is not a setting",
	} {
		if _, err := config.Load("testdata/good-least.yaml", []string{variable}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", variable, err, want)
		}
	}
	if _, err := config.Load("", nil); err == nil || !strings.Contains(err.Error(), "MONGODB_ATLAS_PUBLIC_API_KEY is not set") {
		t.Errorf("without anything: %v", err)
	}
	if _, err := config.Load("testdata/none.yaml", nil); err == nil {
		t.Error("a file that is missing was accepted")
	}
}
