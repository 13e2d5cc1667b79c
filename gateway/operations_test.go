package gateway_test

import (
	"slices"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/gen"
)

// An operationTest is a call of the generated client through the gateway. <NAME> in a text stands
// for an id or a URL: see operations.ids.
type operationTest struct {
	operation string
	do        func() (generated, error)
	after     time.Duration // how far the clock is moved ahead first
	status    int
	body      string // JSON; "" means none
	id        string // the name of the id in the answer
	upstream  string // the method and target that Atlas receives
	version   string // the media type that the call is forwarded as and answered with
	old       bool   // the version is deprecated
	content   string // JSON that Atlas receives; "" means none
}

// Every operation, from the generated client through the gateway to the simulated Atlas and back:
// the status, every field of the answer, and what Atlas received.
func TestOperations(t *testing.T) {
	o := newOperations(t)
	tested := map[string]bool{}
	for i, test := range slices.Concat(o.createBuckets(), o.useBuckets(), o.exports(), o.clusters(), o.v1Buckets(), o.v1Exports(), o.snapshots(), o.clustersAndSchedules(), o.groupsAndRoles(), o.v1Snapshots(), o.v1GroupsAndRoles()) {
		tested[test.operation] = true
		o.run(i, test)
	}
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range doc.Paths.Map() {
		for _, operation := range item.Operations() {
			if !tested[operation.OperationID] {
				t.Errorf("%s is not tested", operation.OperationID)
			}
		}
	}
}

// createBuckets makes export buckets: B1 to B4.
func (o *operations) createBuckets() []operationTest {
	return []operationTest{
		{
			operation: "createExportBucket",
			do: o.bucket(o.v2, func(r *gen.ExportBucketRequest) error {
				return r.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS, BucketName: "acme-snapshots", IamRoleID: role})
			}),
			status: 200, body: `{` + bucketMembers + `,"requirePrivateNetworking":false}`, id: "B1",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2024,
			content: `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"<ROLE>"}`,
		},
		{
			operation: "createExportBucket",
			do: o.bucket(o.v2, func(r *gen.ExportBucketRequest) error {
				return r.FromAzureExportBucketRequest(gen.AzureExportBucketRequest{CloudProvider: gen.AzureExportBucketRequestCloudProviderAZURE, RoleID: role, ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", BucketName: ptr("snapshots")})
			}),
			status: 200, body: `{"_id":"<B2>","cloudProvider":"AZURE","bucketName":"snapshots","roleId":"<ROLE>","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`, id: "B2",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2024,
			content: `{"cloudProvider":"AZURE","bucketName":"snapshots","roleId":"<ROLE>","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`,
		},
		{
			operation: "createExportBucket",
			do: o.bucket(o.v2, func(r *gen.ExportBucketRequest) error {
				return r.FromGCPExportBucketRequest(gen.GCPExportBucketRequest{CloudProvider: gen.GCPExportBucketRequestCloudProviderGCP, RoleID: role, BucketName: "acme-archive"})
			}),
			status: 200, body: `{"_id":"<B3>","cloudProvider":"GCP","bucketName":"acme-archive","roleId":"<ROLE>"}`, id: "B3",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2024,
			content: `{"cloudProvider":"GCP","bucketName":"acme-archive","roleId":"<ROLE>"}`,
		},
		{
			operation: "createExportBucket",
			do: o.bucket(o.v2023, func(r *gen.ExportBucketRequest) error {
				return r.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS, BucketName: "acme-older", IamRoleID: role})
			}),
			status: 200, body: `{"_id":"<B4>","cloudProvider":"AWS","bucketName":"acme-older","iamRoleId":"<ROLE>"}`, id: "B4",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2023, old: true,
			content: `{"cloudProvider":"AWS","bucketName":"acme-older","iamRoleId":"<ROLE>"}`,
		},
	}
}

