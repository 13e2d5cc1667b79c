package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

// The ids of the simulated Atlas that the examples call.
const (
	groupID     = sim.GroupID
	clusterName = sim.OrdersCluster
	snapshotID  = sim.OrdersSnapshot
	roleID      = sim.AWSRole
)

// start returns a simulated Atlas and a client that calls it.
func start() (atlas *sim.Server, c *client.Client, stop func()) {
	atlas, err := sim.New(sim.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := atlas.Listen(); err != nil {
		log.Fatal(err)
	}
	c, err = client.New(client.Config{BaseURL: atlas.URL(), Credential: client.APIKey(sim.PublicKey, sim.PrivateKey)})
	if err != nil {
		log.Fatal(err)
	}
	return atlas, c, func() {
		c.CloseIdleConnections()
		atlas.Close()
	}
}

// startExport returns a job that is under way.
func startExport(c *client.Client, snapshotID string) *client.ExportJob {
	bucket, err := c.CreateExportBucket(context.Background(), groupID, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: roleID})
	if err != nil {
		log.Fatal(err)
	}
	job, err := c.CreateExport(context.Background(), groupID, clusterName, client.ExportRequest{SnapshotID: snapshotID, ExportBucketID: bucket.ID})
	if err != nil {
		log.Fatal(err)
	}
	return job
}

