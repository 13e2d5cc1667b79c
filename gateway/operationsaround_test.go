package gateway_test

import (
	"strings"
	"time"

	"atlas-export-gateway/gen"
)

// clustersOf is what the paths of clusters begin with.
const clustersOf = "/api/atlas/v2/groups/<G>/clusters/"

// snapshots lists, reads and takes snapshots, of a replica set and of a sharded cluster.
func (o *operations) snapshots() []operationTest {
	return []operationTest{
		{
			operation: "listBackupSnapshots",
			do: func() (generated, error) {
				return o.v2.ListBackupSnapshotsWithResponse(o.Context(), group, "orders", &gen.ListBackupSnapshotsParams{PageNum: ptr(2), ItemsPerPage: ptr(1), OplogTS: ptr(int64(1)), OplogInc: ptr(int64(2))})
			},
			status: 200, body: `{"results":[` + snapshotBody("v2", "6a01e0b45be2d84417c09f12", "08-12T03:27:15Z") + `],"totalCount":7,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/orders/backup/snapshots?includeCount=true&pageNum=2&itemsPerPage=1"},
				{"rel":"next","href":"<GW>/api/atlas/v2/groups/<G>/clusters/orders/backup/snapshots?includeCount=true&itemsPerPage=1&pageNum=3"},
				{"rel":"previous","href":"<GW>/api/atlas/v2/groups/<G>/clusters/orders/backup/snapshots?includeCount=true&itemsPerPage=1&pageNum=1"}]}`,
			upstream: "GET " + clustersOf + "orders/backup/snapshots?pageNum=2&itemsPerPage=1&oplogTs=1&oplogInc=2", version: of2023,
		},
		{
			operation: "getClusterBackupSnapshot",
			do: func() (generated, error) {
				return o.v2.GetClusterBackupSnapshotWithResponse(o.Context(), group, "orders", snapshot, nil)
			},
			status: 200, body: snapshotBody("v2", "<SNAP>", "08-10T03:27:12Z"),
			upstream: "GET " + clustersOf + "orders/backup/snapshots/<SNAP>", version: of2023,
		},
		{
			operation: "listBackupShardedClusters",
			do: func() (generated, error) {
				return o.v2.ListBackupShardedClustersWithResponse(o.Context(), group, "events", nil)
			},
			status: 200, body: `{"results":[` + shardedBody("<SHARDED>", "08-10T03:27:40Z", "6a01e0b45be2d84417c09f21", "6a01e0b45be2d84417c09f22") + `,` +
				shardedBody("6a01e0b45be2d84417c09f28", "08-10T00:28:25Z", "6a01e0b45be2d84417c09f29", "6a01e0b45be2d84417c09f2a") + `],
				"totalCount":2,"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/events/backup/snapshots/shardedClusters"}]}`,
			upstream: "GET " + clustersOf + "events/backup/snapshots/shardedClusters", version: of2023,
		},
		{
			operation: "getBackupShardedCluster",
			do: func() (generated, error) {
				return o.v2.GetBackupShardedClusterWithResponse(o.Context(), group, "events", o.ids["SHARDED"], nil)
			},
			status: 200, body: shardedBody("<SHARDED>", "08-10T03:27:40Z", "6a01e0b45be2d84417c09f21", "6a01e0b45be2d84417c09f22"),
			upstream: "GET " + clustersOf + "events/backup/snapshots/shardedCluster/<SHARDED>", version: of2023,
		},
		{
			operation: "takeSnapshots",
			do: func() (generated, error) {
				return o.v2.TakeSnapshotsWithResponse(o.Context(), group, "orders", nil, gen.SnapshotRequest{Description: ptr("before the migration"), RetentionInDays: ptr(3)})
			},
			status: 200, body: `{"id":"<S1>",` + ofOrders + `,"status":"queued","storageSizeBytes":0,"expiresAt":"2026-08-13T03:54:40Z",` + snapshotLinks("v2", "orders/backup/snapshots/<S1>") + `}`, id: "S1",
			upstream: "POST " + clustersOf + "orders/backup/snapshots", version: of2023,
			content: `{"description":"before the migration","retentionInDays":3}`,
		},
		{
			operation: "takeSnapshots",
			do: func() (generated, error) {
				return o.v2.TakeSnapshotsWithResponse(o.Context(), group, "orders", nil, gen.SnapshotRequest{})
			},
			status: 400, body: `{"error":400,"errorCode":"UNFINISHED_ON_DEMAND_SNAPSHOT","reason":"Bad Request","detail":"Another on-demand snapshot is queued or in progress.","parameters":[]}`,
			upstream: "POST " + clustersOf + "orders/backup/snapshots", version: of2023,
			content: `{}`,
		},
		{
			operation: "getClusterBackupSnapshot",
			do: func() (generated, error) {
				return o.v2.GetClusterBackupSnapshotWithResponse(o.Context(), group, "orders", o.ids["S1"], nil)
			},
			after: 10 * time.Minute, status: 200, body: `{"id":"<S1>",` + ofOrders + `,"status":"completed","storageSizeBytes":1596661760,"createdAt":"2026-08-10T03:58:45Z","expiresAt":"2026-08-13T04:02:45Z",
				"mongodVersion":"8.0.16","cloudProvider":"AWS",` + snapshotLinks("v2", "orders/backup/snapshots/<S1>") + `}`,
			upstream: "GET " + clustersOf + "orders/backup/snapshots/<S1>", version: of2023,
		},
	}
}

