// Package nearest guesses which name a misspelt one means. It is called for errors about unknown
// keys, members, parameters, commands and other names.
package nearest

import (
	"flag"
	"strings"

	"atlas-export-gateway/internal/invisible"

	"github.com/agnivade/levenshtein"
)

// Name returns the candidate that the misspelt name most likely means, or "" if none is near.
// A candidate that differs only in case, or by two swapped neighbouring letters, comes first.
// After that comes the candidate with the fewest edits, at most a third of the name's length, and
// of several the one that begins most like the name.
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
	best, bound, begins := "", len(misspelt)/3+1, 0
	misspelt = strings.ToLower(misspelt)
	for _, candidate := range candidates {
		lower := strings.ToLower(candidate)
		edits, same := levenshtein.ComputeDistance(misspelt, lower), common(misspelt, lower)
		if edits < bound || best != "" && edits == bound && same > begins {
			best, bound, begins = candidate, edits, same
		}
	}
	return best
}

// common returns how many bytes two names begin with alike.
func common(a, b string) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
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
// [Name]'s guess or with the names that continue the misspelt one behind an underscore, or "" if
// there is no guess. It names a character that can't be seen and has to go.
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

// FlagHint returns what a misspelt flag may mean, as [Hint] does. It takes the error of
// flags.Parse, and returns "" for any other error than that of an unknown flag.
func FlagHint(flags *flag.FlagSet, err error) string {
	unknown, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return ""
	}
	var names []string
	flags.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return Hint("-"+strings.TrimLeft(unknown, "-"), names)
}
