package store_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/store"
)

// A second attempt within the process does not let go of the lock that keeps other processes out.
func TestLockOutlivesAnAttempt(t *testing.T) {
	const variable = "STORE_TEST_JOURNAL"
	if path := os.Getenv(variable); path != "" { // the other process
		if _, err := store.OpenFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process has the journal") {
			t.Errorf("opened: %v", err)
		}
		return
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "creates.db")
	opened(t)(store.OpenFile(t.Context(), path))
	if _, err := store.OpenFile(t.Context(), path); err == nil {
		t.Error("opened twice")
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockOutlivesAnAttempt$")
	other.Env = append(os.Environ(), variable+"="+path)
	if output, err := other.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
}

// SQLite gives some names a meaning of their own, which the name of a journal does not have.
func TestNamesOfFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{":memory:", "a?mode=memory", "a#b %41", ".//c", "//" + strings.TrimPrefix(t.TempDir(), "/") + "/d"} {
		s, err := store.OpenFile(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := begin(t, s, record("a"))
		s.Close()
		if s, err = store.OpenFile(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := s.Find(t.Context(), "a"); err != nil || got.ID != r.ID {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		s.Close()
	}
}

// A file that may not be written is refused when it is opened, in words.
func TestReadOnlyFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root writes everything")
	}
	path := filepath.Join(t.TempDir(), "creates.db")
	opened(t)(store.OpenFile(t.Context(), path)).Close()
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), "can't be written") {
		t.Errorf("%v", err)
	}
}
