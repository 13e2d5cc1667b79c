package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"atlas-export-gateway/internal/nearest"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep a body may nest; the contract's deepest schema nests three.
const maxDepth = 32

// maxResponseValues is how many JSON values a response may hold that is checked. The longest
// list that can be asked for, of 500 export jobs, holds some 20,000.
const maxResponseValues = 1 << 18

// Check decides whether the parameters and the body are what the version of the matched
// operation allows. The body is nil where there is none; of more than maxValues JSON values
// it is refused, since each costs many times its bytes. Nothing is changed, no default
// filled in: the very bytes that were checked may be sent on. Their value is returned, as
// encoding/json decodes it into an any; nil where there is none. The error is a
// ValidationError with every violation.
func (m *Match) Check(v *Version, body []byte, maxValues int) (value any, err error) {
	var found violations
	m.checkParameters(&found)
	switch {
	case v.request != nil:
		value = checkJSON(&found, v.request, body, maxValues)
	case len(body) > 0:
		found.add("", "VALIDATION_ERROR", "must be empty: %s takes none", m.Operation.ID)
	}
	return value, found.err()
}

// CheckResponse decides whether a response's body is what the version promises for the
// status. Enveloped says that the request asked for an envelope: then the promised result
// stands inside it, and the status is the envelope's. The error is a ValidationError whose
// fields are of the contract: a response's own text is in none. It looks for MaxViolations at
// the most.
func (v *Version) CheckResponse(status int, body []byte, enveloped bool) error {
	found := violations{few: true}
	var value any
	if len(body) > 0 {
		var err *syntaxError
		if value, err = decode(body, maxResponseValues); err != nil {
			found.add("", "INVALID_JSON", "is not JSON that can be checked")
			return found.err()
		}
	}
	if envelope, ok := value.(map[string]any); ok && enveloped {
		// Which HTTP status accompanies an enveloped one is not recorded.
		if inside, ok := envelope["status"].(float64); ok {
			status = int(inside)
		}
		// One document of Atlas says envelope for content. A list stays where it is.
		for _, name := range []string{"content", "envelope"} {
			if content, ok := envelope[name]; ok {
				value = content
			}
		}
	}
	schema, known := v.responses[status]
	if !known {
		schema = v.failure
	}
	switch {
	case schema != nil:
		visit(&found, schema, value)
	case len(body) > 0 && !enveloped:
		found.add("", "VALIDATION_ERROR", "has content; the status promises none")
	}
	return found.err()
}

func checkJSON(found *violations, schema *openapi3.Schema, body []byte, maxValues int) any {
	if len(body) == 0 {
		found.add("", "INVALID_JSON", "is empty; expected %s", expectation(schema))
		return nil
	}
	value, err := decode(body, maxValues)
	if err != nil {
		found.add(err.field, "INVALID_JSON", "%s", err.reason)
		return nil
	}
	visit(found, schema, value)
	return value
}

// visit appends what kin-openapi has against a value. It looks quickly whether there is
// anything, and goes into the parts of what fails itself: kin-openapi would make an error
// for each violation before the first could be counted.
func visit(found *violations, schema *openapi3.Schema, value any, path ...string) {
	if found.few && found.total >= MaxViolations {
		return
	}
	if !misnamed(schema, value) && schema.VisitJSON(value, openapi3.FailFast()) == nil {
		return
	}
	before := found.total
	switch v := value.(type) {
	case []any:
		if schema.Type.Is("array") && schema.Items != nil {
			for i, element := range v {
				visit(found, schema.Items.Value, element, append(path, strconv.Itoa(i))...)
			}
		}
	case map[string]any:
		if branch := branch(schema, v); branch != nil {
			visit(found, branch, value, path...)
		} else if schema.Type.Is("object") {
			visitMembers(found, schema, v, path)
		}
	}
	if found.total == before {
		found.schema(path, schema.VisitJSON(value, openapi3.MultiErrors(), openapi3.DisableSchemaErrorDetails()))
	}
	if found.total == before {
		found.add(pointer(path), "VALIDATION_ERROR", "does not match the contract")
	}
}

// branch returns the schema that an object's discriminator chooses, or nil.
func branch(schema *openapi3.Schema, object map[string]any) *openapi3.Schema {
	if schema.Discriminator == nil {
		return nil
	}
	name, _ := object[schema.Discriminator.PropertyName].(string)
	mapped := schema.Discriminator.Mapping[name].Ref
	for _, ref := range schema.OneOf {
		if ref.Ref == mapped && mapped != "" {
			return ref.Value
		}
	}
	return nil
}

