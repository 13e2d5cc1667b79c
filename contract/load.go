package contract

import (
	"fmt"
	"net/http"
	"sync"

	"atlas-export-gateway/api"
)

// Load returns the contract of package api, compiled. A process parses and compiles the contract
// once, however often it calls Load. The error says why the contract can't be used.
func Load() (*Contract, error) { return load() }

var load = sync.OnceValues(func() (*Contract, error) {
	document, err := api.Load()
	if err != nil {
		return nil, err
	}
	c, err := Compile(document)
	if err != nil {
		return nil, fmt.Errorf("the contract does not compile: %w", err)
	}
	return c, nil
})

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
