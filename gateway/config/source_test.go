package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/internal/gatewaytest"
)

// A watched is a Source whose configuration names the files public and private of a folder.
type watched struct {
	*testing.T
	*config.Source
	dir, file string
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{T: t, dir: t.TempDir()}
	w.file = filepath.Join(w.dir, "gateway.yaml")
	w.write("public", "public")
	w.write("private", "private")
	w.write("gateway.yaml", w.yaml("private"))
	w.Source = config.NewSource(w.file, nil)
	w.load()
	return w
}

// yaml is a configuration that names public and another file.
func (w *watched) yaml(private string) string {
	return fmt.Sprintf("callers: {anonymous: true}\nupstream: {credentials: [{public_key_file: %s, private_key_file: %s}]}\n", filepath.Join(w.dir, "public"), filepath.Join(w.dir, private))
}

func (w *watched) write(name, content string) {
	gatewaytest.WriteFile(w, filepath.Join(w.dir, name), content)
}

func (w *watched) load() {
	w.Helper()
	if _, err := w.Load(); err != nil {
		w.Fatal(err)
	}
}

// changes checks what Changed returns, call by call.
func (w *watched) changes(want ...bool) {
	w.Helper()
	for i, want := range want {
		if got := w.Changed(); got != want {
			w.Errorf("call %d of Changed returns %t, want %t", i+1, got, want)
		}
	}
}

// A change is reported once two calls have found the files the same, and until the next Load.
func TestChanged(t *testing.T) {
	link := func(w *watched, target string) {
		if err := os.Symlink(target, filepath.Join(w.dir, "link.new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(w.dir, "link.new"), filepath.Join(w.dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ before, change func(w *watched) }{
		"the configuration is written": {nil, func(w *watched) { w.write("gateway.yaml", w.yaml("private")+"# changed\n") }},
		"a named file is written":      {nil, func(w *watched) { w.write("private", "another") }},
		"a file of the same length is written": {nil, func(w *watched) {
			w.write("private", "etavirp")
			later := time.Now().Add(time.Second)
			os.Chtimes(filepath.Join(w.dir, "private"), later, later)
		}},
		"a file of the same time is written": {
			func(w *watched) { os.Chtimes(filepath.Join(w.dir, "private"), time.Unix(1, 0), time.Unix(1, 0)) },
			func(w *watched) {
				w.write("private", "longer-than-before")
				os.Chtimes(filepath.Join(w.dir, "private"), time.Unix(1, 0), time.Unix(1, 0))
			},
		},
		"a file is replaced by one of the same time and length": {
			func(w *watched) { os.Chtimes(filepath.Join(w.dir, "private"), time.Unix(1, 0), time.Unix(1, 0)) },
			func(w *watched) {
				w.write("private.new", "etavirp")
				os.Chtimes(filepath.Join(w.dir, "private.new"), time.Unix(1, 0), time.Unix(1, 0))
				os.Rename(filepath.Join(w.dir, "private.new"), filepath.Join(w.dir, "private"))
			},
		},
		"a link is replaced": {
			func(w *watched) {
				w.write("other", "other")
				link(w, "private")
				w.write("gateway.yaml", w.yaml("link"))
			},
			func(w *watched) { link(w, "other") },
		},
		"the file behind a link is written": {
			func(w *watched) {
				link(w, "private")
				w.write("gateway.yaml", w.yaml("link"))
			},
			func(w *watched) { w.write("private", "another") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t)
			if test.before != nil {
				test.before(w)
				w.load()
			}
			w.changes(false, false)
			test.change(w)
			w.changes(false, true, true)
			w.load()
			w.changes(false, false)
		})
	}
}

// A file that is still being written is not reported.
func TestChangedWaitsForWriters(t *testing.T) {
	w := newWatched(t)
	for i := range 5 {
		w.write("private", fmt.Sprint("written-", i, time.Now().Format(".000000000")))
		later := time.Now().Add(time.Duration(i) * time.Second)
		os.Chtimes(filepath.Join(w.dir, "private"), later, later)
		w.changes(false)
	}
	w.changes(true)
}

// A file that is removed is a change, and so is its return. A configuration that was refused is
// no change by itself.
func TestChangedOfMissingFiles(t *testing.T) {
	w := newWatched(t)
	if err := os.Remove(filepath.Join(w.dir, "private")); err != nil {
		t.Fatal(err)
	}
	w.changes(false, true)
	if _, err := w.Load(); err == nil {
		t.Error("the configuration was accepted without the key's file")
	}
	w.changes(false, false, false)
	w.write("private", "private")
	w.changes(false, true)
	w.load()
	w.changes(false, false)

	if err := os.Remove(w.file); err != nil {
		t.Fatal(err)
	}
	w.changes(false, true)
	if _, err := w.Load(); err == nil {
		t.Error("no configuration was accepted")
	}
	w.changes(false, false)
	w.write("private", "the files of the last configuration still count")
	w.changes(false, true)
	if _, err := w.Load(); err == nil {
		t.Error("no configuration was accepted")
	}
	w.changes(false, false)
	w.write("gateway.yaml", w.yaml("private"))
	w.changes(false, true)
}

// The files that are looked at are those that the last Load has read.
func TestChangedFollowsTheConfiguration(t *testing.T) {
	w := newWatched(t)
	w.write("other", "other")
	w.changes(false, false)
	w.write("gateway.yaml", w.yaml("other"))
	w.changes(false, true)
	w.load()
	w.write("private", "no longer named")
	w.changes(false, false)
	w.write("other", "changed")
	w.changes(false, true)

	environment := config.NewSource("", []string{"ATLAS_GATEWAY_CALLERS_ANONYMOUS=true", "MONGODB_ATLAS_PUBLIC_API_KEY=a", "MONGODB_ATLAS_PRIVATE_API_KEY=b"})
	if _, err := environment.Load(); err != nil || environment.Changed() || environment.Changed() {
		t.Errorf("a configuration without files has changed, or %v", err)
	}
}

// Load reads each file once: the content of a pipe can't be read twice.
func TestLoadReadsOnce(t *testing.T) {
	pipe := func(content string) string {
		read, written, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { read.Close() })
		written.WriteString(content)
		written.Close()
		return fmt.Sprintf("/dev/fd/%d", read.Fd())
	}
	if _, err := os.Stat("/dev/fd"); err != nil {
		t.Skip("no pipe has a name on this system")
	}
	authority := gatewaytest.NewAuthority(t)
	certificate := authority.Loopback(t)
	nightly := callers.NewKeyPair("nightly", "", "")
	parts, err := config.Load(pipe(fmt.Sprintf(`
listener: {tls_cert_file: %s, tls_key_file: %s}
upstream:
  ca_file: %s
  credentials: [{public_key_file: %s, private_key_file: %s}, {client_id_file: %s, client_secret_file: %s}]
callers:
  signing_key_file: %s
  list: [{name: nightly, key_pairs: [{public_key: %s, ha1_file: %s}], grants: []}]
`, pipe(certificate.CertPEM), pipe(certificate.KeyPEM), pipe(authority.PEM), pipe("public"), pipe("c4na7y-private"), pipe("id"), pipe("c4na7y-secret"),
		pipe(callers.NewSigningKey().Reveal()), nightly.ID, pipe(nightly.HA1File.Reveal()))), nil)
	if err != nil {
		t.Fatal(err)
	}
	if parts.Certificate == nil || parts.Atlas.Roots == nil || parts.Atlas.Credentials[1].Secret.Reveal() != "c4na7y-secret" {
		t.Errorf("%+v", parts.Config)
	}
}
