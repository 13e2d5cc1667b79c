package client_test

import (
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	newest         = "application/vnd.atlas.2024-08-05+json"
	v1Path, v2Path = "/api/atlas/v1.0/groups/<G>", "/api/atlas/v2/groups/<G>"
)

// now is the time at which the simulated Atlas starts.
var now = time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)

// recorder calls operations, and compares what they return and what Atlas received.
type recorder struct {
	t     *testing.T
	atlas *sim.Server
	c     *client.Client
	ids   map[string]string // by the names that stand for them in the expected requests
	seen  int64             // the number of the last request that was compared

	// The gateway forwards the version that is resolved, and the documented slash.
	buckets, exports string // Accept
	v1Exports        string // the path
}

// Every operation of both generations: the whole result, and what Atlas received.
func TestOperations(t *testing.T) {
	ways(t, sim.Config{Now: func() time.Time { return now }}, "responses: {check: enforce}\n", func(t *testing.T, atlas *sim.Server, way client.Config) {
		r := &recorder{t: t, atlas: atlas, c: newClient(t, way), ids: map[string]string{"G": group, "ROLE": sim.AWSRole, "SNAP": sim.OrdersSnapshot},
			buckets: newest, exports: newest, v1Exports: v1Path + "/clusters/orders/backup/exports"}
		if strings.HasSuffix(t.Name(), "/gateway") {
			r.buckets, r.exports = "application/vnd.atlas.2024-05-30+json", "application/vnd.atlas.2023-01-01+json"
			r.v1Exports += "/"
		}
		bucket := r.bucketOperations()
		r.clusterOperations()
		job := r.exportOperations(bucket)
		r.v1ExportOperations(bucket, job)
		r.v1BucketOperations()
	})
}

// remember keeps an id under a name.
func (r *recorder) remember(name, id string, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	r.ids[name] = id
}

