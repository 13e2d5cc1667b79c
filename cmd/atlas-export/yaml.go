package main

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// encodeYAML writes as YAML what encodeJSON writes as JSON, in the same order. Text that is not
// plain is quoted, always on one line. Libraries write text with line breaks as a block; other
// control characters stay in it as they are, and change what is read back. Each line except the
// first begins with indent.
func encodeYAML(w io.Writer, thing any, indent string) error {
	text, err := json.Marshal(thing)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	value, err := ordered(decoder)
	if err != nil {
		return err
	}
	var b strings.Builder
	writeYAML(&b, value, indent)
	_, err = io.WriteString(w, b.String())
	return err
}

// object is a JSON object with its members in their order.
type object []member

type member struct {
	name  string
	value any
}

// ordered reads one JSON value. It returns an object, a []any, or a scalar as text in YAML.
func ordered(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		var list []any
		var members object
		for decoder.More() {
			var name any
			if token == '{' {
				if name, err = decoder.Token(); err != nil {
					return nil, err
				}
			}
			value, err := ordered(decoder)
			if err != nil {
				return nil, err
			}
			if token == '{' {
				members = append(members, member{name.(string), value})
			} else {
				list = append(list, value)
			}
		}
		_, err := decoder.Token() // the end
		switch {
		case len(members) > 0:
			return members, err
		case len(list) > 0:
			return list, err
		case token == '{':
			return "{}", err
		default:
			return "[]", err
		}
	case json.Number:
		return token.String(), nil
	case bool:
		return strconv.FormatBool(token), nil
	case string:
		return scalar(token), nil
	default:
		return "null", nil
	}
}

// writeYAML writes a value. Its first line has been indented already.
func writeYAML(b *strings.Builder, value any, indent string) {
	switch value := value.(type) {
	case object:
		for i, m := range value {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString(scalar(m.name) + ":")
			if text, ok := m.value.(string); ok {
				b.WriteString(" " + text + "\n")
			} else {
				b.WriteString("\n" + indent + "  ")
				writeYAML(b, m.value, indent+"  ")
			}
		}
	case []any:
		for i, element := range value {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString("- ")
			writeYAML(b, element, indent+"  ")
		}
	case string:
		b.WriteString(value + "\n")
	}
}

// plain matches text that every YAML parser reads as text, except for the words in scalar.
var plain = regexp.MustCompile(`^([A-Za-z_/][A-Za-z0-9_./@:+-]*[A-Za-z0-9_/]|[A-Za-z_]|[0-9a-f]{24})$`)

// numeric matches ids that a parser may read as a number: they have only digits, or look like a
// number with an exponent or in binary.
var numeric = regexp.MustCompile(`^[0-9]+[be]?[0-9]+$`)

// scalar returns text as YAML. Go's escapes are also valid in YAML.
func scalar(text string) string {
	switch strings.ToLower(text) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		return strconv.Quote(text)
	}
	if !plain.MatchString(text) || numeric.MatchString(text) {
		return strconv.Quote(text)
	}
	return text
}
