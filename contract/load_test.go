package contract_test

import (
	"bytes"
	"os"
	"testing"

	"atlas-export-gateway/api"
)

// Programs read the contract as JSON. It says what api/openapi.yaml says, which package api
// validates.
func TestJSONIsTheContract(t *testing.T) {
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	want, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("openapi.json"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("contract/openapi.json is not of api/openapi.yaml (%v): run make generate", err)
	}
}