// clustersAndSchedules reads a cluster, and changes its export policy.
func (o *operations) clustersAndSchedules() []operationTest {
	return []operationTest{
		{
			operation: "getCluster",
			do: func() (generated, error) {
				return o.v2.GetClusterWithResponse(o.Context(), group, "orders", &gen.GetClusterParams{UseEffectiveInstanceFields: ptr(true)})
			},
			status: 200, body: clusterBody("64f0c2d1b3d4e5f607182940", "orders", "REPLICASET"),
			upstream: "GET " + clustersOf + "orders", version: "application/vnd.atlas.2024-08-05+json",
		},
		{
			operation: "getCluster",
			do: func() (generated, error) {
				return o.v2023.GetClusterWithResponse(o.Context(), group, "events", nil)
			},
			status: 200, body: clusterBody("64f0c2d1b3d4e5f607182941", "events", "SHARDED"),
			upstream: "GET " + clustersOf + "events", version: "application/vnd.atlas.2023-02-01+json", old: true,
		},
		{
			operation: "getClusterStatus",
			do: func() (generated, error) {
				return o.v2.GetClusterStatusWithResponse(o.Context(), group, "orders", nil)
			},
			status: 200, body: `{"changeStatus":"APPLIED","links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/orders/status"}]}`,
			upstream: "GET " + clustersOf + "orders/status", version: of2023,
		},
		{
			operation: "updateBackupSchedule",
			do: func() (generated, error) {
				return o.v2.UpdateBackupScheduleWithResponse(o.Context(), group, "events", nil, gen.BackupScheduleUpdate{AutoExportEnabled: ptr(true), Export: &gen.AutoExportUpdate{ExportBucketID: ptr(o.ids["B1"]), FrequencyType: ptr(gen.AutoExportUpdateFrequencyTypeDaily)}})
			},
			status: 200, body: scheduleBody("v2", `"autoExportEnabled":true,"export":{"exportBucketId":"<B1>","frequencyType":"daily"},"useOrgAndGroupNamesInExportPrefix":false`),
			upstream: "PATCH " + clustersOf + "events/backup/schedule", version: "application/vnd.atlas.2024-08-05+json",
			content: `{"autoExportEnabled":true,"export":{"exportBucketId":"<B1>","frequencyType":"daily"}}`,
		},
		{
			operation: "updateBackupSchedule",
			do: func() (generated, error) {
				return o.v2023.UpdateBackupScheduleWithResponse(o.Context(), group, "events", nil, gen.BackupScheduleUpdate{AutoExportEnabled: ptr(false)})
			},
			status: 200, body: scheduleBody("v2", `"autoExportEnabled":false,"export":{"exportBucketId":"<B1>","frequencyType":"daily"},"useOrgAndGroupNamesInExportPrefix":false`),
			upstream: "PATCH " + clustersOf + "events/backup/schedule", version: of2023, old: true,
			content: `{"autoExportEnabled":false}`,
		},
	}
}

