package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// generated is what all answers of the generated client have.
type generated interface {
	StatusCode() int
	ContentType() string
	GetBody() []byte
}

// accepting makes the generated client ask for a version.
func accepting(mediaType string) gen.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Accept", mediaType)
		return nil
	}
}

func ptr[T any](value T) *T { return &value }

// Every operation, from the generated client over the gateway to the simulated Atlas and
// back: the status, every field of the answer, and what Atlas received.
func TestOperations(t *testing.T) {
	now := time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)
	seed := sim.DefaultSeed()
	seed.Groups[0].Clusters[1].PolicyItems = []sim.PolicyItem{{FrequencyType: "daily", FrequencyInterval: 1, RetentionUnit: "days", RetentionValue: 7}}
	atlas := sim.Start(t, sim.Config{Seed: seed, Now: func() time.Time { return now }, ExportDir: t.TempDir()})
	g := gatewaytest.StartFor(t, atlas.URL(), "responses: {check: enforce}")
	client := func(accept string) *gen.ClientWithResponses {
		c, err := gen.NewClientWithResponses(g.URL, gen.WithRequestEditorFn(accepting(accept)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	v1, v2, v2023 := client(plain), client(latest), client("application/vnd.atlas.2024-05-29+json")
	ctx := t.Context()

	// ids holds what Atlas makes up; <NAME> stands for it below.
	ids := map[string]string{"G": group, "ROLE": role, "SNAP": snapshot, "SHARDED": "6a01e0b45be2d84417c09f20", "GW": g.URL}
	expand := func(text string) string {
		for name, id := range ids {
			text = strings.ReplaceAll(text, "<"+name+">", id)
		}
		return text
	}
	bucket := func(c *gen.ClientWithResponses, from func(*gen.ExportBucketRequest) error) func() (generated, error) {
		return func() (generated, error) {
			var request gen.ExportBucketRequest
			if err := from(&request); err != nil {
				return nil, err
			}
			return c.CreateExportBucketWithResponse(ctx, group, nil, request)
		}
	}
	customData := []gen.CustomDataRequest{{Key: ptr("exported by"), Value: ptr("nightly")}, {Key: ptr("alone")}}

	const job = `"id":"<J1>","snapshotId":"<SNAP>","exportBucketId":"<B1>","createdAt":"2026-08-10T03:28:25Z",
		"customData":[{"key":"exported by","value":"nightly"},{"key":"alone"}],"links":[],
		"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/<G>/orders/2026-08-10T0327/1786332505"`
	cluster := func(id, name, clusterType string) string {
		return `{"id":"` + id + `","groupId":"<G>","name":"` + name + `","clusterType":"` + clusterType + `","stateName":"IDLE","links":[
			{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/` + name + `"},
			{"rel":"https://cloud.mongodb.com/restoreJobs","href":"<GW>/api/atlas/v2/groups/<G>/clusters/` + name + `/backup/restoreJobs"},
			{"rel":"https://cloud.mongodb.com/snapshots","href":"<GW>/api/atlas/v2/groups/<G>/clusters/` + name + `/backup/snapshots"}]}`
	}
	const schedule = `{"clusterId":"64f0c2d1b3d4e5f607182941","clusterName":"events","autoExportEnabled":false,
		"policies":[{"id":"abd35fa9958bfe45b1586d00","policyItems":[{"id":"abd35fa9958bfe45b1586d01","frequencyType":"daily","frequencyInterval":1,"retentionUnit":"days","retentionValue":7}]}],
		"useOrgAndGroupNamesInExportPrefix":false,"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/events/backup/schedule"},
		{"rel":"https://cloud.mongodb.com/group","href":"<GW>/api/public/v1.0/groups/<G>"}]}`
	const awsBucket = `"_id":"<B1>","cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"<ROLE>"`
	tests := []struct {
		operation string
		do        func() (generated, error)
		after     time.Duration // by which the clock advances first
		status    int
		body      string // JSON; "" for none
		id        string // what to call the id of the answer
		upstream  string // method and target that Atlas receives
		version   string // the media type it is forwarded as and answered with
		old       bool   // the version is deprecated
		content   string // JSON that Atlas receives; "" for none
	}{
		{
			operation: "createExportBucket",
			do: bucket(v2, func(r *gen.ExportBucketRequest) error {
				return r.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS, BucketName: "acme-snapshots", IamRoleID: role})
			}),
			status: 200, body: `{` + awsBucket + `}`, id: "B1",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2024,
			content: `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"<ROLE>"}`,
		},
		{
			operation: "createExportBucket",
			do: bucket(v2, func(r *gen.ExportBucketRequest) error {
				return r.FromAzureExportBucketRequest(gen.AzureExportBucketRequest{CloudProvider: gen.AzureExportBucketRequestCloudProviderAZURE, RoleID: role, ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", BucketName: ptr("snapshots")})
			}),
			status: 200, body: `{"_id":"<B2>","cloudProvider":"AZURE","bucketName":"snapshots","roleId":"<ROLE>","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`, id: "B2",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2024,
			content: `{"cloudProvider":"AZURE","bucketName":"snapshots","roleId":"<ROLE>","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`,
		},
		{
			operation: "createExportBucket",
			do: bucket(v2, func(r *gen.ExportBucketRequest) error {
				return r.FromGCPExportBucketRequest(gen.GCPExportBucketRequest{CloudProvider: gen.GCPExportBucketRequestCloudProviderGCP, RoleID: role, BucketName: "acme-archive"})
			}),
			status: 200, body: `{"_id":"<B3>","cloudProvider":"GCP","bucketName":"acme-archive","roleId":"<ROLE>"}`, id: "B3",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2024,
			content: `{"cloudProvider":"GCP","bucketName":"acme-archive","roleId":"<ROLE>"}`,
		},
		{
			operation: "createExportBucket",
			do: bucket(v2023, func(r *gen.ExportBucketRequest) error {
				return r.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{CloudProvider: gen.AWSExportBucketRequestCloudProviderAWS, BucketName: "acme-older", IamRoleID: role})
			}),
			status: 200, body: `{"_id":"<B4>","cloudProvider":"AWS","bucketName":"acme-older","iamRoleId":"<ROLE>"}`, id: "B4",
			upstream: "POST /api/atlas/v2/groups/<G>/backup/exportBuckets", version: of2023, old: true,
			content: `{"cloudProvider":"AWS","bucketName":"acme-older","iamRoleId":"<ROLE>"}`,
		},
		{
			operation: "updateBackupExportBucket",
			do: func() (generated, error) {
				return v2.UpdateBackupExportBucketWithResponse(ctx, group, ids["B1"], nil, gen.ExportBucketUpdate{RequirePrivateNetworking: true})
			},
			status: 200, body: `{` + awsBucket + `,"region":"us-east-1","requirePrivateNetworking":true,"links":[]}`,
			upstream: "PATCH /api/atlas/v2/groups/<G>/backup/exportBuckets/<B1>", version: of2024,
			content: `{"requirePrivateNetworking":true}`,
		},
		{
			operation: "getExportBucket",
			do: func() (generated, error) {
				return v2.GetExportBucketWithResponse(ctx, group, ids["B1"], nil)
			},
			status: 200, body: `{` + awsBucket + `,"region":"us-east-1","requirePrivateNetworking":true,"links":[]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/backup/exportBuckets/<B1>", version: of2024,
		},
		{
			operation: "listExportBuckets",
			do: func() (generated, error) {
				return v2.ListExportBucketsWithResponse(ctx, group, &gen.ListExportBucketsParams{ItemsPerPage: ptr(1), PageNum: ptr(2), IncludeCount: ptr(true)})
			},
			status: 200, body: `{"results":[{"_id":"<B2>","cloudProvider":"AZURE","bucketName":"snapshots","roleId":"<ROLE>","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots","links":[]}],"totalCount":4,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/backup/exportBuckets?includeCount=true&pageNum=2&itemsPerPage=1"},
				{"rel":"next","href":"<GW>/api/atlas/v2/groups/<G>/backup/exportBuckets?includeCount=true&pageNum=3&itemsPerPage=1"},
				{"rel":"previous","href":"<GW>/api/atlas/v2/groups/<G>/backup/exportBuckets?includeCount=true&pageNum=1&itemsPerPage=1"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/backup/exportBuckets?pageNum=2&itemsPerPage=1&includeCount=true", version: of2024,
		},
		{
			operation: "deleteExportBucket",
			do: func() (generated, error) {
				return v2.DeleteExportBucketWithResponse(ctx, group, ids["B3"], nil)
			},
			status:   204,
			upstream: "DELETE /api/atlas/v2/groups/<G>/backup/exportBuckets/<B3>", version: of2023,
		},
		{
			operation: "createBackupExport",
			do: func() (generated, error) {
				return v2.CreateBackupExportWithResponse(ctx, group, "orders", nil, gen.ExportJobRequest{SnapshotID: snapshot, ExportBucketID: ids["B1"], CustomData: &customData})
			},
			status: 200, body: `{` + job + `,"state":"Queued","exportStatus":{"exportedCollections":0,"totalCollections":0}}`, id: "J1",
			upstream: "POST /api/atlas/v2/groups/<G>/clusters/orders/backup/exports", version: of2023,
			content: `{"snapshotId":"<SNAP>","exportBucketId":"<B1>","customData":[{"key":"exported by","value":"nightly"},{"key":"alone"}]}`,
		},
		{
			operation: "createBackupExport",
			do: func() (generated, error) {
				return v2.CreateBackupExportWithResponse(ctx, group, "orders", nil, gen.ExportJobRequest{SnapshotID: snapshot, ExportBucketID: ids["B1"]})
			},
			status: 409, body: `{"error":409,"errorCode":"EXPORT_ALREADY_IN_PROGRESS","reason":"Conflict","detail":"An export of snapshot <SNAP> is already in progress.","parameters":["<SNAP>"]}`,
			upstream: "POST /api/atlas/v2/groups/<G>/clusters/orders/backup/exports", version: of2023,
			content: `{"snapshotId":"<SNAP>","exportBucketId":"<B1>"}`,
		},
		{
			operation: "getBackupExport", after: 30*time.Second + 345*time.Second,
			do: func() (generated, error) {
				return v2.GetBackupExportWithResponse(ctx, group, "orders", ids["J1"], nil)
			},
			status: 200, body: `{` + job + `,"state":"InProgress","exportStatus":{"exportedCollections":21,"totalCollections":42}}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/orders/backup/exports/<J1>", version: of2023,
		},
		{
			operation: "getBackupExport", after: 20 * time.Minute,
			do: func() (generated, error) {
				return v2.GetBackupExportWithResponse(ctx, group, "orders", ids["J1"], nil)
			},
			status: 200, body: `{` + job + `,"state":"Successful","finishedAt":"2026-08-10T03:40:25Z","exportStatus":{"exportedCollections":42,"totalCollections":42}}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/orders/backup/exports/<J1>", version: of2023,
		},
		{
			operation: "listBackupExports",
			do: func() (generated, error) {
				return v2.ListBackupExportsWithResponse(ctx, group, "orders", nil)
			},
			status: 200, body: `{"results":[{` + job + `,"state":"Successful","finishedAt":"2026-08-10T03:40:25Z","exportStatus":{"exportedCollections":42,"totalCollections":42}}],"totalCount":1,
				"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters/orders/backup/exports?includeCount=true&pageNum=1&itemsPerPage=100"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/orders/backup/exports", version: of2023,
		},
		{
			operation: "listClusters",
			do: func() (generated, error) {
				return v2.ListClustersWithResponse(ctx, group, nil)
			},
			status: 200, body: `{"results":[` + cluster("64f0c2d1b3d4e5f607182940", "orders", "REPLICASET") + `,` + cluster("64f0c2d1b3d4e5f607182941", "events", "SHARDED") + `],"totalCount":2,
				"links":[{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters?includeCount=true&includeDeletedWithRetainedBackups=false&pageNum=1&itemsPerPage=100"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters", version: "application/vnd.atlas.2024-08-05+json",
		},
		{
			operation: "listClusters",
			do: func() (generated, error) {
				return v2023.ListClustersWithResponse(ctx, group, &gen.ListClustersParams{PageNum: ptr(2), ItemsPerPage: ptr(1), IncludeCount: ptr(false), IncludeDeletedWithRetainedBackups: ptr(true)})
			},
			status: 200, body: `{"results":[` + cluster("64f0c2d1b3d4e5f607182941", "events", "SHARDED") + `],"links":[
				{"rel":"self","href":"<GW>/api/atlas/v2/groups/<G>/clusters?includeCount=false&includeDeletedWithRetainedBackups=true&pageNum=2&itemsPerPage=1"},
				{"rel":"previous","href":"<GW>/api/atlas/v2/groups/<G>/clusters?includeCount=false&includeDeletedWithRetainedBackups=true&pageNum=1&itemsPerPage=1"}]}`,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters?pageNum=2&itemsPerPage=1&includeCount=false&includeDeletedWithRetainedBackups=true", version: "application/vnd.atlas.2023-02-01+json", old: true,
		},
		{
			operation: "getBackupSchedule",
			do: func() (generated, error) {
				return v2.GetBackupScheduleWithResponse(ctx, group, "events", nil)
			},
			status: 200, body: schedule,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/events/backup/schedule", version: "application/vnd.atlas.2024-08-05+json",
		},
		{
			operation: "getBackupSchedule",
			do: func() (generated, error) {
				return v2023.GetBackupScheduleWithResponse(ctx, group, "events", nil)
			},
			status: 200, body: schedule,
			upstream: "GET /api/atlas/v2/groups/<G>/clusters/events/backup/schedule", version: of2023, old: true,
		},
		{
			operation: "v1CreateExportBucket",
			do: func() (generated, error) {
				return v1.V1CreateExportBucketWithResponse(ctx, group, &gen.V1CreateExportBucketParams{PageNum: ptr(1)}, gen.V1ExportBucketRequest{CloudProvider: gen.V1ExportBucketRequestCloudProviderAWS, BucketName: "acme-v1", IamRoleID: role})
			},
			status: 200, body: `{"_id":"<V1B>","cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>","projectId":"<G>"}`, id: "V1B",
			upstream: "POST /api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=1", version: plain,
			content: `{"cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>"}`,
		},
		{
			operation: "v1GetExportBucket",
			do: func() (generated, error) {
				return v1.V1GetExportBucketWithResponse(ctx, group, ids["V1B"], nil)
			},
			status: 200, body: `{"_id":"<V1B>","cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>","projectId":"<G>","region":"us-east-1"}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/backup/exportBuckets/<V1B>", version: plain,
		},
		{
			operation: "v1ListExportBuckets",
			do: func() (generated, error) {
				return v1.V1ListExportBucketsWithResponse(ctx, group, &gen.V1ListExportBucketsParams{PageNum: ptr(3), ItemsPerPage: ptr(1)})
			},
			status: 200, body: `{"results":[{"_id":"<V1B>","cloudProvider":"AWS","bucketName":"acme-v1","iamRoleId":"<ROLE>","projectId":"<G>","region":"us-east-1"}],"totalCount":3,"links":[
				{"rel":"self","href":"<GW>/api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=3&itemsPerPage=1"},
				{"rel":"previous","href":"<GW>/api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=2&itemsPerPage=1"}]}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/backup/exportBuckets?pageNum=3&itemsPerPage=1", version: plain,
		},
		{
			operation: "v1CreateBackupExport",
			do: func() (generated, error) {
				return v1.V1CreateBackupExportWithResponse(ctx, group, "events", nil, gen.V1ExportJobRequest{SnapshotID: ids["SHARDED"], ExportBucketID: ids["V1B"], CustomData: &[]gen.V1CustomDataRequest{{Key: "k", Value: "v"}}})
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
				return v1.V1GetBackupExportWithResponse(ctx, group, "events", ids["J2"], nil)
			},
			status: 200, body: `{"id":"<J2>","snapshotId":"<SHARDED>","exportBucketId":"<V1B>","createdAt":"2026-08-10T03:54:40Z","state":"Queued","customData":[{"key":"k","value":"v"}],
				"components":[{"exportId":"<C1>","replicaSetName":"atlas-9x2kqf-shard-0"},{"exportId":"<C2>","replicaSetName":"atlas-9x2kqf-shard-1"}],
				"prefix":"exported_snapshots/64f0c0ffb3d4e5f60718292f/<G>/events/2026-08-10T0327/1786334080"}`,
			upstream: "GET /api/atlas/v1.0/groups/<G>/clusters/events/backup/exports/<J2>", version: plain,
		},
		{
			operation: "v1ListBackupExports",
			do: func() (generated, error) {
				return v1.V1ListBackupExportsWithResponse(ctx, group, "events", &gen.V1ListBackupExportsParams{IncludeCount: ptr(false), ItemsPerPage: ptr(500)})
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
				return v1.V1DeleteExportBucketWithResponse(ctx, group, ids["B4"], nil)
			},
			status:   204,
			upstream: "DELETE /api/atlas/v1.0/groups/<G>/backup/exportBuckets/<B4>", version: plain,
		},
	}
	tested := map[string]bool{}
	for i, test := range tests {
		tested[test.operation] = true
		atlas.Advance(test.after)
		atlas.Reset()
		answer, err := test.do()
		if err != nil {
			t.Fatalf("%d %s: %v", i, test.operation, err)
		}
		var got map[string]any
		if body := answer.GetBody(); len(body) > 0 {
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%d %s: %v in %s", i, test.operation, err, body)
			}
		}
		learn(ids, test.id, got)
		if answer.StatusCode() != test.status {
			t.Errorf("%d %s: status %d, want %d: %s", i, test.operation, answer.StatusCode(), test.status, answer.GetBody())
			continue
		}
		// The answer, as it came over the wire and as the client read it.
		if test.body != "" {
			want := parse(t, expand(test.body))
			if diff := cmp.Diff(want, any(got)); diff != "" {
				t.Errorf("%d %s: answer:\n%s", i, test.operation, diff)
			}
			member := "JSON200"
			if test.status != 200 {
				member = "JSONDefault"
			}
			typed, err := json.Marshal(reflect.ValueOf(answer).Elem().FieldByName(member).Interface())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, parse(t, string(typed))); diff != "" {
				t.Errorf("%d %s: the client reads:\n%s", i, test.operation, diff)
			}
			contentType := test.version
			switch {
			case test.status != 200:
				contentType = plain
			case contentType != plain:
				contentType += ";charset=utf-8"
			}
			if answer.ContentType() != contentType {
				t.Errorf("%d %s: Content-Type %s, want %s", i, test.operation, answer.ContentType(), contentType)
			}
		}
		// The fields that Atlas sets: on every response, and on that of a deprecated version.
		header := reflect.ValueOf(answer).Elem().FieldByName("HTTPResponse").Interface().(*http.Response).Header
		if header.Get("RateLimit-Limit") != "1200" || header.Get("RateLimit-Remaining") == "" || header.Get("X-MongoDB-Service-Version") == "" ||
			(header.Get("Deprecation") == "Mon, 5 Aug 2024 00:00:00 GMT") != test.old || (header.Get("Sunset") == "Thu, 1 Jul 2027 00:00:00 GMT") != test.old {
			t.Errorf("%d %s: header %v", i, test.operation, header)
		}
		// What Atlas received: one signed request, and a challenge before the very first.
		requests := atlas.Requests(0)
		if i == 0 {
			if len(requests) != 2 || !requests[0].Challenged || requests[0].Body != "" {
				t.Errorf("the first call made %d requests", len(requests))
			}
			requests = requests[1:]
		}
		if len(requests) != 1 {
			t.Errorf("%d %s: Atlas received %d requests, want 1", i, test.operation, len(requests))
			continue
		}
		received := requests[0]
		if got, want := received.Method+" "+received.Target, expand(test.upstream); got != want {
			t.Errorf("%d %s: Atlas received %s, want %s", i, test.operation, got, want)
		}
		if received.Operation != test.operation || received.Caller != sim.PublicKey {
			t.Errorf("%d: Atlas received %s by %s, want %s", i, received.Operation, received.Caller, test.operation)
		}
		fields := map[string]string{}
		for _, field := range received.Header {
			fields[field.Name] = field.Value
		}
		if fields["Accept"] != test.version {
			t.Errorf("%d %s: forwarded as %s, want %s", i, test.operation, fields["Accept"], test.version)
		}
		switch {
		case test.content == "" && (received.Body != "" || fields["Content-Type"] != ""):
			t.Errorf("%d %s: Atlas received the content %q of type %s", i, test.operation, received.Body, fields["Content-Type"])
		case test.content != "":
			if diff := cmp.Diff(parse(t, expand(test.content)), parse(t, received.Body)); diff != "" {
				t.Errorf("%d %s: Atlas received:\n%s", i, test.operation, diff)
			}
		}
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

// learn remembers the ids that an answer brings.
func learn(ids map[string]string, name string, answer map[string]any) {
	if name == "" {
		return
	}
	for _, member := range []string{"_id", "id"} {
		if id, ok := answer[member].(string); ok {
			ids[name] = id
		}
	}
	if components, ok := answer["components"].([]any); ok {
		for i, component := range components {
			ids["C"+string(rune('1'+i))] = component.(map[string]any)["exportId"].(string)
		}
	}
}

func parse(t testing.TB, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}
