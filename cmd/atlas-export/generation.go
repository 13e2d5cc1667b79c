package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/objectid"
)

// generation has the operations that both generations of the API have.
type generation interface {
	CreateExport(ctx context.Context, groupID, clusterName string, r client.ExportRequest) (*client.ExportJob, error)
	GetExport(ctx context.Context, groupID, clusterName, exportID string) (*client.ExportJob, error)
	ListExports(ctx context.Context, groupID, clusterName string, o client.ListOptions) iter.Seq2[*client.ExportJob, error]
	WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o client.WaitOptions) (*client.ExportJob, error)

	GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*client.ExportBucket, error)
	ListExportBuckets(ctx context.Context, groupID string, o client.ListOptions) iter.Seq2[*client.ExportBucket, error]
	DeleteExportBucket(ctx context.Context, groupID, exportBucketID string) error

	IsSharded(ctx context.Context, groupID, clusterName string) (bool, error)
	TakeSnapshot(ctx context.Context, groupID, clusterName string, r client.SnapshotRequest) (*client.Snapshot, error)
	GetSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*client.Snapshot, error)
	GetShardedSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*client.Snapshot, error)
	LatestSnapshot(ctx context.Context, groupID, clusterName string) (*client.Snapshot, error)
	ListSnapshots(ctx context.Context, groupID, clusterName string, o client.ListOptions) iter.Seq2[*client.Snapshot, error]
	ListShardedSnapshots(ctx context.Context, groupID, clusterName string) iter.Seq2[*client.Snapshot, error]
	WaitForSnapshot(ctx context.Context, groupID, clusterName, snapshotID string, o client.SnapshotWaitOptions) (*client.Snapshot, error)

	GetBackupSchedule(ctx context.Context, groupID, clusterName string) (*client.BackupSchedule, error)
	UpdateBackupSchedule(ctx context.Context, groupID, clusterName string, u client.BackupScheduleUpdate) (*client.BackupSchedule, error)

	GetGroup(ctx context.Context, groupID string) (*client.Group, error)
	GetGroupByName(ctx context.Context, groupName string) (*client.Group, error)
	ListGroups(ctx context.Context, o client.ListOptions) iter.Seq2[*client.Group, error]
	ListRoles(ctx context.Context, groupID string) iter.Seq2[*client.Role, error]
}

// generations are the values of the setting api.
var generations = []string{"v2", "v1.0"}

// onlyV2 returns an error if the session calls v1.0, which does not have what is to be done.
func (s *session) onlyV2(what string) error {
	if s.v1 {
		return &failure{exitUsage, fmt.Errorf("v1.0 can't %s", what), "--api v2, the default, can"}
	}
	return nil
}

// CreateExportBucket registers a bucket. v1.0 knows only those of AWS.
func (s *session) CreateExportBucket(ctx context.Context, groupID string, r client.BucketRequest) (*client.ExportBucket, error) {
	if aws, ok := r.(client.AWSBucket); ok && s.v1 {
		return s.client.V1().CreateExportBucket(ctx, groupID, aws)
	}
	if err := s.onlyV2("create buckets of this cloud provider"); err != nil {
		return nil, err
	}
	return s.client.CreateExportBucket(ctx, groupID, r)
}

// UpdateExportBucket changes a bucket.
func (s *session) UpdateExportBucket(ctx context.Context, groupID, exportBucketID string, u client.ExportBucketUpdate) (*client.ExportBucket, error) {
	if err := s.onlyV2("change buckets"); err != nil {
		return nil, err
	}
	return s.client.UpdateExportBucket(ctx, groupID, exportBucketID, u)
}

// ListClusters yields the clusters of a group.
func (s *session) ListClusters(ctx context.Context, groupID string, o client.ListOptions) iter.Seq2[*client.Cluster, error] {
	if err := s.onlyV2("list clusters"); err != nil {
		return func(yield func(*client.Cluster, error) bool) { yield(nil, err) }
	}
	return s.client.ListClusters(ctx, groupID, o)
}

// findGroup replaces the name of the group by its id. 24 hexadecimal digits are an id.
func (s *session) findGroup(ctx context.Context) error {
	if s.group == "" || s.dry != nil || objectid.Valid(strings.ToLower(s.group)) {
		return nil
	}
	found, err := s.GetGroupByName(ctx, s.group)
	switch {
	case errors.Is(err, client.ErrNotFound):
		return &failure{exitNotFound, fmt.Errorf("no group has the name %q", s.group), "atlas-export groups list shows those that the key may see; an id has 24 hexadecimal digits"}
	case err != nil:
		return err
	}
	s.group = found.ID
	return nil
}
