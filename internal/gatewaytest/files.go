package gatewaytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// WriteFile writes a file that only its owner can read, and returns the file's name.
func WriteFile(t testing.TB, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// ReplaceFile puts a file in another one's place in one step, as careful programs do.
func ReplaceFile(t testing.TB, file, content string) {
	t.Helper()
	if err := os.Rename(WriteFile(t, file+".new", content), file); err != nil {
		t.Fatal(err)
	}
}

// BuildProgram builds the gateway's program in the module's folder, and returns the program's path.
func BuildProgram(t testing.TB, module string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "atlas-gateway")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/atlas-gateway")
	build.Dir = module
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}
