// Package gen holds what oapi-codegen makes of the contract: the models, a client
// and the strict server interface. Everything in it but this file is generated:
// change api/openapi.yaml or oapi-codegen.yaml and run go generate ./...
//
// The simulated Atlas implements it. Used bare, the generated client sets no Accept, puts a path
// parameter into the URL as it comes, and loses the status of an answer whose JSON does not
// parse.
package gen

//go:generate sh -c "go run ../api/derive > contract.view.json"
//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen -config ../oapi-codegen.yaml contract.view.json
