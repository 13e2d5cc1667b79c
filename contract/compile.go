package contract

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxQuery is how many query parameters an operation may have.
const maxQuery = 8

// Compile prepares a validated document for matching and checking. It changes the document, which
// the caller must not use any more. It refuses a document with paths, parameters or versions that
// the package does not support.
func Compile(doc *openapi3.T) (*Contract, error) {
	c := &Contract{root: &segment{}}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			o, err := compile(method, path, item, operation)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			if err := c.root.add(o); err != nil {
				return nil, err
			}
			c.operations = append(c.operations, o)
			if o.encoded {
				before, _, _ := strings.Cut(path, "{")
				c.encoded = append(c.encoded, before)
			}
		}
	}
	slices.SortFunc(c.operations, func(a, b *Operation) int { return strings.Compare(a.ID, b.ID) })
	c.names = names(c.operations)
	return c, nil
}

func compile(method, path string, item *openapi3.PathItem, operation *openapi3.Operation) (*Operation, error) {
	o := &Operation{
		ID:       operation.OperationID,
		Method:   method,
		Path:     path,
		segments: strings.Split(strings.Trim(path, "/"), "/"),
		query:    map[string]*parameter{},
	}
	o.refused, _ = item.Extensions["x-refused-methods"].(map[string]any)
	byName := map[string]*parameter{}
	for _, ref := range slices.Concat(item.Parameters, operation.Parameters) {
		p, err := compileParameter(ref.Value)
		if err != nil {
			return nil, err
		}
		switch p.in {
		case openapi3.ParameterInPath:
			byName[p.name] = p
		case openapi3.ParameterInQuery:
			o.query[p.name] = p
		case openapi3.ParameterInHeader:
			p.name = http.CanonicalHeaderKey(p.name)
			o.fields = append(o.fields, p)
		default:
			return nil, fmt.Errorf("parameter %s: in %s is not supported", p.name, p.in)
		}
	}
	o.names = slices.Sorted(maps.Keys(o.query))
	if len(o.names) > maxQuery {
		return nil, fmt.Errorf("more than %d query parameters", maxQuery)
	}
	for _, s := range o.segments {
		if name, ok := parameterName(s); ok {
			if byName[name] == nil {
				return nil, fmt.Errorf("parameter %s is not declared", name)
			}
			if byName[name].encoded {
				if len(o.path) > 0 {
					return nil, fmt.Errorf("parameter %s: x-percent-encoded is for the first parameter of a path", name)
				}
				o.encoded = true
			}
			o.path = append(o.path, byName[name])
		}
	}
	if len(o.path) > len(Match{}.values) {
		return nil, fmt.Errorf("more than %d path parameters", len(Match{}.values))
	}
	return o, o.compileVersions(operation)
}

// compileVersions collects the versions from the media types of the operation's content, or from
// x-atlas-versions if the operation has no content.
func (o *Operation) compileVersions(operation *openapi3.Operation) error {
	versions := map[string]*Version{}
	version := func(mediaType string) *Version {
		v := versions[mediaType]
		if v == nil {
			date, _ := versionDate(mediaType)
			v = &Version{Date: date, MediaType: mediaType, responses: map[int]*openapi3.Schema{}}
			versions[mediaType] = v
		}
		return v
	}
	if body := operation.RequestBody; body != nil {
		for mediaType, content := range body.Value.Content {
			v := version(mediaType)
			v.request = simplify(content.Schema.Value)
			if err := v.readSunset(content); err != nil {
				return err
			}
		}
	}
	success := map[int]openapi3.Content{}
	for status, response := range operation.Responses.Map() {
		if code, err := strconv.Atoi(status); err == nil && code < 300 {
			success[code] = response.Value.Content
			for mediaType, content := range response.Value.Content {
				v := version(mediaType)
				v.responses[code] = simplify(content.Schema.Value)
				if err := v.readSunset(content); err != nil {
					return err
				}
			}
		}
	}
	if dates, ok := operation.Extensions["x-atlas-versions"].([]any); ok {
		for _, date := range dates {
			version(fmt.Sprintf("application/vnd.atlas.%s+json", date))
		}
	}
	if len(versions) == 0 {
		version("application/json")
	}
	var failure *openapi3.Schema
	if response := operation.Responses.Default(); response != nil && response.Value.Content["application/json"] != nil {
		failure = simplify(response.Value.Content["application/json"].Schema.Value)
	}
	for _, v := range versions {
		for code, content := range success {
			if len(content) == 0 {
				v.responses[code] = nil
			}
		}
		v.failure = failure
		if operation.RequestBody != nil && v.request == nil {
			return fmt.Errorf("version %s has a response and no request body; declare both", v.MediaType)
		}
	}
	o.Versions = slices.SortedFunc(maps.Values(versions), func(a, b *Version) int { return strings.Compare(a.Date, b.Date) })
	return nil
}

// readSunset reads x-sunset of a version's content. If both request and response have it, they
// must agree.
func (v *Version) readSunset(content *openapi3.MediaType) error {
	date, ok := content.Extensions["x-sunset"]
	if !ok {
		return nil
	}
	text, _ := date.(string)
	sunset, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return fmt.Errorf("version %s: x-sunset is %v; expected a date such as '2027-07-01'", v.MediaType, date)
	}
	if !v.Sunset.IsZero() && v.Sunset != sunset {
		return fmt.Errorf("version %s has two sunsets, %s and %s", v.MediaType, v.Sunset.Format(time.DateOnly), text)
	}
	v.Sunset = sunset
	return nil
}

// simplify changes a schema in place. OpenAPI 3.0 gives a reference a description of its own with
// an allOf around the reference only; simplify replaces each such schema with the one that it
// refers to. That halves the cost of a check, and keeps violations flat.
func simplify(schema *openapi3.Schema) *openapi3.Schema {
	seen := map[*openapi3.Schema]bool{}
	var visit func(ref *openapi3.SchemaRef)
	visit = func(ref *openapi3.SchemaRef) {
		if ref == nil || ref.Value == nil {
			return
		}
		if s := ref.Value; len(s.AllOf) == 1 && s.Type == nil && len(s.Properties) == 0 && len(s.OneOf) == 0 && len(s.AnyOf) == 0 {
			ref.Value = s.AllOf[0].Value
		}
		if seen[ref.Value] {
			return
		}
		seen[ref.Value] = true
		for _, property := range ref.Value.Properties {
			visit(property)
		}
		for _, refs := range []openapi3.SchemaRefs{ref.Value.OneOf, ref.Value.AnyOf, ref.Value.AllOf} {
			for _, inner := range refs {
				visit(inner)
			}
		}
		visit(ref.Value.Items)
	}
	root := &openapi3.SchemaRef{Value: schema}
	visit(root)
	return root.Value
}