// groups lists the groups, and reads one by its id and by its name, and roles.
func (o *operations) groupsAndRoles() []operationTest {
	return []operationTest{
		{
			operation: "listGroups",
			do: func() (generated, error) {
				return o.v2.ListGroupsWithResponse(o.Context(), &gen.ListGroupsParams{ItemsPerPage: ptr(1)})
			},
			status: 200, body: `{"results":[` + groupBody("v2") + `],"totalCount":2,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v2/groups?includeCount=true&pageNum=1&itemsPerPage=1"},
				{"rel":"next","href":"<GW>/api/atlas/v2/groups?includeCount=true&itemsPerPage=1&pageNum=2"}]}`,
			upstream: "GET /api/atlas/v2/groups?itemsPerPage=1", version: of2023,
		},
		{
			operation: "getGroup",
			do:        func() (generated, error) { return o.v2.GetGroupWithResponse(o.Context(), group, nil) },
			status:    200, body: groupBody("v2"),
			upstream: "GET /api/atlas/v2/groups/<G>", version: of2023,
		},
		{
			operation: "getGroupByName",
			do: func() (generated, error) {
				return o.v2.GetGroupByNameWithResponse(o.Context(), "production", nil)
			},
			status: 200, body: groupBody("v2"),
			upstream: "GET /api/atlas/v2/groups/byName/production", version: of2023,
		},
		{
			operation: "getGroupByName",
			do: func() (generated, error) {
				return o.v2.GetGroupByNameWithResponse(o.Context(), "Production (EU) é", nil)
			},
			status: 200, body: `{"id":"64f0c1a2b3d4e5f607182931","orgId":"64f0c0ffb3d4e5f60718292f","name":"Production (EU) é","clusterCount":0,"created":"2023-08-31T16:36:50Z","tags":[],
				"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/64f0c1a2b3d4e5f607182931"}]}`,
			upstream: "GET /api/atlas/v2/groups/byName/Production%20%28EU%29%20%C3%A9", version: of2023,
		},
		{
			operation: "listCloudProviderAccess",
			do: func() (generated, error) {
				return o.v2.ListCloudProviderAccessWithResponse(o.Context(), group, nil)
			},
			status: 200, body: roles,
			upstream: "GET /api/atlas/v2/groups/<G>/cloudProviderAccess", version: of2023,
		},
		{
			operation: "getCloudProviderAccess",
			do: func() (generated, error) {
				return o.v2.GetCloudProviderAccessWithResponse(o.Context(), group, role, nil)
			},
			status: 200, body: roleBody,
			upstream: "GET /api/atlas/v2/groups/<G>/cloudProviderAccess/<ROLE>", version: of2023,
		},
	}
}

