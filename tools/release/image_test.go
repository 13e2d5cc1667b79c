package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// indexOf returns the index of the rehearsal's image of a program.
func indexOf(t *testing.T, program string) v1.ImageIndex {
	t.Helper()
	folder := release(t)
	if !slices.ContainsFunc(rehearsedTargets(t), func(each target) bool { return each.os == "linux" }) {
		t.Skip("RELEASE_TARGETS has no linux")
	}
	unpacked := t.TempDir()
	if err := untar(filepath.Join(folder, "dist", program+"_"+strings.TrimPrefix(candidate, "v")+"_image.tar"), unpacked); err != nil {
		t.Fatal(err)
	}
	return outer(t, unpacked)
}

// outer returns the one index that a layout has.
func outer(t *testing.T, folder string) v1.ImageIndex {
	t.Helper()
	top, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].MediaType != types.OCIImageIndex {
		t.Fatalf("%v, %v", manifest, err)
	}
	if name := manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; name != candidate {
		t.Errorf("the layout names the image %q", name)
	}
	index, err := top.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// The images are whole, for every target of linux, and say what they are.
func TestImages(t *testing.T) {
	folder := release(t)
	revision, err := shell(folder, nil, "git rev-parse HEAD")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		index := indexOf(t, i.program)
		if err := validate.Index(index); err != nil {
			t.Errorf("%s: %v", i.program, err)
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		var got []target
		for _, each := range manifest.Manifests {
			got = append(got, target{each.Platform.OS, each.Platform.Architecture})
			built, err := index.Image(each.Digest)
			if err != nil {
				t.Fatal(err)
			}
			config, err := built.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			labels := config.Config.Labels
			if config.Architecture != each.Platform.Architecture || config.OS != "linux" || !config.Created.Time.Equal(rehearsalTime) ||
				labels["org.opencontainers.image.version"] != candidate || labels["org.opencontainers.image.revision"] != strings.TrimSpace(string(revision)) {
				t.Errorf("%s: %+v", i.program, config)
			}
			if config.Config.User != "65532:65532" {
				t.Errorf("%s runs as %q", i.program, config.Config.User)
			}
		}
		want := slices.DeleteFunc(slices.Clone(all), func(each target) bool {
			return each.os != "linux" || !slices.Contains(rehearsedTargets(t), each)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s is for %v, want %v", i.program, got, want)
		}
	}
}

// The images and deploy/Dockerfile have the same configuration.
func TestDockerfile(t *testing.T) {
	content, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	stages := regexp.MustCompile(`(?m)^FROM `).Split(string(content), -1)
	for stage, i := range map[string]image{stages[len(stages)-2]: images[1], stages[len(stages)-1]: images[0]} {
		c := i.config
		lines := []string{fmt.Sprintf("USER %d:%d", user, user), fmt.Sprintf("ENTRYPOINT [%q]", "/"+i.program)}
		for port := range c.ExposedPorts {
			lines = append(lines, "EXPOSE "+strings.TrimSuffix(port, "/tcp"))
		}
		for volume := range c.Volumes {
			lines = append(lines, "VOLUME "+volume)
		}
		for _, variable := range c.Env {
			lines = append(lines, "ENV "+variable)
		}
		if len(c.Cmd) > 0 {
			lines = append(lines, fmt.Sprintf("CMD [%q, %q]", c.Cmd[0], c.Cmd[1]))
		}
		got := regexp.MustCompile(`(?m)^(USER|ENTRYPOINT|EXPOSE|VOLUME|ENV|CMD) .*$`).FindAllString(stage, -1)
		slices.Sort(got)
		slices.Sort(lines)
		if !slices.Equal(got, lines) {
			t.Errorf("%s: the Dockerfile has %q, the image %q", i.program, got, lines)
		}
	}
}

// make image makes the images of the release from the same commit.
func TestMakeImage(t *testing.T) {
	folder := release(t)
	printed, err := shell(folder, []string{"TMPDIR=" + t.TempDir()}, `make --silent image RELEASE_TARGETS="$RELEASE_TARGETS"`)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Join(folder, "dist", "image")) // which is no part of the release
	for _, i := range images {
		want, err := indexOf(t, i.program).Digest()
		if err != nil {
			t.Fatal(err)
		}
		got, err := outer(t, filepath.Join(folder, "dist", "image", i.program)).Digest()
		if err != nil || got != want || !strings.Contains(string(printed), i.program+"@"+want.String()+"\n") {
			t.Errorf("make image: %s, %v, want %s; it prints %s", got, err, want, printed)
		}
		components, err := os.ReadFile(filepath.Join(folder, "dist", "image", i.program+".cdx.json"))
		if err != nil || !bytes.Contains(components, []byte(`"pkg:golang/`+authoritiesModule+`@`)) {
			t.Errorf("%s: the components have no %s: %v", i.program, authoritiesModule, err)
		}
	}
}

// rootOf is where the image of a program for this machine is unpacked.
var rootOf = func() func(t *testing.T, program string) string {
	var mutex sync.Mutex
	return func(t *testing.T, program string) string {
		t.Helper()
		index := indexOf(t, program)
		mutex.Lock()
		defer mutex.Unlock()
		root := filepath.Join(rehearsed, "roots", program)
		if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
			return root
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, each := range manifest.Manifests {
			if (target{each.Platform.OS, each.Platform.Architecture}) != host {
				continue
			}
			built, err := index.Image(each.Digest)
			if err != nil {
				t.Fatal(err)
			}
			content := mutate.Extract(built)
			defer content.Close()
			if err := untarFrom(content, root); err != nil {
				t.Fatal(err)
			}
			return root
		}
		t.Skip("RELEASE_TARGETS has not this machine")
		return ""
	}
}()

// An image has the program, the authorities and nothing that could run something else.
func TestRoot(t *testing.T) {
	for _, i := range images {
		root := rootOf(t, i.program)
		var files []string
		filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files = append(files, strings.TrimPrefix(name, root))
			}
			return err
		})
		if want := []string{"/" + i.program, "/" + authorities}; !slices.Equal(files, want) {
			t.Errorf("%s has %q, want %q", i.program, files, want)
		}
		rest, err := os.ReadFile(filepath.Join(root, authorities))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil || !certificate.IsCA {
				t.Errorf("%v, %v", certificate, err)
				continue
			}
			names[certificate.Subject.CommonName] = true
		}
		for _, name := range []string{"Amazon Root CA 1", "DigiCert Global Root G2", "GTS Root R1", "ISRG Root X1"} {
			if !names[name] || len(names) < 80 {
				t.Errorf("%s has %d authorities and not %s", i.program, len(names), name)
			}
		}
	}
}
