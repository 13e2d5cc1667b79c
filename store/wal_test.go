package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/store"
)

// frameSize is the size of a frame of SQLite's write-ahead log, and headerSize that of its header.
const frameSize, headerSize = 24 + 4096, 32

// crashed is the files of a journal as a crash leaves them, after some records were begun.
type crashed struct{ database, log []byte }

func crash(t *testing.T, records int) crashed {
	t.Helper()
	path := filepath.Join(t.TempDir(), "creates.db")
	s := opened(t)(store.OpenFile(t.Context(), path))
	for i := range records {
		begin(t, s, record(fmt.Sprint(i)))
	}
	var c crashed
	var err error
	if c.database, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if c.log, err = os.ReadFile(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	return c
}

// open opens the files with another log, and returns how many records there are.
func (c crashed) open(t *testing.T, log []byte) (records int, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "creates.db")
	for name, content := range map[string][]byte{path: c.database, path + "-wal": log} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := store.OpenFile(t.Context(), path)
	if err != nil {
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move it away") {
			t.Errorf("%v", err)
		}
		return 0, err
	}
	defer s.Close()
	open, err := s.Open(t.Context(), 1000)
	return len(open), err
}

// A write-ahead log that was damaged is refused: SQLite would forget the records behind the damage.
// What a crash cuts off, or leaves half written, is not.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	const records = 8
	c := crash(t, records)
	if n, err := c.open(t, c.log); n != records || err != nil {
		t.Fatalf("as the crash left it: %d, %v", n, err)
	}
	var ends []int // of transactions
	frames := 0
	for at := headerSize; at < len(c.log); at += frameSize {
		frames++
		if binary.BigEndian.Uint32(c.log[at+4:]) != 0 {
			ends = append(ends, at+frameSize)
		}
	}
	if len(ends) < records || frames < 2*records {
		t.Fatalf("%d transactions in %d frames", len(ends), frames)
	}
	for frame := 0; frame < frames; frame += 5 {
		at := headerSize + frame*frameSize
		for name, place := range map[string]int{"page": at + 100, "header": at + 5, "checksum": at + 20} {
			log := bytes.Clone(c.log)
			log[place] ^= 1
			if n, err := c.open(t, log); err == nil && n < records-2 {
				t.Errorf("the %s of frame %d of %d: %d records are left, and no error", name, frame, frames, n)
			}
		}
		if _, err := c.open(t, c.log[:at+1000]); err != nil {
			t.Errorf("cut off in frame %d: %v", frame, err)
		}
	}
	// A transaction that failed stands behind the end: another one, shorter, has taken its place.
	last := len(ends) - 1
	stale := slices.Concat(c.log[:ends[last-2]], c.log[ends[last-1]:ends[last]])
	if n, err := c.open(t, stale); err != nil || n < records-2 {
		t.Errorf("with a transaction that failed: %d, %v", n, err)
	}
}
