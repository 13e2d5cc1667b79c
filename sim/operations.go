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
	v20241113 = version{date: "2024-11-13"}
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

	v1Groups    = "/api/atlas/v1.0/groups"
	v1Schedule  = v1Groups + "/{groupId}/clusters/{clusterName}/backup/schedule"
	v1Snapshots = v1Groups + "/{groupId}/clusters/{clusterName}/backup/snapshots"
	v1Roles     = v1Groups + "/{groupId}/cloudProviderAccess"
	v2Groups    = "/api/atlas/v2/groups"
	v2Snapshots = v2Clusters + "/{clusterName}/backup/snapshots"
	v2Roles     = v2Groups + "/{groupId}/cloudProviderAccess"

	v2Flex = v2Groups + "/{groupId}/flexClusters/{clusterName}/backup/"
)

// newOperations returns every operation by the pattern that it is served at.
func newOperations() map[string]*operation {
	jobs := []version{v20230101}
	buckets := []version{v20230101Deprecated, v20240530}
	clusters := []version{v20230101Deprecated, v20230201Deprecated, v20240805}
	schedules := []version{v20230101Deprecated, v20240805}
	first := []version{v20230101}
	flex := []version{v20241113}
	return map[string]*operation{
		"GET " + v1Buckets:                          {id: "v1ListExportBuckets", right: read, list: true},
		"POST " + v1Buckets:                         {id: "v1CreateExportBucket", right: manage, form: legacyBucketForm},
		"GET " + v1Buckets + "/{exportBucketId}":    {id: "v1GetExportBucket", right: read},
		"DELETE " + v1Buckets + "/{exportBucketId}": {id: "v1DeleteExportBucket", right: manage},
		"GET " + v1Exports:                          {id: "v1ListBackupExports", right: read, list: true},
		"POST " + v1Exports:                         {id: "v1CreateBackupExport", right: export, form: v1ExportForm},
		"GET " + v1Exports + "/{exportId}":          {id: "v1GetBackupExport", right: read},

		"GET " + v2Buckets:                                    {id: "listExportBuckets", right: read, list: true, versions: buckets},
		"POST " + v2Buckets:                                   {id: "createExportBucket", right: manage, versions: buckets, form: bucketForm},
		"GET " + v2Buckets + "/{exportBucketId}":              {id: "getExportBucket", right: read, versions: buckets},
		"DELETE " + v2Buckets + "/{exportBucketId}":           {id: "deleteExportBucket", right: manage, versions: []version{v20230101}},
		"PATCH " + v2Buckets + "/{exportBucketId}":            {id: "updateBackupExportBucket", right: manage, versions: []version{v20240530}, form: bucketUpdateForm},
		"GET " + v2Exports:                                    {id: "listBackupExports", right: read, list: true, versions: jobs},
		"POST " + v2Exports:                                   {id: "createBackupExport", right: export, versions: jobs, form: exportForm},
		"GET " + v2Exports + "/{exportId}":                    {id: "getBackupExport", right: read, versions: jobs},
		"GET " + v2Clusters:                                   {id: "listClusters", right: read, list: true, versions: clusters},
		"GET " + v2Schedule:                                   {id: "getBackupSchedule", right: read, versions: schedules},
		"PATCH " + v2Schedule:                                 {id: "updateBackupSchedule", right: manage, versions: schedules, form: scheduleForm},
		"GET " + v2Clusters + "/{clusterName}":                {id: "getCluster", right: read, versions: clusters},
		"GET " + v2Clusters + "/{clusterName}/status":         {id: "getClusterStatus", right: read, versions: first},
		"GET " + v2Snapshots:                                  {id: "listBackupSnapshots", right: read, list: true, versions: first},
		"POST " + v2Snapshots:                                 {id: "takeSnapshots", right: manage, versions: first, form: snapshotForm},
		"GET " + v2Snapshots + "/{snapshotId}":                {id: "getClusterBackupSnapshot", right: read, versions: first},
		"GET " + v2Snapshots + "/shardedClusters":             {id: "listBackupShardedClusters", right: read, list: true, versions: first},
		"GET " + v2Snapshots + "/shardedCluster/{snapshotId}": {id: "getBackupShardedCluster", right: read, versions: first},
		"GET " + v2Groups:                                     {id: "listGroups", right: read, list: true, versions: first},
		"GET " + v2Groups + "/{groupId}":                      {id: "getGroup", right: read, versions: first},
		"GET " + v2Groups + "/byName/{groupName}":             {id: "getGroupByName", right: read, versions: first},
		"GET " + v2Roles:                                      {id: "listCloudProviderAccess", right: read, versions: first},
		"GET " + v2Roles + "/{roleId}":                        {id: "getCloudProviderAccess", right: read, versions: first},

		"GET " + v1Schedule:                                   {id: "v1GetBackupSchedule", right: read},
		"PATCH " + v1Schedule:                                 {id: "v1UpdateBackupSchedule", right: manage, form: scheduleForm},
		"GET " + v1Snapshots:                                  {id: "v1ListBackupSnapshots", right: read, list: true},
		"POST " + v1Snapshots:                                 {id: "v1TakeSnapshots", right: manage, form: snapshotForm},
		"GET " + v1Snapshots + "/{snapshotId}":                {id: "v1GetClusterBackupSnapshot", right: read},
		"GET " + v1Snapshots + "/shardedClusters":             {id: "v1ListBackupShardedClusters", right: read, list: true},
		"GET " + v1Snapshots + "/shardedCluster/{snapshotId}": {id: "v1GetBackupShardedCluster", right: read},
		"GET " + v1Groups:                                     {id: "v1ListGroups", right: read, list: true},
		"GET " + v1Groups + "/{groupId}":                      {id: "v1GetGroup", right: read},
		"GET " + v1Groups + "/byName/{groupName}":             {id: "v1GetGroupByName", right: read},
		"GET " + v1Roles:                                      {id: "v1ListCloudProviderAccess", right: read},
		"GET " + v1Roles + "/{roleId}":                        {id: "v1GetCloudProviderAccess", right: read},

		// Beyond the contract.
		"GET " + v2Flex + "snapshots":                  {id: "listFlexBackups", right: read, list: true, versions: flex},
		"GET " + v2Flex + "snapshots/{snapshotId}":     {id: "getFlexBackup", right: read, versions: flex},
		"GET " + v2Flex + "restoreJobs":                {id: "listFlexRestoreJobs", right: read, list: true, versions: flex},
		"GET " + v2Flex + "restoreJobs/{restoreJobId}": {id: "getFlexRestoreJob", right: read, versions: flex},
		"DELETE " + v2Schedule:                         {id: "deleteClusterBackupSchedule", right: manage, versions: schedules},
		"DELETE " + v1Schedule:                         {id: "v1DeleteClusterBackupSchedule", right: manage},
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
