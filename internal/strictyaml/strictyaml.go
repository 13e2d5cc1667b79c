// Package strictyaml reads configuration files. A mistake in a file is an error that names
// the file, the line and the key, and a character that can't be seen by its number. The gateway
// reads its configuration with it, the simulation its seed, and atlas-export its profiles. It
// accepts a byte order mark at the start of a file. It refuses unknown and repeated keys, values
// of another type, anchors, aliases and tags, and a second document in the file.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/internal/invisible"
	"atlas-export-gateway/internal/nearest"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Document remembers the lines of the keys in a decoded file, for errors that its reader
// finds later.
type Document struct {
	name   string
	lines  map[string]int    // by path
	hidden map[string]string // by path: the name of an invisible character of the value, or of the key of a map
}

// mark is a byte order mark in UTF-8, which some editors put at the start of a file.
var mark = []byte("\ufeff")

// WithoutMark returns what a file holds behind the byte order mark that it may begin with.
func WithoutMark(data []byte) []byte { return bytes.TrimPrefix(data, mark) }

// Decode reads the one YAML document in data into the struct that into points at.
// Name is the file's name for errors. All unknown keys are reported at once; a file
// without content leaves the struct as it is.
func Decode(name string, data []byte, into any) (*Document, error) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, fmt.Errorf("%s: the file is in UTF-16; save it as UTF-8", name)
	}
	data = WithoutMark(data)
	if err := checkBounds(name, data); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, located(name, err)
	}
	// The parser does not report documents that follow an empty one.
	headers := 0
	for _, t := range lexer.Tokenize(string(data)) {
		if t.Type == token.DocumentHeaderType {
			headers++
		}
		if headers > 1 {
			return nil, fmt.Errorf("%s:%d: a second document; the file must hold one", name, t.Position.Line)
		}
	}
	doc := &Document{name: name, lines: map[string]int{}, hidden: map[string]string{}}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	switch {
	case len(bodies) == 0:
		return doc, nil
	case len(bodies) > 1:
		return nil, fmt.Errorf("%s:%d: a second document; the file must hold one", name, bodies[1].GetToken().Position.Line)
	}
	doc.lines[""] = bodies[0].GetToken().Position.Line
	if err := errors.Join(doc.walk(bodies[0], reflect.TypeOf(into), "")...); err != nil {
		return nil, err
	}
	if err := decode(data, into); err != nil && !errors.Is(err, io.EOF) {
		return nil, located(name, err)
	}
	return doc, nil
}

// Texts is a list of texts that a file may also write as one text.
type Texts []string

// UnmarshalYAML reads either form.
func (t *Texts) UnmarshalYAML(unmarshal func(any) error) error {
	var list []string
	if unmarshal(&list) == nil {
		*t = list
		return nil
	}
	var one string
	if err := unmarshal(&one); err != nil {
		return err
	}
	*t = Texts{one}
	return nil
}

// Text returns the text at a path such as "listener.address" in the one YAML document in data, and
// "" if it has none there. It does not look at the rest of the document, in which keys may be
// unknown.
func Text(name string, data []byte, path string) (text string, err error) {
	data = WithoutMark(data)
	if err := checkBounds(name, data); err != nil {
		return "", err
	}
	defer func() {
		if p := recover(); p != nil { // as in decode
			err = fmt.Errorf("%s: the document can't be decoded: %v", name, p)
		}
	}()
	at, err := yaml.PathString("$." + path)
	if err != nil {
		return "", err
	}
	err = at.Read(bytes.NewReader(data), &text)
	switch {
	case err == nil, yaml.IsNotFoundNodeError(err), errors.Is(err, io.EOF):
		return text, nil
	}
	return "", located(name, err)
}

// decode returns a panic of the library as an error. The library is known to panic.
func decode(data []byte, into any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the document can't be decoded: %v", p)
		}
	}()
	return yaml.UnmarshalWithOptions(data, into, yaml.Strict())
}

