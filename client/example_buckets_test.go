package client_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"

	"atlas-export-gateway/client"
)

// The three kinds of buckets implement BucketRequest; no other type does.
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
	fmt.Println(*bucket.RequirePrivateNetworking)
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
