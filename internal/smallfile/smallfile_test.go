//go:build unix

package smallfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"atlas-export-gateway/internal/smallfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// A pipe that is opened by its name, as with <(...) in a shell and with /dev/stdin.
	read, written, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	written.WriteString("piped")
	written.Close()
	for _, test := range []struct{ file, want, err string }{
		{write("fits", "12345678"), "12345678", ""},
		{write("empty", ""), "", ""},
		{write("large", "123456789"), "", "larger than 8 bytes"},
		{"/dev/zero", "", "larger than 8 bytes"},
		{fifo, "", ""}, // nobody writes to it
		{fmt.Sprintf("/dev/fd/%d", read.Fd()), "piped", ""},
		{dir, "", "is a directory"},
		{filepath.Join(dir, "none"), "", "no such file or directory"},
	} {
		got, err := smallfile.Read(test.file, 8)
		var named *fs.PathError
		if test.err == "" && (err != nil || string(got) != test.want) {
			t.Errorf("%s: %q, %v", test.file, got, err)
		}
		if test.err != "" && (!errors.As(err, &named) || !strings.HasSuffix(err.Error(), ": "+test.err)) {
			t.Errorf("%s: %v, want %s", test.file, err, test.err)
		}
	}
}

// Read gives up a pipe that somebody holds open without writing to it.
func TestReadGivesUp(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if _, err := smallfile.Read(fifo, 8); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutName(t *testing.T) {
	const name = "c4na7y-s3cr3t"
	_, unread := smallfile.Read(filepath.Join(t.TempDir(), name), 8)
	other := errors.New("another error")
	for _, test := range []struct {
		err, cause error
		want       string
	}{
		{unread, fs.ErrNotExist, "the file can't be read: no such file or directory"},
		{fmt.Errorf("reading: %w", unread), fs.ErrNotExist, "the file can't be read: no such file or directory"},
		{other, other, "another error"},
	} {
		if got := smallfile.WithoutName(test.err); got.Error() != test.want || !errors.Is(got, test.cause) {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	if err := smallfile.WithoutName(nil); err != nil {
		t.Error(err)
	}
}
