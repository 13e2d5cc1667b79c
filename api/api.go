// Package api holds the contract: the one hand-written OpenAPI document from which the code is
// generated, requests are checked and the documentation is made.
//
// The generator and tests call it; programs read what the generator makes of it. It refuses a
// document that OpenAPI 3.0.3 does not allow, so that no code is generated from a broken contract.
package api

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// YAML is the text of the contract, api/openapi.yaml.
//
//go:embed openapi.yaml
var YAML []byte

// Load parses and validates the contract, its examples included. Each call returns a new document,
// which the caller may change.
func Load() (*openapi3.T, error) {
	return Parse(YAML)
}

// Parse reads and validates an OpenAPI 3.0 document, its examples included. Each pattern must
// compile, and each reference must resolve. Parse does not follow references to other files or
// addresses.
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
