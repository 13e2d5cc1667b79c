// Package nearest guesses which name a misspelt one means. It is called for errors about unknown
// keys, members, parameters, commands and other names.
package nearest

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Name returns the candidate that the misspelt name most likely means, or "" if none is near.
// A candidate that differs only in case, or by two swapped neighbouring letters, comes first.
// After that comes the candidate with the fewest edits, at most a third of the name's length.
func Name(misspelt string, candidates []string) string {
	const longest = 64 // an edit distance costs the product of both lengths
	if len(misspelt) > longest {
		return ""
	}
	for _, candidate := range candidates {
		if strings.EqualFold(misspelt, candidate) || swapped(misspelt, candidate) {
			return candidate
		}
	}
	best, bound := "", len(misspelt)/3+1
	misspelt = strings.ToLower(misspelt)
	for _, candidate := range candidates {
		edits := levenshtein.ComputeDistance(misspelt, strings.ToLower(candidate))
		if edits < bound {
			best, bound = candidate, edits
		}
	}
	return best
}

// swapped reports whether a and b differ only by two swapped neighbouring bytes.
func swapped(a, b string) bool {
	for i := 1; i < len(a) && len(a) == len(b); i++ {
		if a[i-1] != b[i-1] {
			return a[i-1] == b[i] && a[i] == b[i-1] && a[i+1:] == b[i+1:]
		}
	}
	return false
}

// Hint returns Name's guess as the end of an error, "; did you mean NAME?", or "" if there is
// no guess.
func Hint(misspelt string, candidates []string) string {
	if name := Name(misspelt, candidates); name != "" {
		return "; did you mean " + name + "?"
	}
	return ""
}
