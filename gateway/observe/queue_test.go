package observe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/observe"
)

// writer writes up to so many bytes with each call, fails as often as told, and blocks while it is
// held.
type writer struct {
	mu     sync.Mutex
	text   bytes.Buffer
	fails  int // calls that write at most cut bytes and fail
	cut    int
	hold   sync.Mutex
	writes int
}

func (w *writer) Write(p []byte) (int, error) {
	w.hold.Lock()
	defer w.hold.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.fails > 0 {
		w.fails--
		n := min(w.cut, len(p))
		w.text.Write(p[:n])
		return n, errors.New("no space left on device")
	}
	return w.text.Write(p)
}

func (w *writer) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Split(strings.TrimSuffix(w.text.String(), "\n"), "\n")
}

func newQueue(w io.Writer) (*observe.Queue, *slog.Logger) {
	q := observe.NewQueue(w, func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) })
	return q, slog.New(q)
}

func flush(t *testing.T, q *observe.Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	q.Flush(ctx)
	if ctx.Err() != nil {
		t.Fatal("the queue is not empty")
	}
}

// Records come out in their order and whole, with the attributes and groups of their logger. Those
// of 5 ms are written at a time.
func TestQueue(t *testing.T) {
	began := time.Now()
	w := new(writer)
	q, log := newQueue(w)
	for i := range 1000 {
		log.With("n", i).WithGroup("g").Info("request", "n", i)
	}
	flush(t, q)
	lines := w.lines()
	for i, line := range lines {
		var record struct {
			N int
			G struct{ N int }
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.N != i || record.G.N != i {
			t.Fatalf("line %d: %s %v", i, line, err)
		}
	}
	most := 1 + int(time.Since(began)/(5*time.Millisecond))
	if len(lines) != 1000 || q.Dropped() != 0 || w.writes > most {
		t.Errorf("%d lines, %d dropped, %d writes, where %d were time for", len(lines), q.Dropped(), w.writes, most)
	}
}

// A writer that fails is tried again. Lines that it cut are ended and written again.
func TestQueueTriesAgain(t *testing.T) {
	for _, cut := range []int{0, 1, 20, 100, 1000} {
		w := &writer{fails: 3, cut: cut}
		q, log := newQueue(w)
		w.hold.Lock()
		for i := range 20 {
			log.Info("request", "n", i)
		}
		w.hold.Unlock()
		flush(t, q)
		whole := map[float64]int{}
		for _, line := range w.lines() {
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) == nil {
				whole[record["n"].(float64)]++
			}
		}
		if len(whole) != 20 {
			t.Errorf("cut after %d bytes: %d of 20 records: %q", cut, len(whole), w.lines())
		}
		for n, times := range whole {
			if times != 1 {
				t.Errorf("cut after %d bytes: record %v %d times", cut, n, times)
			}
		}
	}
}

// Nobody who logs waits for a writer that blocks. What finds no room is dropped and counted; the
// records of creates and those other than requests have more room. Later, one record says so.
func TestQueueDrops(t *testing.T) {
	w := new(writer)
	q, log := newQueue(w)
	requests := observe.NewLog(log)
	w.hold.Lock()
	text := strings.Repeat("x", 1000)
	for range 3000 {
		log.Info("request", "text", text)
	}
	dropped := q.Dropped()
	for range 3000 { // what strangers can cause without a key takes no room of creates
		requests.Observe(t.Context(), &observe.Record{Path: text, Outcome: "not_sent"})
		log.Warn("http", "message", text)
	}
	if n := q.Dropped() - dropped; n < 5900 {
		t.Errorf("only %d of 6000 records that strangers cause were dropped", n)
	}
	dropped = q.Dropped()
	for range 500 {
		requests.Observe(t.Context(), &observe.Record{Path: text, Outcome: "answered"})
		log.Info("draining", "text", text)
	}
	if n := q.Dropped() - dropped; dropped < 7500 || n > 100 {
		t.Errorf("%d of 9000 other records were dropped, and %d of 1000 of creates and of the gateway", dropped, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	q.Flush(ctx) // ends with its context
	w.hold.Unlock()
	flush(t, q)
	creates, notice := 0, 0.0
	for _, line := range w.lines() {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if record["outcome"] == "answered" {
			creates++
		}
		if record["msg"] == "records of the log were dropped" {
			notice += record["dropped"].(float64)
		}
	}
	if creates < 450 || uint64(notice) != q.Dropped() {
		t.Errorf("%d creates; the records about dropped ones say %v, and %d were", creates, notice, q.Dropped())
	}
}
