package build

import (
	"os"
	"reflect"
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
