package sim

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"atlas-export-gateway/gen"
)

// ListClusters answers a page of the group's clusters. Their order, that of the seed, is
// inferred. includeDeletedWithRetainedBackups adds none: the simulation has no deleted
// clusters.
func (a api) ListClusters(ctx context.Context, request gen.ListClustersRequestObject) (gen.ListClustersResponseObject, error) {
	p, err := newPage(request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
	if err != nil {
		return nil, err
	}
	deleted := request.Params.IncludeDeletedWithRetainedBackups
	p.own = fmt.Sprintf("includeDeletedWithRetainedBackups=%t&", deleted != nil && *deleted)
	x := exchangeOf(ctx)
	clusters := x.group.Clusters
	list := gen.ClusterList{Results: []gen.Cluster{}, TotalCount: p.total(len(clusters)), Links: a.links(x, p, len(clusters))}
	from, to := p.bounds(len(clusters))
	for i := range clusters[from:to] {
		c := &clusters[from+i]
		list.Results = append(list.Results, c.v2(x.group.ID, a.clusterURL(x, c)))
	}
	return gen.ListClusters200JSONResponse(list), nil
}

// GetCluster answers a cluster. The header fields that ask for effective values are accepted and
// have no effect.
func (a api) GetCluster(ctx context.Context, request gen.GetClusterRequestObject) (gen.GetClusterResponseObject, error) {
	x := exchangeOf(ctx)
	c, err := x.cluster(request.ClusterName)
	if err != nil {
		return nil, err
	}
	return gen.GetCluster200JSONResponse(c.v2(x.group.ID, a.clusterURL(x, c))), nil
}

// GetClusterStatus answers whether changes to a cluster are in force. Inferred: they are not while
// the cluster is created, changed or deleted.
func (a api) GetClusterStatus(ctx context.Context, request gen.GetClusterStatusRequestObject) (gen.GetClusterStatusResponseObject, error) {
	x := exchangeOf(ctx)
	c, err := x.cluster(request.ClusterName)
	if err != nil {
		return nil, err
	}
	status := "APPLIED"
	if slices.Contains([]string{"CREATING", "UPDATING", "DELETING"}, c.StateName) {
		status = "PENDING"
	}
	return nil, x.reply(map[string]any{"changeStatus": status, "links": []gen.Link{{Rel: ptr("self"), Href: ptr(a.origin(x) + x.path)}}})
}

// v2 is the cluster at a URL as all versions of v2 answer it. It has the members that the
// contract names; Atlas has many more. Inferred: the id is the clusterUniqueId of .complete.
func (c *Cluster) v2(group, url string) gen.Cluster {
	clusterType := gen.ClusterTypeREPLICASET
	if c.Sharded {
		clusterType = gen.ClusterTypeSHARDED
	}
	return gen.Cluster{
		ID:          &c.UniqueID,
		GroupID:     &group,
		Name:        &c.Name,
		ClusterType: &clusterType,
		StateName:   ptr(cmp.Or(gen.ClusterState(c.StateName), gen.ClusterStateIDLE)),
		Links: &[]gen.Link{
			{Rel: ptr("self"), Href: ptr(url)},
			{Rel: ptr("https://cloud.mongodb.com/restoreJobs"), Href: ptr(url + "/backup/restoreJobs")},
			{Rel: ptr("https://cloud.mongodb.com/snapshots"), Href: ptr(url + "/backup/snapshots")},
		},
	}
}

// cluster returns the group's cluster with a name.
func (x *exchange) cluster(name string) (*Cluster, error) {
	if c := x.group.clusters[name]; c != nil {
		return c, nil
	}
	return nil, failure(http.StatusNotFound, "CLUSTER_NOT_FOUND", "No cluster named %s exists in group %s.", name, x.group.ID)
}
