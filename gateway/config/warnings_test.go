package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"

	"github.com/google/go-cmp/cmp"
)

// A warning names each setting whose file holds a secret and may be read by every user, and a
// public URL that a client takes for an error, where requests are only reported, and networks of
// callers with proxies in them. There is no warning about files without a secret, about variables,
// and about files that not every user may read.
func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	file := func(mode os.FileMode) string {
		name := filepath.Join(dir, fmt.Sprintf("%04o", mode))
		if err := os.WriteFile(name, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return name
	}
	open, ours, loose := file(0o644), file(0o640), file(0o604)
	link := filepath.Join(dir, "link") // as Kubernetes mounts secrets
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	caller := func(files ...string) (c config.Caller) {
		for _, f := range files {
			c.KeyPairs = append(c.KeyPairs, callers.KeyPair{HA1File: f})
		}
		return c
	}
	from := func(networks ...string) (c config.Caller) {
		c.SourceNetworks = networks
		return c
	}
	settings := config.Config{
		Listener: config.Listener{TLSCertFile: open, TLSKeyFile: open, PublicURL: "https://gateway.example.com:14040", ClientAddress: "forwarded", TrustedProxies: []string{"10.0.0.7/32", "10.0.1.0/24"}},
		Upstream: config.Upstream{CAFile: open, Credentials: []config.CredentialSource{
			{PublicKeyFile: open, PrivateKeyFile: ours},
			{PublicKeyFile: ours, PrivateKeyFile: open},
			{PublicKeyEnv: open, PrivateKeyEnv: open},
			{ClientIDFile: open, ClientSecretFile: link},
			{ClientIDFile: open, ClientSecretFile: filepath.Join(dir, "none")},
		}},
		Callers:  config.Callers{Settings: callers.Settings{SigningKeyFile: loose}, List: []config.Caller{caller(ours), caller(ours, open), {RequestsCheck: "enforce"}, {RequestsCheck: "report"}, from("10.2.0.0/16", "10.0.1.128/25"), from("10.0.0.0/8")}},
		Requests: config.Requests{Check: "report"},
	}
	for i := range settings.Upstream.Credentials {
		settings.Upstream.Credentials[i].Groups = []string{fmt.Sprintf("%024x", i)}
	}
	const hasProxies, behind = ": has proxies of listener.trusted_proxies in it, ", ": where a proxy says that it does not know its client, the address is the proxy's"
	const says = ": every user may read the file, which holds a secret: its mode is "
	want := []string{
		"listener.public_url: holds 404, so that Terraform's provider takes every error for the news that an export bucket or job was deleted; choose another name or port",
		"listener.tls_key_file" + says + "0644",
		"upstream.credentials[1].private_key_file" + says + "0644",
		"upstream.credentials[3].client_secret_file" + says + "0644",
		"callers.signing_key_file" + says + "0604",
		"callers.list[1].key_pairs[1].ha1_file" + says + "0644",
		"callers.list[4].source_networks[1]" + hasProxies + "10.0.1.0/24" + behind,
		"callers.list[5].source_networks[0]" + hasProxies + "10.0.0.7/32" + behind,
		"callers.list[5].source_networks[0]" + hasProxies + "10.0.1.0/24" + behind,
		"requests.check: is report: requests that break nothing but schemas of the contract are forwarded, counted and logged",
		"callers.list[3].requests_check: is report: requests that break nothing but schemas of the contract are forwarded, counted and logged",
	}
	var got []string
	for _, warning := range config.WarningsOf(settings) {
		got = append(got, warning.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A credential that stands behind others for all of its groups never signs: a key that may do more
// than was meant signs in its place.
func TestWarnsOfCredentialsThatNeverSign(t *testing.T) {
	const shop, reports = "64f0c1a2b3d4e5f607182930", "64f0c1a2b3d4e5f607182931"
	for _, test := range []struct {
		groups [][]string
		unused []int
	}{
		{[][]string{{shop}, {reports}, {"*"}}, nil},
		{[][]string{{shop}, {reports}, nil}, nil},
		{[][]string{{"*"}, {shop}}, []int{1}},
		{[][]string{nil, {shop}, {"*"}}, []int{1, 2}},
		{[][]string{{shop}, {shop}}, []int{1}},
		{[][]string{{shop}, {shop, reports}, {reports, shop}}, []int{2}},
		{[][]string{{"64*"}, {shop}, {"64f*"}, {"64*"}}, []int{1, 3}},
		{[][]string{{shop}, {"64*"}}, nil},
		{nil, nil},
	} {
		var settings config.Config
		for _, groups := range test.groups {
			settings.Upstream.Credentials = append(settings.Upstream.Credentials, config.CredentialSource{Groups: groups, PublicKeyEnv: "A", PrivateKeyEnv: "B"})
		}
		var want, got []string
		for _, i := range test.unused {
			want = append(want, fmt.Sprintf("upstream.credentials[%d]: never signs: the first credential that matches does, and those before it are for the same groups; name the narrower one first", i))
		}
		for _, warning := range config.WarningsOf(settings) {
			got = append(got, warning.Error())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.groups, diff)
		}
	}
}