// misnamed reports whether an object has a member that its schema does not know, or lacks
// one that it requires: then there is no need to look whether all else is right as well.
func misnamed(schema *openapi3.Schema, value any) bool {
	object, ok := value.(map[string]any)
	if !ok || !schema.Type.Is("object") {
		return false
	}
	for _, name := range schema.Required {
		if _, ok := object[name]; !ok {
			return true
		}
	}
	if closed(schema) {
		for name := range object {
			if schema.Properties[name] == nil {
				return true
			}
		}
	}
	return false
}

// closed reports whether a schema allows no other members than its properties.
func closed(schema *openapi3.Schema) bool {
	return schema.AdditionalProperties.Has != nil && !*schema.AdditionalProperties.Has
}

func visitMembers(found *violations, schema *openapi3.Schema, object map[string]any, path []string) {
	for _, name := range sorted(object) {
		if property := schema.Properties[name]; property != nil {
			visit(found, property.Value, object[name], append(path, name)...)
		} else if closed(schema) && found.more() {
			found.add(pointer(append(path, name)), "INVALID_ATTRIBUTE", "is not a known member%s", nearest.Hint(name, sorted(schema.Properties)))
		}
	}
	for _, name := range schema.Required {
		if _, ok := object[name]; !ok && found.more() {
			found.add(pointer(append(path, name)), "MISSING_ATTRIBUTE", "is required")
		}
	}
}

// sorted returns the names of members, for the same errors in the same order.
func sorted[V any](members map[string]V) []string {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// syntaxError is where and why a text is not the one strict JSON value that it should be.
type syntaxError struct{ field, reason string }

var (
	errDepth    = errors.New("nests too deep")
	errValues   = errors.New("holds too many values")
	errNumber   = errors.New("a number is too large")
	errTrailing = errors.New("something follows the JSON value")
)

// decoding is a strict reader of JSON and how many values it may still read.
type decoding struct {
	*jsontext.Decoder
	text bytes.Buffer // what it reads from
	left int
}

// decodings are kept, since a Decoder keeps its stacks from one text to the next.
var decodings = sync.Pool{New: func() any {
	d := &decoding{}
	d.Decoder = jsontext.NewDecoder(&d.text)
	return d
}}

// release lets go of the text.
func (decoder *decoding) release() {
	decoder.text = bytes.Buffer{}
	decoder.Reset(&decoder.text)
	decodings.Put(decoder)
}

// decode reads one JSON value (RFC 8259) strictly: valid UTF-8, no lone surrogates, no
// byte order mark, no repeated member, nothing behind it.
func decode(body []byte, maxValues int) (any, *syntaxError) {
	decoder := decodings.Get().(*decoding)
	defer decoder.release()
	decoder.text, decoder.left = *bytes.NewBuffer(body), maxValues
	value, err := decoder.value()
	if err == nil {
		if _, err = decoder.ReadToken(); err == io.EOF {
			return value, nil
		}
		err = errTrailing
	}
	return nil, explain(decoder.Decoder, body, maxValues, err)
}

func (decoder *decoding) value() (any, error) {
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	if decoder.left--; decoder.left < 0 {
		return nil, errValues
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		number, err := token.Float()
		if err != nil {
			return nil, errNumber
		}
		return number, nil
	case '[':
		if decoder.StackDepth() > maxDepth {
			return nil, errDepth
		}
		list := []any{}
		for decoder.PeekKind() != ']' {
			element, err := decoder.value()
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		_, err := decoder.ReadToken()
		return list, err
	default: // '{'
		if decoder.StackDepth() > maxDepth {
			return nil, errDepth
		}
		object := map[string]any{}
		for decoder.PeekKind() != '}' {
			name, err := decoder.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // the token is invalid after the next read
			if object[key], err = decoder.value(); err != nil {
				return nil, err
			}
		}
		_, err := decoder.ReadToken()
		return object, err
	}
}

// explain words a decoding error with the line and column where it was noticed.
func explain(decoder *jsontext.Decoder, body []byte, maxValues int, err error) *syntaxError {
	offset, field, reason := decoder.InputOffset(), "", err.Error()
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntactic):
		offset, field, reason = syntactic.ByteOffset, pointer(slices.Collect(syntactic.JSONPointer.Tokens())), syntactic.Err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			reason = "the text ends early"
		}
	case errors.Is(err, errDepth):
		reason = fmt.Sprintf("nests deeper than %d", maxDepth)
	case errors.Is(err, errValues):
		reason = fmt.Sprintf("holds more than %d values", maxValues)
	}
	before := body[:min(int(offset), len(body))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return &syntaxError{field: field, reason: fmt.Sprintf("is not valid JSON at line %d, column %d: %s", line, column, reason)}
}
