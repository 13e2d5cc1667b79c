package client

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"atlas-export-gateway/gen"
)

// ListSnapshots is as [Client.ListSnapshots].
func (v *V1) ListSnapshots(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*Snapshot, error] {
	return pages("v1ListBackupSnapshots", o, func(o ListOptions) (*Page[Snapshot], error) { return v.snapshots(ctx, groupID, clusterName, o, false) })
}

// SnapshotsPage is as [Client.SnapshotsPage].
func (v *V1) SnapshotsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[Snapshot], error) {
	return v.snapshots(ctx, groupID, clusterName, o, true)
}

func (v *V1) snapshots(ctx context.Context, groupID, clusterName string, o ListOptions, count bool) (*Page[Snapshot], error) {
	op := v.caller.resendable("v1ListBackupSnapshots")
	op.found.inCluster(groupID, clusterName)
	op.found.page(o)
	return call[pageForm[Snapshot, Snapshot]](ctx, v.caller, op, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1ListBackupSnapshots(ctx, groupID, clusterName, &gen.V1ListBackupSnapshotsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// ListShardedSnapshots is as [Client.ListShardedSnapshots].
func (v *V1) ListShardedSnapshots(ctx context.Context, groupID, clusterName string) iter.Seq2[*Snapshot, error] {
	o := v.caller.resendable("v1ListBackupShardedClusters")
	o.found.inCluster(groupID, clusterName)
	return onePage(func() (*Page[Snapshot], error) {
		return call[pageForm[Snapshot, Snapshot]](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
			return v.atlas.V1ListBackupShardedClusters(ctx, groupID, clusterName, nil)
		})
	})
}

// GetSnapshot is as [Client.GetSnapshot].
func (v *V1) GetSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	return v.getSnapshot(ctx, v.caller.maxRetries, groupID, clusterName, snapshotID)
}

func (v *V1) getSnapshot(ctx context.Context, retries int, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	o := getSnapshot("v1GetClusterBackupSnapshot", retries, groupID, clusterName, snapshotID)
	return call[Snapshot](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetClusterBackupSnapshot(ctx, groupID, clusterName, snapshotID, nil)
	})
}

// GetShardedSnapshot is as [Client.GetShardedSnapshot].
func (v *V1) GetShardedSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	return v.getShardedSnapshot(ctx, v.caller.maxRetries, groupID, clusterName, snapshotID)
}

func (v *V1) getShardedSnapshot(ctx context.Context, retries int, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	o := getSnapshot("v1GetBackupShardedCluster", retries, groupID, clusterName, snapshotID)
	return call[Snapshot](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetBackupShardedCluster(ctx, groupID, clusterName, snapshotID, nil)
	})
}

// TakeSnapshot is as [Client.TakeSnapshot].
func (v *V1) TakeSnapshot(ctx context.Context, groupID, clusterName string, r SnapshotRequest) (*Snapshot, error) {
	o := operation{id: "v1TakeSnapshots", key: r.IdempotencyKey}
	o.found.inCluster(groupID, clusterName)
	o.found.snapshot(r)
	return create[Snapshot](ctx, v.caller, v.atlas, o, func(ctx context.Context, atlas *gen.Client) (*http.Response, error) {
		return atlas.V1TakeSnapshots(ctx, groupID, clusterName, nil, r.body())
	})
}

// IsSharded reports whether a cluster has snapshots of a sharded cluster: the operations of
// v1.0 say nothing else about it. So a sharded cluster without a snapshot counts as a replica
// set.
func (v *V1) IsSharded(ctx context.Context, groupID, clusterName string) (bool, error) {
	for _, err := range v.ListShardedSnapshots(ctx, groupID, clusterName) {
		if err != nil && notSharded(err) {
			return false, nil
		}
		return err == nil, err
	}
	return false, nil
}

// notSharded reports whether Atlas refuses to list the snapshots of a sharded cluster because the
// cluster is none. Which errorCode says so is not documented.
func notSharded(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) || refused.GatewayKind != "" || refused.rateLimited() {
		return false
	}
	switch refused.Code {
	case "", "GROUP_NOT_FOUND", "CLUSTER_NOT_FOUND":
		return false
	}
	return refused.Status == http.StatusBadRequest || refused.Status == http.StatusNotFound
}

// LatestSnapshot is as [Client.LatestSnapshot].
func (v *V1) LatestSnapshot(ctx context.Context, groupID, clusterName string) (*Snapshot, error) {
	return latest(ctx, v, groupID, clusterName)
}
