package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is where the clock of most tests stands until they move it.
var now = time.Date(2026, 8, 20, 12, 0, 0, 0, time.UTC)

func stopped() time.Time { return now }

const (
	v1 = "/api/atlas/v1.0/groups/" + sim.GroupID
	v2 = "/api/atlas/v2/groups/" + sim.GroupID

	buckets = "/backup/exportBuckets"
	orders  = "/clusters/orders/backup/exports"
	events  = "/clusters/events/backup/exports"

	clusters = "/clusters"
	schedule = "/clusters/orders/backup/schedule"

	latest = "application/vnd.atlas.2025-03-12+json"
)

// start runs a simulation on a clock that stands still.
func start(t testing.TB, cfg sim.Config) *sim.Server {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = stopped
	}
	return sim.Start(t, cfg)
}

// caller calls a simulation with an API key.
type caller struct {
	t    testing.TB
	base string
	http *http.Client
}

func newCaller(t testing.TB, base, publicKey string) caller {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return caller{t, base, &http.Client{
		Transport:     &digest.Transport{Username: publicKey, Password: sim.PrivateKey, Transport: transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request. The header is "Name: value" lines; without an Accept it says the
// latest version, and with a body that it is JSON.
func (c caller) do(method, path, body string, header ...string) answer {
	c.t.Helper()
	request, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Accept", latest)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Del(name)
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(content)}
}

// value reads the body of an answer with status 200 as JSON.
func (c caller) value(a answer) map[string]any {
	c.t.Helper()
	if a.status != http.StatusOK {
		c.t.Fatalf("status %d: %s", a.status, a.body)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		c.t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// bucket creates an AWS bucket and returns its id.
func (c caller) bucket() string {
	c.t.Helper()
	a := c.do("POST", v2+buckets, `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"`+sim.AWSRole+`"}`)
	return c.value(a)["_id"].(string)
}

func exportOf(snapshot, bucket string) string {
	return fmt.Sprintf(`{"snapshotId":%q,"exportBucketId":%q}`, snapshot, bucket)
}

// job starts an export and returns its id.
func (c caller) job(path, snapshot, bucket string) string {
	c.t.Helper()
	return c.value(c.do("POST", v2+path, exportOf(snapshot, bucket)))["id"].(string)
}

func check(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func ptr[T any](v T) *T { return &v }

// Each operation of both generations, called by the generated client over TCP with real
// digest authentication, and every field of its answer.
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
	ctx := t.Context()
	ok := func(name string, status int, err error, r *http.Response, contentType string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		check(t, name+" status", r.StatusCode, status)
		check(t, name+" type", r.Header.Get("Content-Type"), contentType)
	}
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

	// Buckets, v2.
	var union gen.ExportBucketRequest
	union.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: "AWS", BucketName: "acme-aws", IamRoleID: sim.AWSRole,
		RequirePrivateNetworking: ptr(true), Links: &[]gen.RequestLink{{Rel: ptr("self"), Href: ptr("http://x")}}})
	aws, err := client.CreateExportBucketWithResponse(ctx, project, nil, union)
	ok("create AWS", 200, err, aws.HTTPResponse, v20240530)
	wantAWS := gen.ExportBucket{ID: aws.JSON200.ID, CloudProvider: "AWS", BucketName: ptr("acme-aws"), IamRoleID: ptr(sim.AWSRole), RequirePrivateNetworking: ptr(true)}
	check(t, "create AWS", *aws.JSON200, wantAWS)

	union.FromAzureExportBucketRequest(gen.AzureExportBucketRequest{CloudProvider: "AZURE", RoleID: sim.AzureRole, ServiceURL: serviceURL, BucketName: ptr("snapshots")})
	azure, err := client.CreateExportBucketWithResponse(ctx, project, nil, union)
	ok("create AZURE", 200, err, azure.HTTPResponse, v20240530)
	wantAzure := gen.ExportBucket{ID: azure.JSON200.ID, CloudProvider: "AZURE", BucketName: ptr("snapshots"), RoleID: ptr(sim.AzureRole),
		ServiceURL: ptr(serviceURL), TenantID: ptr("8c4f3a90-5d1e-4b27-9a66-0f1e2d3c4b5a")}
	check(t, "create AZURE", *azure.JSON200, wantAzure)

	union.FromGCPExportBucketRequest(gen.GCPExportBucketRequest{CloudProvider: "GCP", BucketName: "acme-gcp", RoleID: "65a9d2f4f20b4c7788990003"})
	gcp, err := client.CreateExportBucketWithResponse(ctx, project, nil, union)
	ok("create GCP", 200, err, gcp.HTTPResponse, v20240530)
	wantGCP := gen.ExportBucket{ID: gcp.JSON200.ID, CloudProvider: "GCP", BucketName: ptr("acme-gcp"), RoleID: ptr("65a9d2f4f20b4c7788990003")}
	check(t, "create GCP", *gcp.JSON200, wantGCP)

	for _, b := range []*gen.ExportBucket{&wantAWS, &wantAzure, &wantGCP} {
		b.Links = &[]gen.Link{}
	}
	wantAWS.Region = ptr("us-east-1")
	for _, want := range []gen.ExportBucket{wantAWS, wantAzure, wantGCP} {
		got, err := client.GetExportBucketWithResponse(ctx, project, *want.ID, nil)
		ok("get bucket", 200, err, got.HTTPResponse, v20240530)
		check(t, "get bucket", *got.JSON200, want)
	}
	wantAWS.RequirePrivateNetworking = ptr(false)
	patched, err := client.UpdateBackupExportBucketWithResponse(ctx, project, *wantAWS.ID, nil, gen.ExportBucketUpdate{RequirePrivateNetworking: false})
	ok("update", 200, err, patched.HTTPResponse, v20240530)
	check(t, "update", *patched.JSON200, wantAWS)

	list, err := client.ListExportBucketsWithResponse(ctx, project, nil)
	ok("list buckets", 200, err, list.HTTPResponse, v20240530)
	check(t, "list buckets", *list.JSON200, gen.ExportBucketList{
		Results:    []gen.ExportBucket{wantAWS, wantAzure, wantGCP},
		TotalCount: ptr(3),
		Links:      &[]gen.Link{{Rel: ptr("self"), Href: ptr(atlas.URL() + v2 + buckets + pagesOfV2)}},
	})

	// Buckets, v1.0.
	v1created, err := client.V1CreateExportBucketWithResponse(ctx, project, nil, gen.V1ExportBucketRequest{CloudProvider: "AWS", BucketName: "acme-v1", IamRoleID: sim.AWSRole})
	ok("v1 create bucket", 200, err, v1created.HTTPResponse, plain)
	v1bucket := gen.V1ExportBucket{ID: v1created.JSON200.ID, ProjectID: ptr(project), CloudProvider: "AWS", BucketName: ptr("acme-v1"), IamRoleID: ptr(sim.AWSRole)}
	check(t, "v1 create bucket", *v1created.JSON200, v1bucket)
	v1bucket.Region = ptr("us-east-1")
	v1got, err := client.V1GetExportBucketWithResponse(ctx, project, *v1bucket.ID, nil)
	ok("v1 get bucket", 200, err, v1got.HTTPResponse, plain)
	check(t, "v1 get bucket", *v1got.JSON200, v1bucket)
	v1aws := gen.V1ExportBucket{ID: wantAWS.ID, ProjectID: ptr(project), CloudProvider: "AWS", BucketName: ptr("acme-aws"), IamRoleID: ptr(sim.AWSRole), Region: ptr("us-east-1")}
	v1list, err := client.V1ListExportBucketsWithResponse(ctx, project, nil)
	ok("v1 list buckets", 200, err, v1list.HTTPResponse, plain)
	check(t, "v1 list buckets", *v1list.JSON200, gen.V1ExportBucketList{
		Results:    []gen.V1ExportBucket{v1aws, v1bucket},
		TotalCount: ptr(2),
		Links:      &[]gen.Link{{Rel: ptr("self"), Href: ptr(atlas.URL() + v1 + buckets + pagesOfV1)}},
	})

	// Jobs, v2 and v1.0 of the same ones.
	prefix := func(cluster string) *string {
		return ptr(fmt.Sprintf("exported_snapshots/%s/%s/%s/2026-08-10T0327/%d", sim.OrgID, project, cluster, now.Unix()))
	}
	created, err := client.CreateBackupExportWithResponse(ctx, project, "orders", nil, gen.ExportJobRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: *wantAWS.ID,
		CustomData: &[]gen.CustomDataRequest{{Key: ptr("purpose"), Value: ptr("a <&> b")}, {Key: ptr("alone")}}})
	ok("create job", 200, err, created.HTTPResponse, v20230101)
	job := gen.ExportJob{ID: created.JSON200.ID, SnapshotID: ptr(sim.OrdersSnapshot), ExportBucketID: wantAWS.ID, State: "Queued", CreatedAt: &now,
		CustomData:   &[]gen.CustomData{{Key: ptr("purpose"), Value: ptr("a <&> b")}, {Key: ptr("alone")}},
		ExportStatus: &gen.ExportStatus{ExportedCollections: ptr(0), TotalCollections: ptr(0)}, Prefix: prefix("orders"), Links: &[]gen.Link{}}
	check(t, "create job", *created.JSON200, job)

	v1job, err := client.V1CreateBackupExportWithResponse(ctx, project, "events", nil, gen.V1ExportJobRequest{SnapshotID: sim.EventsSnapshot, ExportBucketID: *v1bucket.ID})
	ok("v1 create job", 200, err, v1job.HTTPResponse, plain)
	if v1job.JSON200.Components == nil || len(*v1job.JSON200.Components) != 2 {
		t.Fatalf("components: %s", v1job.Body)
	}
	parts := *v1job.JSON200.Components
	sharded := gen.V1ExportJob{ID: v1job.JSON200.ID, SnapshotID: ptr(sim.EventsSnapshot), ExportBucketID: v1bucket.ID, State: "Queued", CreatedAt: &now,
		CustomData: &[]gen.CustomData{}, Prefix: prefix("events"), Components: &[]gen.ExportComponent{
			{ExportID: parts[0].ExportID, ReplicaSetName: ptr("atlas-9x2kqf-shard-0")}, {ExportID: parts[1].ExportID, ReplicaSetName: ptr("atlas-9x2kqf-shard-1")}}}
	check(t, "v1 create job", *v1job.JSON200, sharded)
	if *parts[0].ExportID == *parts[1].ExportID || *parts[0].ExportID == sharded.ID {
		t.Error("the components' ids are not their own")
	}

	got, err := client.GetBackupExportWithResponse(ctx, project, "orders", job.ID, nil)
	ok("get job", 200, err, got.HTTPResponse, v20230101)
	check(t, "get job", *got.JSON200, job)
	v1gotJob, err := client.V1GetBackupExportWithResponse(ctx, project, "events", sharded.ID, nil)
	ok("v1 get job", 200, err, v1gotJob.HTTPResponse, plain)
	check(t, "v1 get job", *v1gotJob.JSON200, sharded)
	jobs, err := client.ListBackupExportsWithResponse(ctx, project, "orders", nil)
	ok("list jobs", 200, err, jobs.HTTPResponse, v20230101)
	check(t, "list jobs", *jobs.JSON200, gen.ExportJobList{Results: []gen.ExportJob{job}, TotalCount: ptr(1),
		Links: &[]gen.Link{{Rel: ptr("self"), Href: ptr(atlas.URL() + v2 + orders + pagesOfV2)}}})
	v1jobs, err := client.V1ListBackupExportsWithResponse(ctx, project, "events", nil)
	ok("v1 list jobs", 200, err, v1jobs.HTTPResponse, plain)
	check(t, "v1 list jobs", *v1jobs.JSON200, gen.V1ExportJobList{Results: []gen.V1ExportJob{sharded}, TotalCount: ptr(1),
		Links: &[]gen.Link{{Rel: ptr("self"), Href: ptr(atlas.URL() + v1 + events + pagesOfV1)}}})

	// Clusters, and the schedule of one.
	cluster := func(id, name string, clusterType gen.ClusterType) gen.Cluster {
		url := atlas.URL() + v2 + clusters + "/" + name
		return gen.Cluster{ID: &id, GroupID: ptr(project), Name: &name, ClusterType: &clusterType, StateName: ptr(gen.ClusterStateIDLE), Links: &[]gen.Link{
			{Rel: ptr("self"), Href: &url},
			{Rel: ptr("https://cloud.mongodb.com/restoreJobs"), Href: ptr(url + "/backup/restoreJobs")},
			{Rel: ptr("https://cloud.mongodb.com/snapshots"), Href: ptr(url + "/backup/snapshots")}}}
	}
	listed, err := client.ListClustersWithResponse(ctx, project, nil)
	ok("list clusters", 200, err, listed.HTTPResponse, v20240805)
	check(t, "list clusters", *listed.JSON200, gen.ClusterList{
		Results:    []gen.Cluster{cluster("64f0c2d1b3d4e5f607182940", "orders", "REPLICASET"), cluster("64f0c2d1b3d4e5f607182941", "events", "SHARDED")},
		TotalCount: ptr(2),
		Links:      &[]gen.Link{{Rel: ptr("self"), Href: ptr(atlas.URL() + v2 + clusters + "?includeCount=true&includeDeletedWithRetainedBackups=false&pageNum=1&itemsPerPage=100")}},
	})
	scheduled, err := client.GetBackupScheduleWithResponse(ctx, project, "orders", nil)
	ok("get schedule", 200, err, scheduled.HTTPResponse, v20240805)
	check(t, "get schedule", *scheduled.JSON200, gen.BackupSchedule{
		ClusterID: ptr("64f0c2d1b3d4e5f607182940"), ClusterName: ptr("orders"), AutoExportEnabled: ptr(false), UseOrgAndGroupNamesInExportPrefix: ptr(false),
		Policies: &[]map[string]any{{"id": "c745b429aed276d751d5ed00", "policyItems": []any{
			map[string]any{"id": "c745b429aed276d751d5ed01", "frequencyType": "hourly", "frequencyInterval": 6.0, "retentionUnit": "days", "retentionValue": 7.0},
			map[string]any{"id": "c745b429aed276d751d5ed02", "frequencyType": "daily", "frequencyInterval": 1.0, "retentionUnit": "days", "retentionValue": 7.0},
			map[string]any{"id": "c745b429aed276d751d5ed03", "frequencyType": "weekly", "frequencyInterval": 6.0, "retentionUnit": "weeks", "retentionValue": 4.0},
			map[string]any{"id": "c745b429aed276d751d5ed04", "frequencyType": "monthly", "frequencyInterval": 40.0, "retentionUnit": "months", "retentionValue": 12.0},
			map[string]any{"id": "c745b429aed276d751d5ed05", "frequencyType": "yearly", "frequencyInterval": 12.0, "retentionUnit": "years", "retentionValue": 1.0},
		}}},
		Links: &[]gen.Link{{Rel: ptr("self"), Href: ptr(atlas.URL() + v2 + schedule)},
			{Rel: ptr("https://cloud.mongodb.com/group"), Href: ptr(atlas.URL() + "/api/public/v1.0/groups/" + project)}},
	})

	// Deletion: not while a job writes to it.
	inUse, err := client.DeleteExportBucketWithResponse(ctx, project, *wantAWS.ID, nil)
	ok("delete in use", 400, err, inUse.HTTPResponse, plain)
	check(t, "delete in use", inUse.JSONDefault.ErrorCode, "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE")
	deleted, err := client.DeleteExportBucketWithResponse(ctx, project, *wantGCP.ID, nil)
	ok("delete", 204, err, deleted.HTTPResponse, "")
	atlas.Advance(time.Hour)
	v1deleted, err := client.V1DeleteExportBucketWithResponse(ctx, project, *v1bucket.ID, nil)
	ok("v1 delete", 204, err, v1deleted.HTTPResponse, "")
	again, err := client.DeleteExportBucketWithResponse(ctx, project, *wantGCP.ID, nil)
	ok("delete again", 404, err, again.HTTPResponse, plain)
	check(t, "delete again", *again.JSONDefault, gen.APIError{Error: 404, ErrorCode: "EXPORT_BUCKET_NOT_FOUND", Reason: ptr("Not Found"),
		Detail: ptr("No export Bucket with ID " + *wantGCP.ID + " does not exist."), Parameters: &[]any{*wantGCP.ID}})

	// Every operation was called, under its own name.
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
