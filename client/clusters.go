package client

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"atlas-export-gateway/gen"
)

// Cluster is a cluster of a group. It encodes as JSON in Atlas's form, but has only the members
// that exports need.
type Cluster struct {
	ID          string `json:"id"`
	GroupID     string `json:"groupId,omitempty"`
	Name        string `json:"name"`
	ClusterType string `json:"clusterType,omitempty"` // REPLICASET, SHARDED, GEOSHARDED or later ones
	StateName   string `json:"stateName,omitempty"`   // IDLE, or what Atlas does with it
}

func (c Cluster) read() (*Cluster, error) {
	if c.Name == "" {
		return nil, errors.New("a cluster without a name")
	}
	return &c, nil
}

// BackupSchedule is the part of a cluster's backup schedule that is about exports: which
// snapshots Atlas exports by itself. It encodes as JSON in Atlas's form.
type BackupSchedule struct {
	ClusterID         string `json:"clusterId,omitempty"`
	ClusterName       string `json:"clusterName,omitempty"`
	AutoExportEnabled bool   `json:"autoExportEnabled"`
	// Export is nil if no automatic export is set. A bucket that it names can't be deleted.
	Export *AutoExport `json:"export,omitempty"`
}

// AutoExport says which snapshots Atlas exports by itself, and to which bucket.
type AutoExport struct {
	ExportBucketID string `json:"exportBucketId,omitempty"`
	FrequencyType  string `json:"frequencyType,omitempty"` // such as monthly
}

func (s BackupSchedule) read() (*BackupSchedule, error) { return &s, nil }

// ListClusters yields the clusters of a group, as [Client.ListExports] yields jobs.
func (c *Client) ListClusters(ctx context.Context, groupID string, o ListOptions) iter.Seq2[*Cluster, error] {
	return pages("listClusters", o, func(o ListOptions) (*Page[Cluster], error) { return c.clusters(ctx, groupID, o, false) })
}

// ClustersPage returns one page of the clusters of a group.
func (c *Client) ClustersPage(ctx context.Context, groupID string, o ListOptions) (*Page[Cluster], error) {
	return c.clusters(ctx, groupID, o, true)
}

func (c *Client) clusters(ctx context.Context, groupID string, o ListOptions, count bool) (*Page[Cluster], error) {
	op := c.caller.resendable("listClusters")
	op.found.id("groupId", groupID)
	op.found.page(o)
	return call[pageForm[Cluster, Cluster]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListClusters(ctx, groupID, &gen.ListClustersParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// GetBackupSchedule returns the backup schedule of a cluster.
func (c *Client) GetBackupSchedule(ctx context.Context, groupID, clusterName string) (*BackupSchedule, error) {
	o := c.caller.resendable("getBackupSchedule")
	o.found.inCluster(groupID, clusterName)
	return call[BackupSchedule](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetBackupSchedule(ctx, groupID, clusterName, nil)
	})
}
