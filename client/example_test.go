package client_test

import (
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

// startExport starts an export, and returns the job.
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
	atlas.Advance(12 * time.Minute) // at Atlas, an export takes its time
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

// A dry run: the request is printed, and not sent.
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

// errors.Is finds the kind of an error, and errors.As what Atlas said.
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
