package api_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/api"

	"github.com/getkin/kin-openapi/openapi3"
)

// The ids of the operations that the contract must define. They are those of Atlas's own
// specification, with v1 in front for v1.0.
var operations = []string{
	"createBackupExport", "listBackupExports", "getBackupExport",
	"createExportBucket", "listExportBuckets", "getExportBucket", "deleteExportBucket", "updateBackupExportBucket",
	"listBackupSnapshots", "takeSnapshots", "getClusterBackupSnapshot", "listBackupShardedClusters", "getBackupShardedCluster",
	"listClusters", "getCluster", "getClusterStatus", "getBackupSchedule", "updateBackupSchedule",
	"listGroups", "getGroup", "getGroupByName", "listCloudProviderAccess", "getCloudProviderAccess",
	"v1CreateBackupExport", "v1ListBackupExports", "v1GetBackupExport",
	"v1CreateExportBucket", "v1ListExportBuckets", "v1GetExportBucket", "v1DeleteExportBucket",
	"v1ListBackupSnapshots", "v1TakeSnapshots", "v1GetClusterBackupSnapshot", "v1ListBackupShardedClusters", "v1GetBackupShardedCluster",
	"v1GetBackupSchedule", "v1UpdateBackupSchedule",
	"v1ListGroups", "v1GetGroup", "v1GetGroupByName", "v1ListCloudProviderAccess", "v1GetCloudProviderAccess",
}

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// each calls f for every operation of the contract.
func each(doc *openapi3.T, f func(method, path string, operation *openapi3.Operation)) {
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			f(method, path, operation)
		}
	}
}

func TestContractDefinesTheOperations(t *testing.T) {
	var got []string
	each(load(t), func(_, _ string, operation *openapi3.Operation) {
		got = append(got, operation.OperationID)
	})
	want := slices.Sorted(slices.Values(operations))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("operations:\n got %q\nwant %q", got, want)
	}
}

// Each content in the contract has an example, and each example is valid for its schema.
func TestExamplesMatchTheirSchemas(t *testing.T) {
	checked := 0
	content := func(where string, c openapi3.Content) {
		for name, mediaType := range c {
			if len(mediaType.Examples) == 0 {
				t.Errorf("%s: %s has no example", where, name)
			}
			for example, ref := range mediaType.Examples {
				checked++
				if err := mediaType.Schema.Value.VisitJSON(ref.Value.Value, openapi3.MultiErrors()); err != nil {
					t.Errorf("%s: %s: example %s: %v", where, name, example, err)
				}
			}
		}
	}
	each(load(t), func(method, path string, operation *openapi3.Operation) {
		if operation.RequestBody != nil {
			content(operation.OperationID+" request", operation.RequestBody.Value.Content)
		}
		for status, response := range operation.Responses.Map() {
			content(operation.OperationID+" "+status, response.Value.Content)
		}
	})
	if checked < 15 {
		t.Errorf("only %d examples were checked", checked)
	}
}

// Each operation has what clients rely on: the documented errors, a default ApiError, the
// rate-limit headers and both ways of authentication.
func TestOperationsAreComplete(t *testing.T) {
	doc := load(t)
	if len(doc.Security) != 2 {
		t.Errorf("the contract offers %d ways of authentication, want digest and serviceAccount", len(doc.Security))
	}
	each(doc, func(method, path string, operation *openapi3.Operation) {
		statuses := []string{"400", "401", "403", "404", "429", "500", "default"}
		if strings.Contains(path, "/v2/") {
			statuses = append(statuses, "406", "410")
		}
		if strings.HasPrefix(strings.ToLower(strings.TrimPrefix(operation.OperationID, "v1")), "create") {
			statuses = append(statuses, "409")
		}
		for _, status := range statuses {
			response := operation.Responses.Value(status)
			if response == nil {
				t.Errorf("%s: no response %s", operation.OperationID, status)
				continue
			}
			schema := response.Value.Content["application/json"].Schema
			if !strings.HasSuffix(schema.Ref, "/ApiError") {
				t.Errorf("%s: %s is a %s, want an ApiError", operation.OperationID, status, schema.Ref)
			}
		}
		for status, response := range operation.Responses.Map() {
			if status < "300" && (response.Value.Headers["RateLimit-Limit"] == nil || response.Value.Headers["RateLimit-Remaining"] == nil) {
				t.Errorf("%s: %s declares no rate-limit headers", operation.OperationID, status)
			}
		}
		if strings.Contains(path, "/v1.0/") != operation.Deprecated {
			t.Errorf("%s: deprecated is %v", operation.OperationID, operation.Deprecated)
		}
	})
}

// The schemas of requests are closed, and those of responses are open.
func TestRequestsAreClosedAndResponsesOpen(t *testing.T) {
	var walk func(t *testing.T, where string, schema *openapi3.Schema, closed bool)
	walk = func(t *testing.T, where string, schema *openapi3.Schema, closed bool) {
		if schema.Type.Is("object") {
			if got := schema.AdditionalProperties.Has != nil && !*schema.AdditionalProperties.Has; got != closed {
				t.Errorf("%s: closed is %v, want %v", where, got, closed)
			}
		}
		if !closed && len(schema.Enum) > 0 {
			t.Errorf("%s: a response enumerates its values", where)
		}
		for name, property := range schema.Properties {
			walk(t, where+"/"+name, property.Value, closed)
		}
		for _, refs := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf} {
			for _, ref := range refs {
				walk(t, where, ref.Value, closed)
			}
		}
		if schema.Items != nil {
			walk(t, where+"/items", schema.Items.Value, closed)
		}
	}
	each(load(t), func(_, _ string, operation *openapi3.Operation) {
		if operation.RequestBody != nil {
			for name, mediaType := range operation.RequestBody.Value.Content {
				walk(t, operation.OperationID+" "+name, mediaType.Schema.Value, true)
			}
		}
		for status, response := range operation.Responses.Map() {
			for _, mediaType := range response.Value.Content {
				walk(t, operation.OperationID+" "+status, mediaType.Schema.Value, false)
			}
		}
	})
}

// A broken contract is refused.
func TestParseRefuses(t *testing.T) {
	fixtures, err := filepath.Glob("testdata/bad-*.yaml")
	if err != nil || len(fixtures) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, fixture := range fixtures {
		document, err := os.ReadFile(fixture)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.Parse(document); err == nil {
			t.Errorf("%s was accepted", fixture)
		}
	}
}
