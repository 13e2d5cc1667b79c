// Package smallfile reads configuration files and keys so that whatever stands in a file's place
// takes neither much memory nor much time.
package smallfile

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// patience is how long what comes through a pipe may take.
const patience = 5 * time.Second

// Read returns the content of a file of at most so many bytes. Its errors are *fs.PathError.
func Read(file string, most int) ([]byte, error) {
	// A FIFO that nobody writes to is empty instead of waited for.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	f.SetReadDeadline(time.Now().Add(patience)) // files of a disk have none, and need none
	content, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(content) > most {
		err = &fs.PathError{Op: "read", Path: file, Err: fmt.Errorf("larger than %d bytes", most)}
	}
	return content, err
}
