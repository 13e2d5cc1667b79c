package sim

import (
	"context"

	"atlas-export-gateway/gen"
)

// ListBackupSnapshots answers a page of the snapshots of a replica set.
func (a api) ListBackupSnapshots(ctx context.Context, request gen.ListBackupSnapshotsRequestObject) (gen.ListBackupSnapshotsResponseObject, error) {
	p := request.Params
	return nil, a.replySnapshots(ctx, request.ClusterName, p.PageNum, p.ItemsPerPage, p.IncludeCount)
}

// TakeSnapshots begins an on-demand snapshot of a replica set or a sharded cluster.
func (a api) TakeSnapshots(ctx context.Context, request gen.TakeSnapshotsRequestObject) (gen.TakeSnapshotsResponseObject, error) {
	return nil, a.takeSnapshot(ctx, request.ClusterName, request.Body)
}

// GetClusterBackupSnapshot answers a snapshot of a replica set.
func (a api) GetClusterBackupSnapshot(ctx context.Context, request gen.GetClusterBackupSnapshotRequestObject) (gen.GetClusterBackupSnapshotResponseObject, error) {
	return nil, a.getSnapshot(ctx, request.ClusterName, request.SnapshotID, false)
}

// ListBackupShardedClusters answers the snapshots of a sharded cluster.
func (a api) ListBackupShardedClusters(ctx context.Context, request gen.ListBackupShardedClustersRequestObject) (gen.ListBackupShardedClustersResponseObject, error) {
	return nil, a.replyShardedSnapshots(ctx, request.ClusterName)
}

// GetBackupShardedCluster answers a snapshot of a sharded cluster.
func (a api) GetBackupShardedCluster(ctx context.Context, request gen.GetBackupShardedClusterRequestObject) (gen.GetBackupShardedClusterResponseObject, error) {
	return nil, a.getSnapshot(ctx, request.ClusterName, request.SnapshotID, true)
}

// V1ListBackupSnapshots is ListBackupSnapshots in v1.0.
func (a api) V1ListBackupSnapshots(ctx context.Context, request gen.V1ListBackupSnapshotsRequestObject) (gen.V1ListBackupSnapshotsResponseObject, error) {
	p := request.Params
	return nil, a.replySnapshots(ctx, request.ClusterName, p.PageNum, p.ItemsPerPage, p.IncludeCount)
}

// V1TakeSnapshots is TakeSnapshots in v1.0.
func (a api) V1TakeSnapshots(ctx context.Context, request gen.V1TakeSnapshotsRequestObject) (gen.V1TakeSnapshotsResponseObject, error) {
	return nil, a.takeSnapshot(ctx, request.ClusterName, request.Body)
}

// V1GetClusterBackupSnapshot is GetClusterBackupSnapshot in v1.0.
func (a api) V1GetClusterBackupSnapshot(ctx context.Context, request gen.V1GetClusterBackupSnapshotRequestObject) (gen.V1GetClusterBackupSnapshotResponseObject, error) {
	return nil, a.getSnapshot(ctx, request.ClusterName, request.SnapshotID, false)
}

// V1ListBackupShardedClusters is ListBackupShardedClusters in v1.0.
func (a api) V1ListBackupShardedClusters(ctx context.Context, request gen.V1ListBackupShardedClustersRequestObject) (gen.V1ListBackupShardedClustersResponseObject, error) {
	return nil, a.replyShardedSnapshots(ctx, request.ClusterName)
}

// V1GetBackupShardedCluster is GetBackupShardedCluster in v1.0.
func (a api) V1GetBackupShardedCluster(ctx context.Context, request gen.V1GetBackupShardedClusterRequestObject) (gen.V1GetBackupShardedClusterResponseObject, error) {
	return nil, a.getSnapshot(ctx, request.ClusterName, request.SnapshotID, true)
}
