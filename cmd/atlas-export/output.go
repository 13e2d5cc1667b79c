package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
	"unicode/utf16"

	"atlas-export-gateway/internal/printable"

	"golang.org/x/term"
)

// formats are the values of --output.
var formats = []string{"table", "json", "yaml", "name"}

// output remembers the first error of writing: a run whose output could not be written must not
// look like a success.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// terminal returns w if it is a terminal, or else nil.
func terminal(w any) *os.File {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// print writes a thing in one of the formats: as Atlas's JSON or YAML, as names, or as a table.
func (a *app) print(format string, thing any, names []string, rows [][]string) error {
	switch format {
	case "json":
		return encodeJSON(a.stdout, thing, "", "  ")
	case "yaml":
		return encodeYAML(a.stdout, thing, "")
	case "name":
		for _, name := range names {
			fmt.Fprintln(a.stdout, printable.Escape(name))
		}
	default:
		new(columns).write(a.stdout, rows)
	}
	return nil
}

// encodeJSON writes JSON that is safe on a terminal. It also escapes characters that
// encoding/json does not, such as those that change the direction of writing. Prefix and indent are
// those of [json.Indent].
func encodeJSON(w io.Writer, thing any, prefix, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent(prefix, indent)
	if err := encoder.Encode(thing); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, r := range text.String() {
		if r == '\n' || strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) { // RFC 8259, section 7
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// formatTime writes a time as Atlas does. The zero time is empty.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// formatDuration writes a duration in at most two units: 12s, 2m03s, 1h04m.
func formatDuration(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// filled returns the rows that have a value.
func filled(rows [][]string) [][]string {
	kept := rows[:0]
	for _, row := range rows {
		if row[1] != "" {
			kept = append(kept, row)
		}
	}
	return kept
}

// formatBytes writes a size with three digits. 0 is empty.
func formatBytes(n int64) string {
	if n <= 0 {
		return ""
	}
	size, unit := float64(n), 0
	for ; size >= 999.5 && unit < 6; unit++ {
		size /= 1000
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %cB", size, "kMGTPE"[unit-1])
}
