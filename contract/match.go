package contract

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Match is a request target that names an operation.
type Match struct {
	// Operation is the operation that the target names.
	Operation *Operation
	// Path is the path in its documented form: it has a trailing slash only if the contract writes
	// one.
	Path string
	// Query is the query as it was received, without the question mark.
	Query string

	values [4]string // of the path parameters, in the order of the path
}

// Parameter returns the value of a path parameter, or "" if the operation has none of that name.
func (m *Match) Parameter(name string) string {
	for i, p := range m.Operation.path {
		if p.name == name {
			return m.values[i]
		}
	}
	return ""
}

// ErrNotFound says that the contract has no such path.
var ErrNotFound = errors.New("the contract has no such path")

// TargetError says that a request target does not have the form of the contract's paths.
type TargetError struct {
	// Detail is what is wrong, for the client.
	Detail string
}

func (e *TargetError) Error() string { return e.Detail }

// MethodError says that the path exists, but not with that method.
type MethodError struct {
	// Allow is the list of the path's methods, in the form of the field Allow.
	Allow string
	// Reason is a sentence that says why the contract leaves the method out, where it says so.
	Reason string
}

func (e *MethodError) Error() string { return "the path allows " + e.Allow }

// segment is a node of the tree of path segments.
type segment struct {
	literals   map[string]*segment
	parameter  *segment
	operations map[string]*Operation // by method
	allow      string
	refused    map[string]any // sentences by method: x-refused-methods
}

// add adds an operation to the tree.
func (s *segment) add(o *Operation) error {
	for _, name := range o.segments {
		s = s.child(name)
	}
	if s.operations == nil {
		s.operations = map[string]*Operation{}
	}
	if other := s.operations[o.Method]; other != nil {
		return fmt.Errorf("%s and %s have the same path", o.ID, other.ID)
	}
	s.operations[o.Method] = o
	s.refused = o.refused
	methods := slices.Collect(maps.Keys(s.operations))
	if s.operations[http.MethodGet] != nil {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	s.allow = strings.Join(methods, ", ")
	return nil
}

// child returns the node for a documented segment below s. It makes the node if there is none.
func (s *segment) child(name string) *segment {
	if _, ok := parameterName(name); ok {
		if s.parameter == nil {
			s.parameter = &segment{}
		}
		return s.parameter
	}
	if s.literals == nil {
		s.literals = map[string]*segment{}
	}
	if s.literals[name] == nil {
		s.literals[name] = &segment{}
	}
	return s.literals[name]
}

// Match finds the operation for a method and a request target in origin form (RFC 9112, section
// 3.2.1). The target must be as it was received: Match does not unescape, clean or redirect it.
// Percent escapes are refused, except in a parameter that the contract marks x-percent-encoded:
// its Parameter is unescaped, and Path has it as it was received. HEAD matches the operation of
// GET. Match does not check the values of path parameters. The error is a TargetError, ErrNotFound
// or a MethodError.
func (c *Contract) Match(method, target string) (Match, error) {
	path, query, _ := strings.Cut(target, "?")
	if err := c.checkPath(path); err != nil {
		return Match{}, err
	}
	m := Match{Path: path, Query: query}
	s, n := c.root, 0
	for rest := path[1:]; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if next := s.literals[name]; next != nil {
			s = next
		} else if s = s.parameter; s != nil {
			m.values[n] = name
			n++
		} else {
			return Match{}, ErrNotFound
		}
	}
	if s.operations == nil {
		return Match{}, ErrNotFound
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if m.Operation = s.operations[method]; m.Operation == nil {
		reason, _ := s.refused[method].(string)
		return Match{}, &MethodError{Allow: s.allow, Reason: reason}
	}
	if m.Operation.encoded {
		m.values[0], _ = url.PathUnescape(m.values[0]) // checkPath has seen each escape
	}
	switch documented := strings.HasSuffix(m.Operation.Path, "/"); {
	case documented && !strings.HasSuffix(path, "/"):
		m.Path = path + "/"
	case !documented:
		m.Path = strings.TrimSuffix(path, "/")
	}
	return m, nil
}

// checkPath refuses what no path of the contract needs, and what intermediaries read in different
// ways.
func (c *Contract) checkPath(path string) error {
	if path == "" || path[0] != '/' {
		return &TargetError{"The request target must be a path; the absolute form is not accepted."}
	}
	start := 1 // where the segment starts
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if !unreserved(path[i]) {
				length, err := c.checkReserved(path, start, i)
				if err != nil {
					return err
				}
				i += length - 1
			}
			continue
		}
		switch name := path[start:i]; {
		case name == "" && i == 1 && i < len(path):
			return &TargetError{"The path begins with an empty segment (//): a base URL must not end in a slash."}
		case name == "" && i < len(path):
			return &TargetError{"The path holds an empty segment (//)."}
		case name == "." || name == "..":
			return &TargetError{"The path holds a dot segment (" + name + ")."}
		}
		start = i + 1
	}
	return nil
}

// checkReserved decides whether path[i], in the segment that begins at start, may stand there. It
// returns the length of the escape that begins there, and 1 for a character that is none.
func (c *Contract) checkReserved(path string, start, i int) (length int, err error) {
	encoded := slices.Contains(c.encoded, path[:start])
	if path[i] != '%' {
		if encoded && strings.IndexByte("&'()+,:@", path[i]) >= 0 {
			return 1, nil
		}
		return 0, &TargetError{fmt.Sprintf("The path holds the character %q; the paths that are served here have only letters, digits, '-', '.', '_' and '~'.", rune(path[i]))}
	}
	if !encoded {
		return 0, &TargetError{"The path holds a percent escape; no path that is served here needs one, except for the name of a group."}
	}
	text := path[i:min(i+3, len(path))]
	character, err := url.PathUnescape(text)
	switch {
	case err != nil:
		return 0, &TargetError{fmt.Sprintf("The path holds %s, which is not a percent escape.", quote(text))}
	case unreserved(character[0]):
		// %2e%2e is a dot segment for some readers of a URI.
		return 0, &TargetError{fmt.Sprintf("The path holds %s; write %s, which needs no escape.", text, character)}
	}
	return len(text), nil
}

// unreserved reports whether a character needs no escape in a URI (RFC 3986, section 2.3).
func unreserved(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~'
}

// parameterName returns the name of the parameter in a documented path segment, if it is one.
func parameterName(segment string) (string, bool) {
	name, ok := strings.CutPrefix(segment, "{")
	return strings.TrimSuffix(name, "}"), ok
}
