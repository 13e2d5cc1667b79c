package contract

import (
	"strings"

	"atlas-export-gateway/internal/nearest"
)

// Nearest returns the documented path that the path of a request target most likely means, where
// the target has a misspelt word. It returns "" if there is no such path. Match accepts no such
// target.
func (c *Contract) Nearest(target string) string {
	path, _, _ := strings.Cut(target, "?")
	asked := strings.Split(strings.Trim(path, "/"), "/")
	best, fewest := "", len(asked)
	for _, o := range c.operations {
		if wrong, ok := misspelt(asked, o.segments); ok && wrong < fewest {
			best, fewest = strings.TrimSuffix(o.Path, "/"), wrong
		}
	}
	return best
}

// misspelt counts the segments that have to be corrected to make a path of an operation's. It
// reports whether each of them is near enough.
func misspelt(asked, documented []string) (wrong int, near bool) {
	if len(asked) != len(documented) {
		return 0, false
	}
	for i, segment := range documented {
		if _, parameter := parameterName(segment); parameter || asked[i] == segment {
			continue
		}
		if nearest.Name(asked[i], documented[i:i+1]) == "" {
			return 0, false
		}
		wrong++
	}
	return wrong, wrong > 0
}