// useBuckets changes, reads, lists and deletes export buckets.
func (o *operations) useBuckets() []operationTest {
	return []operationTest{
		{
			operation: "updateBackupExportBucket",
			do: func() (generated, error) {
				return o.v2.UpdateBackupExportBucketWithResponse(o.Context(), group, o.ids["B1"], nil, gen.ExportBucketUpdate{RequirePrivateNetworking: true})
			},
			status: 200, body: `{` + bucketMembers + `,"region":"us-east-1","requirePrivateNetworking":true}`,
			upstream: "PATCH /api/atlas/v2/groups/<G>/backup/exportBuckets/<B1>", version: of2024,
			content: `{"requirePrivateNetworking":true}`,
		},
		{
			operation: "getExportBucket",
			do: func() (generated, error) {
				return o.v2.GetExportBucketWithResponse(o.Context(), group, o.ids["B1"], nil)
			},
			status: 200, body: `{` + bucketMembers + `,"region":"us-east-1","requirePrivateNetworking":true}`,
			upstream: "GET /api/atlas/v2/groups/<G>/backup/exportBuckets/<B1>", version: of2024,
		},
		{
			operation: "listExportBuckets",
			do: func() (generated, error) {
				return o.v2.ListExportBucketsWithResponse(o.Context(), group, &gen.ListExportBucketsParams{ItemsPerPage: ptr(1), PageNum: ptr(2), IncludeCount: ptr(true)})
			},
			status: 200, body: `{"results":[{"_id":"<B2>","cloudProvider":"AZURE","bucketName":"snapshots","roleId":"<ROLE>","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}],"totalCount":4,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/backup/exportBuckets?includeCount=true&pageNum=2&itemsPerPage=1"},
				{"rel":"next","href":"<GW>/api/atlas/v2/groups/<G>/backup/exportBuckets?includeCount=true&itemsPerPage=1&pageNum=3"},
				{"rel":"previous","href":"<GW>/api/atlas/v2/groups/<G>/backup/exportBuckets?includeCount=true&itemsPerPage=1&pageNum=1"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/backup/exportBuckets?pageNum=2&itemsPerPage=1&includeCount=true", version: of2024,
		},
		{
			operation: "deleteExportBucket",
			do: func() (generated, error) {
				return o.v2.DeleteExportBucketWithResponse(o.Context(), group, o.ids["B3"], nil)
			},
			status:   204,
			upstream: "DELETE /api/atlas/v2/groups/<G>/backup/exportBuckets/<B3>", version: of2023,
		},
	}
}

// exports makes export jobs and reads them.
func (o *operations) exports() []operationTest {
	return []operationTest{
		{
			operation: "createBackupExport",
			do: func() (generated, error) {
				return o.v2.CreateBackupExportWithResponse(o.Context(), group, "orders", nil, gen.ExportJobRequest{SnapshotID: snapshot, ExportBucketID: o.ids["B1"], CustomData: &customData})
			},
			status: 200, body: `{` + jobMembers + `,"state":"Queued","exportStatus":{"exportedCollections":0,"totalCollections":0}}`, id: "J1",
			upstream: "POST /api/atlas/v2/groups/<G>/clusters/orders/backup/exports", version: of2023,
			content: `{"snapshotId":"<SNAP>","exportBucketId":"<B1>","customData":[{"key":"exported by","value":"nightly"},{"key":"alone"}]}`,
		},
		{
			operation: "createBackupExport",
			do: func() (generated, error) {
				return o.v2.CreateBackupExportWithResponse(o.Context(), group, "orders", nil, gen.ExportJobRequest{SnapshotID: snapshot, ExportBucketID: o.ids["B1"]})
			},
			status: 409, body: `{"error":409,"errorCode":"EXPORT_ALREADY_IN_PROGRESS","reason":"Conflict","detail":"An export of snapshot <SNAP> is already in progress.","parameters":["<SNAP>"]}`,
			upstream: "POST /api/atlas/v2/groups/<G>/clusters/orders/backup/exports", version: of2023,
			content: `{"snapshotId":"<SNAP>","exportBucketId":"<B1>"}`,
		},
		{
			operation: "getBackupExport", after: 30*time.Second + 345*time.Second,
			do: func() (generated, error) {
				return o.v2.GetBackupExportWithResponse(o.Context(), group, "orders", o.ids["J1"], nil)
			},
			status: 200, body: `{` + jobMembers + `,"state":"InProgress","exportStatus":{"exportedCollections":21,"totalCollections":42}}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/orders/backup/exports/<J1>", version: of2023,
		},
		{
			operation: "getBackupExport", after: 20 * time.Minute,
			do: func() (generated, error) {
				return o.v2.GetBackupExportWithResponse(o.Context(), group, "orders", o.ids["J1"], nil)
			},
			status: 200, body: `{` + jobMembers + `,"state":"Successful","finishedAt":"2026-08-10T03:40:25Z","exportStatus":{"exportedCollections":42,"totalCollections":42}}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/orders/backup/exports/<J1>", version: of2023,
		},
		{
			operation: "listBackupExports",
			do: func() (generated, error) {
				return o.v2.ListBackupExportsWithResponse(o.Context(), group, "orders", nil)
			},
			status: 200, body: `{"results":[{` + jobMembers + `,"state":"Successful","finishedAt":"2026-08-10T03:40:25Z","exportStatus":{"exportedCollections":42,"totalCollections":42}}],"totalCount":1,
				"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/orders/backup/exports?includeCount=true&pageNum=1&itemsPerPage=100"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/orders/backup/exports", version: of2023,
		},
	}
}

// clusters reads clusters and their backup schedules.
func (o *operations) clusters() []operationTest {
	return []operationTest{
		{
			operation: "listClusters",
			do: func() (generated, error) {
				return o.v2.ListClustersWithResponse(o.Context(), group, nil)
			},
			status: 200, body: `{"results":[` + clusterBody("64f0c2d1b3d4e5f607182940", "orders", "REPLICASET") + `,` + clusterBody("64f0c2d1b3d4e5f607182941", "events", "SHARDED") + `],"totalCount":2,
				"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters?includeCount=true&includeDeletedWithRetainedBackups=false&pageNum=1&itemsPerPage=100"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters", version: "application/vnd.atlas.2024-08-05+json",
		},
		{
			operation: "listClusters",
			do: func() (generated, error) {
				return o.v2023.ListClustersWithResponse(o.Context(), group, &gen.ListClustersParams{PageNum: ptr(2), ItemsPerPage: ptr(1), IncludeCount: ptr(false), IncludeDeletedWithRetainedBackups: ptr(true)})
			},
			status: 200, body: `{"results":[` + clusterBody("64f0c2d1b3d4e5f607182941", "events", "SHARDED") + `],"links":[
				{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters?includeCount=false&includeDeletedWithRetainedBackups=true&pageNum=2&itemsPerPage=1"},
				{"rel":"previous","href":"<GW>/api/atlas/v2/groups/<G>/clusters?includeCount=false&includeDeletedWithRetainedBackups=true&itemsPerPage=1&pageNum=1"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters?pageNum=2&itemsPerPage=1&includeCount=false&includeDeletedWithRetainedBackups=true", version: "application/vnd.atlas.2023-02-01+json", old: true,
		},
		{
			operation: "getBackupSchedule",
			do: func() (generated, error) {
				return o.v2.GetBackupScheduleWithResponse(o.Context(), group, "events", nil)
			},
			status: 200, body: scheduleBody("v2", `"autoExportEnabled":false,"useOrgAndGroupNamesInExportPrefix":false`),
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/events/backup/schedule", version: "application/vnd.atlas.2024-08-05+json",
		},
		{
			operation: "getBackupSchedule",
			do: func() (generated, error) {
				return o.v2023.GetBackupScheduleWithResponse(o.Context(), group, "events", nil)
			},
			status: 200, body: scheduleBody("v2", `"autoExportEnabled":false,"useOrgAndGroupNamesInExportPrefix":false`),
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/events/backup/schedule", version: of2023, old: true,
		},
	}
}

// v1Buckets makes an export bucket by v1.0 and reads it.
func (o *operations) v1Buckets() []operationTest {
	return []operationTest{
		{
			operation: "v1CreateExportBucket",
			do: func() (generated, error) {
				return o.v1.V1CreateExportBucketWithResponse(o.Context(), group, &gen.V1CreateExportBucketParams{PageNum: ptr(1)}, gen.V1ExportBucketRequest{CloudProvider: gen.V1ExportBucketRequestCloudProviderAWS, BucketName: "acme-v1", IamRoleID: role})
			},
			status: 200, body: `{"_id":"<V1B>","cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>","projectId":"<G>"}`, id: "V1B",
			upstream: "POST /api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=1", version: plain,
			content: `{"cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>"}`,
		},
		{
			operation: "v1GetExportBucket",
			do: func() (generated, error) {
				return o.v1.V1GetExportBucketWithResponse(o.Context(), group, o.ids["V1B"], nil)
			},
			status: 200, body: `{"_id":"<V1B>","cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>","projectId":"<G>","region":"us-east-1"}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/backup/exportBuckets/<V1B>", version: plain,
		},
		{
			operation: "v1ListExportBuckets",
			do: func() (generated, error) {
				return o.v1.V1ListExportBucketsWithResponse(o.Context(), group, &gen.V1ListExportBucketsParams{PageNum: ptr(3), ItemsPerPage: ptr(1)})
			},
			status: 200, body: `{"results":[{"_id":"<V1B>","cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>","projectId":"<G>"}],"totalCount":3,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=3&itemsPerPage=1"},
				{"rel":"previous","href":"<GW>/api/atlas/v1.0/groups/<G>/backup/exportBuckets?itemsPerPage=1&pageNum=2"}]}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=3&itemsPerPage=1", version: plain,
		},
	}
}

// v1Exports makes an export job by v1.0 and reads it, and deletes an export bucket.
func (o *operations) v1Exports() []operationTest {
	return []operationTest{
		{
			operation: "v1CreateBackupExport",
			do: func() (generated, error) {
				return o.v1.V1CreateBackupExportWithResponse(o.Context(), group, "events", nil, gen.V1ExportJobRequest{SnapshotID: o.ids["SHARDED"], ExportBucketID: o.ids["V1B"], CustomData: &[]gen.V1CustomDataRequest{{Key: "k", Value: "v"}}})
			},
			status: 200, body: `{"id":"<J2>","snapshotId":"<SHARDED>","exportBucketId":"<V1B>","createdAt":"2026-08-10T03:54:40Z","state":"Queued","customData":[{"key":"k","value":"v"}],
				"components":[{"exportId":"<C1>","replicaSetName":"atlas-9x2kqf-shard-0"},{"exportId":"<C2>","replicaSetName":"atlas-9x2kqf-shard-1"}],
				"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/<G>/events/2026-08-10T0327/1786334080"}`, id: "J2",
			upstream: "POST /api/atlas/v1.0/groups/<G>/clusters/events/backup/exports/", version: plain,
			content: `{"snapshotId":"<SHARDED>","exportBucketId":"<V1B>","customData":[{"key":"k","value":"v"}]}`,
		},
		{
			operation: "v1GetBackupExport",
			do: func() (generated, error) {
				return o.v1.V1GetBackupExportWithResponse(o.Context(), group, "events", o.ids["J2"], nil)
			},
			status: 200, body: `{"id":"<J2>","snapshotId":"<SHARDED>","exportBucketId":"<V1B>","createdAt":"2026-08-10T03:54:40Z","state":"Queued","customData":[{"key":"k","value":"v"}],
				"components":[{"exportId":"<C1>","replicaSetName":"atlas-9x2kqf-shard-0"},{"exportId":"<C2>","replicaSetName":"atlas-9x2kqf-shard-1"}],
				"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/<G>/events/2026-08-10T0327/1786334080"}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/events/backup/exports/<J2>", version: plain,
		},
		{
			operation: "v1ListBackupExports",
			do: func() (generated, error) {
				return o.v1.V1ListBackupExportsWithResponse(o.Context(), group, "events", &gen.V1ListBackupExportsParams{IncludeCount: ptr(false), ItemsPerPage: ptr(500)})
			},
			status: 200, body: `{"results":[{"id":"<J2>","snapshotId":"<SHARDED>","exportBucketId":"<V1B>","createdAt":"2026-08-10T03:54:40Z","state":"Queued","customData":[{"key":"k","value":"v"}],
				"components":[{"exportId":"<C1>","replicaSetName":"atlas-9x2kqf-shard-0"},{"exportId":"<C2>","replicaSetName":"atlas-9x2kqf-shard-1"}],
				"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/<G>/events/2026-08-10T0327/1786334080"}],
				"links":[{"rel":"self","href":"<GW>/api/atlas/v1.0/groups/<G>/clusters/events/backup/exports/?includeCount=false&pageNum=1&itemsPerPage=500"}]}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/events/backup/exports/?itemsPerPage=500&includeCount=false", version: plain,
		},
		{
			operation: "v1DeleteExportBucket",
			do: func() (generated, error) {
				return o.v1.V1DeleteExportBucketWithResponse(o.Context(), group, o.ids["B4"], nil)
			},
			status:   204,
			upstream: "DELETE /api/atlas/v1.0/groups/<G>/backup/exportBuckets/<B4>", version: plain,
		},
	}
}

// The texts that answers share.
const (
	bucketMembers = `"_id":"<B1>","cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"<ROLE>"`
	jobMembers    = `"id":"<J1>","snapshotId":"<SNAP>","exportBucketId":"<B1>","createdAt":"2026-08-10T03:28:25Z",
		"customData":[{"key":"exported by","value":"nightly"},{"key":"alone"}],
		"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/<G>/orders/2026-08-10T0327/1786332505"`
)

// customData is what the first export job is made with.
var customData = []gen.CustomDataRequest{{Key: ptr("exported by"), Value: ptr("nightly")}, {Key: ptr("alone")}}

// clusterBody is a cluster in a list.
func clusterBody(id, name, clusterType string) string {
	return `{"id":"` + id + `","groupId":"<G>","name":"` + name + `","clusterType":"` + clusterType + `","stateName":"IDLE","links":[
			{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/` + name + `"},
			{"rel":"https://cloud.mongodb.com/restoreJobs","href":"<GW>/api/atlas/v2/groups/<G>/clusters/` + name + `/backup/restoreJobs"},
			{"rel":"https://cloud.mongodb.com/snapshots","href":"<GW>/api/atlas/v2/groups/<G>/clusters/` + name + `/backup/snapshots"}]}`
}
