// Package glob matches texts that others have signed, such as the claims of a token or the names
// in a certificate, with patterns of a configuration. Package callers and its packages call it. A
// pattern is compiled once, and refused with a reason that says what is wrong with it.
//
// A star stands for any run of characters without a slash, which may be empty. Two stars stand for
// any run at all. Every other character stands for itself: there is no escape, no class and no
// folding of case. A pattern matches a whole text. The time that a match takes grows with the
// product of both lengths at most, whatever they hold.
package glob

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// MaxPattern bounds a pattern, in bytes.
const MaxPattern = 1024

// A Pattern is a compiled pattern. The zero Pattern matches only the empty text. It does not
// change, and may be used from several goroutines.
type Pattern struct {
	text  string
	match *regexp.Regexp // nil for a pattern without a star
}

// Compile compiles a pattern. The error says what is wrong with it, and does not hold it.
func Compile(pattern string) (Pattern, error) {
	switch {
	case pattern == "":
		return Pattern{}, errors.New("is empty")
	case len(pattern) > MaxPattern:
		return Pattern{}, fmt.Errorf("has %d bytes; expected up to %d", len(pattern), MaxPattern)
	case !utf8.ValidString(pattern):
		return Pattern{}, errors.New("is not UTF-8")
	case strings.Contains(pattern, "***"):
		return Pattern{}, errors.New("has three stars in a row; expected * or **")
	case !strings.Contains(pattern, "*"):
		return Pattern{text: pattern}, nil
	}
	expression := regexp.QuoteMeta(pattern)
	expression = strings.ReplaceAll(expression, `\*\*`, `.*`)
	expression = strings.ReplaceAll(expression, `\*`, `[^/]*`)
	match, err := regexp.Compile(`\A(?s:` + expression + `)\z`)
	return Pattern{pattern, match}, err
}

// Match reports whether the pattern matches the whole text. A text that is not UTF-8 matches no
// pattern.
func (p Pattern) Match(text string) bool {
	if p.match == nil {
		return text == p.text
	}
	return utf8.ValidString(text) && p.match.MatchString(text)
}

// Any reports whether the pattern consists of stars only, so that it keeps nearly nobody out.
func (p Pattern) Any() bool { return strings.Trim(p.text, "*") == "" }

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }
