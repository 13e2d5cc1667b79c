package contract

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/getkin/kin-openapi/openapi3"
)

// maxResponseValues is how many JSON values a response may hold. The longest list that can be
// asked for, of 500 export jobs, holds some 20,000.
const maxResponseValues = 1 << 18

// Check decides whether the parameters and the body are what the version of the matched operation
// allows. Of the header it reads what the operation declares. The body is nil if there is none. A
// body of more than maxValues JSON values is refused, since each value costs many times its
// bytes. Check changes nothing and fills in no defaults, so that the bytes that were checked may
// be sent on. It returns the value of the body, as encoding/json decodes it into an any; nil if
// there is none. The error is a ValidationError with all violations.
func (m *Match) Check(v *Version, header http.Header, body []byte, maxValues int) (value any, err error) {
	var found violations
	m.checkParameters(&found, header)
	switch {
	case v.request != nil:
		value = checkJSON(&found, v.request, body, maxValues)
		m.checkRepeated(&found, value)
		if v.request.Extensions["x-other-members"] != nil {
			found.schemas = 0 // what the contract leaves out there, it leaves out on purpose
		}
	case len(body) > 0:
		found.add("", "VALIDATION_ERROR", "must be empty: %s takes none", m.Operation.ID)
	}
	return value, found.err(value)
}

// checkRepeated refuses a member of the body that has the name of a path parameter and another
// value: the path decides what is done.
func (m *Match) checkRepeated(found *violations, value any) {
	object, _ := value.(map[string]any)
	for _, p := range m.Operation.path {
		if text, ok := object[p.name].(string); ok && text != m.Parameter(p.name) {
			found.add("/"+p.name, "VALIDATION_ERROR", "is another than in the path")
		}
	}
}

// CheckResponse decides whether the body of a response is what the version promises for the
// status. enveloped says that the request asked for an envelope: then the promised result is in
// the envelope, and so is the status. The error is a ValidationError. Its fields are names of the
// contract, and never text of the response. It has at most MaxViolations, and does not look for
// more.
func (v *Version) CheckResponse(status int, body []byte, enveloped bool) error {
	found := violations{bounded: true}
	var value any
	if len(body) > 0 {
		var err *syntaxError
		if value, err = decode(body, maxResponseValues); err != nil {
			found.add("", "INVALID_JSON", "is not JSON that can be checked")
			return found.err(nil)
		}
	}
	if envelope, ok := value.(map[string]any); ok && enveloped {
		// Which HTTP status an enveloped answer has is not recorded.
		if inside, ok := envelope["status"].(float64); ok {
			status = int(inside)
		}
		// In one document of Atlas, the member content is called envelope. Lists are in neither.
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
	return found.err(nil)
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

// visit appends what kin-openapi finds wrong in a value. It first checks quickly whether anything
// is wrong. If so, it visits the parts of the value itself: kin-openapi would make an error for
// each violation before the first could be counted.
func visit(found *violations, schema *openapi3.Schema, value any, path ...string) {
	if found.bounded && found.total >= MaxViolations {
		return
	}
	if !wrongMembers(schema, value) && schema.VisitJSON(value, openapi3.FailFast()) == nil {
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
		found.breaks(pointer(path), "VALIDATION_ERROR", "does not match the contract")
	}
}

// branch returns the schema that the discriminator of an object names, or nil.
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

// wrongMembers reports whether an object has a member that its schema does not know, or lacks a
// required one. If so, there is no need to check first whether the rest is right.
func wrongMembers(schema *openapi3.Schema, value any) bool {
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

// closed reports whether a schema allows only the members in its properties.
func closed(schema *openapi3.Schema) bool {
	return schema.AdditionalProperties.Has != nil && !*schema.AdditionalProperties.Has
}

func visitMembers(found *violations, schema *openapi3.Schema, object map[string]any, path []string) {
	for _, name := range sorted(object) {
		if property := schema.Properties[name]; property != nil {
			visit(found, property.Value, object[name], append(path, name)...)
		} else if closed(schema) && !found.countOnly() {
			found.unknownMember(schema, append(path, name))
		}
	}
	for _, name := range schema.Required {
		if _, ok := object[name]; !ok && !found.countOnly() {
			found.breaks(pointer(append(path, name)), "MISSING_ATTRIBUTE", "is required")
		}
	}
}

// sorted returns the names of members in a fixed order, so that errors have one too.
func sorted[V any](members map[string]V) []string {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
