package sim_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/sim"
)

const (
	plain      = "application/json"
	v20230101  = "application/vnd.atlas.2023-01-01+json;charset=utf-8"
	v20240530  = "application/vnd.atlas.2024-05-30+json;charset=utf-8"
	v20240805  = "application/vnd.atlas.2024-08-05+json;charset=utf-8"
	project    = sim.GroupID
	pagesOfV2  = "?includeCount=true&pageNum=1&itemsPerPage=100"
	pagesOfV1  = "?pageNum=1&itemsPerPage=100"
	serviceURL = "https://acmestore.blob.core.windows.net/snapshots"
)

// operations are calls by the generated client over TCP, with real digest authentication,
// and the buckets that the next calls expect.
type operations struct {
	t                           *testing.T
	atlas                       *sim.Server
	client                      *gen.ClientWithResponses
	wantAWS, wantAzure, wantGCP gen.ExportBucket
	v1bucket                    gen.V1ExportBucket
}

// Each operation of both generations returns every field as it must be.
func TestOperations(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	client, err := gen.NewClientWithResponses(atlas.URL(), gen.WithHTTPClient(c.http),
		gen.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Accept", latest)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	o := &operations{t: t, atlas: atlas, client: client}
	o.createBuckets()
	o.readBuckets()
	o.v1Buckets()
	o.jobs()
	o.clusters()
	o.schedule()
	o.deletions()

	// Each operation was counted under its own name.
	counts := atlas.Counts()
	for _, id := range []string{"createBackupExport", "createExportBucket", "deleteExportBucket", "getBackupExport", "getBackupSchedule", "getExportBucket",
		"listBackupExports", "listClusters", "listExportBuckets", "updateBackupExportBucket", "v1CreateBackupExport", "v1CreateExportBucket", "v1DeleteExportBucket",
		"v1GetBackupExport", "v1GetExportBucket", "v1ListBackupExports", "v1ListExportBuckets"} {
		if counts.ByOperation[id] == 0 {
			t.Errorf("no request of %s was counted", id)
		}
	}
	check(t, "jobs created", counts.JobsCreated, int64(2))
}

// ok checks the status and the media type of an answer.
func (o *operations) ok(name string, status int, err error, r *http.Response, contentType string) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%s: %v", name, err)
	}
	check(o.t, name+" status", r.StatusCode, status)
	check(o.t, name+" type", r.Header.Get("Content-Type"), contentType)
}

func (o *operations) createBuckets() {
	t, client, ctx := o.t, o.client, o.t.Context()
	var union gen.ExportBucketRequest
	union.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: "AWS", BucketName: "acme-aws", IamRoleID: sim.AWSRole,
		RequirePrivateNetworking: ptr(true), Links: &[]gen.RequestLink{{Rel: ptr("self"), Href: ptr("http://x")}}})
	aws, err := client.CreateExportBucketWithResponse(ctx, project, nil, union)
	o.ok("create AWS", 200, err, aws.HTTPResponse, v20240530)
	o.wantAWS = gen.ExportBucket{ID: aws.JSON200.ID, CloudProvider: "AWS", BucketName: ptr("acme-aws"), IamRoleID: ptr(sim.AWSRole), RequirePrivateNetworking: ptr(true)}
	check(t, "create AWS", *aws.JSON200, o.wantAWS)

	union.FromAzureExportBucketRequest(gen.AzureExportBucketRequest{CloudProvider: "AZURE", RoleID: sim.AzureRole, ServiceURL: serviceURL, BucketName: ptr("snapshots")})
	azure, err := client.CreateExportBucketWithResponse(ctx, project, nil, union)
	o.ok("create AZURE", 200, err, azure.HTTPResponse, v20240530)
	o.wantAzure = gen.ExportBucket{ID: azure.JSON200.ID, CloudProvider: "AZURE", BucketName: ptr("snapshots"), RoleID: ptr(sim.AzureRole),
		ServiceURL: ptr(serviceURL), TenantID: ptr("8c4f3a90-5d1e-4b27-9a66-0f1e2d3c4b5a")}
	check(t, "create AZURE", *azure.JSON200, o.wantAzure)

	union.FromGCPExportBucketRequest(gen.GCPExportBucketRequest{CloudProvider: "GCP", BucketName: "acme-gcp", RoleID: "65a9d2f4f20b4c7788990003"})
	gcp, err := client.CreateExportBucketWithResponse(ctx, project, nil, union)
	o.ok("create GCP", 200, err, gcp.HTTPResponse, v20240530)
	o.wantGCP = gen.ExportBucket{ID: gcp.JSON200.ID, CloudProvider: "GCP", BucketName: ptr("acme-gcp"), RoleID: ptr("65a9d2f4f20b4c7788990003")}
	check(t, "create GCP", *gcp.JSON200, o.wantGCP)
}

