package bearertoken_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/bearertoken"
)

type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// write replaces a file by rename.
func write(t *testing.T, folder, name, content string) {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// lines counts the lines of a file.
func lines(t *testing.T, folder, name string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(content), "\n")
}

// project writes a token as Kubernetes does: into a new folder, to which a symbolic link is
// swapped.
func project(t *testing.T, folder, name, content string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, name), "token", content)
	if err := os.Symlink(name, filepath.Join(folder, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
}

// A token in a file is read again, and the last one is used while the file has none.
func TestFile(t *testing.T) {
	t.Parallel()
	for kind, replace := range map[string]func(t *testing.T, folder, name, content string){
		"rename": func(t *testing.T, folder, _, content string) { write(t, folder, "token", content) },
		"links": func(t *testing.T, folder, name, content string) {
			project(t, folder, name, content)
			os.Symlink("..data/token", filepath.Join(folder, "token"))
		},
		"written over": func(t *testing.T, folder, _, content string) {
			if err := os.WriteFile(filepath.Join(folder, "token"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			folder, clock := t.TempDir(), newClock()
			path := filepath.Join(folder, "token")
			source := bearertoken.File(path)
			source.UseClock(clock.now)
			expect := func(want string) {
				t.Helper()
				if token, err := source.Token(t.Context()); token.Reveal() != want || (err == nil) != (want != "") {
					t.Errorf("%v", err)
				}
			}
			expect("") // there is no file yet
			clock.advance(time.Second)
			replace(t, folder, "..1", "c4na7y-a\n")
			expect("c4na7y-a")
			replace(t, folder, "..2", " c4na7y-b ")
			expect("c4na7y-a") // not read again yet
			clock.advance(5 * time.Second)
			expect("c4na7y-b")
			for i, broken := range []string{"", "\n", "c4na7y c", "c4na7y\x00", strings.Repeat("c4na7y", 20_000)} {
				replace(t, folder, "..broken"+string(rune('a'+i)), broken)
				clock.advance(9 * time.Second)
				expect("c4na7y-b")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			clock.advance(9 * time.Second)
			expect("c4na7y-b")
		})
	}
}

// An error about a file names the file, and does not quote it.
func TestFileErrors(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, content := range map[string]string{"empty": "", "spaces": "c4na7y c4na7y", "binary": "c4na7y\x7f", "large": strings.Repeat("c4na7y", 20_000)} {
		path := filepath.Join(folder, name)
		write(t, folder, name, content)
		source := bearertoken.File(path)
		if _, err := source.Token(t.Context()); err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%s: %v", name, err)
		}
		if source.String() != "the file "+path {
			t.Errorf("%s", source)
		}
	}
	if _, err := bearertoken.File(folder).Token(t.Context()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("%v", err)
	}
}
