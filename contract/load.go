package contract

import (
	_ "embed"
	"fmt"
	"net/http"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:generate sh -c "go run ../api/derive -whole > openapi.json"

// document is api/openapi.yaml as JSON, validated when it was generated. A start of a program that
// reads YAML and validates it takes three times as long.
//
//go:embed openapi.json
var document []byte

// Load returns the contract of package api, compiled. A process parses and compiles the contract
// once, however often it calls Load. The error says why the contract can't be used.
func Load() (*Contract, error) { return load() }

var load = sync.OnceValues(func() (*Contract, error) {
	doc, err := parse()
	if err != nil {
		return nil, fmt.Errorf("the contract does not parse: %w", err)
	}
	c, err := Compile(doc)
	if err != nil {
		return nil, fmt.Errorf("the contract does not compile: %w", err)
	}
	return c, nil
})

func parse() (*openapi3.T, error) { return openapi3.NewLoader().LoadFromData(document) }

// OperationIDs returns the operationIds of the contract, sorted.
func (c *Contract) OperationIDs() []string {
	ids := make([]string, len(c.operations))
	for i, o := range c.operations {
		ids[i] = o.ID
	}
	return ids
}

// Create reports whether the operation creates something: an export job, an export bucket or a
// snapshot. To repeat a create may create a second one.
func (o *Operation) Create() bool { return o.Method == http.MethodPost }
