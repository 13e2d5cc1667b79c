package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"

	"atlas-export-gateway/gen"
)

// ListSnapshots yields the snapshots of a replica set, as [Client.ListExports] yields jobs.
// Those of a sharded cluster are in [Client.ListShardedSnapshots].
func (c *Client) ListSnapshots(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*Snapshot, error] {
	return pages("listBackupSnapshots", o, func(o ListOptions) (*Page[Snapshot], error) { return c.snapshots(ctx, groupID, clusterName, o, false) })
}

// SnapshotsPage returns one page of the snapshots of a replica set.
func (c *Client) SnapshotsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[Snapshot], error) {
	return c.snapshots(ctx, groupID, clusterName, o, true)
}

func (c *Client) snapshots(ctx context.Context, groupID, clusterName string, o ListOptions, count bool) (*Page[Snapshot], error) {
	op := c.caller.resendable("listBackupSnapshots")
	op.found.inCluster(groupID, clusterName)
	op.found.page(o)
	return call[pageForm[Snapshot, Snapshot]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListBackupSnapshots(ctx, groupID, clusterName, &gen.ListBackupSnapshotsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// ListShardedSnapshots yields the snapshots of a sharded cluster. Atlas answers all of them on
// one page.
func (c *Client) ListShardedSnapshots(ctx context.Context, groupID, clusterName string) iter.Seq2[*Snapshot, error] {
	o := c.caller.resendable("listBackupShardedClusters")
	o.found.inCluster(groupID, clusterName)
	return onePage(func() (*Page[Snapshot], error) {
		return call[pageForm[Snapshot, Snapshot]](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
			return c.atlas.ListBackupShardedClusters(ctx, groupID, clusterName, nil)
		})
	})
}

// GetSnapshot returns one snapshot of a replica set.
func (c *Client) GetSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	return c.getSnapshot(ctx, c.caller.maxRetries, groupID, clusterName, snapshotID)
}

func (c *Client) getSnapshot(ctx context.Context, retries int, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	o := getSnapshot("getClusterBackupSnapshot", retries, groupID, clusterName, snapshotID)
	return call[Snapshot](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetClusterBackupSnapshot(ctx, groupID, clusterName, snapshotID, nil)
	})
}

// GetShardedSnapshot returns one snapshot of a sharded cluster.
func (c *Client) GetShardedSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	return c.getShardedSnapshot(ctx, c.caller.maxRetries, groupID, clusterName, snapshotID)
}

func (c *Client) getShardedSnapshot(ctx context.Context, retries int, groupID, clusterName, snapshotID string) (*Snapshot, error) {
	o := getSnapshot("getBackupShardedCluster", retries, groupID, clusterName, snapshotID)
	return call[Snapshot](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetBackupShardedCluster(ctx, groupID, clusterName, snapshotID, nil)
	})
}

// getSnapshot is the operation that reads one snapshot.
func getSnapshot(id string, retries int, groupID, clusterName, snapshotID string) operation {
	o := operation{id: id, retries: retries}
	o.found.inCluster(groupID, clusterName)
	o.found.id("snapshotId", snapshotID)
	o.check = about("snapshot", func(s *Snapshot) bool { return s.ID == snapshotID })
	return o
}

// TakeSnapshot starts an on-demand snapshot of a cluster of either kind. It can be exported
// once it is completed; see [Client.WaitForSnapshot]. The request is sent once. After an
// [*UnknownOutcomeError], look for the snapshot before you call TakeSnapshot again: a second
// one costs as much as the first. [ErrConflict] says that another on-demand snapshot is queued
// or in progress.
func (c *Client) TakeSnapshot(ctx context.Context, groupID, clusterName string, r SnapshotRequest) (*Snapshot, error) {
	o := operation{id: "takeSnapshots", key: r.IdempotencyKey}
	o.found.inCluster(groupID, clusterName)
	o.found.snapshot(r)
	return create[Snapshot](ctx, c.caller, c.atlas, o, func(ctx context.Context, atlas *gen.Client) (*http.Response, error) {
		return atlas.TakeSnapshots(ctx, groupID, clusterName, nil, r.body())
	})
}

func (r SnapshotRequest) body() gen.SnapshotRequest {
	return gen.SnapshotRequest{Description: orNil(r.Description), RetentionInDays: orNil(r.RetentionInDays)}
}

// IsSharded reports whether a cluster is sharded. It reads the cluster.
func (c *Client) IsSharded(ctx context.Context, groupID, clusterName string) (bool, error) {
	cluster, err := c.GetCluster(ctx, groupID, clusterName)
	if err != nil {
		return false, err
	}
	return cluster.Sharded(), nil
}

// LatestSnapshot returns the snapshot of a cluster of either kind that was taken last, among
// those that can be exported. If there is none, the error is [ErrNotFound].
func (c *Client) LatestSnapshot(ctx context.Context, groupID, clusterName string) (*Snapshot, error) {
	return latest(ctx, c, groupID, clusterName)
}

// snapshotLister is a Client or a V1.
type snapshotLister interface {
	IsSharded(ctx context.Context, groupID, clusterName string) (bool, error)
	ListSnapshots(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*Snapshot, error]
	ListShardedSnapshots(ctx context.Context, groupID, clusterName string) iter.Seq2[*Snapshot, error]
}

// maxSearched bounds how many snapshots are looked at for the newest one.
const maxSearched = 20_000

// latest returns the exportable snapshot that was taken last. It reads the list to its end, since
// nobody promises an order.
func latest(ctx context.Context, c snapshotLister, groupID, clusterName string) (*Snapshot, error) {
	sharded, err := c.IsSharded(ctx, groupID, clusterName)
	if err != nil {
		return nil, err
	}
	list, operation := c.ListSnapshots(ctx, groupID, clusterName, ListOptions{ItemsPerPage: maxItems}), "listBackupSnapshots"
	if sharded {
		list, operation = c.ListShardedSnapshots(ctx, groupID, clusterName), "listBackupShardedClusters"
	}
	var newest *Snapshot
	read := 0
	for snapshot, err := range list {
		read++
		switch {
		case err != nil:
			return nil, err
		case read > maxSearched:
			return nil, &Error{Operation: operation, Err: fmt.Errorf("the list has more than %d snapshots, too many to look for the newest", maxSearched)}
		case snapshot.Exportable() && (newest == nil || snapshot.CreatedAt.After(newest.CreatedAt)):
			newest = snapshot
		}
	}
	if newest == nil {
		return nil, &Error{Operation: operation, Err: fmt.Errorf("%w: no snapshot of the cluster %s that can be exported", ErrNotFound, clusterName)}
	}
	return newest, nil
}
