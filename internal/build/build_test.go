package build

import (
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The image is built without a repository, so that its Dockerfile sets the version.
func TestVersion(t *testing.T) {
	dockerfile, err := os.ReadFile("../../deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	type here struct{}
	if flag := `-ldflags=-X="` + reflect.TypeFor[here]().PkgPath() + `.version=$VERSION"`; !strings.Contains(string(dockerfile), flag) {
		t.Errorf("the Dockerfile does not have %s", flag)
	}
	if Version() == "" {
		t.Error("no version without the linker's")
	}
	version = "v1.2.3"
	if got := Version(); got != "v1.2.3" {
		t.Errorf("got %q", got)
	}
}

// The build of the images gets every folder that it compiles, and no other.
func TestDockerignore(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./cmd/atlas-gateway", "./cmd/atlas-export")
	list.Dir = "../.."
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"go.mod", "go.sum"}
	for path := range strings.Lines(string(packages)) {
		if inner, ok := strings.CutPrefix(path, "atlas-export-gateway/"); ok {
			folder, _, _ := strings.Cut(strings.TrimSpace(inner), "/")
			want = append(want, folder)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	ignore, err := os.ReadFile("../../deploy/Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(ignore)) {
		if name, ok := strings.CutPrefix(line, "!"); ok {
			got = append(got, strings.TrimSpace(name))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Dockerfile.dockerignore has %q, want %q", got, want)
	}
}