func (o *operations) readBuckets() {
	t, client, ctx := o.t, o.client, o.t.Context()
	read := o.wantAWS
	read.Region = ptr("us-east-1")
	for _, want := range []gen.ExportBucket{read, o.wantAzure, o.wantGCP} {
		got, err := client.GetExportBucketWithResponse(ctx, project, *want.ID, nil)
		o.ok("get bucket", 200, err, got.HTTPResponse, v20240530)
		check(t, "get bucket", *got.JSON200, want)
	}
	read.RequirePrivateNetworking, o.wantAWS.RequirePrivateNetworking = ptr(false), ptr(false)
	patched, err := client.UpdateBackupExportBucketWithResponse(ctx, project, *o.wantAWS.ID, nil, gen.ExportBucketUpdate{RequirePrivateNetworking: false})
	o.ok("update", 200, err, patched.HTTPResponse, v20240530)
	check(t, "update", *patched.JSON200, read)

	list, err := client.ListExportBucketsWithResponse(ctx, project, nil)
	o.ok("list buckets", 200, err, list.HTTPResponse, v20240530)
	check(t, "list buckets", *list.JSON200, gen.ExportBucketList{
		Results:    []gen.ExportBucket{o.wantAWS, o.wantAzure, o.wantGCP},
		TotalCount: ptr(3),
		Links:      &[]gen.Link{{Rel: ptr("self"), Href: ptr(o.atlas.URL() + v2 + buckets + pagesOfV2)}},
	})
}

func (o *operations) v1Buckets() {
	t, client, ctx := o.t, o.client, o.t.Context()
	v1created, err := client.V1CreateExportBucketWithResponse(ctx, project, nil, gen.V1ExportBucketRequest{CloudProvider: "AWS", BucketName: "acme-v1", IamRoleID: sim.AWSRole})
	o.ok("v1 create bucket", 200, err, v1created.HTTPResponse, plain)
	o.v1bucket = gen.V1ExportBucket{ID: v1created.JSON200.ID, ProjectID: ptr(project), CloudProvider: "AWS", BucketName: ptr("acme-v1"), IamRoleID: ptr(sim.AWSRole)}
	check(t, "v1 create bucket", *v1created.JSON200, o.v1bucket)
	read := o.v1bucket
	read.Region = ptr("us-east-1")
	v1got, err := client.V1GetExportBucketWithResponse(ctx, project, *o.v1bucket.ID, nil)
	o.ok("v1 get bucket", 200, err, v1got.HTTPResponse, plain)
	check(t, "v1 get bucket", *v1got.JSON200, read)
	v1aws := gen.V1ExportBucket{ID: o.wantAWS.ID, ProjectID: ptr(project), CloudProvider: "AWS", BucketName: ptr("acme-aws"), IamRoleID: ptr(sim.AWSRole)}
	v1list, err := client.V1ListExportBucketsWithResponse(ctx, project, nil)
	o.ok("v1 list buckets", 200, err, v1list.HTTPResponse, plain)
	check(t, "v1 list buckets", *v1list.JSON200, gen.V1ExportBucketList{
		Results:    []gen.V1ExportBucket{v1aws, o.v1bucket},
		TotalCount: ptr(2),
		Links:      &[]gen.Link{{Rel: ptr("self"), Href: ptr(o.atlas.URL() + v1 + buckets + pagesOfV1)}},
	})
}

