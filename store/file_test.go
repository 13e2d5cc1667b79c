package store_test

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/store"
)

// testLaterSchema has a later release upgrade the journal: this one refuses it in words.
func testLaterSchema(t *testing.T, j *journal) {
	j.open(t).Close()
	j.change(t, `INSERT INTO atlas_gateway_schema (version) VALUES (99)`)
	_, err := j.try(t)
	if err == nil || !strings.Contains(err.Error(), "has version 99, of a later release") {
		t.Errorf("%v", err)
	}
}

// A file that can't be the journal is refused with what to do.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		junk:                              "is damaged, or is not a journal",
		dir:                               "can't be written",
		filepath.Join(junk, "creates.db"): "the journal's directory can't be made",
	} {
		if _, err := store.OpenFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), junk) {
			t.Errorf("%s: %v", path, err)
		}
	}
	path := filepath.Join(dir, "new", "creates.db")
	first := opened(t)(store.OpenFile(t.Context(), path))
	if _, err := store.OpenFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process has the journal "+path) {
		t.Errorf("opened twice: %v", err)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	first.Close()
	opened(t)(store.OpenFile(t.Context(), path))
}

// A journal whose pages were overwritten is refused, with its name.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "creates.db")
	s := opened(t)(store.OpenFile(t.Context(), path))
	for range 200 {
		r := record("")
		r.Key = r.ID
		begin(t, s, r)
	}
	s.Close()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for page := int64(2); page < 30; page++ {
		file.WriteAt([]byte(strings.Repeat("\xa5", 2000)), page*4096)
	}
	if _, err := store.OpenFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v", err)
	}
}

// A journal in which one digit of a key has changed is refused: the key would not be found, and
// its create would be sent again.
func TestDamagedKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "creates.db")
	s := opened(t)(store.OpenFile(t.Context(), path))
	const key = "the-key-of-a-record"
	begin(t, s, record(key))
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	places := 0
	for at := range whole {
		if !bytes.HasPrefix(whole[at:], []byte(key)) {
			continue
		}
		places++
		damaged := bytes.Clone(whole)
		damaged[at+5] ^= 1
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := store.OpenFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("at %d: %v", at, err)
			s.Close()
		}
	}
	if places < 2 {
		t.Errorf("the key is in %d places, want a record and an index", places)
	}
}

// The password of a connection string is in no error.
func TestConnectionStringsThatAreRefused(t *testing.T) {
	for _, connection := range []string{"postgres://gateway:c4na7y@127.0.0.1:x/journal", "host=127.0.0.1 port=1 password=c4na7y sslmode=what"} {
		if _, err := store.OpenPostgres(t.Context(), connection); err == nil || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%v", err)
		}
	}
}

// A server that ends and comes back is used again, and has all that it acknowledged.
func comesBack(t *testing.T, server *postgrestest.Server) {
	s := opened(t)(store.OpenPostgres(t.Context(), server.Database(t)))
	r := begin(t, s, record("a"))
	server.Kill()
	if _, err := s.Begin(t.Context(), record("b"), quota); err == nil {
		t.Error("begun without a server")
	}
	server.Restart(t)
	r.State = store.Sent
	var err error
	for range 20 { // connections that ended are noticed when they are used
		if _, err = s.Find(t.Context(), "a"); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	checkRecord(t, s, r)
	begin(t, s, record("b"))
	if text, err := s.Unsafe(t.Context()); text != "" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// testEarlierSchema has the first release's schema upgraded, with what is in it.
func testEarlierSchema(t *testing.T, j *journal) {
	s := j.open(t)
	r := begin(t, s, record("a"))
	s.Close()
	j.change(t, `DROP TABLE atlas_gateway_key_uses`, `DROP TABLE atlas_gateway_revocations`, `DROP INDEX atlas_gateway_creates_shape`, `ALTER TABLE atlas_gateway_creates DROP COLUMN atlas_at`,
		`DELETE FROM atlas_gateway_schema WHERE version > 1`)
	s = j.open(t)
	r.State, r.AtlasSent = store.Sent, time.Time{}
	checkRecord(t, s, r)
	b := begin(t, s, record("b"))
	b.State = store.Sent
	checkRecord(t, s, b)
}

// change changes a journal that nobody has open.
func (j *journal) change(t *testing.T, statements ...string) {
	t.Helper()
	db, err := sql.Open(j.driver, j.source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
