package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Standard is the name of a stream that goes to standard error; "-" is another one.
const Standard = "stderr"

// How much of the stream waits in memory for a disk that is slow or full, in bytes. Refusals, of
// which a caller can have any number, leave room for all else.
const (
	roomForRefusals = 1 << 20
	room            = 2 << 20
)

// patience is how long Commit waits for stable storage.
const patience = 5 * time.Second

// The pauses between two attempts to write what could not be written.
const (
	minPause = 100 * time.Millisecond
	maxPause = 2 * time.Second
)

// The errors of Commit besides those of the disk.
var (
	errSlow   = errors.New("the disk has not taken the record in time")
	errFull   = errors.New("too many records wait for the disk")
	errClosed = errors.New("the stream is closed")
)

// Stream writes Records to a file, in their order, by a goroutine of its own. Those that come
// while the disk is at work share the next write and its one fsync. What can't be written is tried
// again, as long as there is room for it in memory; else it is dropped and counted. A line that a
// failure has cut gets a line break, and is written again. So a line may be cut, and may be there
// twice after a failure.
type Stream struct {
	path string    // "" for out
	out  io.Writer // standard error
	tell func(error)

	mu       sync.Mutex
	waiting  []entry
	bytes    int // of waiting, and of what is being written
	dropped  uint64
	failures uint64
	reopen   bool
	closing  bool
	slow     bool // somebody has waited for too long for the write under way
	wake     chan struct{}
	ended    chan struct{}

	file   *os.File // the goroutine's; nil for out
	torn   bool     // the last line in the file has no end
	failed bool     // the last write
}

// entry is a line, and who waits for it.
type entry struct {
	line []byte
	done chan error // nil where nobody waits
}

// Open opens the stream at a path, which is appended to and made for the process's user only where
// there is none, or at standard error. tell is called with the first error of a row, and with nil
// when the stream can be written again. It may not wait.
func Open(path string, stderr io.Writer, tell func(error)) (*Stream, error) {
	s := &Stream{path: path, tell: tell, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if path == "-" || path == Standard {
		s.path, s.out = "", stderr
	} else if err := s.open(); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// open opens the file, in the place of one that is open.
func (s *Stream) open() error {
	if s.path == "" {
		return nil
	}
	_, missing := os.Stat(s.path)
	file, err := os.OpenFile(s.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if missing != nil { // the name of a new file is on stable storage once its directory is
		if directory, err := os.Open(filepath.Dir(s.path)); err == nil {
			directory.Sync()
			directory.Close()
		}
	}
	if s.file != nil {
		s.file.Close()
	}
	s.file, s.out, s.torn = file, file, false
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		last := make([]byte, 1)
		_, err := file.ReadAt(last, info.Size()-1)
		s.torn = err != nil || last[0] != '\n' // a gateway was killed as it wrote
	}
	return nil
}

// Commit writes a record, and returns once it is on stable storage. With an error it may not be
// there. Standard error is no storage: there, Commit returns when the record is written.
func (s *Stream) Commit(r *Record) error {
	done := make(chan error, 1)
	if err := s.add(r, done); err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		s.mu.Lock()
		s.slow = true // others need not wait for as long
		s.mu.Unlock()
		return errSlow
	}
}

// Add has a record written, and waits for nothing.
func (s *Stream) Add(r *Record) { s.add(r, nil) }

func (s *Stream) add(r *Record, done chan error) error {
	line := r.line()
	bound := room
	if r.Event == Refusal {
		bound = roomForRefusals
	}
	s.mu.Lock()
	err := error(nil)
	switch {
	case s.closing:
		err = errClosed
	case done != nil && s.slow:
		err = errSlow
	case s.bytes+len(line) > bound:
		err = errFull
	}
	if err == nil {
		s.waiting = append(s.waiting, entry{line, done})
		s.bytes += len(line)
	} else if done == nil {
		s.dropped++
	}
	s.mu.Unlock()
	s.wakeUp()
	return err
}

// Reopen has the file opened anew, after somebody has renamed it. What waits goes into the new
// one.
func (s *Stream) Reopen() {
	s.mu.Lock()
	s.reopen = true
	s.mu.Unlock()
	s.wakeUp()
}

// Counts returns how many records were dropped, and how many writes have failed.
func (s *Stream) Counts() (dropped, failures uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped, s.failures
}

// Close writes what waits, once, and ends the stream. It waits until the context ends.
func (s *Stream) Close(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.wakeUp()
	select {
	case <-s.ended:
	case <-ctx.Done():
	}
}

func (s *Stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes what waits until the stream is closed.
func (s *Stream) run() {
	defer close(s.ended)
	pause := minPause
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-s.wake:
		case <-again.C:
		}
		closing := s.round()
		if closing {
			if s.file != nil {
				s.file.Close()
			}
			return
		}
		if !s.failed {
			pause = minPause
			continue
		}
		again.Reset(pause)
		pause = min(2*pause, maxPause)
	}
}

// round writes what waits, and reports whether the stream is closed.
func (s *Stream) round() (closing bool) {
	s.mu.Lock()
	batch, reopen, closing := s.waiting, s.reopen || s.failed, s.closing
	s.waiting, s.reopen = nil, false
	s.mu.Unlock()
	var err error
	if reopen {
		err = s.open() // with an error, the file before stays
	}
	written := 0
	if len(batch) > 0 {
		var failed error
		written, failed = s.write(batch)
		err = errors.Join(err, failed)
	}
	s.conclude(batch, written, err)
	if (err != nil) != s.failed {
		s.failed = err != nil
		s.tell(err)
	}
	return closing
}

// conclude tells who waits for a batch, and keeps the records that are still to be written.
func (s *Stream) conclude(batch []entry, written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []entry
	for i, e := range batch {
		switch {
		case i < written:
			s.bytes -= len(e.line)
		case e.done == nil && !s.closing:
			kept = append(kept, e)
		case e.done == nil:
			s.dropped++
		default:
			s.bytes -= len(e.line) // what it announces is refused
		}
		if e.done != nil {
			e.done <- when(i >= written, err)
		}
	}
	s.waiting = append(kept, s.waiting...)
	s.slow = false
	if err != nil {
		s.failures++
	}
}

func when(failed bool, err error) error {
	if failed {
		return err
	}
	return nil
}

// write writes lines, and returns how many of them are on stable storage.
func (s *Stream) write(batch []entry) (written int, err error) {
	var text bytes.Buffer
	if s.torn {
		text.WriteByte('\n')
	}
	for _, e := range batch {
		text.Write(e.line)
	}
	n, err := s.out.Write(text.Bytes())
	if s.torn && n > 0 {
		s.torn = false
		n--
	}
	for _, e := range batch {
		if n < len(e.line) {
			break
		}
		n -= len(e.line)
		written++
	}
	s.torn = s.torn || n > 0
	if s.file != nil {
		if info, statErr := s.file.Stat(); statErr == nil && info.Mode().IsRegular() {
			if syncErr := s.file.Sync(); syncErr != nil {
				return 0, errors.Join(err, syncErr)
			}
		}
	}
	return written, err
}
