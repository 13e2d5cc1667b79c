package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"atlas-export-gateway/client"
)

// How far the program looks for what uses a bucket. It tells what it did not see.
const (
	useTime     = 20 * time.Second
	useClusters = 200
)

// uses returns a line for each thing that uses a bucket: the exports to it that are under way, and
// the clusters whose backup schedule exports to it. What can't be read is a line, too.
func (s *session) uses(ctx context.Context, bucketID string) (lines []string) {
	ctx, cancel := context.WithTimeout(ctx, useTime)
	defer cancel()
	var unread error
	hidden, clusters := 0, 0
	for cluster, err := range s.ListClusters(ctx, s.group, largestPages) {
		if err != nil {
			return append(lines, fmt.Sprintf("what uses the bucket is not known, since the clusters can't be listed: %v", err))
		}
		if clusters++; clusters > useClusters {
			return append(lines, fmt.Sprintf("the group has more than %d clusters; the others were not looked at", useClusters))
		}
		found, err := s.usesOf(ctx, cluster.Name, bucketID)
		lines = append(lines, found...)
		if err != nil {
			hidden++
			unread = err
		}
	}
	if hidden > 0 {
		lines = append(lines, fmt.Sprintf("%d of %d clusters could not be looked at: %v", hidden, clusters, unread))
	}
	return lines
}

// usesOf returns a line for each use of a bucket by one cluster.
func (s *session) usesOf(ctx context.Context, cluster, bucketID string) (lines []string, err error) {
	for job, err := range atMost(maxListed, s.ListExports(ctx, s.group, cluster, largestPages)) {
		if err != nil {
			return lines, err
		}
		if job.ExportBucketID == bucketID && !job.State.Ended() {
			lines = append(lines, fmt.Sprintf("cluster %s: the export %s is %s", cluster, job.ID, job.State))
		}
	}
	schedule, err := s.GetBackupSchedule(ctx, s.group, cluster)
	if err != nil {
		return lines, err
	}
	if auto := schedule.Export; auto != nil && auto.ExportBucketID == bucketID {
		line := fmt.Sprintf("cluster %s: its backup schedule exports %s snapshots to the bucket", cluster, auto.FrequencyType)
		if !schedule.AutoExportEnabled {
			line = fmt.Sprintf("cluster %s: its backup schedule names the bucket, though automatic exports are off", cluster)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// inUse adds what uses a bucket to the error that the bucket is in use.
func (s *session) inUse(ctx context.Context, bucketID string, err error) error {
	var call *client.Error
	if !errors.As(err, &call) || call.Code != "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE" {
		return err
	}
	return &listed{err, s.uses(ctx, bucketID)}
}
