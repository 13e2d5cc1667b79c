package contract

import (
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Places returns where a request breaks the contract, each place once, in words of the contract:
// for a log, which must hold no text of a request. A place is the name of a parameter, or a JSON
// pointer into the body; "body" is the whole body. * stands for any index, and for a name that the
// contract does not have.
func (c *Contract) Places(e *ValidationError) []string {
	var places []string
	for _, violation := range e.Violations {
		tokens := strings.Split(violation.Field, "/")
		for i, token := range tokens {
			if !c.names[token] && (i > 0 || token != "") {
				tokens[i] = "*"
			}
		}
		place := strings.Join(tokens, "/")
		if place == "" {
			place = "body"
		}
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

// names collects the names of the parameters of operations, and of the members of their requests.
func names(operations []*Operation) map[string]bool {
	found := map[string]bool{"query": true} // see Violation.Field
	seen := map[*openapi3.Schema]bool{}
	var visit func(*openapi3.Schema)
	visit = func(s *openapi3.Schema) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		for name, property := range s.Properties {
			found[name] = true
			visit(property.Value)
		}
		for _, ref := range slices.Concat(s.OneOf, s.AnyOf, s.AllOf) {
			visit(ref.Value)
		}
		if s.Items != nil {
			visit(s.Items.Value)
		}
	}
	for _, o := range operations {
		for _, p := range o.path {
			found[p.name] = true
		}
		for _, name := range o.names {
			found[name] = true
		}
		for _, field := range o.fields {
			found[field.name] = true
		}
		for _, v := range o.Versions {
			visit(v.request)
		}
	}
	return found
}
