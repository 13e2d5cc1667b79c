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

// The newest snapshot is exported, unless it is too old.
func ExampleClient_LatestSnapshot() {
	atlas, c, stop := start()
	defer stop()

	snapshot, err := c.LatestSnapshot(context.Background(), groupID, clusterName)
	switch {
	case errors.Is(err, client.ErrNotFound):
		fmt.Println("the cluster has none that can be exported")
	case err != nil:
		log.Fatal(err)
	case atlas.Now().Sub(snapshot.CreatedAt) > 24*time.Hour:
		fmt.Println("it is too old")
	default:
		fmt.Println(snapshot.ID, snapshot.SnapshotType)
	}
	// Output:
	// 6a01e0b45be2d84417c09f18 scheduled
}

func ExampleClient_TakeSnapshot() {
	atlas, c, stop := start()
	defer stop()

	snapshot, err := c.TakeSnapshot(context.Background(), groupID, clusterName, client.SnapshotRequest{Description: "before the migration", RetentionInDays: 7})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(snapshot.Status, snapshot.Exportable())

	snapshot, err = c.WaitForSnapshot(context.Background(), groupID, clusterName, snapshot.ID, client.SnapshotWaitOptions{
		Interval: time.Millisecond,
		Progress: func(client.SnapshotProgress) { atlas.Advance(10 * time.Minute) },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(snapshot.Status, snapshot.Exportable())
	// Output:
	// queued false
	// completed true
}

func ExampleClient_UpdateBackupSchedule() {
	_, c, stop := start()
	defer stop()
	bucket, err := c.CreateExportBucket(context.Background(), groupID, client.AWSBucket{BucketName: "acme-snapshots", IAMRoleID: roleID})
	if err != nil {
		log.Fatal(err)
	}

	enabled := true
	schedule, err := c.UpdateBackupSchedule(context.Background(), groupID, clusterName, client.BackupScheduleUpdate{
		AutoExportEnabled: &enabled,
		Export:            &client.AutoExport{ExportBucketID: bucket.ID, FrequencyType: "weekly"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(schedule.AutoExportEnabled, schedule.Export.FrequencyType)
	// Output:
	// true weekly
}

func ExampleClient_GetGroupByName() {
	_, c, stop := start()
	defer stop()
	group, err := c.GetGroupByName(context.Background(), "production")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(group.ID == sim.GroupID)
	// Output:
	// true
}
