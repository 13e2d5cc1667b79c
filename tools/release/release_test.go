package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// host is this machine.
var host = target{runtime.GOOS, runtime.GOARCH}

// dist/ has everything, and SHA256SUMS is right.
func TestFiles(t *testing.T) {
	dist := filepath.Join(release(t), "dist")
	bare := strings.TrimPrefix(candidate, "v")
	want, linux := []string{project + "_" + bare + "_changes.md", chart}, false
	for _, each := range rehearsedTargets(t) {
		want = append(want, artifact(each)+".tar.gz", artifact(each)+".cdx.json")
		if each.os == "linux" {
			linux = true
			for _, name := range packages {
				want = append(want, name+"_0.0.1~rehearsal.1_"+each.arch+".deb")
			}
		}
	}
	for _, i := range images {
		if linux {
			want = append(want, i.program+"_"+bare+"_image.tar", i.program+"_"+bare+"_image.cdx.json")
		}
	}
	slices.Sort(want)
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		got = append(got, name)
		content, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != sum {
			t.Errorf("%s: %s, %v", name, sum, err)
		}
	}
	there, err := os.ReadDir(dist)
	if !reflect.DeepEqual(got, want) || len(there) != len(want)+1 || err != nil {
		t.Errorf("dist/ has %v, SHA256SUMS\n%q, want\n%q", there, got, want)
	}
	changes, err := os.ReadFile(filepath.Join(dist, project+"_"+bare+"_changes.md"))
	if !strings.HasPrefix(string(changes), notes) || err != nil {
		t.Errorf("the changes are %q, %v", changes, err)
	}
}

// The archives have all programs, static ones for their target, and what belongs to them. Nothing
// in a program names the folder that it was built in.
func TestArchives(t *testing.T) {
	folder := release(t)
	for _, each := range rehearsedTargets(t) {
		files := contents(t, filepath.Join(folder, "dist", artifact(each)+".tar.gz"))
		for _, name := range []string{"README.md", "LICENSE", "CHANGELOG.md", "completion/atlas-export.bash", "completion/_atlas-export", "completion/atlas-export.fish",
			"deploy/atlas-gateway.yaml", "deploy/atlas-gateway.service", "deploy/atlas-gateway.socket"} {
			if len(files[artifact(each)+"/"+name]) == 0 {
				t.Errorf("%s: no %s", each, name)
			}
		}
		if len(files) != 9+len(programs) {
			t.Errorf("%s has %d files", each, len(files))
		}
		for _, program := range programs {
			content := files[artifact(each)+"/"+program]
			info, err := buildinfo.Read(bytes.NewReader(content))
			if err != nil {
				t.Errorf("%s %s: %v", each, program, err)
				continue
			}
			settings := map[string]string{}
			for _, s := range info.Settings {
				settings[s.Key] = s.Value
			}
			if settings["GOOS"] != each.os || settings["GOARCH"] != each.arch || settings["CGO_ENABLED"] != "0" || settings["-trimpath"] != "true" {
				t.Errorf("%s %s: %v", each, program, settings)
			}
			if bytes.Contains(content, []byte(rehearsed)) || bytes.Contains(content, []byte(goroot(t)+"/src")) {
				t.Errorf("%s %s names a folder of this machine", each, program)
			}
			if each.os == "linux" {
				static(t, program, content)
			}
		}
	}
}

// static fails for a program that needs a loader or a library.
func static(t *testing.T, program string, content []byte) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static", program)
		}
	}
}

// contents returns the files of an archive.
func contents(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	found, entries := map[string][]byte{}, tar.NewReader(plain)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if found[header.Name], err = io.ReadAll(entries); err != nil {
			t.Fatal(err)
		}
	}
}

// chart is the archive of the candidate's chart.
var chart = "atlas-gateway-" + strings.TrimPrefix(candidate, "v") + ".tgz"

// The chart is that of the clone, with the version of the tag. deploy/helm/package has the tests
// of what Helm makes of it.
func TestChart(t *testing.T) {
	files := contents(t, filepath.Join(release(t), "dist", chart))
	for line := range strings.SplitSeq("appVersion: "+candidate+"\nversion: "+strings.TrimPrefix(candidate, "v"), "\n") {
		if metadata := string(files["atlas-gateway/Chart.yaml"]); !strings.Contains(metadata, "\n"+line+"\n") && !strings.HasPrefix(metadata, line+"\n") {
			t.Errorf("no %s in %s", line, metadata)
		}
	}
	there, err := tree("../../deploy/helm/atlas-gateway")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		if f.name != "Chart.yaml" && !bytes.Equal(files["atlas-gateway/"+f.name], f.content) {
			t.Errorf("%s differs", f.name)
		}
	}
	if len(files) != len(there) {
		t.Errorf("%d files, want %d", len(files), len(there))
	}
}