// v1Snapshots lists, reads and takes snapshots, and changes an export policy, by v1.0.
func (o *operations) v1Snapshots() []operationTest {
	return []operationTest{
		{
			operation: "v1ListBackupSnapshots",
			do: func() (generated, error) {
				return o.v1.V1ListBackupSnapshotsWithResponse(o.Context(), group, "orders", &gen.V1ListBackupSnapshotsParams{ItemsPerPage: ptr(1)})
			},
			status: 200, body: `{"results":[` + snapshotBody("v1.0", "6a01e0b45be2d84417c09f1f", "08-13T03:27:11Z") + `],"totalCount":8,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v1.0/groups/<G>/clusters/orders/backup/snapshots?pageNum=1&itemsPerPage=1"},
				{"rel":"next","href":"<GW>/api/atlas/v1.0/groups/<G>/clusters/orders/backup/snapshots?itemsPerPage=1&pageNum=2"}]}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/orders/backup/snapshots?itemsPerPage=1", version: plain,
		},
		{
			operation: "v1TakeSnapshots",
			do: func() (generated, error) {
				return o.v1.V1TakeSnapshotsWithResponse(o.Context(), group, "events", nil, gen.SnapshotRequest{RetentionInDays: ptr(1)})
			},
			status: 200, body: queuedSharded, id: "S2",
			upstream: "POST /api/atlas/v1.0/groups/<G>/clusters/events/backup/snapshots", version: plain,
			content: `{"retentionInDays":1}`,
		},
		{
			operation: "v1GetClusterBackupSnapshot",
			do: func() (generated, error) {
				return o.v1.V1GetClusterBackupSnapshotWithResponse(o.Context(), group, "orders", snapshot, nil)
			},
			status: 200, body: snapshotBody("v1.0", "<SNAP>", "08-10T03:27:12Z"),
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/orders/backup/snapshots/<SNAP>", version: plain,
		},
		{
			operation: "v1ListBackupShardedClusters",
			do: func() (generated, error) {
				return o.v1.V1ListBackupShardedClustersWithResponse(o.Context(), group, "orders", nil)
			},
			status: 200, body: `{"results":[],"totalCount":0,"links":[{"rel":"self","href":"<GW>/api/atlas/v1.0/groups/<G>/clusters/orders/backup/snapshots/shardedClusters"}]}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/orders/backup/snapshots/shardedClusters", version: plain,
		},
		{
			operation: "v1GetBackupShardedCluster",
			do: func() (generated, error) {
				return o.v1.V1GetBackupShardedClusterWithResponse(o.Context(), group, "events", o.ids["S2"], nil)
			},
			status: 200, body: queuedSharded,
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/events/backup/snapshots/shardedCluster/<S2>", version: plain,
		},
		{
			operation: "v1GetBackupSchedule",
			do: func() (generated, error) {
				return o.v1.V1GetBackupScheduleWithResponse(o.Context(), group, "events", nil)
			},
			status: 200, body: scheduleBody("v1.0", `"autoExportEnabled":false,"export":{"exportBucketId":"<B1>","frequencyType":"daily"},"useOrgAndGroupNamesInExportPrefix":false`),
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/events/backup/schedule", version: plain,
		},
		{
			operation: "v1UpdateBackupSchedule",
			do: func() (generated, error) {
				return o.v1.V1UpdateBackupScheduleWithResponse(o.Context(), group, "events", nil, gen.BackupScheduleUpdate{UseOrgAndGroupNamesInExportPrefix: ptr(true)})
			},
			status: 200, body: scheduleBody("v1.0", `"autoExportEnabled":false,"export":{"exportBucketId":"<B1>","frequencyType":"daily"},"useOrgAndGroupNamesInExportPrefix":true`),
			upstream: "PATCH /api/atlas/v1.0/groups/<G>/clusters/events/backup/schedule", version: plain,
			content: `{"useOrgAndGroupNamesInExportPrefix":true}`,
		},
	}
}

// v1GroupsAndRoles reads groups and roles by v1.0.
func (o *operations) v1GroupsAndRoles() []operationTest {
	return []operationTest{
		{
			operation: "v1ListGroups",
			do: func() (generated, error) {
				return o.v1.V1ListGroupsWithResponse(o.Context(), &gen.V1ListGroupsParams{ItemsPerPage: ptr(1), IncludeCount: ptr(false)})
			},
			status: 200, body: `{"results":[` + groupBody("v1.0") + `],"links":[
				{"rel":"self","href":"<GW>/api/atlas/v1.0/groups?includeCount=false&pageNum=1&itemsPerPage=1"},
				{"rel":"next","href":"<GW>/api/atlas/v1.0/groups?includeCount=false&itemsPerPage=1&pageNum=2"}]}`,
			upstream: "GET /api/atlas/v1.0/groups?itemsPerPage=1&includeCount=false", version: plain,
		},
		{
			operation: "v1GetGroup",
			do:        func() (generated, error) { return o.v1.V1GetGroupWithResponse(o.Context(), group, nil) },
			status:    200, body: groupBody("v1.0"),
			upstream: "GET /api/atlas/v1.0/groups/<G>", version: plain,
		},
		{
			operation: "v1GetGroupByName",
			do: func() (generated, error) {
				return o.v1.V1GetGroupByNameWithResponse(o.Context(), "production", nil)
			},
			status: 200, body: groupBody("v1.0"),
			upstream: "GET /api/atlas/v1.0/groups/byName/production", version: plain,
		},
		{
			operation: "v1ListCloudProviderAccess",
			do: func() (generated, error) {
				return o.v1.V1ListCloudProviderAccessWithResponse(o.Context(), group, nil)
			},
			status: 200, body: roles,
			upstream: "GET /api/atlas/v1.0/groups/<G>/cloudProviderAccess", version: plain,
		},
		{
			operation: "v1GetCloudProviderAccess",
			do: func() (generated, error) {
				return o.v1.V1GetCloudProviderAccessWithResponse(o.Context(), group, role, nil)
			},
			status: 200, body: roleBody,
			upstream: "GET /api/atlas/v1.0/groups/<G>/cloudProviderAccess/<ROLE>", version: plain,
		},
	}
}