// From a bucket to a finished export.
func Example() {
	atlas, c, stop := start()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()

	bucket, err := c.CreateExportBucket(ctx, groupID, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: roleID})
	if err != nil {
		log.Fatal(err)
	}
	job, err := c.CreateExport(ctx, groupID, clusterName, client.ExportRequest{
		SnapshotID:     snapshotID,
		ExportBucketID: bucket.ID,
		CustomData:     []client.CustomData{{Key: "exported by", Value: "nightly"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	atlas.Advance(12 * time.Minute) // at Atlas, this takes its time
	job, err = c.WaitForExport(ctx, groupID, clusterName, job.ID, client.WaitOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.State, job.Status.ExportedCollections, "of", job.Status.TotalCollections, "collections")
	// Output:
	// Successful 42 of 42 collections
}

// The credential is an API key, a service account or a token, of Atlas or of a gateway.
func ExampleNew() {
	for _, credential := range []client.Credential{
		client.APIKey("publ", "private"),
		client.ServiceAccount("mdb_sa_id_1", "mdb_sa_sk_1"),
		client.BearerToken("token"),
	} {
		c, err := client.New(client.Config{BaseURL: "https://gateway.example.com", Credential: credential})
		if err != nil {
			log.Fatal(err)
		}
		defer c.CloseIdleConnections()
		fmt.Println(credential)
	}
	// Output:
	// API key publ
	// service account mdb_sa_id_1
	// bearer token
}

func ExampleFromEnv() {
	os.Setenv("MONGODB_ATLAS_BASE_URL", "https://gateway.example.com")
	os.Setenv("MONGODB_ATLAS_PUBLIC_API_KEY", "publ")
	os.Setenv("MONGODB_ATLAS_PRIVATE_API_KEY", "private")
	defer os.Unsetenv("MONGODB_ATLAS_BASE_URL")
	defer os.Unsetenv("MONGODB_ATLAS_PUBLIC_API_KEY")
	defer os.Unsetenv("MONGODB_ATLAS_PRIVATE_API_KEY")

	config, err := client.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	config.UserAgent = "nightly-export/1.0"
	c, err := client.New(config)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseIdleConnections()
	fmt.Println(config.BaseURL, config.Credential)
	// Output:
	// https://gateway.example.com API key publ
}

func ExampleFromEnviron() {
	_, err := client.FromEnviron([]string{"MONGODB_ATLAS_CLIENT_ID=mdb_sa_id_1"})
	fmt.Println(err)
	// Output:
	// client: MONGODB_ATLAS_CLIENT_ID is set, and MONGODB_ATLAS_CLIENT_SECRET is not
}

// A dry run: what would be sent is printed, and nothing is.
func ExampleConfig_beforeSend() {
	dryRun := errors.New("dry run")
	c, err := client.New(client.Config{
		BaseURL: "https://gateway.example.com",
		BeforeSend: func(r *http.Request) error {
			fmt.Println(r.Method, r.URL)
			if r.GetBody != nil {
				body, err := r.GetBody()
				if err != nil {
					return err
				}
				content, err := io.ReadAll(body)
				if err != nil {
					return err
				}
				fmt.Printf("%s\n", content)
			}
			return dryRun
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.CreateExportBucket(context.Background(), groupID, client.GCPBucket{BucketName: "acme-snapshots", RoleID: roleID})
	fmt.Println(errors.Is(err, dryRun))
	// Output:
	// POST https://gateway.example.com/api/atlas/v2/groups/64f0c1a2b3d4e5f607182930/backup/exportBuckets
	// {"bucketName":"acme-snapshots","cloudProvider":"GCP","roleId":"65a9d2f4f20b4c7788990001"}
	// true
}

// The three kinds of buckets are one type; another can't be made.
func ExampleClient_CreateExportBucket() {
	_, c, stop := start()
	defer stop()
	for _, request := range []client.BucketRequest{
		client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: roleID},
		client.AzureBucket{ServiceURL: "https://acmestore.blob.core.windows.net/snapshots", RoleID: roleID},
		client.GCPBucket{BucketName: "acme-snapshots", RoleID: roleID},
	} {
		bucket, err := c.CreateExportBucket(context.Background(), groupID, request)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(bucket.CloudProvider, cmp.Or(bucket.BucketName, bucket.ServiceURL))
	}
	// Output:
	// AWS acme-snapshots
	// AZURE https://acmestore.blob.core.windows.net/snapshots
	// GCP acme-snapshots
}

func ExampleClient_GetExportBucket() {
	_, c, stop := start()
	defer stop()
	id := startExport(c, snapshotID).ExportBucketID

	bucket, err := c.GetExportBucket(context.Background(), groupID, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bucket.CloudProvider, bucket.BucketName, bucket.Region)
	// Output:
	// AWS acme-snapshots us-east-1
}

func ExampleClient_ListExportBuckets() {
	_, c, stop := start()
	defer stop()
	startExport(c, snapshotID)

	for bucket, err := range c.ListExportBuckets(context.Background(), groupID, client.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(bucket.CloudProvider, bucket.BucketName)
	}
	// Output:
	// AWS acme-snapshots
}

func ExampleClient_ExportBucketsPage() {
	_, c, stop := start()
	defer stop()
	startExport(c, snapshotID)

	page, err := c.ExportBucketsPage(context.Background(), groupID, client.ListOptions{PageNum: 2, ItemsPerPage: 1})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(page.Results), "of", page.TotalCount)
	// Output:
	// 0 of 1
}

func ExampleClient_UpdateExportBucket() {
	_, c, stop := start()
	defer stop()
	id := startExport(c, snapshotID).ExportBucketID

	bucket, err := c.UpdateExportBucket(context.Background(), groupID, id, client.ExportBucketUpdate{RequirePrivateNetworking: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bucket.RequirePrivateNetworking)
	// Output:
	// true
}

func ExampleClient_DeleteExportBucket() {
	_, c, stop := start()
	defer stop()
	job := startExport(c, snapshotID)

	err := c.DeleteExportBucket(context.Background(), groupID, job.ExportBucketID)
	if errors.Is(err, client.ErrConflict) {
		fmt.Println("an export still writes to it")
	}
	// Output:
	// an export still writes to it
}

func ExampleClient_ListClusters() {
	_, c, stop := start()
	defer stop()
	for cluster, err := range c.ListClusters(context.Background(), groupID, client.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(cluster.Name, cluster.ClusterType)
	}
	// Output:
	// orders REPLICASET
	// events SHARDED
}

func ExampleClient_CreateExport() {
	_, c, stop := start()
	defer stop()
	bucket, err := c.CreateExportBucket(context.Background(), groupID, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: roleID})
	if err != nil {
		log.Fatal(err)
	}

	request := client.ExportRequest{SnapshotID: snapshotID, ExportBucketID: bucket.ID}
	for range 2 {
		job, err := c.CreateExport(context.Background(), groupID, clusterName, request)
		switch {
		case errors.Is(err, client.ErrConflict):
			fmt.Println("the snapshot is being exported")
		case errors.Is(err, client.ErrUnknownOutcome):
			fmt.Println("it may have started: see FindExport")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(job.State)
		}
	}
	// Output:
	// Queued
	// the snapshot is being exported
}

func ExampleClient_GetExport() {
	atlas, c, stop := start()
	defer stop()
	id := startExport(c, snapshotID).ID
	atlas.Advance(6 * time.Minute)

	job, err := c.GetExport(context.Background(), groupID, clusterName, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.State, job.State.Ended())
	// Output:
	// InProgress false
}

func ExampleClient_ListExports() {
	_, c, stop := start()
	defer stop()
	startExport(c, sim.OrdersSnapshot)
	startExport(c, sim.OrdersSnapshot2)

	for job, err := range c.ListExports(context.Background(), groupID, clusterName, client.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(job.SnapshotID, job.State)
	}
	// Unordered output:
	// 6a01e0b45be2d84417c09f10 Queued
	// 6a01e0b45be2d84417c09f11 Queued
}

func ExampleClient_ExportsPage() {
	_, c, stop := start()
	defer stop()
	startExport(c, snapshotID)

	page, err := c.ExportsPage(context.Background(), groupID, clusterName, client.ListOptions{ItemsPerPage: 10})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(page.Results), "of", page.TotalCount)
	// Output:
	// 1 of 1
}

// The connection breaks after the export was started. Nobody sends it again: the client
// says that it can't know, and FindExport looks.
func ExampleClient_FindExport() {
	atlas, c, stop := start()
	defer stop()
	bucketID := startExport(c, sim.OrdersSnapshot2).ExportBucketID
	atlas.SetFaults([]sim.Fault{{Kind: sim.FaultResetAfter, Count: 1}})

	job, err := c.CreateExport(context.Background(), groupID, clusterName, client.ExportRequest{SnapshotID: snapshotID, ExportBucketID: bucketID})
	var unknown *client.UnknownOutcomeError
	if errors.As(err, &unknown) {
		const clocksDiffer = time.Minute
		job, err = c.FindExport(context.Background(), groupID, clusterName, snapshotID, unknown.SentAt.Add(-clocksDiffer))
		if errors.Is(err, client.ErrNotFound) {
			err = unknown // it may still come
		}
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.SnapshotID, job.State)
	// Output:
	// 6a01e0b45be2d84417c09f10 Queued
}

func ExampleClient_WaitForExport() {
	atlas, c, stop := start()
	defer stop()
	id := startExport(c, snapshotID).ID

	_, err := c.WaitForExport(context.Background(), groupID, clusterName, id, client.WaitOptions{
		Interval: time.Millisecond, // the default is for real exports
		Progress: func(p client.ExportProgress) {
			switch {
			case p.Err != nil:
				fmt.Println(p.Err)
			case p.Job.Status != nil: // of replica sets alone
				fmt.Println(p.Job.State, p.Job.Status.ExportedCollections, "of", p.Job.Status.TotalCollections)
			default:
				fmt.Println(p.Job.State)
			}
			atlas.Advance(375 * time.Second)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// Queued 0 of 0
	// InProgress 21 of 42
	// Successful 42 of 42
}

// A job that fails says why.
func ExampleExportError() {
	atlas, c, stop := start()
	defer stop()
	id := startExport(c, sim.FailingSnapshot).ID
	atlas.Advance(12 * time.Minute)

	_, err := c.WaitForExport(context.Background(), groupID, clusterName, id, client.WaitOptions{})
	var failed *client.ExportError
	if errors.As(err, &failed) && failed.Job.StateReason != nil {
		fmt.Println(failed.Job.State, failed.Job.StateReason.ErrorCode)
		fmt.Println(failed.Job.StateReason.Message)
	}
	// Output:
	// Failed CANNOT_ASSUME_ROLE
	// The role of the export bucket can no longer be assumed.
}

// Stopping to wait does not stop the job.
func ExampleWaitError() {
	_, c, stop := start()
	defer stop()
	id := startExport(c, snapshotID).ID

	ctx, cancel := context.WithCancel(context.Background())
	_, err := c.WaitForExport(ctx, groupID, clusterName, id, client.WaitOptions{Progress: func(client.ExportProgress) { cancel() }})
	var stopped *client.WaitError
	if errors.As(err, &stopped) {
		fmt.Println(stopped.Job.State, errors.Is(err, context.Canceled))
	}
	// Output:
	// Queued true
}

// The kind of an error is found with errors.Is, what Atlas said with errors.As.
func ExampleError() {
	_, c, stop := start()
	defer stop()

	_, err := c.GetExportBucket(context.Background(), groupID, "000000000000000000000000")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	var refused *client.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Status, refused.Code)
		fmt.Println(refused.Detail)
	}
	// Output:
	// true
	// 404 EXPORT_BUCKET_NOT_FOUND
	// No export Bucket with ID 000000000000000000000000 does not exist.
}

// Mistakes are found before anything is sent, all of them at once.
func ExampleExportRequest_Validate() {
	err := client.ExportRequest{SnapshotID: "6a01e0b45be2d84417c09f1"}.Validate()
	var invalid *client.Error
	if errors.As(err, &invalid) {
		for _, violation := range invalid.Violations {
			fmt.Println(violation.Field, violation.Description)
		}
	}
	// Output:
	// /snapshotId is not 24 hexadecimal digits in lower case
	// /exportBucketId is required
}

// The deprecated generation has the same methods.
func ExampleClient_V1() {
	_, c, stop := start()
	defer stop()
	id := startExport(c, snapshotID).ID

	job, err := c.V1().GetExport(context.Background(), groupID, clusterName, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.State)
	// Output:
	// Queued
}
