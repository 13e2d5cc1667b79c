package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep a body may nest; the contract's deepest schema nests three.
const maxDepth = 32

// Check decides whether the parameters and the body are what the version of the
// matched operation allows. The body is nil where there is none. Nothing is changed,
// no default filled in: the very bytes that were checked may be sent on. The error is
// an ValidationError with every violation.
func (m *Match) Check(v *Version, body []byte) error {
	var found violations
	m.checkParameters(&found)
	switch {
	case v.request != nil:
		checkJSON(&found, v.request, body)
	case len(body) > 0:
		found.add("", "VALIDATION_ERROR", "must be empty: %s takes none", m.Operation.ID)
	}
	return found.err()
}

// CheckResponse decides whether a response's body is what the version promises for the
// status. Enveloped says that the request asked for an envelope, so that the promised
// result stands under content. The error is an ValidationError.
func (v *Version) CheckResponse(status int, body []byte, enveloped bool) error {
	var found violations
	schema, known := v.responses[status]
	if !known {
		schema = v.failure
	}
	if schema == nil {
		if len(body) > 0 {
			found.add("", "VALIDATION_ERROR", "has content; the status promises none")
		}
		return found.err()
	}
	value, err := decode(body)
	if err != nil {
		found.add(err.field, "INVALID_JSON", "%s", err.reason)
		return found.err()
	}
	// An enveloped list stays where it is and gains a status.
	if envelope, ok := value.(map[string]any); ok && enveloped {
		if content, ok := envelope["content"]; ok {
			value = content
		}
	}
	visit(&found, schema, value)
	return found.err()
}

func checkJSON(found *violations, schema *openapi3.Schema, body []byte) {
	if len(body) == 0 {
		found.add("", "INVALID_JSON", "is empty; expected %s", expectation(schema))
		return
	}
	value, err := decode(body)
	if err != nil {
		found.add(err.field, "INVALID_JSON", "%s", err.reason)
		return
	}
	visit(found, schema, value)
}

// visit checks a value against a schema: quickly, and in full where that fails.
func visit(found *violations, schema *openapi3.Schema, value any) {
	if schema.VisitJSON(value, openapi3.FailFast()) == nil {
		return
	}
	found.schema(schema.VisitJSON(value, openapi3.MultiErrors(), openapi3.DisableSchemaErrorDetails()))
}

// syntaxError is where and why a text is not the one strict JSON value that it should be.
type syntaxError struct{ field, reason string }

var (
	errDepth    = errors.New("nests too deep")
	errTrailing = errors.New("something follows the JSON value")
)

// decode reads one JSON value (RFC 8259) strictly: valid UTF-8, no lone surrogates, no
// byte order mark, no repeated member, nothing behind it.
func decode(body []byte) (any, *syntaxError) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(body))
	value, err := decodeValue(decoder)
	if err == nil {
		if _, err = decoder.ReadToken(); err == io.EOF {
			return value, nil
		}
		err = errTrailing
	}
	return nil, explain(decoder, body, err)
}

func decodeValue(decoder *jsontext.Decoder) (any, error) {
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return token.Float() // an error where the number exceeds a float64
	case '[':
		if decoder.StackDepth() > maxDepth {
			return nil, errDepth
		}
		list := []any{}
		for decoder.PeekKind() != ']' {
			element, err := decodeValue(decoder)
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
			if object[key], err = decodeValue(decoder); err != nil {
				return nil, err
			}
		}
		_, err := decoder.ReadToken()
		return object, err
	}
}

// explain words a decoding error with the line and column where it was noticed.
func explain(decoder *jsontext.Decoder, body []byte, err error) *syntaxError {
	offset, field, reason := decoder.InputOffset(), "", err.Error()
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntactic):
		offset, field, reason = syntactic.ByteOffset, string(syntactic.JSONPointer), syntactic.Err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			reason = "the text ends early"
		}
	case errors.Is(err, errDepth):
		reason = fmt.Sprintf("nests deeper than %d", maxDepth)
	}
	before := body[:min(int(offset), len(body))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return &syntaxError{field: field, reason: fmt.Sprintf("is not valid JSON at line %d, column %d: %s", line, column, reason)}
}
