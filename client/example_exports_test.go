package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/sim"
)

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

// The connection breaks after the export was started. The client does not send the create again.
// It says that the outcome is not known, and FindExport finds the job.
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
			err = unknown // Atlas may still be carrying it out
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
			case p.Job.Status != nil: // only of replica sets
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

// The end of the wait does not end the job.
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

// All mistakes are found at once, before anything is sent.
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
