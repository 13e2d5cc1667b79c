// Package nearest guesses which name was meant by a misspelt one. The strict YAML
// reader and the gateway's violations call it.
package nearest

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

// Name returns the candidate that is most likely meant by the misspelt name, and ""
// when none is near: one that differs in case alone, or in two neighbouring letters that
// changed places; else the one with the fewest edits, of which a third of the name's
// length is allowed.
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

// swapped reports whether two neighbouring bytes that changed places are all that differs.
func swapped(a, b string) bool {
	for i := 1; i < len(a) && len(a) == len(b); i++ {
		if a[i-1] != b[i-1] {
			return a[i-1] == b[i] && a[i] == b[i-1] && a[i+1:] == b[i+1:]
		}
	}
	return false
}

// Hint words Name's guess for the end of an error, "; did you mean NAME?", and is empty
// without one.
func Hint(misspelt string, candidates []string) string {
	if name := Name(misspelt, candidates); name != "" {
		return "; did you mean " + name + "?"
	}
	return ""
}
