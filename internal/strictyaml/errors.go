package strictyaml

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"atlas-export-gateway/internal/invisible"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"
)

// located puts the file's name and the line in front of an error of the YAML library. The
// library's own text has several lines and quotes the file, which may have a secret in the
// wrong place.
func located(name string, err error) error {
	var positioned yaml.Error
	if errors.As(err, &positioned) {
		if t := positioned.GetToken(); t != nil {
			at, text := explain(t, positioned.GetMessage())
			return fmt.Errorf("%s:%d: %s", name, at.Position.Line, text)
		}
	}
	return fmt.Errorf("%s: %w", name, err)
}

// explain words a sentence of the library about a token, and returns the token to look at.
func explain(t *token.Token, message string) (*token.Token, string) {
	const star = `a text that begins with * needs quotes, as in "*"`
	switch {
	case t.Type == token.AliasType:
		return t, star
	case t.Prev != nil && t.Prev.Type == token.AliasType:
		return t.Prev, star
	case t.Next != nil && t.Next.Position.Line > t.Position.Line && worded[message] == secondColon:
		return t.Next, deeper // the library takes both lines for one text
	}
	return t, reword(message)
}

// twice is what the library says of a key that a mapping has already.
var twice = regexp.MustCompile(`^mapping key (".*") already defined at \[(\d+):\d+\]$`)

const (
	aKey        = "expected a key, a colon and a space"
	secondColon = "a second colon with a space; put the text in quotes"
	deeper      = "a line that is indented further than the one before it, which has a value; indent them alike"
)

// worded are sentences of the library, and what is said instead: what to look for in the file.
var worded = map[string]string{
	"found character '\t' that cannot start any token":                   "a tab; indent with spaces",
	"tab character cannot use as a map key directly":                     "a tab; indent with spaces",
	"sequence end token ']' not found":                                   "the list in brackets has no ]",
	"could not find flow mapping end token '}'":                          "the mapping in braces has no }",
	"unexpected key name":                                                aKey,
	"non-map value is specified":                                         aKey,
	"mapping value is not allowed in this context":                       secondColon,
	"value is not allowed in this context. map key-value is pre-defined": deeper,
	"value is not allowed in this context":                               "a value that belongs to no key; is the line indented as the others?",
}

// reword words a sentence of the library for whoever wrote the file.
func reword(message string) string {
	if parts := twice.FindStringSubmatch(message); parts != nil {
		key, _ := strconv.Unquote(parts[1])
		return fmt.Sprintf("the key %s is there twice; the first is in line %s", invisible.Show(key), parts[2])
	}
	if text, ok := worded[message]; ok {
		return text
	}
	return message
}
