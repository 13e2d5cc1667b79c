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

// Sharded reports whether a cluster is sharded. Its snapshots are read by operations of their
// own.
func (c Cluster) Sharded() bool { return c.ClusterType == "SHARDED" || c.ClusterType == "GEOSHARDED" }

// GetCluster returns one cluster.
func (c *Client) GetCluster(ctx context.Context, groupID, clusterName string) (*Cluster, error) {
	o := c.caller.resendable("getCluster")
	o.found.inCluster(groupID, clusterName)
	return call[Cluster](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetCluster(ctx, groupID, clusterName, nil)
	})
}

// ClusterStatus says whether what was last changed of a cluster is in force. It encodes as JSON
// in Atlas's form.
type ClusterStatus struct {
	ChangeStatus string `json:"changeStatus"` // APPLIED or PENDING
}

func (s ClusterStatus) read() (*ClusterStatus, error) {
	if s.ChangeStatus == "" {
		return nil, errors.New("a status without a value")
	}
	return &s, nil
}

// GetClusterStatus returns whether changes to a cluster are in force.
func (c *Client) GetClusterStatus(ctx context.Context, groupID, clusterName string) (*ClusterStatus, error) {
	o := c.caller.resendable("getClusterStatus")
	o.found.inCluster(groupID, clusterName)
	return call[ClusterStatus](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetClusterStatus(ctx, groupID, clusterName, nil)
	})
}
