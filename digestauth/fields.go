package digestauth

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A param is one auth-param (RFC 9110, section 11.2): the name in lower case, and the value
// without quotes and escapes.
type param struct{ name, value string }

// A challengeField is one element of a WWW-Authenticate list: a scheme in lower case, and its
// parameters. It has no token68.
type challengeField struct {
	scheme string
	params []param
}

// A cursor reads the grammar that WWW-Authenticate, Authorization and Authentication-Info share
// (RFC 9110, section 11).
type cursor struct {
	s string
	i int
}

func (c *cursor) done() bool { return c.i == len(c.s) }

// next reports whether b comes next, and skips it.
func (c *cursor) next(b byte) bool {
	if c.i < len(c.s) && c.s[c.i] == b {
		c.i++
		return true
	}
	return false
}

// space skips optional white space, and returns how much there was.
func (c *cursor) space() int {
	start := c.i
	for c.i < len(c.s) && (c.s[c.i] == ' ' || c.s[c.i] == '\t') {
		c.i++
	}
	return c.i - start
}

func (c *cursor) span(in func(byte) bool) string {
	start := c.i
	for c.i < len(c.s) && in(c.s[c.i]) {
		c.i++
	}
	return c.s[start:c.i]
}

func isAlnum(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// isToken reports whether b is a tchar (RFC 9110, section 5.6.2).
func isToken(b byte) bool {
	return isAlnum(b) || b != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// isToken68 reports whether b may stand in a token68, before the padding (RFC 9110, section 11.2).
func isToken68(b byte) bool { return isAlnum(b) || b != 0 && strings.IndexByte("-._~+/", b) >= 0 }

var (
	errQuote   = errors.New("a quoted string is not closed")
	errControl = errors.New("a value holds control characters or is not UTF-8")
)

// value reads a token or a quoted-string (RFC 9110, section 5.6.4).
func (c *cursor) value() (string, error) {
	if !c.next('"') {
		v := c.span(isToken)
		if v == "" {
			return "", errors.New("a parameter has no value")
		}
		return v, nil
	}
	start, escaped := c.i, false
	for ; c.i < len(c.s); c.i++ {
		switch b := c.s[c.i]; {
		case b == '"':
			v := c.s[start:c.i]
			c.i++
			if !utf8.ValidString(v) {
				return "", errControl
			}
			if escaped {
				v = unescape(v)
			}
			return v, nil
		case b == '\\':
			escaped = true
			if c.i++; c.i == len(c.s) {
				return "", errQuote
			}
			if c.s[c.i] < ' ' && c.s[c.i] != '\t' || c.s[c.i] == 0x7f {
				return "", errControl
			}
		case b < ' ' && b != '\t', b == 0x7f:
			return "", errControl
		}
	}
	return "", errQuote
}

func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// appendQuoted appends s as a quoted-string.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		dst = append(dst, s...)
	} else {
		for i := 0; i < len(s); i++ {
			if s[i] == '"' || s[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
	}
	return append(dst, '"')
}

// param reads what follows the name of a parameter: "=" and the value.
func (c *cursor) param(name string) (param, error) {
	if name == "" {
		return param{}, errors.New("a parameter has no name")
	}
	c.space()
	if !c.next('=') {
		return param{}, fmt.Errorf("%.32q is not a parameter", name)
	}
	c.space()
	v, err := c.value()
	if err != nil {
		return param{}, err
	}
	c.space()
	if !c.done() && c.s[c.i] != ',' {
		return param{}, fmt.Errorf("the parameter %.32q is not followed by a comma", name)
	}
	return param{strings.ToLower(name), v}, nil
}

// parseParams reads a list of parameters. None may occur twice.
func parseParams(c *cursor, space []param) ([]param, error) {
	params := space
	for {
		for c.space() > 0 || c.next(',') {
		}
		if c.done() {
			return params, nil
		}
		p, err := c.param(c.span(isToken))
		if err != nil {
			return nil, err
		}
		if params, err = addParam(params, p); err != nil {
			return nil, err
		}
	}
}

// maxParams bounds the parameters of one challenge or credential. RFC 7616 defines eleven.
const maxParams = 32

func addParam(params []param, p param) ([]param, error) {
	if len(params) == maxParams {
		return nil, fmt.Errorf("there are more than %d parameters", maxParams)
	}
	for _, q := range params {
		if q.name == p.name {
			return nil, fmt.Errorf("the parameter %.32q occurs twice", p.name)
		}
	}
	return append(params, p), nil
}

// parseChallenges reads a WWW-Authenticate field line, which may hold several challenges (RFC
// 9110, section 11.6.1). With an error, it returns the challenges before the mistake.
func parseChallenges(line string) ([]challengeField, error) {
	var fields []challengeField
	c := cursor{s: line}
	for {
		for c.space() > 0 || c.next(',') {
		}
		if c.done() {
			return fields, nil
		}
		word := c.span(isToken)
		if word == "" {
			return fields, errors.New("neither a scheme nor a parameter begins where one should")
		}
		// A word is a scheme unless "=" follows.
		gap := c.space()
		if c.done() || c.s[c.i] == ',' || gap > 0 && c.s[c.i] != '=' {
			fields = append(fields, challengeField{scheme: strings.ToLower(word)})
			c.token68()
			continue
		}
		if len(fields) == 0 {
			return fields, errors.New("a parameter stands before any scheme")
		}
		last := &fields[len(fields)-1]
		p, err := c.param(word)
		if err == nil {
			last.params, err = addParam(last.params, p)
		}
		if err != nil {
			return fields[:len(fields)-1], fmt.Errorf("in the challenge of the scheme %.32q, %w", last.scheme, err)
		}
	}
}

// token68 skips a token68, if there is one before the next comma.
func (c *cursor) token68() {
	start := c.i
	if c.span(isToken68) != "" {
		c.span(func(b byte) bool { return b == '=' })
		c.space()
		if c.done() || c.s[c.i] == ',' {
			return
		}
	}
	c.i = start
}
