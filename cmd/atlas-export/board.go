package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"atlas-export-gateway/internal/printable"
)

// board shows the progress of several clusters: on a screen as lines that are redrawn together,
// or else as a line for each change.
type board struct {
	a      *app
	show   bool    // whether there is anything to show
	screen *screen // nil if no lines are redrawn

	mu    sync.Mutex // guards what follows, and the screen
	rows  []boardRow
	drawn int // how many lines stand on the screen
}

// boardRow is the line of a cluster.
type boardRow struct {
	cluster string
	note    string   // what is said before there is a state, or instead of it
	failed  bool     // there will be no state
	state   followed // nil if there is none
	written string   // the mark of the last line
	problem string   // why the last request failed; empty if it succeeded
}

// newBoard returns a board for the clusters. Only a table has one: in other formats the end of
// the command is all that is printed.
func (a *app) newBoard(s *session, quiet bool, clusters []string) *board {
	b := &board{a: a, show: s.format == "table" && !quiet}
	if b.show {
		b.screen = newScreen(a.stdout, a.env)
	}
	for _, cluster := range clusters {
		b.rows = append(b.rows, boardRow{cluster: printable.Escape(cluster)})
	}
	return b
}

// note says on a screen what is being done for a cluster.
func (b *board) note(i int, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[i].note = text
	b.draw()
}

// fail says why a cluster has no state.
func (b *board) fail(i int, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows[i].note, b.rows[i].failed = text, true
	b.changed(i, text)
}

// update shows the result of a request for a cluster's state, which is current if err is nil.
func (b *board) update(i int, current followed, err error, next time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	row := &b.rows[i]
	if err == nil {
		row.state, row.problem = current, ""
		b.changed(i, current.mark())
		return
	}
	text, reason := problemOf(err)
	if reason == row.problem || !b.show {
		return
	}
	row.problem = reason
	b.clear()
	fmt.Fprintf(b.a.stderr, "atlas-export: %s: a request failed, the next one is in %s: %s\n", row.cluster, next.Round(time.Millisecond), printable.Escape(text))
	b.draw()
}

// changed shows a row whose mark may be another than before.
func (b *board) changed(i int, mark string) {
	row := &b.rows[i]
	switch {
	case !b.show:
	case b.screen != nil:
		b.draw()
	case mark != row.written:
		row.written = mark
		fmt.Fprintf(b.a.stdout, "%s: %s\n", row.cluster, row.text())
	}
}

func (r *boardRow) text() string {
	if r.state != nil {
		return r.state.line()
	}
	return printable.Escape(r.note)
}

// redraw is draw for other goroutines.
func (b *board) redraw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw()
}

// draw redraws the lines on the screen. If it has too few rows, those that have ended are counted
// instead.
func (b *board) draw() {
	if b.screen == nil {
		return
	}
	columns, rows := b.screen.size()
	shown, rest := b.rows, ""
	if len(shown) > rows-1 {
		shown = slices.Clone(b.rows)
		slices.SortStableFunc(shown, func(x, y boardRow) int { return x.rank() - y.rank() })
		shown = shown[:max(rows-2, 0)]
		rest = tally(b.rows, len(b.rows)-len(shown))
	}
	width := 0
	for i := range b.rows {
		width = max(width, utf8.RuneCountInString(b.rows[i].cluster))
	}
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, "\r\x1b[%dA", b.drawn) // up to the first line: ECMA-48, section 8.3.22
	}
	for i := range shown {
		row := &shown[i]
		name := row.cluster + strings.Repeat(" ", width-utf8.RuneCountInString(row.cluster)) + "  "
		left := columns - 1 - utf8.RuneCountInString(name)
		text := fit(row.text(), left)
		switch {
		case left < shortestBar:
			name, text = fit(name, columns-1), ""
		case row.state != nil:
			text = row.state.render(b.screen, left)
		}
		out.WriteString("\r" + name + text + "\x1b[K\n")
	}
	if rest != "" {
		out.WriteString("\r" + fit(rest, columns-1) + "\x1b[K\n")
	}
	out.WriteString("\x1b[J") // what is left of an earlier state with more lines
	io.WriteString(b.a.stdout, out.String())
	b.drawn = strings.Count(out.String(), "\n")
}

// rank orders rows for a screen that is too small: those that need a look come first.
func (r *boardRow) rank() int {
	switch {
	case r.failed:
		return 0
	case r.ended():
		return 3
	case r.state == nil && r.note == "":
		return 2
	}
	return 1
}

func (r *boardRow) ended() bool { return r.failed || r.state != nil && r.state.ended() }

// tally says how many rows there are besides those that are shown.
func tally(rows []boardRow, hidden int) string {
	ended := 0
	for i := range rows {
		if rows[i].ended() {
			ended++
		}
	}
	return fmt.Sprintf("and %d others; %d of %d have ended", hidden, ended, len(rows))
}

// clear removes the lines from the screen.
func (b *board) clear() {
	if b.drawn > 0 {
		fmt.Fprintf(b.a.stdout, "\r\x1b[%dA\x1b[J", b.drawn)
	}
	b.drawn = 0
}

// end removes the lines, which the summary replaces.
func (b *board) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.screen != nil {
		b.clear()
	}
}
