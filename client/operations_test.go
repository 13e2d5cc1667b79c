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

// Every operation of both generations: the whole result, and what Atlas received.
func TestOperations(t *testing.T) {
	now := time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)
	ways(t, sim.Config{Now: func() time.Time { return now }}, "responses: {check: enforce}\n", func(t *testing.T, atlas *sim.Server, way client.Config) {
		ctx := t.Context()
		c := newClient(t, way)
		v1 := c.V1()

		ids := map[string]string{"G": group, "ROLE": sim.AWSRole, "SNAP": sim.OrdersSnapshot}
		expand := func(text string) string {
			for id, value := range ids {
				text = strings.ReplaceAll(text, "<"+id+">", value)
			}
			return text
		}
		remember := func(id, value string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			ids[id] = value
		}
		seen := int64(0)
		// received compares the one signed request since the last call with method, target,
		// Accept and content.
		received := func(want ...string) {
			t.Helper()
			var got []string
			for _, r := range atlas.Requests(seen) {
				seen = r.Seq
				if r.Challenged {
					continue
				}
				accept := ""
				for _, field := range r.Header {
					if field.Name == "Accept" {
						accept = field.Value
					}
				}
				got = append(got, strings.TrimSpace(r.Method+" "+r.Target+" "+accept+" "+r.Body))
			}
			for i := range want {
				want[i] = expand(want[i])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Atlas received (-want +got):\n%s", diff)
			}
		}
		equal := func(what string, got, want any, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(client.Page[client.ExportJob]{}, client.Page[client.ExportBucket]{}, client.Page[client.Cluster]{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		// The gateway forwards the version that is resolved, and the documented slash.
		const newest = "application/vnd.atlas.2024-08-05+json"
		buckets, exports, slash := newest, newest, ""
		if strings.HasSuffix(t.Name(), "/gateway") {
			buckets, exports, slash = "application/vnd.atlas.2024-05-30+json", "application/vnd.atlas.2023-01-01+json", "/"
		}
		const v1Path, v2Path = "/api/atlas/v1.0/groups/<G>", "/api/atlas/v2/groups/<G>"
		v1Exports := v1Path + "/clusters/orders/backup/exports" + slash

		// Buckets.
		aws, err := c.CreateExportBucket(ctx, group, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole, RequirePrivateNetworking: true})
		remember("B1", aws.ID, err)
		wantAWS := client.ExportBucket{ID: aws.ID, CloudProvider: client.AWS, BucketName: "acme-snapshots", IAMRoleID: sim.AWSRole, RequirePrivateNetworking: true}
		equal("AWS", *aws, wantAWS, nil)
		received("POST " + v2Path + `/backup/exportBuckets ` + buckets + ` {"bucketName":"acme-snapshots","cloudProvider":"AWS","iamRoleId":"<ROLE>","requirePrivateNetworking":true}`)

		azure, err := c.CreateExportBucket(ctx, group, client.AzureBucket{ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", RoleID: sim.AzureRole, BucketName: "snapshots"})
		remember("B2", azure.ID, err)
		wantAzure := client.ExportBucket{ID: azure.ID, CloudProvider: client.Azure, BucketName: "snapshots", RoleID: sim.AzureRole,
			ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", TenantID: "8c4f3a90-5d1e-4b27-9a66-0f1e2d3c4b5a"}
		equal("Azure", *azure, wantAzure, nil)
		received("POST " + v2Path + `/backup/exportBuckets ` + buckets + ` {"bucketName":"snapshots","cloudProvider":"AZURE","roleId":"` + sim.AzureRole + `","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`)

		gcp, err := c.CreateExportBucket(ctx, group, client.GCPBucket{BucketName: "acme-archive", RoleID: sim.AWSRole})
		remember("B3", gcp.ID, err)
		equal("GCP", *gcp, client.ExportBucket{ID: gcp.ID, CloudProvider: client.GCP, BucketName: "acme-archive", RoleID: sim.AWSRole}, nil)
		received("POST " + v2Path + `/backup/exportBuckets ` + buckets + ` {"bucketName":"acme-archive","cloudProvider":"GCP","roleId":"<ROLE>"}`)

		updated, err := c.UpdateExportBucket(ctx, group, aws.ID, client.ExportBucketUpdate{RequirePrivateNetworking: false})
		wantAWS.Region, wantAWS.RequirePrivateNetworking = "us-east-1", false
		equal("update", updated, &wantAWS, err)
		received("PATCH " + v2Path + `/backup/exportBuckets/<B1> ` + buckets + ` {"requirePrivateNetworking":false}`)

		got, err := c.GetExportBucket(ctx, group, aws.ID)
		equal("get", got, &wantAWS, err)
		received("GET " + v2Path + `/backup/exportBuckets/<B1> ` + buckets)

		page, err := c.ExportBucketsPage(ctx, group, client.ListOptions{PageNum: 2, ItemsPerPage: 1})
		equal("page", page, &client.Page[client.ExportBucket]{Results: []client.ExportBucket{wantAzure}, TotalCount: 3}, err)
		received("GET " + v2Path + `/backup/exportBuckets?pageNum=2&itemsPerPage=1&includeCount=true ` + buckets)

		var listed []client.ExportBucket
		for bucket, err := range c.ListExportBuckets(ctx, group, client.ListOptions{ItemsPerPage: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			listed = append(listed, *bucket)
		}
		equal("list", listed, []client.ExportBucket{wantAWS, wantAzure, *gcp}, nil)
		received("GET "+v2Path+`/backup/exportBuckets?pageNum=1&itemsPerPage=2&includeCount=false `+buckets,
			"GET "+v2Path+`/backup/exportBuckets?pageNum=2&itemsPerPage=2&includeCount=false `+buckets)

		equal("delete", nil, nil, c.DeleteExportBucket(ctx, group, gcp.ID))
		received("DELETE " + v2Path + `/backup/exportBuckets/<B3> ` + exports)

		// Clusters.
		const clusterID = "64f0c2d1b3d4e5f607182940"
		clusters, err := c.ClustersPage(ctx, group, client.ListOptions{PageNum: 1, ItemsPerPage: 1})
		equal("clusters", clusters, &client.Page[client.Cluster]{Results: []client.Cluster{{ID: clusterID, GroupID: group, Name: cluster, ClusterType: "REPLICASET", StateName: "IDLE"}}, TotalCount: 2}, err)
		received("GET " + v2Path + `/clusters?pageNum=1&itemsPerPage=1&includeCount=true ` + newest)

		var clusterNames []string
		for cluster, err := range c.ListClusters(ctx, group, client.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			clusterNames = append(clusterNames, cluster.Name)
		}
		equal("cluster names", clusterNames, []string{cluster, "events"}, nil)
		received("GET " + v2Path + `/clusters?pageNum=1&includeCount=false ` + newest)

		schedule, err := c.GetBackupSchedule(ctx, group, cluster)
		equal("schedule", schedule, &client.BackupSchedule{ClusterID: clusterID, ClusterName: cluster}, err)
		received("GET " + v2Path + `/clusters/orders/backup/schedule ` + newest)

		// Jobs.
		job, err := c.CreateExport(ctx, group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot, ExportBucketID: aws.ID, CustomData: []client.CustomData{{Key: "exported by", Value: "nightly"}}})
		remember("J1", job.ID, err)
		wantJob := client.ExportJob{ID: job.ID, State: client.Queued, SnapshotID: sim.OrdersSnapshot, ExportBucketID: aws.ID, CreatedAt: now,
			Prefix: "exported_snapshots/" + sim.OrgID + "/" + group + "/orders/2026-08-10T0327/1786332505",
			Status: &client.ExportStatus{}, CustomData: []client.CustomData{{Key: "exported by", Value: "nightly"}}}
		equal("create", *job, wantJob, nil)
		received("POST " + v2Path + `/clusters/orders/backup/exports ` + exports + ` {"customData":[{"key":"exported by","value":"nightly"}],"exportBucketId":"<B1>","snapshotId":"<SNAP>"}`)

		atlas.Advance(30*time.Second + 345*time.Second)
		wantJob.State, wantJob.Status = client.InProgress, &client.ExportStatus{ExportedCollections: 21, TotalCollections: 42}
		running, err := c.GetExport(ctx, group, cluster, job.ID)
		equal("get", running, &wantJob, err)
		received("GET " + v2Path + `/clusters/orders/backup/exports/<J1> ` + exports)

		jobs, err := c.ExportsPage(ctx, group, cluster, client.ListOptions{})
		equal("page", jobs, &client.Page[client.ExportJob]{Results: []client.ExportJob{wantJob}, TotalCount: 1}, err)
		received("GET " + v2Path + `/clusters/orders/backup/exports?includeCount=true ` + exports)

		for found, err := range c.ListExports(ctx, group, cluster, client.ListOptions{}) {
			equal("list", found, &wantJob, err)
		}
		received("GET " + v2Path + `/clusters/orders/backup/exports?pageNum=1&includeCount=false ` + exports)

		found, err := c.FindExport(ctx, group, cluster, sim.OrdersSnapshot, now)
		equal("find", found, &wantJob, err)
		received("GET " + v2Path + `/clusters/orders/backup/exports?pageNum=1&itemsPerPage=500&includeCount=false ` + exports)

		// v1.0.
		found, err = v1.GetExport(ctx, group, cluster, job.ID)
		equal("v1 get", found, &wantJob, err)
		received("GET " + v1Path + "/clusters/orders/backup/exports/<J1> application/json")

		second, err := v1.CreateExport(ctx, group, cluster, client.ExportRequest{SnapshotID: sim.OrdersSnapshot2, ExportBucketID: aws.ID, CustomData: []client.CustomData{{Key: "a", Value: ""}}})
		remember("J2", second.ID, err)
		wantSecond := client.ExportJob{ID: second.ID, State: client.Queued, SnapshotID: sim.OrdersSnapshot2, ExportBucketID: aws.ID, CreatedAt: now.Add(375 * time.Second),
			Prefix: second.Prefix, Status: &client.ExportStatus{}, CustomData: []client.CustomData{{Key: "a"}}}
		equal("v1 create", second, &wantSecond, nil)
		received("POST " + v1Exports + ` application/json {"customData":[{"key":"a","value":""}],"exportBucketId":"<B1>","snapshotId":"` + sim.OrdersSnapshot2 + `"}`)

		jobs, err = v1.ExportsPage(ctx, group, cluster, client.ListOptions{ItemsPerPage: 1})
		equal("v1 page", jobs, &client.Page[client.ExportJob]{Results: []client.ExportJob{wantSecond}, TotalCount: 2}, err)
		received("GET " + v1Exports + `?itemsPerPage=1&includeCount=true application/json`)

		var both []client.ExportJob
		for job, err := range v1.ListExports(ctx, group, cluster, client.ListOptions{ItemsPerPage: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, *job)
		}
		equal("v1 list", both, []client.ExportJob{wantSecond, wantJob}, nil)
		received("GET "+v1Exports+`?pageNum=1&itemsPerPage=1&includeCount=false application/json`,
			"GET "+v1Exports+`?pageNum=2&itemsPerPage=1&includeCount=false application/json`)

		found, err = v1.FindExport(ctx, group, cluster, sim.OrdersSnapshot, now)
		equal("v1 find", found, &wantJob, err)
		received("GET " + v1Exports + `?pageNum=1&itemsPerPage=500&includeCount=false application/json`)

		older, err := v1.CreateExportBucket(ctx, group, client.AWSBucket{BucketName: "acme-older", IAMRoleID: sim.AWSRole})
		remember("B4", older.ID, err)
		wantOlder := client.ExportBucket{ID: older.ID, CloudProvider: client.AWS, BucketName: "acme-older", IAMRoleID: sim.AWSRole, ProjectID: group}
		equal("v1 bucket", *older, wantOlder, nil)
		received("POST " + v1Path + `/backup/exportBuckets application/json {"bucketName":"acme-older","cloudProvider":"AWS","iamRoleId":"<ROLE>"}`)

		wantOlder.Region = "us-east-1"
		got, err = v1.GetExportBucket(ctx, group, older.ID)
		equal("v1 get bucket", got, &wantOlder, err)
		received("GET " + v1Path + `/backup/exportBuckets/<B4> application/json`)

		page, err = v1.ExportBucketsPage(ctx, group, client.ListOptions{PageNum: 2, ItemsPerPage: 1})
		equal("v1 bucket page", page, &client.Page[client.ExportBucket]{Results: []client.ExportBucket{wantOlder}, TotalCount: 2}, err)
		received("GET " + v1Path + `/backup/exportBuckets?pageNum=2&itemsPerPage=1&includeCount=true application/json`)

		var names []string
		for bucket, err := range v1.ListExportBuckets(ctx, group, client.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, bucket.BucketName)
		}
		equal("v1 buckets", names, []string{"acme-snapshots", "acme-older"}, nil)
		received("GET " + v1Path + `/backup/exportBuckets?pageNum=1&includeCount=false application/json`)

		equal("v1 delete", nil, nil, v1.DeleteExportBucket(ctx, group, older.ID))
		received("DELETE " + v1Path + `/backup/exportBuckets/<B4> application/json`)
	})
}

// The schedule of a cluster whose snapshots Atlas exports by itself names their bucket.
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