// The texts that answers share.
const (
	ofOrders = `"type":"replicaSet","snapshotType":"onDemand","frequencyType":"ondemand","description":"before the migration","policyItems":[],"copyRegions":[],"replicaSetName":"orders"`

	// roleBody is the role that the export buckets of these tests name, and roles are all roles.
	roleBody = `{"providerName":"AWS","roleId":"<ROLE>","iamAssumedRoleArn":"arn:aws:iam::123456789012:role/atlas-exports","atlasAWSAccountArn":"arn:aws:iam::210987654321:root",
		"atlasAssumedRoleExternalId":"32bd822e-5b5b-47e8-8df4-89ce484653c4","authorizedDate":"2024-01-19T01:42:04Z","createdDate":"2024-01-19T01:40:04Z","featureUsages":[
		{"featureType":"EXPORT_SNAPSHOT","featureId":{"exportBucketId":"<B1>","groupId":"<G>"}},
		{"featureType":"EXPORT_SNAPSHOT","featureId":{"exportBucketId":"<B2>","groupId":"<G>"}},
		{"featureType":"EXPORT_SNAPSHOT","featureId":{"exportBucketId":"<V1B>","groupId":"<G>"}}]}`
	roles = `{"awsIamRoles":[` + roleBody + `,
		{"providerName":"AWS","roleId":"65a9d2f4f20b4c77889900fe","iamAssumedRoleArn":"arn:aws:iam::123456789012:role/atlas-9900fe","atlasAWSAccountArn":"arn:aws:iam::210987654321:root",
		"atlasAssumedRoleExternalId":"16168963-b4e4-4d12-8a74-a47378da3d22","authorizedDate":"2024-01-19T01:42:04Z","createdDate":"2024-01-19T01:40:04Z","featureUsages":[]},
		{"providerName":"AWS","roleId":"65a9d2f4f20b4c77889900ff","iamAssumedRoleArn":null,"atlasAWSAccountArn":"arn:aws:iam::210987654321:root",
		"atlasAssumedRoleExternalId":"a9a0b797-5fb9-4730-8b3f-8b23360061b5","authorizedDate":null,"createdDate":"2024-01-19T01:40:04Z","featureUsages":[]}],
		"azureServicePrincipals":[{"providerName":"AZURE","_id":"65a9d2f4f20b4c7788990002","atlasAzureAppId":"89ab922d-70e0-428e-8067-878dac2377e4","servicePrincipalId":"04852f5a-c150-43ea-8b45-c41fd3fbea9a",
		"tenantId":"8c4f3a90-5d1e-4b27-9a66-0f1e2d3c4b5a","createdDate":"2024-01-19T01:40:04Z","lastUpdatedDate":"2024-01-19T01:42:04Z","featureUsages":[]}],
		"gcpServiceAccounts":[{"providerName":"GCP","roleId":"65a9d2f4f20b4c7788990003","gcpServiceAccountForAtlas":"mongodb-atlas-990003@p-simulated.iam.gserviceaccount.com","status":"COMPLETE",
		"createdDate":"2024-01-19T01:40:04Z","featureUsages":[]}]}`
)

