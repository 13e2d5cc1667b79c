package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
)

// Every file that the configuration names is watched. A change is noticed also where the file is
// a link into a folder that is swapped, as Kubernetes mounts secrets.
func TestFilesAreWatched(t *testing.T) {
	t.Parallel() // it waits most of the time
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	dir := t.TempDir()
	authority := gatewaytest.NewAuthority(t)
	ha1 := nightly.Pair.Entry.KeyPairs[0].HA1File
	signing := gatewaytest.WriteFile(t, filepath.Join(dir, "signing"), callers.NewSigningKey().Reveal())
	caFile := gatewaytest.WriteFile(t, filepath.Join(dir, "ca"), authority.PEM)
	mounted := filepath.Join(dir, "mounted")
	mount := func(version int) { mountSecrets(t, mounted, version) }
	mount(1)
	g := gatewaytest.Start(t, fmt.Sprintf(`
upstream:
  base_url: %s
  ca_file: %s
  credentials: [{public_key_file: %[3]s/public, private_key_file: %[3]s/private}]
callers:
  signing_key_file: %s
  list:
%s`, atlas.URL(), caFile, mounted, signing, nightly.YAML))
	for _, change := range []struct {
		name string
		make func()
	}{
		{"the configuration", func() {
			text, err := os.ReadFile(g.File)
			if err != nil {
				t.Fatal(err)
			}
			gatewaytest.ReplaceFile(t, g.File, string(text)+"\n# changed\n")
		}},
		{"HA1", func() { gatewaytest.ReplaceFile(t, ha1, nightly.Pair.HA1File.Reveal()) }},
		{"the signing key", func() { gatewaytest.ReplaceFile(t, signing, callers.NewSigningKey().Reveal()) }},
		{"the authorities", func() { gatewaytest.ReplaceFile(t, caFile, authority.PEM+"\n") }},
		{"the mounted key", func() { mount(2) }},
	} {
		offset := g.Log.Len()
		change.make()
		if record := g.AwaitReload(t, offset); !strings.Contains(record, "reloaded") {
			t.Errorf("%s: %s", change.name, record)
		}
	}
}