// received compares the signed requests since the last call with method, target, Accept and
// content.
func (r *recorder) received(want ...string) {
	r.t.Helper()
	var got []string
	for _, request := range r.atlas.Requests(r.seen) {
		r.seen = request.Seq
		if request.Challenged {
			continue
		}
		accept := ""
		for _, field := range request.Header {
			if field.Name == "Accept" {
				accept = field.Value
			}
		}
		got = append(got, strings.TrimSpace(request.Method+" "+request.Target+" "+accept+" "+request.Body))
	}
	for i := range want {
		for name, id := range r.ids {
			want[i] = strings.ReplaceAll(want[i], "<"+name+">", id)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("Atlas received (-want +got):\n%s", diff)
	}
}

// equal compares a whole result.
func (r *recorder) equal(what string, got, want any, err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(client.Page[client.ExportJob]{}, client.Page[client.ExportBucket]{}, client.Page[client.Cluster]{}, client.Page[client.Group]{})); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// bucketOperations leaves two buckets, and returns the first.
func (r *recorder) bucketOperations() client.ExportBucket {
	aws, err := r.c.CreateExportBucket(r.t.Context(), group, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole, RequirePrivateNetworking: true})
	r.remember("B1", aws.ID, err)
	wantAWS := client.ExportBucket{ID: aws.ID, CloudProvider: client.AWS, BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole, RequirePrivateNetworking: new(true)}
	r.equal("AWS", *aws, wantAWS, nil)
	r.received("POST " + v2Path + `/backup/exportBuckets ` + r.buckets + ` {"bucketName":"acme-snapshots","cloudProvider":"AWS","iamRoleId":"<ROLE>","requirePrivateNetworking":true}`)

	azure, err := r.c.CreateExportBucket(r.t.Context(), group, client.AzureBucket{ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", RoleID: sim.AzureRole, BucketName: "snapshots"})
	r.remember("B2", azure.ID, err)
	wantAzure := client.ExportBucket{ID: azure.ID, CloudProvider: client.Azure, BucketName: "snapshots", RoleID: sim.AzureRole,
		ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", TenantID: "8c4f3a90-5d1e-4b27-9a66-0f1e2d3c4b5a"}
	r.equal("Azure", *azure, wantAzure, nil)
	r.received("POST " + v2Path + `/backup/exportBuckets ` + r.buckets + ` {"bucketName":"snapshots","cloudProvider":"AZURE","roleId":"` + sim.AzureRole + `","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`)

	gcp, err := r.c.CreateExportBucket(r.t.Context(), group, client.GCPBucket{BucketName: "acme-archive", RoleID: sim.AWSRole})
	r.remember("B3", gcp.ID, err)
	r.equal("GCP", *gcp, client.ExportBucket{ID: gcp.ID, CloudProvider: client.GCP, BucketName: "acme-archive", RoleID: sim.AWSRole}, nil)
	r.received("POST " + v2Path + `/backup/exportBuckets ` + r.buckets + ` {"bucketName":"acme-archive","cloudProvider":"GCP","roleId":"<ROLE>"}`)

	updated, err := r.c.UpdateExportBucket(r.t.Context(), group, aws.ID, client.ExportBucketUpdate{RequirePrivateNetworking: false})
	wantAWS.RequirePrivateNetworking = new(false)
	read := wantAWS // lists have no region
	read.Region = "us-east-1"
	r.equal("update", updated, &read, err)
	r.received("PATCH " + v2Path + `/backup/exportBuckets/<B1> ` + r.buckets + ` {"requirePrivateNetworking":false}`)

	got, err := r.c.GetExportBucket(r.t.Context(), group, aws.ID)
	r.equal("get", got, &read, err)
	r.received("GET " + v2Path + `/backup/exportBuckets/<B1> ` + r.buckets)

	page, err := r.c.ExportBucketsPage(r.t.Context(), group, client.ListOptions{PageNum: 2, ItemsPerPage: 1})
	r.equal("page", page, &client.Page[client.ExportBucket]{Results: []client.ExportBucket{wantAzure}, TotalCount: 3}, err)
	r.received("GET " + v2Path + `/backup/exportBuckets?pageNum=2&itemsPerPage=1&includeCount=true ` + r.buckets)

	var listed []client.ExportBucket
	for bucket, err := range r.c.ListExportBuckets(r.t.Context(), group, client.ListOptions{ItemsPerPage: 2}) {
		if err != nil {
			r.t.Fatal(err)
		}
		listed = append(listed, *bucket)
	}
	r.equal("list", listed, []client.ExportBucket{wantAWS, wantAzure, *gcp}, nil)
	r.received("GET "+v2Path+`/backup/exportBuckets?pageNum=1&itemsPerPage=2&includeCount=false `+r.buckets,
		"GET "+v2Path+`/backup/exportBuckets?pageNum=2&itemsPerPage=2&includeCount=false `+r.buckets)

	r.equal("delete", nil, nil, r.c.DeleteExportBucket(r.t.Context(), group, gcp.ID))
	r.received("DELETE " + v2Path + `/backup/exportBuckets/<B3> ` + r.exports)
	return wantAWS
}

func (r *recorder) clusterOperations() {
	const clusterID = "64f0c2d1b3d4e5f607182940"
	clusters, err := r.c.ClustersPage(r.t.Context(), group, client.ListOptions{PageNum: 1, ItemsPerPage: 1})
	r.equal("clusters", clusters, &client.Page[client.Cluster]{Results: []client.Cluster{{ID: clusterID, GroupID: group, Name: cluster, ClusterType: "REPLICASET", StateName: "IDLE"}}, TotalCount: 2}, err)
	r.received("GET " + v2Path + `/clusters?pageNum=1&itemsPerPage=1&includeCount=true ` + newest)

	var clusterNames []string
	for cluster, err := range r.c.ListClusters(r.t.Context(), group, client.ListOptions{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		clusterNames = append(clusterNames, cluster.Name)
	}
	r.equal("cluster names", clusterNames, []string{cluster, "events"}, nil)
	r.received("GET " + v2Path + `/clusters?pageNum=1&includeCount=false ` + newest)

	schedule, err := r.c.GetBackupSchedule(r.t.Context(), group, cluster)
	r.equal("schedule", schedule, &client.BackupSchedule{ClusterID: clusterID, ClusterName: cluster, NextSnapshot: time.Date(2026, 8, 10, 9, 27, 0, 0, time.UTC)}, err)
	r.received("GET " + v2Path + `/clusters/orders/backup/schedule ` + newest)
}

// exportOperations leaves one job, and returns it.
func (r *recorder) exportOperations(aws client.ExportBucket) client.ExportJob {
	job, err := r.c.CreateExport(r.t.Context(), group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: aws.ID, CustomData: []client.CustomData{{Key: "exported by", Value: "nightly"}}})
	r.remember("J1", job.ID, err)
	wantJob := client.ExportJob{ID: job.ID, State: client.Queued, SnapshotID: sim.OrdersSnapshot, ExportBucketID: aws.ID, CreatedAt: now,
		Prefix: "exported_snapshots/" + sim.OrgID + "/" + group + "/orders/2026-08-10T0327/1786332505",
		Status: &client.ExportStatus{}, CustomData: []client.CustomData{{Key: "exported by", Value: "nightly"}}}
	r.equal("create", *job, wantJob, nil)
	r.received("POST " + v2Path + `/clusters/orders/backup/exports ` + r.exports + ` {"customData":[{"key":"exported by","value":"nightly"}],"exportBucketId":"<B1>","snapshotId":"<SNAP>"}`)

	r.atlas.Advance(30*time.Second + 345*time.Second)
	wantJob.State, wantJob.Status = client.InProgress, &client.ExportStatus{ExportedCollections: 21, TotalCollections: 42}
	running, err := r.c.GetExport(r.t.Context(), group, cluster, job.ID)
	r.equal("get", running, &wantJob, err)
	r.received("GET " + v2Path + `/clusters/orders/backup/exports/<J1> ` + r.exports)

	jobs, err := r.c.ExportsPage(r.t.Context(), group, cluster, client.ListOptions{})
	r.equal("page", jobs, &client.Page[client.ExportJob]{Results: []client.ExportJob{wantJob}, TotalCount: 1}, err)
	r.received("GET " + v2Path + `/clusters/orders/backup/exports?includeCount=true ` + r.exports)

	for found, err := range r.c.ListExports(r.t.Context(), group, cluster, client.ListOptions{}) {
		r.equal("list", found, &wantJob, err)
	}
	r.received("GET " + v2Path + `/clusters/orders/backup/exports?pageNum=1&includeCount=false ` + r.exports)

	found, err := r.c.FindExport(r.t.Context(), group, cluster, sim.OrdersSnapshot, now)
	r.equal("find", found, &wantJob, err)
	r.received("GET " + v2Path + `/clusters/orders/backup/exports?pageNum=1&itemsPerPage=500&includeCount=false ` + r.exports)
	return wantJob
}

func (r *recorder) v1ExportOperations(aws client.ExportBucket, wantJob client.ExportJob) {
	found, err := r.c.V1().GetExport(r.t.Context(), group, cluster, wantJob.ID)
	r.equal("v1 get", found, &wantJob, err)
	r.received("GET " + v1Path + "/clusters/orders/backup/exports/<J1> application/json")

	second, err := r.c.V1().CreateExport(r.t.Context(), group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot2, ExportBucketID: aws.ID, CustomData: []client.CustomData{{Key: "a", Value: ""}}})
	r.remember("J2", second.ID, err)
	wantSecond := client.ExportJob{ID: second.ID, State: client.Queued, SnapshotID: sim.OrdersSnapshot2, ExportBucketID: aws.ID, CreatedAt: now.Add(375 * time.Second),
		Prefix: second.Prefix, Status: &client.ExportStatus{}, CustomData: []client.CustomData{{Key: "a"}}}
	r.equal("v1 create", second, &wantSecond, nil)
	r.received("POST " + r.v1Exports + ` application/json {"customData":[{"key":"a","value":""}],"exportBucketId":"<B1>","snapshotId":"` + sim.OrdersSnapshot2 + `"}`)

	jobs, err := r.c.V1().ExportsPage(r.t.Context(), group, cluster, client.ListOptions{ItemsPerPage: 1})
	r.equal("v1 page", jobs, &client.Page[client.ExportJob]{Results: []client.ExportJob{wantSecond}, TotalCount: 2}, err)
	r.received("GET " + r.v1Exports + `?itemsPerPage=1&includeCount=true application/json`)

	var both []client.ExportJob
	for job, err := range r.c.V1().ListExports(r.t.Context(), group, cluster, client.ListOptions{ItemsPerPage: 1}) {
		if err != nil {
			r.t.Fatal(err)
		}
		both = append(both, *job)
	}
	r.equal("v1 list", both, []client.ExportJob{wantSecond, wantJob}, nil)
	r.received("GET "+r.v1Exports+`?pageNum=1&itemsPerPage=1&includeCount=false application/json`,
		"GET "+r.v1Exports+`?pageNum=2&itemsPerPage=1&includeCount=false application/json`)

	found, err = r.c.V1().FindExport(r.t.Context(), group, cluster, sim.OrdersSnapshot, now)
	r.equal("v1 find", found, &wantJob, err)
	r.received("GET " + r.v1Exports + `?pageNum=1&itemsPerPage=500&includeCount=false application/json`)
}

func (r *recorder) v1BucketOperations() {
	older, err := r.c.V1().CreateExportBucket(r.t.Context(), group, client.AWSBucket{BucketName: "acme-older", IAMRoleID: sim.AWSRole})
	r.remember("B4", older.ID, err)
	wantOlder := client.ExportBucket{ID: older.ID, CloudProvider: client.AWS, BucketName: "acme-older", IAMRoleID: sim.AWSRole, ProjectID: group}
	r.equal("v1 bucket", *older, wantOlder, nil)
	r.received("POST " + v1Path + `/backup/exportBuckets application/json {"bucketName":"acme-older","cloudProvider":"AWS","iamRoleId":"<ROLE>"}`)

	read := wantOlder // lists have no region
	read.Region = "us-east-1"
	got, err := r.c.V1().GetExportBucket(r.t.Context(), group, older.ID)
	r.equal("v1 get bucket", got, &read, err)
	r.received("GET " + v1Path + `/backup/exportBuckets/<B4> application/json`)

	page, err := r.c.V1().ExportBucketsPage(r.t.Context(), group, client.ListOptions{PageNum: 2, ItemsPerPage: 1})
	r.equal("v1 bucket page", page, &client.Page[client.ExportBucket]{Results: []client.ExportBucket{wantOlder}, TotalCount: 2}, err)
	r.received("GET " + v1Path + `/backup/exportBuckets?pageNum=2&itemsPerPage=1&includeCount=true application/json`)

	var names []string
	for bucket, err := range r.c.V1().ListExportBuckets(r.t.Context(), group, client.ListOptions{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		names = append(names, bucket.BucketName)
	}
	r.equal("v1 buckets", names, []string{"acme-snapshots", "acme-older"}, nil)
	r.received("GET " + v1Path + `/backup/exportBuckets?pageNum=1&includeCount=false application/json`)

	r.equal("v1 delete", nil, nil, r.c.V1().DeleteExportBucket(r.t.Context(), group, older.ID))
	r.received("DELETE " + v1Path + `/backup/exportBuckets/<B4> application/json`)
}

// The schedule of a cluster whose snapshots Atlas exports by itself names the bucket.
func TestAutoExport(t *testing.T) {
	const bucket = "65a9d3e1f20b4c7788990099"
	seed := sim.DefaultSeed()
	seed.Groups[0].Buckets = append(seed.Groups[0].Buckets, sim.Bucket{ID: bucket, CloudProvider: "AWS", BucketName: "acme-snapshots", IamRoleID: sim.AWSRole})
	seed.Groups[0].Clusters[0].AutoExportBucketID, seed.Groups[0].Clusters[0].AutoExportFrequency = bucket, "weekly"
	atlas := sim.Start(t, sim.Config{Seed: seed})
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.PublicKey, sim.PrivateKey)})
	got, err := c.GetBackupSchedule(t.Context(), group, cluster)
	if err != nil {
		t.Fatal(err)
	}
	if want := (&client.AutoExport{ExportBucketID: bucket, FrequencyType: "weekly"}); !got.AutoExportEnabled || !cmp.Equal(got.Export, want) {
		t.Errorf("%+v", got)
	}
}
