// Package invisible names the characters that nobody sees in a text, such as a zero width space or
// a byte order mark. The readers of files that people write call it for their errors: a name that
// holds such a character looks right and is wrong.
package invisible

import (
	"fmt"
	"strings"
	"unicode"
)

// names are those of the characters that text is known to bring along, unasked, from other
// programs.
var names = map[rune]string{
	0x00a0: "no-break space",
	0x00ad: "soft hyphen",
	0x200b: "zero width space",
	0x200c: "zero width non-joiner",
	0x200d: "zero width joiner",
	0x200e: "left-to-right mark",
	0x200f: "right-to-left mark",
	0x2028: "line separator",
	0x2029: "paragraph separator",
	0x202f: "narrow no-break space",
	0x2060: "word joiner",
	0x3000: "ideographic space",
	0xfeff: "byte order mark",
}

// is reports whether nobody sees a character. Lines, tabs and ASCII spaces can be seen by what is
// beside them.
func is(r rune) bool {
	switch r {
	case '\t', '\n', '\r':
		return false
	}
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// name names a character, as in "U+200B (zero width space)".
func name(r rune) string {
	switch known := names[r]; {
	case known != "":
		return fmt.Sprintf("%U (%s)", r, known)
	case unicode.Is(unicode.Bidi_Control, r):
		return fmt.Sprintf("%U (a mark of the direction of writing)", r)
	case unicode.IsControl(r):
		return fmt.Sprintf("%U (a control character)", r)
	}
	return fmt.Sprintf("%U, which can't be seen", r)
}

// In names the first invisible character of a text, as in "U+200B (zero width space)". It returns
// "" for a text without one.
func In(text string) string {
	if i := strings.IndexFunc(text, is); i >= 0 {
		for _, r := range text[i:] {
			return name(r)
		}
	}
	return ""
}

// Without returns a text without its invisible characters.
func Without(text string) string {
	return strings.Map(func(r rune) rune {
		if is(r) {
			return -1
		}
		return r
	}, text)
}

// Show returns a text on one line, with the code point in the place of each character that can't
// be seen, as in "<U+200B>listener".
func Show(text string) string {
	hidden := func(r rune) bool { return is(r) || r < ' ' }
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hidden(r) {
			fmt.Fprintf(&b, "<%U>", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
