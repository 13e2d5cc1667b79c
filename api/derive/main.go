// Command derive writes the generator's view of the contract: the same operations and schemas, in
// a form from which oapi-codegen makes the names that a Go programmer would choose. Only go
// generate runs it, in gen/. Requests and responses are checked against the contract itself: with
// -whole the command writes that, as JSON, in contract/.
//
// The view differs from the contract in five ways:
//   - Each content has one JSON media type, for the newest version. Atlas's media types would
//     give names like CreateExportBucketApplicationVndAtlas20240530PlusJSONRequestBody, and a
//     generated client that compares them letter by letter.
//   - Paths have no trailing slash. A ServeMux pattern that ends in a slash matches all paths
//     below it.
//   - For errors there is only the default response, since each error is an ApiError.
//   - There are no response headers, since the simulation sets them in one place.
//   - x-extensible-enum becomes enum, since the strings of a named Go type are open anyway.
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
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	doc, err := api.Load()
	if err == nil {
		if !slices.Equal(args, []string{"-whole"}) {
			doc = derive(doc)
		}
		var view []byte
		if view, err = doc.MarshalJSON(); err == nil {
			_, err = stdout.Write(view)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "derive:", err)
		return 1
	}
	return 0
}

// derive changes the contract into the generator's view, and returns it.
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

// newest keeps the last media type of a content, under the name application/json. The last is the
// newest version, since the names sort by date.
func newest(content openapi3.Content) openapi3.Content {
	if len(content) == 0 {
		return nil
	}
	last := slices.Max(slices.Collect(maps.Keys(content)))
	return openapi3.Content{"application/json": content[last]}
}
