package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"golang.org/x/term"
)

// formats are the values of --output.
var formats = []string{"table", "json", "yaml", "name"}

// output remembers why writing failed: what can't be written must not look like success.
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

// terminal returns w if it is a terminal, otherwise nil.
func terminal(w any) *os.File {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// print writes a thing in one of the formats: as it is in Atlas's JSON, by its names, or as
// the rows of a table.
func (a *app) print(format string, thing any, names []string, rows [][]string) error {
	switch format {
	case "json":
		return encodeJSON(a.stdout, thing, "  ")
	case "yaml":
		return encodeYAML(a.stdout, thing)
	case "name":
		for _, name := range names {
			fmt.Fprintln(a.stdout, clean(name))
		}
	default:
		table(a.stdout, rows)
	}
	return nil
}

func table(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
			if cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	t.Flush() // its error is the output's
}

// encodeJSON writes JSON that is fit for a terminal: encoding/json escapes what is below a
// space, and not what changes the direction of writing.
func encodeJSON(w io.Writer, thing any, indent string) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
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

// clean makes text of a server fit for a terminal: what would move the cursor or change
// colours is written as an escape.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// moment writes a time as Atlas does; none is empty.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// span writes a duration in at most two units: 12s, 2m03s, 1h04m.
func span(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}
