package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"atlas-export-gateway/gen"
)

// PolicyItem is one rule of a backup schedule.
type PolicyItem struct {
	// FrequencyType is hourly, daily, weekly, monthly or yearly.
	FrequencyType string `yaml:"frequencyType"`
	// FrequencyInterval says when within the period, in Atlas's numbers: 40 is the last day
	// of a month.
	FrequencyInterval int `yaml:"frequencyInterval"`
	// RetentionUnit and RetentionValue say how long a snapshot is kept, such as 7 days.
	RetentionUnit  string `yaml:"retentionUnit"`
	RetentionValue int    `yaml:"retentionValue"`
}

// defaultPolicyItems are the rules of a new cluster, as recorded.
var defaultPolicyItems = []PolicyItem{
	{"hourly", 6, "days", 7},
	{"daily", 1, "days", 7},
	{"weekly", 6, "weeks", 4},
	{"monthly", 40, "months", 12},
	{"yearly", 12, "years", 1},
}

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
	for _, c := range clusters[from:to] {
		list.Results = append(list.Results, c.v2(x.group.ID, a.origin(x)+strings.TrimSuffix(x.path, "/")+"/"+c.Name))
	}
	return gen.ListClusters200JSONResponse(list), nil
}

// GetBackupSchedule says when snapshots of a cluster are taken and exported.
func (a api) GetBackupSchedule(ctx context.Context, request gen.GetBackupScheduleRequestObject) (gen.GetBackupScheduleResponseObject, error) {
	x := exchangeOf(ctx)
	c, err := x.cluster(request.ClusterName)
	if err != nil {
		return nil, err
	}
	schedule := gen.BackupSchedule{
		ClusterID:         &c.UniqueID,
		ClusterName:       &c.Name,
		AutoExportEnabled: ptr(c.AutoExportBucketID != ""),
		Policies:          &[]map[string]any{c.policy()},
		// Atlas has this setting for each cluster, the simulation for each group.
		UseOrgAndGroupNamesInExportPrefix: &x.group.NamesInPrefix,
		Links: &[]gen.Link{
			{Rel: ptr("self"), Href: ptr(a.origin(x) + x.path)},
			{Rel: ptr("https://cloud.mongodb.com/group"), Href: ptr(a.origin(x) + "/api/public/v1.0/groups/" + x.group.ID)},
		},
	}
	if c.AutoExportBucketID != "" {
		schedule.Export = &gen.AutoExport{ExportBucketID: &c.AutoExportBucketID, FrequencyType: ptr(cmp.Or(c.AutoExportFrequency, "monthly"))}
	}
	return gen.GetBackupSchedule200JSONResponse(schedule), nil
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

// policy is the only policy of the cluster's schedule. Its ids stay the same over restarts.
func (c *Cluster) policy() map[string]any {
	hash := sha256.Sum256([]byte(c.UniqueID))
	id := func(n int) string { return fmt.Sprintf("%x%02x", hash[:11], n) }
	rules := c.PolicyItems
	if rules == nil {
		rules = defaultPolicyItems
	}
	items := []map[string]any{}
	for i, rule := range rules {
		items = append(items, map[string]any{
			"id":                id(i + 1),
			"frequencyType":     rule.FrequencyType,
			"frequencyInterval": rule.FrequencyInterval,
			"retentionUnit":     rule.RetentionUnit,
			"retentionValue":    rule.RetentionValue,
		})
	}
	return map[string]any{"id": id(0), "policyItems": items}
}

// cluster returns the group's cluster with a name.
func (x *exchange) cluster(name string) (*Cluster, error) {
	if c := x.group.clusters[name]; c != nil {
		return c, nil
	}
	return nil, failure(http.StatusNotFound, "CLUSTER_NOT_FOUND", "No cluster named %s exists in group %s.", name, x.group.ID)
}
