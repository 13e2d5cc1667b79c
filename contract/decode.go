package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how deep a body may nest. The deepest schema of the contract nests three levels.
const maxDepth = 32

// syntaxError says where and why a text is not one strict JSON value.
type syntaxError struct{ field, reason string }

var (
	errDepth    = errors.New("nests too deep")
	errValues   = errors.New("holds too many values")
	errNumber   = errors.New("a number is too large")
	errTrailing = errors.New("something follows the JSON value")
)

// decoder is a strict reader of JSON.
type decoder struct {
	*jsontext.Decoder
	text bytes.Buffer // what the Decoder reads from
	left int          // how many values may still be read
}

// decoders are used again, since a Decoder keeps its stacks from one text to the next.
var decoders = sync.Pool{New: func() any {
	d := &decoder{}
	d.Decoder = jsontext.NewDecoder(&d.text)
	return d
}}

// release drops the text, so that the pool does not keep it.
func (d *decoder) release() {
	d.text = bytes.Buffer{}
	d.Reset(&d.text)
	decoders.Put(d)
}

// decode reads one JSON value (RFC 8259) strictly: valid UTF-8, no lone surrogates, no byte order
// mark, no repeated member, and nothing after the value.
func decode(body []byte, maxValues int) (any, *syntaxError) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.text, d.left = *bytes.NewBuffer(body), maxValues
	value, err := d.value()
	if err == nil {
		if _, err = d.ReadToken(); err == io.EOF {
			return value, nil
		}
		err = errTrailing
	}
	return nil, explain(d.Decoder, body, maxValues, err)
}

// value reads the next value, as encoding/json decodes it into an any.
func (d *decoder) value() (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	if d.left--; d.left < 0 {
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
		if d.StackDepth() > maxDepth {
			return nil, errDepth
		}
		list := []any{}
		for d.PeekKind() != ']' {
			element, err := d.value()
			if err != nil {
				return nil, err
			}
			list = append(list, element)
		}
		_, err := d.ReadToken()
		return list, err
	default: // '{'
		if d.StackDepth() > maxDepth {
			return nil, errDepth
		}
		object := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String() // the next read makes the token invalid
			if object[key], err = d.value(); err != nil {
				return nil, err
			}
		}
		_, err := d.ReadToken()
		return object, err
	}
}

// explain describes a decoding error, with the line and column where it was noticed.
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