var queuedSharded = `{"id":"<S2>","type":"shardedCluster","snapshotType":"onDemand","frequencyType":"ondemand","policyItems":[],"status":"queued","storageSizeBytes":0,
	"expiresAt":"2026-08-11T04:04:40Z","configServerType":"EMBEDDED","snapshotIds":["<P1>","<P2>"],
	"members":[{"id":"<P1>","replicaSetName":"atlas-9x2kqf-shard-0"},{"id":"<P2>","replicaSetName":"atlas-9x2kqf-shard-1"}],
	` + snapshotLinks("v1.0", "events/backup/snapshots/shardedCluster/<S2>") + `}`

// snapshotLinks are the links of a snapshot at a path below the clusters.
func snapshotLinks(version, path string) string {
	cluster, _, _ := strings.Cut(path, "/")
	base := "<GW>/api/atlas/" + version + "/groups/<G>/clusters/"
	return `"links":[{"rel":"self","href":"` + base + path + `"},{"rel":"https://cloud.mongodb.com/cluster","href":"` + base + cluster + `"}]`
}

// snapshotBody is a snapshot of orders by the schedule. taken is when in 2026 it was taken.
func snapshotBody(version, id, taken string) string {
	return `{"id":"` + id + `","type":"replicaSet","snapshotType":"scheduled","status":"completed","frequencyType":"daily","createdAt":"2026-` + taken + `","expiresAt":"2036-` + taken + `",
		"mongodVersion":"8.0.16","policyItems":[],"storageSizeBytes":1596661760,"cloudProvider":"AWS","copyRegions":[],"replicaSetName":"orders",` + snapshotLinks(version, "orders/backup/snapshots/"+id) + `}`
}

// shardedBody is a snapshot of events by the schedule, with its parts.
func shardedBody(id, taken, first, second string) string {
	return `{"id":"` + id + `","type":"shardedCluster","snapshotType":"scheduled","status":"completed","frequencyType":"daily","createdAt":"2026-` + taken + `","expiresAt":"2036-` + taken + `",
		"mongodVersion":"8.0.16","policyItems":[],"storageSizeBytes":1557864448,"configServerType":"EMBEDDED","snapshotIds":["` + first + `","` + second + `"],
		"members":[{"id":"` + first + `","cloudProvider":"AWS","replicaSetName":"atlas-9x2kqf-shard-0"},{"id":"` + second + `","cloudProvider":"AWS","replicaSetName":"atlas-9x2kqf-shard-1"}],
		` + snapshotLinks("v2", "events/backup/snapshots/shardedCluster/"+id) + `}`
}

// groupBody is the group of these tests.
func groupBody(version string) string {
	return `{"id":"<G>","orgId":"64f0c0ffb3d4e5f60718292f","name":"production","clusterCount":2,"created":"2023-08-31T16:36:50Z","tags":[],
		"links":[{"rel":"self","href":"<GW>/api/atlas/` + version + `/groups/<G>"}]}`
}

// scheduleBody is the schedule of events, with an export policy.
func scheduleBody(version, export string) string {
	return `{"clusterId":"64f0c2d1b3d4e5f607182941","clusterName":"events",` + export + `,"copySettings":[],"nextSnapshot":"2026-08-11T03:27:00Z",
		"referenceHourOfDay":3,"referenceMinuteOfHour":27,"restoreWindowDays":7,
		"policies":[{"id":"abd35fa9958bfe45b1586d00","policyItems":[{"id":"abd35fa9958bfe45b1586d01","frequencyType":"daily","frequencyInterval":1,"retentionUnit":"days","retentionValue":7}]}],
		"links":[{"rel":"self","href":"<GW>/api/atlas/` + version + `/groups/<G>/clusters/events/backup/schedule"},
		{"rel":"https://cloud.mongodb.com/group","href":"<GW>/api/public/v1.0/groups/<G>"}]}`
}
