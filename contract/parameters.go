package contract

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"atlas-export-gateway/internal/nearest"
	"atlas-export-gateway/internal/objectid"

	"github.com/getkin/kin-openapi/openapi3"
)

// parameter is a compiled parameter: of the path, the query or the header.
type parameter struct {
	name, in string
	kind     string            // string, integer or boolean
	matches  func(string) bool // the pattern of a string
	min, max int64             // of the value of an integer, of the length of a string
	expected string            // describes the values that are allowed
	encoded  bool              // may hold percent escapes
}

func compileParameter(p *openapi3.Parameter) (*parameter, error) {
	schema := p.Schema.Value
	c := &parameter{name: p.Name, in: p.In, max: 1<<63 - 1}
	c.encoded, _ = p.Extensions["x-percent-encoded"].(bool)
	switch {
	case schema.Type.Is("string"):
		c.kind = "string"
		if schema.Pattern == "" {
			return nil, fmt.Errorf("parameter %s: a string needs a pattern", p.Name)
		}
		if schema.Pattern == objectid.Pattern { // each path holds an id, and Valid costs less
			c.matches = objectid.Valid
		} else {
			pattern, err := regexp.Compile(schema.Pattern)
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
			}
			c.matches = pattern.MatchString
		}
		c.min = int64(schema.MinLength)
		if schema.MaxLength != nil {
			c.max = int64(*schema.MaxLength)
		}
		c.expected = expectation(schema)
	case schema.Type.Is("integer"):
		c.kind = "integer"
		c.min = -1 << 63
		if schema.Min != nil {
			c.min = int64(*schema.Min)
		}
		c.expected = fmt.Sprintf("a whole number of at least %d", c.min)
		if schema.Max != nil {
			c.max = int64(*schema.Max)
			c.expected = fmt.Sprintf("a whole number from %d to %d", c.min, c.max)
		}
	case schema.Type.Is("boolean"):
		c.kind = "boolean"
		c.expected = "true or false"
	default:
		return nil, fmt.Errorf("parameter %s: the type is not supported", p.Name)
	}
	return c, nil
}

// allows reports whether the parameter may have a value. The value must be in its canonical form:
// 010, +1 and True are not.
func (p *parameter) allows(value string) bool {
	switch p.kind {
	case "integer":
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && p.min <= n && n <= p.max && strconv.FormatInt(n, 10) == value
	case "boolean":
		return value == "true" || value == "false"
	default:
		length := int64(utf8.RuneCountInString(value))
		return p.min <= length && length <= p.max && p.matches(value)
	}
}

// CheckParameter refuses a value that a path parameter, such as clusterName, can't have. The
// error says what is expected.
func (c *Contract) CheckParameter(name, value string) error {
	for _, o := range c.operations {
		for _, p := range o.path {
			if p.name == name && !p.allows(value) {
				return fmt.Errorf("%s is %s; expected %s", name, quote(value), p.expected)
			}
		}
	}
	return nil
}

// Fields returns the fields of a header that are parameters of the operation, or nil if it has
// none of them. After Check, each has one value that the operation allows.
func (o *Operation) Fields(header http.Header) http.Header {
	var fields http.Header
	for _, p := range o.fields {
		if values := header[p.name]; len(values) > 0 {
			if fields == nil {
				fields = http.Header{}
			}
			fields[p.name] = values
		}
	}
	return fields
}

// checkParameters appends a violation for each parameter that the operation does not allow. Fields
// of the header that are no parameters don't matter.
func (m *Match) checkParameters(violations *violations, header http.Header) {
	for i, p := range m.Operation.path {
		switch value := m.values[i]; {
		case p.allows(value):
		case p.allows(strings.ToLower(value)):
			violations.add(p.name, "INVALID_PATH_PARAMETER", "is %s; write it in lower case: expected %s", quote(value), p.expected)
		default:
			violations.add(p.name, "INVALID_PATH_PARAMETER", "is %s; expected %s", quote(value), p.expected)
		}
	}
	for _, p := range m.Operation.fields {
		switch values := header[p.name]; {
		case len(values) > 1:
			violations.add(p.name, "VALIDATION_ERROR", "is given more than once")
		case len(values) == 1 && !p.allows(values[0]):
			violations.add(p.name, "VALIDATION_ERROR", "is %s; expected %s", quote(values[0]), p.expected)
		}
	}
	var seen [maxQuery]string
	n := 0
	if m.Query == "" {
		return
	}
	for pair := range strings.SplitSeq(m.Query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		p := m.Operation.query[name]
		switch {
		case name == "":
			violations.add("query", "INVALID_QUERY_PARAMETER", "holds a pair without a name")
		case p == nil:
			if !violations.countOnly() {
				add := violations.add
				if plainName(name) && plainValue(value) && !folds(name, m.Operation.query) && !violations.names(name) {
					add = violations.breaks
				}
				add(shorten(name), "INVALID_QUERY_PARAMETER", "%s", m.Operation.unknownParameter(name))
			}
		case slices.Contains(seen[:n], name):
			violations.add(name, "INVALID_QUERY_PARAMETER", "is given more than once")
		case !p.allows(value):
			add := violations.add
			if plainValue(value) {
				add = violations.breaks
			}
			add(name, "INVALID_QUERY_PARAMETER", "is %s; expected %s", quote(value), p.expected)
		}
		if p != nil && !slices.Contains(seen[:n], name) {
			seen[n] = name
			n++
		}
	}
}

// unknownParameter describes what is wrong with a query parameter that the operation does not
// have.
func (o *Operation) unknownParameter(name string) string {
	if plain, err := url.QueryUnescape(name); err == nil && plain != name && o.query[plain] != nil {
		return fmt.Sprintf("is not a parameter of %s; write %s without escapes", o.ID, plain)
	}
	if hint := nearest.Hint(name, o.names); hint != "" {
		return fmt.Sprintf("is not a parameter of %s%s", o.ID, hint)
	}
	return fmt.Sprintf("is not a parameter of %s; it takes %s", o.ID, strings.Join(o.names, ", "))
}
