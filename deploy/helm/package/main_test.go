package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

// Helm takes the archive, whose chart has the version, everything that the folder has, and the
// image of the version. The same chart is the same bytes from another folder, with other times
// and modes.
func TestPackage(t *testing.T) {
	t.Parallel()
	const folder = "../atlas-gateway"
	copied := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, "values.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(copied, "Chart.yaml"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var archives [][]byte
	file := ""
	for _, from := range []string{folder, copied} {
		to := t.TempDir()
		var stderr bytes.Buffer
		if status := run([]string{"-version", "v1.2.3-rc.1", from, to}, "1700000000", &stderr); status != 0 {
			t.Fatalf("exit status %d: %s", status, &stderr)
		}
		file = filepath.Join(to, "atlas-gateway-1.2.3-rc.1.tgz")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, content)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the archives of one chart differ")
	}
	packed, err := loader.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	source, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if packed.Metadata.Version != "1.2.3-rc.1" || packed.Metadata.AppVersion != "v1.2.3-rc.1" || len(packed.Raw) != len(source.Raw) || len(packed.Files) == 0 {
		t.Errorf("%+v, %d files, want %d", packed.Metadata, len(packed.Raw), len(source.Raw))
	}
	values := map[string]any{}
	example, err := os.ReadFile("../example.yaml")
	if err == nil {
		err = yaml.Unmarshal(example, &values)
	}
	if err != nil {
		t.Fatal(err)
	}
	values["image"] = map[string]any{"repository": "registry.example.com/atlas-gateway"}
	complete, err := util.ToRenderValues(packed, values, common.ReleaseOptions{Name: "atlas-gateway", Namespace: "exports", IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := engine.Render(packed, complete)
	if err != nil || !strings.Contains(rendered["atlas-gateway/templates/deployment.yaml"], `image: "registry.example.com/atlas-gateway:v1.2.3-rc.1"`) {
		t.Errorf("%v: %s", err, rendered["atlas-gateway/templates/deployment.yaml"])
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   []string
		epoch  string
		status int
		want   string
	}{
		{nil, "1", 2, "-version VERSION CHART FOLDER"},
		{[]string{"-version", "v1.2.3", "../atlas-gateway"}, "1", 2, "-version VERSION CHART FOLDER"},
		{[]string{"-version", "v1.2.3", "../atlas-gateway", "x"}, "", 1, "SOURCE_DATE_EPOCH"},
		{[]string{"-version", "v1.2.3", "none", "x"}, "1", 1, "Chart.yaml file is missing"},
		{[]string{"-version", "main", "../atlas-gateway", "x"}, "1", 1, "main"},
	} {
		var stderr bytes.Buffer
		if status := run(test.args, test.epoch, &stderr); status != test.status || !strings.Contains(stderr.String(), test.want) {
			t.Errorf("%q: exit status %d, %s", test.args, status, &stderr)
		}
	}
}
