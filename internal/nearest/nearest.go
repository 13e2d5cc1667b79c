// Package nearest guesses which name a misspelt one means. It is called for errors about unknown
// keys, members, parameters, commands and other names.
package nearest

import (
	"strings"

	"atlas-export-gateway/internal/invisible"

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

// Hint returns what a misspelt name may mean as the end of an error: "; did you mean NAME?", with
// [Name]'s guess or with the names that continue the misspelt one behind an underscore, or "" if there
// is no guess. It names a character that can't be seen and has to go.
func Hint(misspelt string, candidates []string) string {
	seen := invisible.Without(misspelt)
	guesses := continued(seen, candidates)
	if name := Name(seen, candidates); name != "" {
		guesses = []string{name}
	}
	if len(guesses) == 0 {
		return ""
	}
	hint := "; did you mean " + strings.Join(guesses, " or ")
	if hidden := invisible.In(misspelt); hidden != "" {
		hint += " without " + hidden
	}
	return hint + "?"
}

// continued returns up to three candidates that begin with a name and an underscore.
func continued(name string, candidates []string) (longer []string) {
	for _, candidate := range candidates {
		if strings.HasPrefix(candidate, name+"_") && len(longer) < 3 {
			longer = append(longer, candidate)
		}
	}
	return longer
}
