package sim

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"
)

// operation is what the simulation knows about one operation of Atlas. It comes from Atlas's
// documents and not from the contract, so that tests hold the two against each other.
type operation struct {
	id       string    // the official operationId; v1.0 has none: v1 and the name in v2
	path     string    // with {parameters}
	right    right     // that a key needs in order to call the operation
	list     bool      // the answer is a list
	versions []version // oldest first; none in v1.0
	form     func(version string, members members) (form, error)

	requests atomic.Int64
}

// version is one dated version of a v2 operation. The dates are strings, which sort.
type version struct {
	date   string
	sunset time.Time // zero while it is current
}

var (
	v20230101 = version{date: "2023-01-01"}
	v20240530 = version{date: "2024-05-30"}
	v20240805 = version{date: "2024-08-05"}
	// All deprecated versions have the same dates of deprecation and sunset.
	v20230101Deprecated = version{date: "2023-01-01", sunset: sunset}
	v20230201Deprecated = version{date: "2023-02-01", sunset: sunset}

	sunset = time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
)

// The fields of a deprecated version, as recorded: the day has one digit.
const (
	deprecationField = "Mon, 5 Aug 2024 00:00:00 GMT"
	sunsetField      = "Thu, 1 Jul 2027 00:00:00 GMT"
)

const (
	v1Buckets  = "/api/atlas/v1.0/groups/{groupId}/backup/exportBuckets"
	v1Exports  = "/api/atlas/v1.0/groups/{groupId}/clusters/{clusterName}/backup/exports"
	v2Buckets  = "/api/atlas/v2/groups/{groupId}/backup/exportBuckets"
	v2Clusters = "/api/atlas/v2/groups/{groupId}/clusters"
	v2Exports  = v2Clusters + "/{clusterName}/backup/exports"
	v2Schedule = v2Clusters + "/{clusterName}/backup/schedule"
)

// newOperations returns every operation by the pattern that it is served at.
func newOperations() map[string]*operation {
	jobs := []version{v20230101}
	buckets := []version{v20230101Deprecated, v20240530}
	return map[string]*operation{
		"GET " + v1Buckets:                          {id: "v1ListExportBuckets", right: read, list: true},
		"POST " + v1Buckets:                         {id: "v1CreateExportBucket", right: manage, form: legacyBucketForm},
		"GET " + v1Buckets + "/{exportBucketId}":    {id: "v1GetExportBucket", right: read},
		"DELETE " + v1Buckets + "/{exportBucketId}": {id: "v1DeleteExportBucket", right: manage},
		"GET " + v1Exports:                          {id: "v1ListBackupExports", right: read, list: true},
		"POST " + v1Exports:                         {id: "v1CreateBackupExport", right: export, form: v1ExportForm},
		"GET " + v1Exports + "/{exportId}":          {id: "v1GetBackupExport", right: read},

		"GET " + v2Buckets:                          {id: "listExportBuckets", right: read, list: true, versions: buckets},
		"POST " + v2Buckets:                         {id: "createExportBucket", right: manage, versions: buckets, form: bucketForm},
		"GET " + v2Buckets + "/{exportBucketId}":    {id: "getExportBucket", right: read, versions: buckets},
		"DELETE " + v2Buckets + "/{exportBucketId}": {id: "deleteExportBucket", right: manage, versions: []version{v20230101}},
		"PATCH " + v2Buckets + "/{exportBucketId}":  {id: "updateBackupExportBucket", right: manage, versions: []version{v20240530}, form: bucketUpdateForm},
		"GET " + v2Exports:                          {id: "listBackupExports", right: read, list: true, versions: jobs},
		"POST " + v2Exports:                         {id: "createBackupExport", right: export, versions: jobs, form: exportForm},
		"GET " + v2Exports + "/{exportId}":          {id: "getBackupExport", right: read, versions: jobs},
		"GET " + v2Clusters:                         {id: "listClusters", right: read, list: true, versions: []version{v20230101Deprecated, v20230201Deprecated, v20240805}},
		"GET " + v2Schedule:                         {id: "getBackupSchedule", right: read, versions: []version{v20230101Deprecated, v20240805}},
	}
}

func (op *operation) defines(date string) bool {
	return slices.ContainsFunc(op.versions, func(v version) bool { return v.date == date })
}

// operation returns the operation with an id, or nil.
func (s *Server) operation(id string) *operation {
	for _, op := range s.operations {
		if op.id == id {
			return op
		}
	}
	return nil
}

// operationIDs returns the ids of all operations, sorted.
func (s *Server) operationIDs() []string {
	ids := map[string]bool{}
	for _, op := range s.operations {
		ids[op.id] = true
	}
	return slices.Sorted(maps.Keys(ids))
}
