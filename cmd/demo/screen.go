package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// screen shows the demonstration: with colours and a bar that is redrawn on a terminal, as plain
// lines elsewhere.
type screen struct {
	w        io.Writer
	terminal bool
	colour   bool
	utf8     bool
	columns  int

	step    int
	redrawn bool          // the last line is a bar
	state   string        // in the last plain line of progress
	drawn   time.Duration // how old the job was when that line was written
}

func newScreen(w io.Writer, env []string) *screen {
	s := &screen{w: w, columns: 80}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) && lookup(env, "TERM") != "dumb" {
		s.terminal = true
		s.colour = lookup(env, "NO_COLOR") == ""
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			s.columns = columns
		}
		for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set decides
			if locale := strings.ToLower(lookup(env, name)); locale != "" {
				s.utf8 = strings.HasSuffix(strings.ReplaceAll(locale, "-", ""), "utf8")
				break
			}
		}
	}
	return s
}

// Colours, as parameters of SGR.
const (
	bold   = "1"
	faint  = "2"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *screen) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// endBar ends the line of the bar, if there is one.
func (s *screen) endBar() {
	if s.redrawn {
		fmt.Fprintln(s.w)
		s.redrawn = false
	}
}

// line writes a line.
func (s *screen) line(format string, args ...any) {
	s.endBar()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// heading starts the next numbered step.
func (s *screen) heading(text string) {
	s.step++
	s.line("")
	s.line("%s  %s", s.paint(bold+";"+cyan, fmt.Sprint(s.step)), s.paint(bold, text))
}

// sent shows a request.
func (s *screen) sent(method, target string, body []byte) {
	s.line("   %s %s %s", s.paint(faint, "->"), s.paint(bold, method), target)
	s.json(body)
}

// received shows the status of a response, and a few words about it.
func (s *screen) received(response *http.Response, about ...string) {
	colour := green
	if response.StatusCode >= 400 {
		colour = yellow
	}
	s.line("   %s %s  %s", s.paint(faint, "<-"), s.paint(colour, response.Status), s.paint(faint, strings.Join(about, "  ")))
}

// text shows a line of a step.
func (s *screen) text(format string, args ...any) { s.line("      "+format, args...) }

// json shows a JSON object with a line for each member.
func (s *screen) json(content []byte) {
	if len(content) == 0 {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		s.text("%s", content)
		return
	}
	s.text("{")
	for decoder.More() {
		var value json.RawMessage
		name, err := decoder.Token()
		if err == nil {
			err = decoder.Decode(&value)
		}
		if err != nil {
			s.text("%s", content)
			return
		}
		var compact bytes.Buffer
		json.Compact(&compact, value) // no error: the decoder has found it valid
		comma := ","
		if !decoder.More() {
			comma = ""
		}
		s.text("  %s %s%s", s.paint(cyan, fmt.Sprintf("%q:", name)), compact.Bytes(), comma)
	}
	s.text("}")
}

// progress shows the progress of a job: on a terminal as a bar, elsewhere as a line for each
// second and each new state.
func (s *screen) progress(state string, done, total int, elapsed time.Duration) {
	counts := fmt.Sprintf("%-10s  %4.1f s", state, elapsed.Seconds())
	if total > 0 {
		counts += fmt.Sprintf("  %3d %%  %d of %d collections", 100*done/total, done, total)
	}
	if s.terminal {
		counts = counts[:max(0, min(len(counts), s.columns-8))] // a line that wraps can't be redrawn
		fmt.Fprintf(s.w, "\r\x1b[K      %s %s", s.bar(done, total, s.columns-len(counts)-8), counts)
		s.redrawn = true
		return
	}
	if state != s.state || elapsed-s.drawn >= time.Second {
		s.state, s.drawn = state, elapsed
		s.text("%s", counts)
	}
}

// bar draws a bar of at most 30 columns.
func (s *screen) bar(done, total, columns int) string {
	columns = min(columns, 30)
	if columns < 1 {
		return ""
	}
	filled := 0
	if total > 0 {
		filled = columns * done / total
	}
	full, empty := "#", "."
	if s.utf8 {
		full, empty = "█", "░"
	}
	return s.paint(green, strings.Repeat(full, filled)) + s.paint(faint, strings.Repeat(empty, columns-filled))
}

// table writes rows of two columns.
func (s *screen) table(rows ...[2]string) {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[0]))
	}
	for _, row := range rows {
		s.text("%s  %s", s.paint(cyan, fmt.Sprintf("%-*s", width, row[0])), row[1])
	}
}
