package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"atlas-export-gateway/client"

	"golang.org/x/term"
)

// screen is a terminal on which one line is redrawn.
type screen struct {
	w      io.Writer
	file   *os.File
	colour bool
	utf8   bool
}

// newScreen returns nil if w is no terminal, or a terminal that can't redraw a line.
func newScreen(w *output, env []string) *screen {
	file := terminal(w)
	if file == nil || lookup(env, "TERM") == "dumb" {
		return nil
	}
	s := &screen{w: w, file: file, colour: lookup(env, "NO_COLOR") == ""}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set decides
		if locale := strings.ToLower(lookup(env, name)); locale != "" {
			s.utf8 = strings.HasSuffix(strings.ReplaceAll(locale, "-", ""), "utf8")
			break
		}
	}
	return s
}

// columns is how wide a line may be now. The last column stays empty: terminals differ in where
// the cursor goes after it.
func (s *screen) columns() int {
	columns, _ := s.size()
	return columns - 1
}

// size is how many columns and rows the screen has now.
func (s *screen) size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(s.file.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

func (s *screen) clear() { io.WriteString(s.w, "\r\x1b[K") }

// The widths of the bar, in columns.
const (
	shortestBar = 10
	longestBar  = 30
)

// draw redraws the line.
func (s *screen) draw(line string) { fmt.Fprintf(s.w, "\r%s\x1b[K", line) }

// fit shortens a text to so many columns.
func fit(text string, columns int) string {
	if utf8.RuneCountInString(text) > columns {
		return string([]rune(text)[:max(columns, 0)])
	}
	return text
}

// renderExport returns a line of at most so many columns about an export. It leaves parts out if
// there are not enough for all.
func (s *screen) renderExport(columns int, job *client.ExportJob, elapsed time.Duration, rate, left string) string {
	text, bar := exportLine(job, elapsed, rate, left), 0
	if collections(job) != "" {
		for _, form := range [][2]string{{rate, left}, {"", left}, {"", ""}} {
			text = exportLine(job, elapsed, form[0], form[1])
			if bar = min(columns-utf8.RuneCountInString(text)-2, longestBar); bar >= shortestBar {
				break
			}
		}
	}
	if bar < shortestBar {
		bar, text = 0, fit(text, columns)
	}
	state, rest, _ := strings.Cut(text, "  ")
	out := s.paint(stateColour(job.State), state)
	if bar > 0 {
		out += "  " + s.bar(job.Status, bar)
	}
	if rest != "" {
		out += "  " + rest
	}
	return out
}

func (s *screen) bar(n *client.ExportStatus, columns int) string {
	full, empty := "#", "."
	if s.utf8 {
		full, empty = "█", "░"
	}
	filled := min(max(columns*n.ExportedCollections/n.TotalCollections, 0), columns)
	return s.paint(green, strings.Repeat(full, filled)) + s.paint(faint, strings.Repeat(empty, columns-filled))
}

// Colours, as parameters of SGR (ECMA-48, section 8.3.117).
const (
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func stateColour(state client.ExportState) string {
	switch state {
	case client.Successful:
		return green
	case client.Failed:
		return red
	case client.Cancelled:
		return yellow
	default:
		return cyan
	}
}

func (s *screen) paint(colour, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}
