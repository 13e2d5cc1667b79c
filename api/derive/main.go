// Command derive writes the generator's view of the contract: the same operations
// and schemas in a form from which oapi-codegen makes names that a Go programmer
// would have chosen. go generate runs it in gen/; nothing else does.
//
// The view differs from the contract in five ways, each for one reason:
//   - one JSON media type per content, the newest version: vendor types would
//     give names like CreateExportBucketApplicationVndAtlas20240530PlusJSONRequestBody,
//     and a generated client that compares them letter by letter;
//   - no trailing slash on paths: a ServeMux pattern that ends in one matches
//     every path below it;
//   - the default response alone for errors: they all are an ApiError;
//   - no response headers: the simulation sets them in one place;
//   - x-extensible-enum as enum: Go's named strings are open in any case.
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"atlas-export-gateway/api"

	"github.com/getkin/kin-openapi/openapi3"
)

func main() {
	os.Exit(run(os.Stdout, os.Stderr))
}

func run(stdout, stderr io.Writer) int {
	doc, err := api.Load()
	if err == nil {
		var view []byte
		if view, err = derive(doc).MarshalJSON(); err == nil {
			_, err = stdout.Write(view)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "derive:", err)
		return 1
	}
	return 0
}

// derive turns the contract into the generator's view, in place.
func derive(doc *openapi3.T) *openapi3.T {
	paths := openapi3.NewPaths()
	for path, item := range doc.Paths.Map() {
		paths.Set(strings.TrimSuffix(path, "/"), item)
		for _, operation := range item.Operations() {
			if operation.RequestBody != nil {
				operation.RequestBody.Value.Content = newest(operation.RequestBody.Value.Content)
			}
			for status, response := range operation.Responses.Map() {
				if status != "default" && status >= "400" {
					operation.Responses.Delete(status)
					continue
				}
				response.Value.Content = newest(response.Value.Content)
				response.Value.Headers = nil
			}
		}
	}
	doc.Paths = paths
	for _, schema := range doc.Components.Schemas {
		if values, ok := schema.Value.Extensions["x-extensible-enum"].([]any); ok {
			schema.Value.Enum = values
		}
	}
	return doc
}

// newest keeps the content's last media type, which is its newest version since the
// dates in the names sort, and calls it application/json.
func newest(content openapi3.Content) openapi3.Content {
	if len(content) == 0 {
		return nil
	}
	last := slices.Max(slices.Collect(maps.Keys(content)))
	return openapi3.Content{"application/json": content[last]}
}