// mountSecrets makes mounted a link to a new folder that holds the simulation's API key.
func mountSecrets(t *testing.T, mounted string, version int) {
	t.Helper()
	folder := fmt.Sprintf("..%d", version)
	full := filepath.Join(filepath.Dir(mounted), folder)
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	gatewaytest.WriteFile(t, filepath.Join(full, "public"), sim.PublicKey)
	gatewaytest.WriteFile(t, filepath.Join(full, "private"), sim.PrivateKey)
	if err := os.Symlink(folder, mounted+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(mounted+".new", mounted); err != nil {
		t.Fatal(err)
	}
}

// rotatedSeed is the simulation's seed with a second API key, for the one that the key is rotated
// to.
func rotatedSeed() (seed *sim.Seed, rotated sim.Key) {
	seed = sim.DefaultSeed()
	rotated = seed.Keys[0]
	rotated.PublicKey, rotated.PrivateKey = "rotatedk", secret.New("c4na7y-rotated-private")
	seed.Keys = append(seed.Keys, rotated)
	return seed, rotated
}

// The old API key signs as long as only one half of it was replaced, or Atlas refuses the new
// one. The log and the metrics tell which key signs, and what another one waits for.
func TestRotationIsTold(t *testing.T) {
	t.Parallel() // it waits most of the time
	seed, rotated := rotatedSeed()
	atlas := sim.Start(t, sim.Config{Seed: seed})
	dir := t.TempDir()
	public := gatewaytest.WriteFile(t, filepath.Join(dir, "public"), sim.PublicKey)
	private := gatewaytest.WriteFile(t, filepath.Join(dir, "private"), sim.PrivateKey)
	g := gatewaytest.Start(t, fmt.Sprintf("callers: {anonymous: true}\nupstream: {base_url: %q, credentials: [{public_key_file: %s, private_key_file: %s}]}\n", atlas.URL(), public, private))
	signs := func(want, waiting string) {
		t.Helper()
		if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
			t.Errorf("%d %s", got.Status, got.Body)
		}
		requests := atlas.Requests(0)
		if got := requests[len(requests)-1].Caller; got != want {
			t.Errorf("%s signed, want %s", got, want)
		}
		metrics := g.Metrics(t)
		if n := strings.Count(metrics, "\natlas_gateway_credential_in_force_timestamp_seconds{"); n != 1 || !strings.Contains(metrics, `{credential="upstream.credentials[0]",key="`+want+`"} 1.`) {
			t.Errorf("%d keys are in force: %s", n, metrics)
		}
		for _, reason := range []string{"half", "refused", "untried"} {
			value := map[bool]string{true: "1", false: "0"}[reason == waiting]
			if line := `atlas_gateway_credential_waiting{credential="upstream.credentials[0]",reason="` + reason + `"} ` + value + "\n"; !strings.Contains(metrics, line) {
				t.Errorf("the metrics don't say %s", line)
			}
		}
	}
	g.Await(t, 0, inForce(sim.PublicKey))
	signs(sim.PublicKey, "")
	const half = `"level":"WARN","msg":"half of a credential for Atlas is new; the one before it signs until the other half is there","credential":"upstream.credentials[0]","key":"` + sim.PublicKey + `","awaited":"private key","new_key":"rotatedk"}`
	offset := g.Log.Len()
	gatewaytest.ReplaceFile(t, public, rotated.PublicKey)
	g.Reload(t)
	g.Await(t, offset, half)
	signs(sim.PublicKey, "half")
	offset = g.Log.Len()
	g.Reload(t)
	g.Await(t, offset, half)
	signs(sim.PublicKey, "half")

	// A whole key that is wrong is tried again by itself.
	const wrong = `"level":"ERROR","msg":"Atlas refuses a new credential; the one before it signs","credential":"upstream.credentials[0]","key":"` + sim.PublicKey +
		`","new_key":"rotatedk","cause":"digestauth: the server refuses the credential (4 times in a row)","seconds":`
	offset = g.Log.Len()
	gatewaytest.ReplaceFile(t, private, "c4na7y-wrong-private")
	g.Reload(t)
	g.Await(t, offset, wrong+"1}")
	signs(sim.PublicKey, "refused")
	g.Await(t, offset, wrong+"2}")

	offset = g.Log.Len()
	gatewaytest.ReplaceFile(t, private, rotated.PrivateKey.Reveal())
	g.Reload(t)
	g.Await(t, offset, inForce("rotatedk"))
	signs("rotatedk", "")

	// The private half in the place of the public one is not shown.
	offset = g.Log.Len()
	gatewaytest.ReplaceFile(t, public, "c4na7y-a71a-5000-beef-aaaaaaaaaaaa")
	gatewaytest.KeepSecret(t, "a key in the wrong file", "c4na7y-a71a-5000-beef-aaaaaaaaaaaa")
	g.Reload(t)
	g.Await(t, offset, `"awaited":"private key","new_key":"other"}`)
	signs("rotatedk", "half")
}

// A file with a secret that every user may read is warned of once, and again only after its mode
// has changed: not at every reload, and not since the configuration has got other lines.
func TestLooseFilesAreWarnedOfOnce(t *testing.T) {
	dir := t.TempDir()
	public := gatewaytest.WriteFile(t, filepath.Join(dir, "public"), sim.PublicKey)
	private := gatewaytest.WriteFile(t, filepath.Join(dir, "private"), sim.PrivateKey)
	signing := gatewaytest.WriteFile(t, filepath.Join(dir, "signing"), callers.NewSigningKey().Reveal())
	yaml := fmt.Sprintf("callers: {anonymous: true, signing_key_file: %s}\nupstream: {credentials: [{public_key_file: %s, private_key_file: %s}]}\n", signing, public, private)
	mode := func(file string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	mode(private, 0o644)
	g := gatewaytest.Start(t, yaml)
	from := 0
	warnings := func(step string, want int) {
		t.Helper()
		text := g.Log.String()
		if got := strings.Count(text[from:], "every user may read the file"); got != want {
			t.Errorf("%s: %d warnings, want %d: %s", step, got, want, text[from:])
		}
		from = len(text)
	}
	warnings("at the start", 1)
	reloaded(t, g.Reload(t))
	warnings("a reload", 0)
	reloaded(t, g.Rewrite(t, "# another line\n"+yaml))
	warnings("another line", 0)
	mode(signing, 0o644)
	reloaded(t, g.Reload(t))
	warnings("another file", 1)
	mode(private, 0o604)
	reloaded(t, g.Reload(t))
	warnings("another mode", 1)
	mode(private, 0o600)
	reloaded(t, g.Reload(t))
	warnings("a good mode", 0)
	mode(private, 0o604)
	reloaded(t, g.Reload(t))
	warnings("the mode of before", 1)
}
