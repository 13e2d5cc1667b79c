package contract

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"atlas-export-gateway/internal/nearest"

	"github.com/getkin/kin-openapi/openapi3"
)

// MaxViolations is how many violations a ValidationError names. Further ones are only counted.
const MaxViolations = 20

// Violation is one place where a request breaks the contract.
type Violation struct {
	// Field is the place: a JSON pointer into the body (RFC 6901), "" for the whole body, the name
	// of a parameter, or "query" for a pair without a name in the query.
	Field string
	// Description is what was found there, shortened, and what was expected.
	Description string
	// Code is the errorCode of Atlas for it.
	Code string
}

// ValidationError says that a request or a response breaks the contract.
type ValidationError struct {
	// Violations are the first MaxViolations violations, those of parameters before those of the
	// body.
	Violations []Violation
	// Total counts all of them.
	Total int
	// OnlySchemas says that all of them are named, and that nothing but schemas of the contract is
	// broken: a parameter or a member is unknown, missing or has another value. There is only one way
	// to read such a request. It is false where something is repeated or has a name that folds onto a
	// known one, where a name or an escape is unusual, and where there is no JSON value that can be
	// checked; also for what the contract leaves out on purpose, and for path and header.
	OnlySchemas bool
}

// Error says how many violations there are. It does not name their places, since the name of an
// unknown member may be any text of the request.
func (e *ValidationError) Error() string {
	return fmt.Sprintf("%d violations of the contract", e.Total)
}

// violations collects the violations of a ValidationError.
type violations struct {
	list    []Violation
	total   int
	schemas int  // of total: added by breaks
	bounded bool // visit stops at MaxViolations
}

func (v *violations) add(field, code, format string, args ...any) {
	v.total++
	if len(v.list) < MaxViolations {
		v.list = append(v.list, Violation{Field: field, Description: fmt.Sprintf(format, args...), Code: code})
	}
}

// breaks is add for what breaks nothing but a schema: see ValidationError.OnlySchemas.
func (v *violations) breaks(field, code, format string, args ...any) {
	v.add(field, code, format, args...)
	v.schemas++
}

// err returns the error for the violations in a request or response whose content has a value.
func (v *violations) err(value any) error {
	if v.total == 0 {
		return nil
	}
	only := v.schemas == v.total && v.total <= MaxViolations && plainNames(value)
	return &ValidationError{Violations: v.list, Total: v.total, OnlySchemas: only}
}

// names reports whether there is a violation at a place already.
func (v *violations) names(field string) bool {
	return slices.ContainsFunc(v.list, func(known Violation) bool { return known.Field == field })
}

// countOnly counts a violation if it would not be named, and reports whether it did. Callers use
// it before they describe the violation for add.
func (v *violations) countOnly() bool {
	if v.total < MaxViolations {
		return false
	}
	v.total++
	return true
}

// schema appends what kin-openapi found in the value at a path.
func (v *violations) schema(path []string, err error) {
	switch e := err.(type) {
	case openapi3.MultiError:
		for _, inner := range e {
			v.schema(path, inner)
		}
	case *openapi3.SchemaError:
		if !v.countOnly() {
			v.keyword(pointer(append(path, e.JSONPointer()...)), e)
		}
	}
}

// unknownMember appends a violation for a member that a schema does not have.
func (v *violations) unknownMember(schema *openapi3.Schema, path []string) {
	hint := nearest.Hint(path[len(path)-1], sorted(schema.Properties))
	if reason, ok := schema.Extensions["x-other-members"].(string); ok && hint == "" {
		v.add(pointer(path), "VALIDATION_ERROR", "%s", reason)
		return
	}
	add := v.breaks
	if folds(path[len(path)-1], schema.Properties) {
		add = v.add
	}
	add(pointer(path), "INVALID_ATTRIBUTE", "is not a known member%s", hint)
}

// keyword appends a violation of one keyword of a schema. visitMembers appends those about the
// members of an object.
func (v *violations) keyword(at string, e *openapi3.SchemaError) {
	switch e.SchemaField {
	case "discriminator":
		d := e.Schema.Discriminator
		allowed := strings.Join(slices.Sorted(maps.Keys(d.Mapping)), ", ")
		at += pointer([]string{d.PropertyName})
		if e.Value == nil {
			v.breaks(at, "MISSING_ATTRIBUTE", "is required; expected one of %s", allowed)
		} else {
			v.breaks(at, "INVALID_ENUM_VALUE", "is %s; expected one of %s", show(e.Value), allowed)
		}
	case "enum":
		values := make([]string, len(e.Schema.Enum))
		for i, value := range e.Schema.Enum {
			values[i] = fmt.Sprint(value)
		}
		v.breaks(at, "INVALID_ENUM_VALUE", "is %s; expected %s", show(e.Value), strings.Join(values, ", "))
	case "minProperties":
		v.breaks(at, "MISSING_ATTRIBUTE", "is empty; expected %s", expectation(e.Schema))
	case "oneOf":
		v.breaks(at, "INVALID_JSON_ATTRIBUTE", "is %s; expected an object", show(e.Value))
	case "type", "nullable":
		v.breaks(at, "INVALID_JSON_ATTRIBUTE", "is %s; expected %s", show(e.Value), expectation(e.Schema))
	default:
		v.breaks(at, "INVALID_ATTRIBUTE", "is %s; expected %s", show(e.Value), expectation(e.Schema))
	}
}

// expectation describes what a schema allows.
func expectation(schema *openapi3.Schema) string {
	if words, ok := schema.Extensions["x-expected"].(string); ok {
		return words
	}
	if schema.Type == nil || len(schema.Type.Slice()) == 0 {
		return "another value"
	}
	words := article(schema.Type.Slice()[0])
	switch {
	case schema.MinLength > 0 && schema.MaxLength != nil:
		words += fmt.Sprintf(" of %d to %d characters", schema.MinLength, *schema.MaxLength)
	case schema.MinLength > 0:
		words += fmt.Sprintf(" of at least %d characters", schema.MinLength)
	case schema.MaxLength != nil:
		words += fmt.Sprintf(" of at most %d characters", *schema.MaxLength)
	case schema.Min != nil:
		words += fmt.Sprintf(" of at least %g", *schema.Min)
	case schema.Format != "":
		words += " in the format " + schema.Format
	}
	return words
}

// show describes a JSON value: a structure by its type, any other by its text, shortened.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return quote(v)
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	default:
		return shorten(fmt.Sprint(v))
	}
}

func article(jsonType string) string {
	if strings.ContainsRune("aeiou", rune(jsonType[0])) {
		return "an " + jsonType
	}
	return "a " + jsonType
}

// quote escapes and shortens a value of a request.
func quote(value string) string {
	return strconv.QuoteToASCII(shorten(value))
}

// shorten cuts a text to at most 40 bytes, between two runes.
func shorten(text string) string {
	const limit = 40
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// pointer writes reference tokens, shortened, as a JSON pointer (RFC 6901, section 3).
func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteByte('/')
		b.WriteString(escapePointer.Replace(shorten(token)))
	}
	return b.String()
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")
