package policy

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/objectid"
)

// firstMatch returns the first pattern that a value matches.
func (p part) firstMatch(patterns []string, value string) (string, bool) {
	for _, pattern := range patterns {
		if p == serviceURLs && matchesURL(pattern, value) || p != serviceURLs && matches(pattern, value) {
			return pattern, true
		}
	}
	return "", false
}

// matches is path.Match, except that nothing matches a slash, and only * matches *, which stands
// for every group at once. In path.Match a class such as [^a] matches both.
func matches(pattern, value string) bool {
	if value == all {
		return pattern == all
	}
	ok, _ := path.Match(pattern, value)
	return ok && value != "" && !strings.Contains(value, "/")
}

func matchesURL(pattern, value string) bool {
	accounts, names, _ := container(pattern)
	account, name, ok := container(value)
	return ok && !strings.ContainsFunc(account, noAccount) && matches(accounts, account) && matches(names, name)
}

// noAccount reports whether r can't be in the name of an account. A URL may have more characters
// in that place.
func noAccount(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') }

// noCluster reports whether r can't be in a pattern that matches the name of a cluster, except in
// a class or behind a backslash.
func noCluster(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-*?", r))
}

// container splits https://ACCOUNT.blob.core.windows.net/CONTAINER, or a pattern of that form,
// and returns the account in lower case.
func container(url string) (account, name string, ok bool) {
	location, https := strings.CutPrefix(url, "https://")
	host, name, _ := strings.Cut(location, "/")
	account, azure := strings.CutSuffix(strings.ToLower(host), ".blob.core.windows.net")
	return account, name, https && azure && account != "" && name != ""
}

var providers = []string{"AWS", "AZURE", "GCP"}

// CheckGroups refuses a pattern that can match no group id.
func CheckGroups(pattern string) error {
	if problem := groups.problem(pattern); problem != "" {
		return fmt.Errorf("%q %s", pattern, problem)
	}
	return nil
}

// problem says what is wrong with a pattern. It is empty if the pattern is good.
func (p part) problem(pattern string) string {
	if p != serviceURLs {
		return p.problemOf(pattern)
	}
	account, name, ok := container(pattern)
	if !ok {
		return "is not https://ACCOUNT.blob.core.windows.net/CONTAINER, with a pattern for the account and one for the container"
	}
	return cmp.Or(p.problemOf(account), p.problemOf(name))
}

// problemOf is problem for a pattern that is not a URL.
func (p part) problemOf(pattern string) string {
	_, err := path.Match(pattern, "")
	switch {
	case pattern == "":
		return "is not a pattern"
	case err != nil:
		return "is not a pattern; a class such as [a-f] ends in ], and \\ stands before a character"
	case strings.Contains(pattern, "[!"):
		return "begins a class with !, which stands for itself; write [^a-f] for all but some"
	case strings.Contains(pattern, "/"):
		return "holds a slash, and would match nothing"
	case p == cloudProviders && pattern != all && !slices.Contains(providers, pattern):
		return "is not AWS, AZURE or GCP" + nearest.Hint(pattern, providers)
	case (p == groups || p == exportBuckets) && !strings.ContainsAny(pattern, `*?[\`) && !objectid.Valid(pattern):
		return "is not an id, 24 hexadecimal digits in lower case, and would match nothing"
	case p == clusters && !strings.ContainsAny(pattern, `[\`) && strings.ContainsFunc(pattern, noCluster):
		return "would match nothing: the name of a cluster has letters, digits and hyphens, and a pattern also * and ?"
	}
	return ""
}
