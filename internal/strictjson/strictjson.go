// Package strictjson reads JSON that people write. A mistake is an error that says where it is
// and what was expected. The simulation reads with it its state file and the requests to its
// control listener, and cmd/atlas-sim the files of its command line. It refuses unknown and
// repeated members, values of another type, and anything after the one value. It accepts a byte
// order mark before the value.
package strictjson

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"atlas-export-gateway/internal/invisible"
	"atlas-export-gateway/internal/nearest"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decode reads the one JSON value in data into what into points at. Members that data does not
// have keep their values. An error has the form "line 1, column 2: /member: message". Its JSON
// pointer (RFC 6901) is left out if the error is about the whole value.
func Decode(data []byte, into any) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	err := json.Unmarshal(data, into, json.RejectUnknownMembers(true))
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return located(data, int64(len(data)), "", "the JSON ends early")
	case errors.As(err, &syntactic):
		return located(data, syntactic.ByteOffset, syntactic.JSONPointer, "not valid JSON: "+syntactic.Err.Error())
	case errors.As(err, &semantic):
		return located(data, semantic.ByteOffset, semantic.JSONPointer, explain(semantic))
	}
	return err
}

func located(data []byte, offset int64, pointer jsontext.Pointer, message string) error {
	before := data[:offset]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	if pointer != "" {
		message = invisible.Show(string(pointer)) + ": " + message
	}
	return fmt.Errorf("line %d, column %d: %s", line, column, message)
}

// explain says what is wrong with a value that is valid JSON.
func explain(err *json.SemanticError) string {
	isText := reflect.PointerTo(err.GoType).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch kind := err.GoType.Kind(); {
	case errors.Is(err, json.ErrUnknownName):
		return "is not a known member" + nearest.Hint(err.JSONPointer.LastToken(), members(err.GoType))
	case errors.Is(err, strconv.ErrRange):
		return "is out of range"
	case isText && err.JSONKind == '"':
		return err.Err.Error()
	case isText || kind == reflect.String:
		return "must be a string"
	case kind == reflect.Bool:
		return "must be true or false"
	case kind == reflect.Int:
		return "must be a whole number"
	case kind == reflect.Float64:
		return "must be a number"
	case kind == reflect.Slice:
		return "must be an array"
	default:
		return "must be an object"
	}
}

// members returns the names that the fields of a struct have in JSON.
func members(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
