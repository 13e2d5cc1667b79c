// Package api holds the contract: the one hand-written OpenAPI document that code
// generation, validation and the documentation start from.
//
// The gateway and the tests call it. It refuses a document that OpenAPI 3.0.3 does
// not allow, so that a broken contract stops a program at its start.
package api

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// YAML is the contract as it was written, api/openapi.yaml.
//
//go:embed openapi.yaml
var YAML []byte

// Load parses the contract and validates it, its examples included. Each call makes
// a document of its own, which the caller may change.
func Load() (*openapi3.T, error) {
	return Parse(YAML)
}

// Parse reads an OpenAPI 3.0 document and validates it, its examples included: every
// pattern must compile and every reference resolve. References to other files and
// addresses are not followed.
func Parse(document []byte) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("the contract does not parse: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the contract is not valid: %w", err)
	}
	return doc, nil
}
