package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
)

// maxListed is how many items a list reads without --all. A cluster whose snapshots are exported
// every hour has as many exports after eleven years.
const maxListed = 100_000

// maxCompletions is how many items a completion reads.
const maxCompletions = 10_000

// largestPages make lists take as few requests as possible.
var largestPages = client.ListOptions{ItemsPerPage: 500}

// errCut is the error of a list that has more items than were to be read.
var errCut = errors.New("the list has more items")

// atMost yields the first n items of a list, and then errCut if there are more.
func atMost[T any](n int, items iter.Seq2[*T, error]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		read := 0
		for item, err := range items {
			if read++; read > n && err == nil {
				yield(nil, errCut)
				return
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// list is a list that a command shows.
type list[T any] struct {
	items  iter.Seq2[*T, error]
	plural string            // what the items are
	none   string            // what is said where there are none; empty says nothing
	header []string          // of the table
	keep   func(*T) bool     // nil keeps all
	name   func(*T) string   // for -o name, which leaves out an empty one
	row    func(*T) []string // of the table
}

// aboutLists is what the help of each list says.
var aboutLists = fmt.Sprintf(`The list is written while it is read. If an error ends it,
JSON is without its end, and YAML without totalCount. A list whose pages come again is an error.

A list with more than %d items is cut there, and the exit status is 14. With --all the
command reads it to its end.`, maxListed)

// defineAll adds the flag with which a list has any number of items.
func defineAll(c *cobra.Command, all *bool) {
	c.Flags().BoolVar(all, "all", false, fmt.Sprintf("read the list to its end, also beyond %d items", maxListed))
}

// printList writes a list while it reads it, so that memory does not grow with the list. If an
// error ends the list, JSON is without its end, and YAML without totalCount.
func printList[T any](a *app, c *cobra.Command, format string, l list[T], all bool) error {
	if !all {
		l.items = atMost(maxListed, l.items)
	}
	out := &listWriter{w: a.stdout, format: format, header: l.header}
	var ended error
	for item, err := range l.items {
		if err != nil {
			ended = err
			break
		}
		if l.keep != nil && !l.keep(item) {
			continue
		}
		if err := out.add(item, l.name(item), l.row(item)); err != nil {
			return err
		}
	}
	cut := errors.Is(ended, errCut)
	if ended != nil && !cut {
		if out.count == 0 {
			return ended
		}
		return errors.Join(fmt.Errorf("the list broke off after %d %s: %w", out.count, l.plural, ended), out.flush())
	}
	if out.count == 0 && format == "table" && !cut {
		if l.none != "" {
			fmt.Fprintln(a.stderr, l.none)
		}
		return nil
	}
	if err := out.end(); err != nil || !cut {
		return err
	}
	return &failure{exitCut, fmt.Errorf("the list is cut: there are more than %d %s", maxListed, l.plural), "for all of them: " + listCommand(c) + " --all"}
}

// listWriter writes a list in one of the formats, some hundreds of items at a time.
type listWriter struct {
	w      io.Writer
	format string
	header []string

	count   int
	text    bytes.Buffer // what is not written yet, in other formats than table,
	rows    [][]string   // and in the format table
	columns columns
}

// add adds an item.
func (l *listWriter) add(thing any, name string, row []string) error {
	switch l.format {
	case "json":
		before := ",\n    "
		if l.count == 0 {
			before = "{\n  \"results\": [\n    "
		}
		l.text.WriteString(before)
		if err := encodeJSON(&l.text, thing, "    ", "  "); err != nil {
			return err
		}
		l.text.Truncate(l.text.Len() - 1) // the end of the line may become that of the list
	case "yaml":
		if l.count == 0 {
			l.text.WriteString("results:\n")
		}
		l.text.WriteString("  - ")
		if err := encodeYAML(&l.text, thing, "    "); err != nil {
			return err
		}
	case "name":
		if name != "" {
			fmt.Fprintln(&l.text, printable.Escape(name))
		}
	default:
		l.rows = append(l.rows, row)
	}
	if l.count++; l.count%largestPages.ItemsPerPage == 0 {
		return l.flush()
	}
	return nil
}

// flush writes what was added.
func (l *listWriter) flush() error {
	if l.format == "table" && len(l.rows) > 0 {
		if l.header != nil {
			l.rows = append([][]string{l.header}, l.rows...)
			l.header = nil
		}
		l.columns.write(&l.text, l.rows)
		l.rows = nil
	}
	_, err := l.text.WriteTo(l.w)
	return err
}

// end ends the list.
func (l *listWriter) end() error {
	switch l.format {
	case "json":
		if l.count == 0 {
			l.text.WriteString("{\n  \"results\": []")
		} else {
			l.text.WriteString("\n  ]")
		}
		fmt.Fprintf(&l.text, ",\n  \"totalCount\": %d\n}\n", l.count)
	case "yaml":
		if l.count == 0 {
			l.text.WriteString("results: []\n")
		}
		fmt.Fprintf(&l.text, "totalCount: %d\n", l.count)
	}
	return l.flush()
}

// columns are the columns of a table. A column never becomes narrower, so that lines that are
// written later stand below those written before.
type columns []int

// write writes lines with their cells in columns.
func (c *columns) write(w io.Writer, rows [][]string) {
	cells := make([][]string, len(rows))
	for i, row := range rows {
		cells[i] = make([]string, len(row))
		for j, cell := range row {
			if cell = printable.Escape(cell); cell == "" {
				cell = "-"
			}
			cells[i][j] = cell
			if j == len(*c) {
				*c = append(*c, 0)
			}
			(*c)[j] = max((*c)[j], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range cells {
		for j, cell := range row {
			b.WriteString(cell)
			if j < len(row)-1 {
				b.WriteString(strings.Repeat(" ", (*c)[j]-len([]rune(cell))+3))
			}
		}
		b.WriteByte('\n')
	}
	io.WriteString(w, b.String()) // output keeps an error
}
