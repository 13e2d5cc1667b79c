// Package smallfile reads configuration files and keys. A read takes neither much memory nor much
// time, even where a setting names a device, a pipe or a huge file.
package smallfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// pipeTimeout bounds the time that a pipe may take to deliver its content.
const pipeTimeout = 5 * time.Second

// Read returns the content of a file, which may have at most limit bytes. Its errors are
// *fs.PathError.
func Read(file string, limit int) ([]byte, error) {
	// O_NONBLOCK: a FIFO that nobody writes to reads as empty, and opening it does not block.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	f.SetReadDeadline(time.Now().Add(pipeTimeout)) // a file on a disk supports no deadline and needs none
	content, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(content) > limit {
		err = &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("larger than %d bytes", limit)}
	}
	return content, err
}

// WithoutName returns err without the name of the file: a *fs.PathError becomes "the file can't be
// read" and its cause, any other error stays as it is. Somebody may have put a secret where the
// file's name belongs, and the secret must not reach a log. The setting's path tells which file
// it is.
func WithoutName(err error) error {
	if named, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("the file can't be read: %w", named.Err)
	}
	return err
}
