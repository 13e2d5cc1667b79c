package observe

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

// How much of the log waits in memory for a writer that is slow, in bytes. Records of creates and
// of the gateway's own life have room of their own, behind what all records share.
const (
	queueShared  = 1 << 20
	queueCreates = 1 << 20
)

// gathering is the least time between two writes, without which a busy gateway would write each
// record by itself.
const gathering = 5 * time.Millisecond

// spareBytes bounds the room for records that the goroutine keeps for the next ones.
const spareBytes = 64 << 10

// A Queue is a slog.Handler whose records are written by a goroutine of the Queue's own. Those that
// come within 5 ms of a write are written together. Whoever logs never waits for the writer. A
// record that finds no room is dropped and counted. Records of creates that were sent, and those of
// the gateway's own life (such as "draining"), are the last to find no room. Once the writer works
// again, one record says how many were dropped.
//
// A writer that fails is tried again, with a pause that grows to a second. A line that was cut by
// the failure ends with a line break, and is then written again.
type Queue struct {
	shared, kept slog.Handler // write into the queue, with shared room or with all of it
	state        *queueState
}

// queueState is what the handlers of one Queue share.
type queueState struct {
	out    io.Writer
	notice func(io.Writer, uint64) // writes the record about dropped records

	mu       sync.Mutex
	waiting  []byte // lines
	bytes    int    // of the lines that wait and of those that are being written
	dropped  uint64 // in all
	reported uint64 // of dropped
	writing  bool   // the goroutine has lines
	wake     chan struct{}
	idle     chan struct{} // closed when nothing waits; nil while no one asked
}

// NewQueue returns a Queue that writes to out, in the form that newHandler gives to a writer, such
// as slog.NewJSONHandler. Its goroutine lives as long as the process.
func NewQueue(out io.Writer, newHandler func(io.Writer) slog.Handler) *Queue {
	s := &queueState{out: out, wake: make(chan struct{}, 1)}
	s.notice = func(w io.Writer, n uint64) {
		record := slog.NewRecord(time.Now(), slog.LevelError, "records of the log were dropped", 0)
		record.AddAttrs(slog.Uint64("dropped", n))
		newHandler(w).Handle(context.Background(), record)
	}
	go s.write()
	return &Queue{
		shared: newHandler(room{s, queueShared}),
		kept:   newHandler(room{s, queueShared + queueCreates}),
		state:  s,
	}
}

// Enabled reports whether records of a level are logged.
func (q *Queue) Enabled(ctx context.Context, level slog.Level) bool {
	return q.kept.Enabled(ctx, level)
}

// Handle puts a record into the queue. It does not wait.
func (q *Queue) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "request", "http", "library": // about what strangers send, the latter in the words of others
		return q.shared.Handle(ctx, r)
	}
	return q.kept.Handle(ctx, r)
}

// important returns the Handler whose records are the last to find no room. For a handler that is
// no Queue it is that handler.
func important(h slog.Handler) slog.Handler {
	if q, ok := h.(*Queue); ok {
		return q.kept
	}
	return h
}

// WithAttrs returns a Handler for the same queue.
func (q *Queue) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Queue{q.shared.WithAttrs(attrs), q.kept.WithAttrs(attrs), q.state}
}

// WithGroup returns a Handler for the same queue.
func (q *Queue) WithGroup(name string) slog.Handler {
	return &Queue{q.shared.WithGroup(name), q.kept.WithGroup(name), q.state}
}

// Dropped returns how many records found no room.
func (q *Queue) Dropped() uint64 {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	return q.state.dropped
}

// Write puts a line that is no record into the queue, such as the last words of a program.
func (q *Queue) Write(line []byte) (int, error) {
	return room{q.state, queueShared + queueCreates}.Write(line)
}

// Flush waits until everything is written, or until the context ends.
func (q *Queue) Flush(ctx context.Context) {
	s := q.state
	s.mu.Lock()
	if len(s.waiting) == 0 && !s.writing {
		s.mu.Unlock()
		return
	}
	if s.idle == nil {
		s.idle = make(chan struct{})
	}
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// room is the end of the queue, for lines that may fill it up to a bound.
type room struct {
	state *queueState
	bound int
}

// Write puts a line into the queue, or drops it.
func (r room) Write(line []byte) (int, error) {
	s := r.state
	s.mu.Lock()
	if s.bytes+len(line) > r.bound {
		s.dropped++
		s.mu.Unlock()
		return len(line), nil
	}
	s.waiting = append(s.waiting, line...)
	s.bytes += len(line)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// take returns what waits, and how many records were dropped since the last time. It returns
// nothing where nothing waits. The next lines go into spare.
func (s *queueState) take(spare []byte) (text []byte, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = s.dropped - s.reported
	s.writing = len(s.waiting) > 0 || dropped > 0
	if !s.writing {
		if s.idle != nil {
			close(s.idle)
			s.idle = nil
		}
		return nil, 0
	}
	text, s.waiting, s.reported = s.waiting, spare, s.dropped
	return text, dropped
}

// write writes what waits, for as long as the process lives.
func (s *queueState) write() {
	var spare []byte
	for range s.wake {
		for {
			text, dropped := s.take(spare[:0])
			if len(text) == 0 && dropped == 0 {
				break
			}
			s.writeAll(text)
			// Only now: room that is free before its lines are written would not be bounded.
			s.mu.Lock()
			s.bytes -= len(text)
			s.mu.Unlock()
			if dropped > 0 {
				var notice bytes.Buffer
				s.notice(&notice, dropped)
				s.writeAll(notice.Bytes())
			}
			if spare = text; cap(spare) > spareBytes {
				spare = nil
			}
			time.Sleep(gathering)
		}
	}
}

// writeAll writes a text to its end, however often that takes.
func (s *queueState) writeAll(text []byte) {
	pause, broken := 10*time.Millisecond, false // broken: the last line that was written has no end
	for len(text) > 0 {
		line := text
		if broken {
			line = append([]byte("\n"), text...)
		}
		n, err := s.out.Write(line)
		if broken && n > 0 {
			broken = false
			n--
		}
		whole := bytes.LastIndexByte(text[:n], '\n') + 1
		broken = broken || n > whole
		text = text[whole:] // a line that was cut is written again
		if err != nil {
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
		}
	}
}