func TestPrintedVersions(t *testing.T) {
	for program, argument := range map[string]string{"atlas-gateway": "version", "atlas-export": "version", "atlas-sim": "-version"} {
		output, err := exec.Command(programOf(t, program), argument).CombinedOutput()
		if err != nil || !slices.Contains(strings.Fields(string(output)), candidate) {
			t.Errorf("%s: %v, %s", program, err, output)
		}
	}
}

// A list of components names every module that Go has built the programs from, and Go itself.
func TestComponents(t *testing.T) {
	dist := filepath.Join(release(t), "dist")
	for _, each := range rehearsedTargets(t) {
		content, err := os.ReadFile(filepath.Join(dist, artifact(each)+".cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var document cdx.BOM
		if err := cdx.NewBOMDecoder(bytes.NewReader(content), cdx.BOMFileFormatJSON).Decode(&document); err != nil {
			t.Fatal(err)
		}
		named, reached := map[string]bool{}, map[string]bool{}
		for _, c := range *document.Components {
			if c.Type == cdx.ComponentTypeLibrary {
				named[c.Name+" "+c.Version] = true
			}
		}
		for _, d := range *document.Dependencies {
			for _, on := range *d.Dependencies {
				reached[on] = true
			}
		}
		files := contents(t, filepath.Join(dist, artifact(each)+".tar.gz"))
		for _, program := range programs {
			info, err := buildinfo.Read(bytes.NewReader(files[artifact(each)+"/"+program]))
			if err != nil || len(info.Deps) < 2 {
				t.Fatalf("%s: %v, %v", program, err, info)
			}
			for _, m := range append(info.Deps, info.Deps[0]) {
				if !named[m.Path+" "+m.Version] || !reached["pkg:golang/"+m.Path+"@"+strings.ReplaceAll(m.Version, "+", "%2B")] {
					t.Errorf("%s: %s %s is not in the list", program, m.Path, m.Version)
				}
			}
			if std := "std " + strings.TrimPrefix(info.GoVersion, "go"); !named[std] {
				t.Errorf("%s: no %s", program, std)
			}
		}
	}
}

// The same commit makes the same bytes elsewhere, in another folder, with another umask and zone.
func TestReproducible(t *testing.T) {
	t.Parallel()
	first := release(t)
	second, err := clone("again/in/another folder", candidate)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shell(second, []string{"TZ=Pacific/Auckland", "LC_ALL=C", "GOARM64=v9.0"},
		`umask 077; touch README.md; make release VERSION="$1" RELEASE_TARGETS="$RELEASE_TARGETS"`, candidate); err != nil {
		t.Fatal(err)
	}
	sums := func(folder string) string {
		content, err := os.ReadFile(filepath.Join(folder, "dist", "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if a, b := sums(first), sums(second); a != b {
		t.Errorf("two releases of one commit differ:\n%s\n%s", a, b)
	}
}

// What is no release of a tag is refused before anything is built.
func TestRefused(t *testing.T) {
	folder, err := clone("refused", candidate)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, prepare, version, err string }{
		{"not semantic", ``, "v1", `the version "v1" is not one`},
		{"no section", ``, "v9.9.9", `CHANGELOG.md has no section "## [9.9.9] - YYYY-MM-DD"`},
		{"no tag", `git tag --delete ` + candidate, candidate, "there is no tag"},
		{"another commit", `git tag ` + candidate + ` HEAD~1`, candidate, "is of the commit"},
		{"a changed file", `git tag --force ` + candidate + ` HEAD; echo >>README.md`, candidate, "changes that are not committed"},
		{"a new file", `git checkout --quiet README.md; touch new`, candidate, "changes that are not committed"},
	} {
		if _, err := shell(folder, nil, test.prepare); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		args := []string{"-root", folder, "-version", test.version, "all"}
		if status := run(t.Context(), args, os.Environ(), nil, &stdout, &stderr); status != exitFailed || !strings.Contains(stderr.String(), test.err) {
			t.Errorf("%s: exit status %d, %s", test.name, status, &stderr)
		}
		if _, err := os.Stat(filepath.Join(folder, "dist")); err == nil {
			t.Errorf("%s: dist/ is there", test.name)
		}
	}
	for _, args := range [][]string{{}, {"images"}, {"all"}, {"-targets", "linux", "image"}, {"-all"}} {
		if status := run(t.Context(), args, os.Environ(), nil, io.Discard, io.Discard); status != exitUsage {
			t.Errorf("%q: exit status %d", args, status)
		}
	}
}

// goroot returns where Go itself is installed.
func goroot(t *testing.T) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(root))
}
