package config_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/gatewaytest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A program may build a configuration without a file: Build fills in the defaults, and makes all
// parts.
func TestBuild(t *testing.T) {
	t.Setenv("ATLAS_CLIENT_ID", "mdb_sa_id_x")
	t.Setenv("ATLAS_CLIENT_SECRET", "c4na7y-client-secret")
	authority := gatewaytest.NewAuthority(t)
	certFile, keyFile := authority.Loopback(t).WriteFiles(t)
	dir := t.TempDir()
	private := gatewaytest.WriteFile(t, filepath.Join(dir, "private"), " c4na7y-private\n")
	nightly := gatewaytest.Issue(t, "nightly", "[]")
	given := config.Config{
		Listener: config.Listener{TLSCertFile: certFile, TLSKeyFile: keyFile, PublicURL: "HTTPS://Gateway.Example:443/"},
		Upstream: config.Upstream{Realm: "MMS Public API", CAFile: gatewaytest.WriteFile(t, filepath.Join(dir, "ca"), authority.PEM), Credentials: []config.CredentialSource{
			{Groups: []string{"64f0c1a2b3d4e5f607182930"}, PublicKeyFile: "testdata/key", PrivateKeyFile: private},
			{ClientIDEnv: "ATLAS_CLIENT_ID", ClientSecretEnv: "ATLAS_CLIENT_SECRET"},
		}},
		Callers: config.Callers{List: []config.Caller{{Entry: nightly.Entry, Grants: []policy.Grant{{Operations: []string{"read"}, Groups: []string{"*"}}}}}},
	}
	parts, err := config.Build(given)
	if err != nil {
		t.Fatal(err)
	}
	if got := parts.Config; got.Listener.Address != "127.0.0.1:8080" || got.Limits.InFlight != 512 || got.Timeouts.Upstream != time.Minute || !reflect.DeepEqual(got.Upstream.Credentials[1].Groups, []string{"*"}) {
		t.Errorf("the defaults: %+v", got)
	}
	if given.Upstream.Credentials[1].Groups != nil {
		t.Error("Build has changed what it was given")
	}
	if parts.PublicURL != "https://gateway.example" || parts.Certificate == nil || parts.Callers == nil || parts.Policies["nightly"] == nil || len(parts.Policies) != 1 || len(parts.Warnings) != 0 {
		t.Errorf("%q, %v, %v, %v, %v", parts.PublicURL, parts.Certificate, parts.Callers, parts.Policies, parts.Warnings)
	}
	want := atlas.Config{
		Origin: "https://cloud.mongodb.com", Realm: "MMS Public API", Roots: authority.Pool, MaxConnections: 256, MaxResponse: 8 << 20, Timeout: time.Minute,
		Credentials: []atlas.Credential{
			{Name: "upstream.credentials[0]", Groups: []string{"64f0c1a2b3d4e5f607182930"}, ID: "c4na7y-in-a-file"},
			{Name: "upstream.credentials[1]", Groups: []string{"*"}, ID: "mdb_sa_id_x", Account: true},
		},
	}
	if diff := cmp.Diff(want, parts.Atlas, cmpopts.IgnoreFields(atlas.Credential{}, "Place", "Secret", "Read")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	key, account := parts.Atlas.Credentials[0], parts.Atlas.Credentials[1]
	if key.Secret.Reveal() != "c4na7y-private" || account.Secret.Reveal() != "c4na7y-client-secret" || key.Place == account.Place || key.Place == "" {
		t.Errorf("secrets of %d and %d bytes, places %q and %q", len(key.Secret.Reveal()), len(account.Secret.Reveal()), key.Place, account.Place)
	}
}

// Read of a credential reads what is there now, and tells a half that can't be read without a
// word of it.
func TestCredentialIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	t.Setenv("PUBLIC_KEY", "public")
	t.Setenv("PRIVATE_KEY", "c4na7y-first")
	parts, err := config.Build(config.Config{
		Upstream: config.Upstream{Credentials: []config.CredentialSource{
			{PublicKeyFile: file("public", "public"), PrivateKeyFile: file("private", "c4na7y-first")},
			{PublicKeyEnv: "PUBLIC_KEY", PrivateKeyEnv: "PRIVATE_KEY"},
		}},
		Callers: config.Callers{Anonymous: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	file("public", "rotated")
	file("private", "c4na7y-second\n")
	t.Setenv("PUBLIC_KEY", "rotated")
	t.Setenv("PRIVATE_KEY", "c4na7y-second")
	for _, c := range parts.Atlas.Credentials {
		if id, half, err := c.Read(); id != "rotated" || half.Reveal() != "c4na7y-second" || err != nil {
			t.Errorf("%s: %q, %v", c.Name, id, err)
		}
		if c.ID != "public" || c.Secret.Reveal() != "c4na7y-first" {
			t.Errorf("%s: Read has changed the credential", c.Name)
		}
	}
	file("private", "c4na7y two words")
	t.Setenv("PRIVATE_KEY", "")
	for i, want := range []string{"must hold a key and nothing else", "the environment variable PRIVATE_KEY is not set"} {
		if _, _, err := parts.Atlas.Credentials[i].Read(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The error of Build names all mistakes, each with the path of its setting.
func TestBuildRefuses(t *testing.T) {
	_, err := config.Build(config.Config{
		Upstream:  config.Upstream{Credentials: []config.CredentialSource{{PublicKeyFile: "testdata/key", PrivateKeyFile: "testdata/none"}}},
		Callers:   config.Callers{Settings: callers.Settings{DigestAlgorithm: "SHA-1"}, Anonymous: true},
		Limits:    config.Limits{InFlight: -1},
		Requests:  config.Requests{Check: "off"},
		Responses: config.Responses{Check: "loose"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{"callers.digest_algorithm: ", "limits.in_flight: is -1", `requests.check: is "off"; expected one of enforce, report`, `responses.check: is "loose"`, "upstream.credentials[0].private_key_file: the file can't be read"} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d does not begin with %s: %v", i, want, err)
		}
	}
	if len(lines) != 5 {
		t.Errorf("%d lines: %v", len(lines), err)
	}
	if _, err := config.Build(config.Config{}); err == nil || !strings.Contains(err.Error(), "callers: is required") || !strings.Contains(err.Error(), "upstream.credentials: is required") {
		t.Errorf("an empty configuration: %v", err)
	}
}