// v2 and v1.0 create, read and list jobs.
func (o *operations) jobs() {
	t, client, ctx := o.t, o.client, o.t.Context()
	prefix := func(cluster string) *string {
		return ptr(fmt.Sprintf("exported_snapshots/%s/%s/%s/2026-08-10T0327/%d", sim.OrgID, project, cluster, now.Unix()))
	}
	created, err := client.CreateBackupExportWithResponse(ctx, project, "orders", nil, gen.ExportJobRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: *o.wantAWS.ID,
		CustomData: &[]gen.CustomDataRequest{{Key: ptr("purpose"), Value: ptr("a <&> b")}, {Key: ptr("alone")}}})
	o.ok("create job", 200, err, created.HTTPResponse, v20230101)
	job := gen.ExportJob{ID: created.JSON200.ID, SnapshotID: ptr(sim.OrdersSnapshot), ExportBucketID: o.wantAWS.ID, State: "Queued", CreatedAt: &now,
		CustomData:   &[]gen.CustomData{{Key: ptr("purpose"), Value: ptr("a <&> b")}, {Key: ptr("alone")}},
		ExportStatus: &gen.ExportStatus{ExportedCollections: ptr(0), TotalCollections: ptr(0)}, Prefix: prefix("orders")}
	check(t, "create job", *created.JSON200, job)

	v1job, err := client.V1CreateBackupExportWithResponse(ctx, project, "events", nil, gen.V1ExportJobRequest{SnapshotID: sim.EventsSnapshot, ExportBucketID: *o.v1bucket.ID})
	o.ok("v1 create job", 200, err, v1job.HTTPResponse, plain)
	if v1job.JSON200.Components == nil || len(*v1job.JSON200.Components) != 2 {
		t.Fatalf("components: %s", v1job.Body)
	}
	parts := *v1job.JSON200.Components
	sharded := gen.V1ExportJob{ID: v1job.JSON200.ID, SnapshotID: ptr(sim.EventsSnapshot), ExportBucketID: o.v1bucket.ID, State: "Queued", CreatedAt: &now,
		CustomData: &[]gen.CustomData{}, Prefix: prefix("events"), Components: &[]gen.ExportComponent{
			{ExportID: parts[0].ExportID, ReplicaSetName: ptr("atlas-9x2kqf-shard-0")}, {ExportID: parts[1].ExportID, ReplicaSetName: ptr("atlas-9x2kqf-shard-1")}}}
	check(t, "v1 create job", *v1job.JSON200, sharded)
	if *parts[0].ExportID == *parts[1].ExportID || *parts[0].ExportID == sharded.ID {
		t.Error("the components' ids are not their own")
	}

	got, err := client.GetBackupExportWithResponse(ctx, project, "orders", job.ID, nil)
	o.ok("get job", 200, err, got.HTTPResponse, v20230101)
	check(t, "get job", *got.JSON200, job)
	v1gotJob, err := client.V1GetBackupExportWithResponse(ctx, project, "events", sharded.ID, nil)
	o.ok("v1 get job", 200, err, v1gotJob.HTTPResponse, plain)
	check(t, "v1 get job", *v1gotJob.JSON200, sharded)
	jobs, err := client.ListBackupExportsWithResponse(ctx, project, "orders", nil)
	o.ok("list jobs", 200, err, jobs.HTTPResponse, v20230101)
	check(t, "list jobs", *jobs.JSON200, gen.ExportJobList{Results: []gen.ExportJob{job}, TotalCount: ptr(1),
		Links: &[]gen.Link{{Rel: ptr("self"), Href: ptr(o.atlas.URL() + v2 + orders + pagesOfV2)}}})
	v1jobs, err := client.V1ListBackupExportsWithResponse(ctx, project, "events", nil)
	o.ok("v1 list jobs", 200, err, v1jobs.HTTPResponse, plain)
	check(t, "v1 list jobs", *v1jobs.JSON200, gen.V1ExportJobList{Results: []gen.V1ExportJob{sharded}, TotalCount: ptr(1),
		Links: &[]gen.Link{{Rel: ptr("self"), Href: ptr(o.atlas.URL() + v1 + events + pagesOfV1)}}})
}

func (o *operations) clusters() {
	t, client, ctx := o.t, o.client, o.t.Context()
	cluster := func(id, name string, clusterType gen.ClusterType) gen.Cluster {
		url := o.atlas.URL() + v2 + clusters + "/" + name
		return gen.Cluster{ID: &id, GroupID: ptr(project), Name: &name, ClusterType: &clusterType, StateName: ptr(gen.ClusterStateIDLE), Links: &[]gen.Link{
			{Rel: ptr("self"), Href: &url},
			{Rel: ptr("https://cloud.mongodb.com/restoreJobs"), Href: ptr(url + "/backup/restoreJobs")},
			{Rel: ptr("https://cloud.mongodb.com/snapshots"), Href: ptr(url + "/backup/snapshots")}}}
	}
	listed, err := client.ListClustersWithResponse(ctx, project, nil)
	o.ok("list clusters", 200, err, listed.HTTPResponse, v20240805)
	check(t, "list clusters", *listed.JSON200, gen.ClusterList{
		Results:    []gen.Cluster{cluster("64f0c2d1b3d4e5f607182940", "orders", "REPLICASET"), cluster("64f0c2d1b3d4e5f607182941", "events", "SHARDED")},
		TotalCount: ptr(2),
		Links:      &[]gen.Link{{Rel: ptr("self"), Href: ptr(o.atlas.URL() + v2 + clusters + "?includeCount=true&includeDeletedWithRetainedBackups=false&pageNum=1&itemsPerPage=100")}},
	})
}

