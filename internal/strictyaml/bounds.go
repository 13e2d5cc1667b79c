package strictyaml

import (
	"bytes"
	"fmt"
)

// The parser's work and memory grow with the square of how deep a file nests and of how many keys a
// mapping has. A file is held to these bounds before the parser sees it. They are far above what a
// configuration needs, and the text is only scanned, not
// understood: brackets in quotes and comments count too.
const (
	maxDepth = 32     // lists and mappings in each other, in flow style or in one line
	maxKeys  = 1_000  // in one mapping of block style
	maxFlow  = 4_000  // marks within one outermost list or mapping of flow style
	maxMarks = 30_000 // in all
	maxMerge = 1_000  // of the character <, at each of which the lexer looks for a merge key (<<)
)

// marks are the characters that structure a file.
var marks = [256]bool{'[': true, ']': true, '{': true, '}': true, ',': true, ':': true, '-': true, '?': true, '&': true, '*': true, '!': true, '|': true, '>': true}

// bounds counts what may make a file costly to parse.
type bounds struct {
	total, flow int
	open        []byte      // the brackets that are open
	keys        map[int]int // of the mappings of block style that are open, by their column
}

// checkBounds refuses a file that would cost the parser more than any configuration does.
func checkBounds(name string, data []byte) error {
	if bytes.Count(data, []byte("<")) > maxMerge {
		return fmt.Errorf("%s: the character < occurs more than %d times", name, maxMerge)
	}
	b := bounds{keys: map[int]int{}}
	number, documents := 0, 0
	for line := range bytes.Lines(data) {
		number++
		// The parser takes a carriage return for the end of a line, here and elsewhere.
		if i := bytes.IndexByte(bytes.TrimSuffix(line, []byte("\r\n")), '\r'); i >= 0 {
			return fmt.Errorf("%s:%d: a carriage return without a line feed", name, number)
		}
		// Decode reads one document, and the parser's work grows with the square of their number.
		if mark := bytes.TrimRight(line, " \t\r\n"); bytes.Equal(mark, []byte("---")) || bytes.HasPrefix(line, []byte("--- ")) || bytes.HasPrefix(line, []byte("---\t")) {
			if documents++; documents > 1 {
				return fmt.Errorf("%s:%d: a second document; the file must hold one", name, number)
			}
		}
		text := bytes.TrimLeft(line, " \t")
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		if problem := b.line(len(line)-len(text), text); problem != "" {
			return fmt.Errorf("%s:%d: %s", name, number, problem)
		}
	}
	return nil
}

// line counts a line, which begins at a column, and says what there is too much of.
func (b *bounds) line(column int, text []byte) string {
	dashes, explicit := 0, false
	if len(b.open) == 0 {
		for dashes <= maxDepth && len(text) > 1 && (text[0] == '-' || text[0] == '?' || text[0] == ':') && text[1] == ' ' {
			b.close(column)
			if text[0] == '?' {
				b.keys[column]++
				explicit = explicit || b.keys[column] > maxKeys
			}
			rest := bytes.TrimLeft(text[1:], " ")
			column += len(text) - len(rest)
			text = rest
			dashes++
			b.total++
		}
		b.close(column)
		if bytes.Contains(text, []byte(": ")) || bytes.HasSuffix(bytes.TrimSpace(text), []byte(":")) {
			b.keys[column]++
		}
	}
	for _, c := range text {
		if !marks[c] {
			continue
		}
		b.total++
		b.flow++
		switch c {
		case '[', '{':
			b.open = append(b.open, c)
		case ']', '}': // two characters behind the opening one, in ASCII
			if last := len(b.open) - 1; last >= 0 && b.open[last] == c-2 {
				b.open = b.open[:last]
			}
		}
		if len(b.open) > maxDepth {
			break
		}
	}
	if len(b.open) == 0 {
		b.flow = 0
	}
	switch {
	case len(b.open) > maxDepth || dashes > maxDepth:
		return fmt.Sprintf("lists or mappings are nested more than %d deep", maxDepth)
	case explicit || b.keys[column] > maxKeys:
		return fmt.Sprintf("a mapping has more than %d keys", maxKeys)
	case b.flow > maxFlow && len(b.open) > 0:
		return fmt.Sprintf("one list or mapping in brackets has more than %d entries and marks", maxFlow)
	case b.total > maxMarks:
		return fmt.Sprintf("the file has more than %d entries and marks", maxMarks)
	}
	return ""
}

// close forgets the mappings right of a column, which end there.
func (b *bounds) close(column int) {
	for c := range b.keys {
		if c > column {
			delete(b.keys, c)
		}
	}
}
