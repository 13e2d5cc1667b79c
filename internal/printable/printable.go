// Package printable makes text of others safe to show. Package client calls it for the texts of
// its errors, and atlas-export for all that a server or a file says.
package printable

import (
	"strconv"
	"strings"
)

// Escape returns s in one line, with every character escaped that is not a letter, mark, number,
// punctuation, symbol or space. Such characters move the cursor of a terminal, change its colours
// or the direction of writing, or cannot be seen.
func Escape(s string) string {
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