func (o *operations) schedule() {
	t, client, ctx := o.t, o.client, o.t.Context()
	scheduled, err := client.GetBackupScheduleWithResponse(ctx, project, "orders", nil)
	o.ok("get schedule", 200, err, scheduled.HTTPResponse, v20240805)
	check(t, "get schedule", *scheduled.JSON200, gen.BackupSchedule{
		ClusterID: ptr("64f0c2d1b3d4e5f607182940"), ClusterName: ptr("orders"), AutoExportEnabled: ptr(false), UseOrgAndGroupNamesInExportPrefix: ptr(false),
		CopySettings: &[]map[string]any{}, NextSnapshot: ptr(time.Date(2026, 8, 20, 15, 27, 0, 0, time.UTC)), ReferenceHourOfDay: ptr(3), ReferenceMinuteOfHour: ptr(27), RestoreWindowDays: ptr(7),
		Policies: &[]map[string]any{{"id": "c745b429aed276d751d5ed00", "policyItems": []any{
			map[string]any{"id": "c745b429aed276d751d5ed01", "frequencyType": "hourly", "frequencyInterval": 6.0, "retentionUnit": "days", "retentionValue": 7.0},
			map[string]any{"id": "c745b429aed276d751d5ed02", "frequencyType": "daily", "frequencyInterval": 1.0, "retentionUnit": "days", "retentionValue": 7.0},
			map[string]any{"id": "c745b429aed276d751d5ed03", "frequencyType": "weekly", "frequencyInterval": 6.0, "retentionUnit": "weeks", "retentionValue": 4.0},
			map[string]any{"id": "c745b429aed276d751d5ed04", "frequencyType": "monthly", "frequencyInterval": 40.0, "retentionUnit": "months", "retentionValue": 12.0},
			map[string]any{"id": "c745b429aed276d751d5ed05", "frequencyType": "yearly", "frequencyInterval": 12.0, "retentionUnit": "years", "retentionValue": 1.0},
		}}},
		Links: &[]gen.Link{{Rel: ptr("self"), Href: ptr(o.atlas.URL() + v2 + schedule)},
			{Rel: ptr("https://cloud.mongodb.com/group"), Href: ptr(o.atlas.URL() + "/api/public/v1.0/groups/" + project)}},
	})
}

// A bucket is not deleted while a job writes to it.
func (o *operations) deletions() {
	t, client, ctx := o.t, o.client, o.t.Context()
	inUse, err := client.DeleteExportBucketWithResponse(ctx, project, *o.wantAWS.ID, nil)
	o.ok("delete in use", 400, err, inUse.HTTPResponse, plain)
	check(t, "delete in use", inUse.JSONDefault.ErrorCode, "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE")
	deleted, err := client.DeleteExportBucketWithResponse(ctx, project, *o.wantGCP.ID, nil)
	o.ok("delete", 204, err, deleted.HTTPResponse, v20230101) // as recorded
	o.atlas.Advance(time.Hour)
	v1deleted, err := client.V1DeleteExportBucketWithResponse(ctx, project, *o.v1bucket.ID, nil)
	o.ok("v1 delete", 204, err, v1deleted.HTTPResponse, "")
	again, err := client.DeleteExportBucketWithResponse(ctx, project, *o.wantGCP.ID, nil)
	o.ok("delete again", 404, err, again.HTTPResponse, plain)
	check(t, "delete again", *again.JSONDefault, gen.APIError{Error: 404, ErrorCode: "EXPORT_BUCKET_NOT_FOUND", Reason: ptr("Not Found"),
		Detail: ptr("No export Bucket with ID " + *o.wantGCP.ID + " does not exist."), Parameters: &[]any{*o.wantGCP.ID}})
}