// Line returns the line of the value at a path such as "upstream.groups[2].name". If the file
// does not have the value, Line returns the line of the nearest enclosing key that it has, or
// 0. The empty path is the document.
func (d *Document) Line(path string) int {
	for {
		if line, ok := d.lines[path]; ok {
			return line
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
}

// Errorf returns an error about the value at a path, in the form
// "file:line: path: message", with the line that [Document.Line] returns. It names a character
// that can't be seen in the value.
func (d *Document) Errorf(path, format string, args ...any) error {
	place := d.name
	if line := d.Line(path); line > 0 {
		place = fmt.Sprintf("%s:%d", d.name, line)
	}
	if path != "" {
		place += ": " + invisible.Show(path)
	}
	err := fmt.Errorf("%s: %w", place, fmt.Errorf(format, args...))
	if hidden := d.hidden[path]; hidden != "" {
		err = fmt.Errorf("%w; it holds %s", err, hidden)
	}
	return err
}

// walk records the line of each key below node. It returns an error for each key that t, the
// type that the node will be decoded into, does not have.
func (d *Document) walk(node ast.Node, t reflect.Type, path string) (errs []error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if text, ok := node.(*ast.StringNode); ok {
		d.hide(path, text.Value)
	}
	if _, list := node.(*ast.SequenceNode); t == reflect.TypeFor[Texts]() && !list {
		t = t.Elem()
	}
	if problem := expects(node, t); problem != "" {
		return []error{d.Errorf(path, "%s", problem)}
	}
	switch n := node.(type) {
	case *ast.NullNode:
		// A key whose entries were all removed must not mean the same as a missing key.
		if t.Kind() == reflect.Slice {
			return []error{d.Errorf(path, "has no value; leave the key out, or write a list")}
		}
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		// Nobody needs them, and with them a value may differ from what it looks like.
		return []error{d.Errorf(path, "anchors, aliases and tags are not accepted; a text that begins with &, * or ! needs quotes")}
	case *ast.SequenceNode:
		for i, value := range n.Values {
			element := fmt.Sprintf("%s[%d]", path, i)
			d.lines[element] = value.GetToken().Position.Line
			if t.Kind() == reflect.Slice {
				errs = append(errs, d.walk(value, t.Elem(), element)...)
			}
		}
	case *ast.MappingNode:
		for _, member := range n.Values {
			errs = append(errs, d.member(member, t, path)...)
		}
	case *ast.MappingValueNode:
		errs = d.member(n, t, path)
	}
	return errs
}

// hide remembers an invisible character of the value at a path, for errors about it.
func (d *Document) hide(path, text string) {
	if hidden := invisible.In(text); hidden != "" && d.hidden[path] == "" {
		d.hidden[path] = hidden
	}
}

// expects says how a value of type t must be written, or returns "" if the node is written that
// way. The library's own errors name types of Go and not the key. The library also reads 1.5 as
// 1, and 010 as 8, even for a string.
func expects(node ast.Node, t reflect.Type) string {
	var plain bool // written exactly as its value is printed
	switch n := node.(type) {
	case *ast.NullNode, *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "" // walk words these errors
	case ast.ScalarNode:
		plain = fmt.Sprint(n.GetValue()) == n.GetToken().Value
	}
	var ok bool
	expected := ""
	switch {
	case t == reflect.TypeFor[time.Duration]():
		expected = "a duration such as 500ms, 10s or 1m30s"
		if text, isText := node.(*ast.StringNode); isText {
			_, err := time.ParseDuration(text.Value)
			ok = err == nil
		}
	case t.Kind() == reflect.Int:
		expected = "a whole number"
		if _, err := strconv.Atoi(node.GetToken().Value); errors.Is(err, strconv.ErrRange) {
			return "the number is out of range"
		}
		_, ok = node.(*ast.IntegerNode)
		ok = ok && plain
	case t.Kind() == reflect.Bool:
		expected = "true or false"
		_, ok = node.(*ast.BoolNode)
	case t.Kind() == reflect.String:
		expected = "a text"
		switch node.(type) {
		case *ast.StringNode, *ast.LiteralNode:
			ok = true
		case ast.ScalarNode:
			expected, ok = "a text; put it in quotes", plain
		}
	case t.Kind() == reflect.Slice:
		expected = "a list"
		_, ok = node.(*ast.SequenceNode)
	case t.Kind() == reflect.Map, t.Kind() == reflect.Struct && len(fields(t)) > 0: // a time or a secret is a struct without keys
		expected = "keys with values"
		_, ok = node.(ast.MapNode)
	}
	if ok || expected == "" {
		return ""
	}
	return "expected " + expected
}

func (d *Document) member(member *ast.MappingValueNode, t reflect.Type, path string) []error {
	position := member.Key.GetToken()
	key := position.Value
	inner := strings.TrimPrefix(path+"."+key, ".")
	d.lines[inner] = position.Position.Line
	switch t.Kind() {
	case reflect.Map:
		d.hide(inner, key)
		return d.walk(member.Value, t.Elem(), inner)
	case reflect.Struct:
		fields := fields(t)
		if field, ok := fields[key]; ok {
			return d.walk(member.Value, field, inner)
		}
		hint := nearest.Hint(key, slices.Sorted(maps.Keys(fields)))
		if hint == "" {
			d.hide(inner, key)
		}
		return []error{d.Errorf(inner, "unknown key%s", hint)}
	}
	return nil
}

// fields returns the keys of a struct with the types of their values.
func fields(t reflect.Type) map[string]reflect.Type {
	keys := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		field := t.Field(i)
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case !field.IsExported() || key == "-":
		case options == "inline":
			for inner, value := range fields(field.Type) {
				keys[inner] = value
			}
		case key != "":
			keys[key] = field.Type
		default:
			keys[strings.ToLower(field.Name)] = field.Type
		}
	}
	return keys
}
