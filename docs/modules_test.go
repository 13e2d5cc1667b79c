//go:build unix

package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/internal/pages"
)

// sh runs a block in a folder.
func sh(t *testing.T, folder, selector string) {
	t.Helper()
	for _, block := range pages.Blocks(t, root, selector) {
		run(t, folder, "sh", "-euc", block)
	}
}

func run(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = folder
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, output)
	}
	return string(output)
}

// copied copies a folder of the checkout, without what is generated into it or installed there.
func copied(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case name == ".git" || name == "bin" || name == "dist" || name == "node_modules" || name == "testdata":
		case entry.IsDir():
			copied(t, filepath.Join(from, name), filepath.Join(to, name))
		case entry.Type().IsRegular():
			content, err := os.ReadFile(filepath.Join(from, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(to, name), content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A workspace of the checkout and a module that imports the client.
func TestWorkspace(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("example/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Symlink(checkout, filepath.Join(folder, "atlas-export-gateway")),
		os.Mkdir(filepath.Join(folder, "app"), 0o700),
		os.WriteFile(filepath.Join(folder, "app", "go.mod"), []byte("module app\n\ngo 1.26\n"), 0o600),
		os.WriteFile(filepath.Join(folder, "app", "main.go"), program, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sh(t, folder, "docs/client.md#add-it-to-your-module sh 2")
	run(t, filepath.Join(folder, "app"), "go", "list", "-export", "-deps", ".") // which compiles, and does not link
}

// The command that renames the module leaves nothing of the old name that Go looks at, in any of
// its modules.
func TestRename(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"git", "perl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	folder := t.TempDir()
	copied(t, root, folder)
	run(t, folder, "git", "init", "--quiet")
	run(t, folder, "git", "add", ".")
	sh(t, folder, "CONTRIBUTING.md#rename-the-module sh 1")
	for _, module := range []string{".", "docs/example"} {
		packages := run(t, filepath.Join(folder, module), "go", "list", "-deps", "-test", "./...")
		if !strings.Contains(packages, "\nexample.com/acme/atlas-export-gateway/client\n") || strings.Contains("\n"+packages, "\natlas-export-gateway/") {
			t.Errorf("%s has these packages:\n%s", module, packages)
		}
	}
	old := regexp.MustCompile(`(?m)^(module|require|replace|\t)\s*atlas-export-gateway\b`)
	for _, module := range []string{".", "docs/example", "compat", "deploy/helm"} {
		content, err := os.ReadFile(filepath.Join(folder, module, "go.mod"))
		if err != nil || old.Match(content) {
			t.Errorf("%s: %v\n%s", module, err, content)
		}
	}
}

// The test of the page about the simulation passes.
func TestSimulationInGo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "page_test.go")
	if err := os.WriteFile(file, []byte(pages.Blocks(t, root, "docs/sim.md#in-a-go-test go 1")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	// As if the file were in the checkout, in a folder of its own.
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(top, "docs", "page", "page_test.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "page.test")
	run(t, top, "go", "test", "-c", "-vet=off", "-o", program, "-overlay", filepath.Join(folder, "overlay.json"), "./docs/page")
	if printed := run(t, folder, program, "-test.v"); !strings.Contains(printed, "--- PASS: TestUnavailable ") {
		t.Error(printed)
	}
}
