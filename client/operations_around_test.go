package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// generation has the methods for what is around an export, which v1.0 has as well.
type generation interface {
	IsSharded(ctx context.Context, groupID, clusterName string) (bool, error)
	TakeSnapshot(ctx context.Context, groupID, clusterName string, r client.SnapshotRequest) (*client.Snapshot, error)
	SnapshotsPage(ctx context.Context, groupID, clusterName string, o client.ListOptions) (*client.Page[client.Snapshot], error)
	ListSnapshots(ctx context.Context, groupID, clusterName string, o client.ListOptions) iter.Seq2[*client.Snapshot, error]
	ListShardedSnapshots(ctx context.Context, groupID, clusterName string) iter.Seq2[*client.Snapshot, error]
	GetSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*client.Snapshot, error)
	GetShardedSnapshot(ctx context.Context, groupID, clusterName, snapshotID string) (*client.Snapshot, error)
	LatestSnapshot(ctx context.Context, groupID, clusterName string) (*client.Snapshot, error)
	WaitForSnapshot(ctx context.Context, groupID, clusterName, snapshotID string, o client.SnapshotWaitOptions) (*client.Snapshot, error)
	GetBackupSchedule(ctx context.Context, groupID, clusterName string) (*client.BackupSchedule, error)
	UpdateBackupSchedule(ctx context.Context, groupID, clusterName string, u client.BackupScheduleUpdate) (*client.BackupSchedule, error)
	ListGroups(ctx context.Context, o client.ListOptions) iter.Seq2[*client.Group, error]
	GroupsPage(ctx context.Context, o client.ListOptions) (*client.Page[client.Group], error)
	GetGroup(ctx context.Context, groupID string) (*client.Group, error)
	GetGroupByName(ctx context.Context, groupName string) (*client.Group, error)
	ListRoles(ctx context.Context, groupID string) iter.Seq2[*client.Role, error]
	GetRole(ctx context.Context, groupID, roleID string) (*client.Role, error)
}

// around are the operations around an export, in one generation.
type around struct {
	*recorder
	c                generation
	root             string // of the paths
	accept, schedule string // Accept of all, and of schedules
}

// later is after the fixed times of the seed.
var later = time.Date(2026, 8, 20, 3, 28, 25, 0, time.UTC)

// all reads a list to its end.
func all[T any](t *testing.T, list iter.Seq2[*T, error]) (items []T) {
	t.Helper()
	for item, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, *item)
	}
	return items
}

// Every operation around an export, of both generations: the whole result, and what Atlas
// received.
func TestOperationsAroundExports(t *testing.T) {
	ways(t, sim.Config{Now: func() time.Time { return later }}, "responses: {check: enforce}\n", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		r := &recorder{t: t, atlas: atlas, c: c, ids: map[string]string{"G": group, "ROLE": sim.AWSRole}}
		v2 := around{r, c, "/api/atlas/v2", newest, newest}
		if strings.HasSuffix(t.Name(), "/gateway") {
			v2.accept = "application/vnd.atlas.2023-01-01+json" // the version that is resolved
		}
		r.clusterReads(v2.accept)
		for _, a := range []around{v2, {r, c.V1(), "/api/atlas/v1.0", "application/json", "application/json"}} {
			a.snapshots()
			a.shardedSnapshots()
			a.schedules()
			a.groups()
			a.roles()
			atlas.Advance(time.Hour)
		}
	})
}

func (r *recorder) clusterReads(accept string) {
	got, err := r.c.GetCluster(r.t.Context(), group, sim.EventsCluster)
	r.equal("cluster", got, &client.Cluster{ID: "64f0c2d1b3d4e5f607182941", GroupID: group, Name: "events", ClusterType: "SHARDED", StateName: "IDLE"}, err)
	r.received("GET " + v2Path + "/clusters/events " + newest)
	status, err := r.c.GetClusterStatus(r.t.Context(), group, cluster)
	r.equal("status", status, &client.ClusterStatus{ChangeStatus: "APPLIED"}, err)
	r.received("GET " + v2Path + "/clusters/orders/status " + accept)
}

func (a around) snapshots() {
	ctx, path := a.t.Context(), a.root+"/groups/<G>/clusters/orders/backup/snapshots"
	taken := a.atlas.Now()
	got, err := a.c.TakeSnapshot(ctx, group, cluster, client.SnapshotRequest{Description: "before v42", RetentionInDays: 7})
	if err != nil {
		a.t.Fatal(err)
	}
	want := client.Snapshot{ID: got.ID, Type: "replicaSet", SnapshotType: "onDemand", Status: client.SnapshotQueued, FrequencyType: "ondemand", Description: "before v42",
		ExpiresAt: got.ExpiresAt, PolicyItems: []string{}, CopyRegions: []string{}, ReplicaSetName: "orders"}
	a.equal("take", *got, want, nil)
	if kept := got.ExpiresAt.Sub(taken); kept < 7*24*time.Hour || kept > 8*24*time.Hour {
		a.t.Errorf("it is kept for %v", kept)
	}
	a.remember("S", got.ID, nil)
	a.received("POST " + path + " " + a.accept + ` {"description":"before v42","retentionInDays":7}`)

	a.atlas.Advance(20 * time.Minute)
	got, err = a.c.GetSnapshot(ctx, group, cluster, want.ID)
	want.Status, want.MongodVersion, want.CloudProvider, want.CreatedAt, want.StorageSizeBytes = client.SnapshotCompleted, "8.0.16", client.AWS, got.CreatedAt, got.StorageSizeBytes
	want.ExpiresAt = got.ExpiresAt
	a.equal("get", *got, want, err)
	if got.CreatedAt.Before(taken) || got.StorageSizeBytes < 1<<20 {
		a.t.Errorf("%+v", got)
	}
	a.received("GET " + path + "/<S> " + a.accept)

	page, err := a.c.SnapshotsPage(ctx, group, cluster, client.ListOptions{PageNum: 1, ItemsPerPage: 1})
	if err != nil || page.TotalCount < 8 || len(page.Results) != 1 {
		a.t.Fatalf("%+v, %v", page, err)
	}
	a.equal("page", page.Results[0], want, nil)
	a.received("GET " + path + "?pageNum=1&itemsPerPage=1&includeCount=true " + a.accept)

	list := all(a.t, a.c.ListSnapshots(ctx, group, cluster, client.ListOptions{ItemsPerPage: 500}))
	if len(list) != page.TotalCount {
		a.t.Errorf("%d of %d", len(list), page.TotalCount)
	}
	a.equal("list", list[0], want, nil)
	a.received("GET " + path + "?pageNum=1&itemsPerPage=500&includeCount=false " + a.accept)
}

func (a around) shardedSnapshots() {
	ctx, path := a.t.Context(), a.root+"/groups/<G>/clusters/events/backup/snapshots"
	const first, second = "6a01e0b45be2d84417c09f21", "6a01e0b45be2d84417c09f22"
	got, err := a.c.GetShardedSnapshot(ctx, group, sim.EventsCluster, sim.EventsSnapshot)
	want := client.Snapshot{ID: sim.EventsSnapshot, Type: "shardedCluster", SnapshotType: "scheduled", Status: client.SnapshotCompleted, FrequencyType: "daily",
		CreatedAt: time.Date(2026, 8, 10, 3, 27, 40, 0, time.UTC), ExpiresAt: got.ExpiresAt, StorageSizeBytes: 1557864448, MongodVersion: "8.0.16", PolicyItems: []string{},
		ConfigServerType: "EMBEDDED", SnapshotIDs: []string{first, second},
		Members: []client.SnapshotMember{{first, client.AWS, "atlas-9x2kqf-shard-0"}, {second, client.AWS, "atlas-9x2kqf-shard-1"}}}
	a.equal("get sharded", *got, want, err)
	a.received("GET " + path + "/shardedCluster/" + sim.EventsSnapshot + " " + a.accept)

	list := all(a.t, a.c.ListShardedSnapshots(ctx, group, sim.EventsCluster))
	a.equal("list sharded", list[len(list)-1], want, nil)
	a.received("GET " + path + "/shardedClusters " + a.accept)
}

func (a around) schedules() {
	ctx, path, yes, no := a.t.Context(), a.root+"/groups/<G>/clusters/orders/backup/schedule", true, false
	bucket := createBucket(a.t, a.recorder.c)
	a.remember("B", bucket.ID, nil)
	a.seen = a.atlas.Requests(0)[len(a.atlas.Requests(0))-1].Seq
	want := client.BackupSchedule{ClusterID: "64f0c2d1b3d4e5f607182940", ClusterName: cluster}
	got, err := a.c.GetBackupSchedule(ctx, group, cluster)
	want.Export, want.NextSnapshot = got.Export, got.NextSnapshot
	if !got.NextSnapshot.After(a.atlas.Now()) {
		a.t.Errorf("the next snapshot is at %v", got.NextSnapshot)
	}
	a.equal("schedule", *got, want, err)
	a.received("GET " + path + " " + a.schedule)

	got, err = a.c.UpdateBackupSchedule(ctx, group, cluster, client.BackupScheduleUpdate{AutoExportEnabled: &yes, UseOrgAndGroupNamesInExportPrefix: &yes,
		Export: &client.AutoExport{ExportBucketID: bucket.ID, FrequencyType: "weekly"}})
	want.AutoExportEnabled, want.UseOrgAndGroupNamesInExportPrefix, want.NextSnapshot = true, true, got.NextSnapshot
	want.Export = &client.AutoExport{ExportBucketID: bucket.ID, FrequencyType: "weekly"}
	a.equal("update", *got, want, err)
	a.received("PATCH " + path + " " + a.schedule + ` {"autoExportEnabled":true,"export":{"exportBucketId":"<B>","frequencyType":"weekly"},"useOrgAndGroupNamesInExportPrefix":true}`)

	got, err = a.c.UpdateBackupSchedule(ctx, group, cluster, client.BackupScheduleUpdate{AutoExportEnabled: &no, UseOrgAndGroupNamesInExportPrefix: &no})
	want.AutoExportEnabled, want.UseOrgAndGroupNamesInExportPrefix = false, false
	a.equal("update again", *got, want, err)
	a.received("PATCH " + path + " " + a.schedule + ` {"autoExportEnabled":false,"useOrgAndGroupNamesInExportPrefix":false}`)
}

func (a around) groups() {
	ctx := a.t.Context()
	want := client.Group{ID: group, Name: "production", OrgID: sim.OrgID, ClusterCount: 2, Created: time.Date(2023, 8, 31, 16, 36, 50, 0, time.UTC), Tags: []client.GroupTag{}}
	got, err := a.c.GetGroup(ctx, group)
	a.equal("group", *got, want, err)
	a.received("GET " + a.root + "/groups/<G> " + a.accept)
	got, err = a.c.GetGroupByName(ctx, "production")
	a.equal("group by name", *got, want, err)
	a.received("GET " + a.root + "/groups/byName/production " + a.accept)
	page, err := a.c.GroupsPage(ctx, client.ListOptions{PageNum: 1, ItemsPerPage: 1})
	a.equal("groups page", page, &client.Page[client.Group]{Results: []client.Group{want}, TotalCount: 2}, err)
	a.received("GET " + a.root + "/groups?pageNum=1&itemsPerPage=1&includeCount=true " + a.accept)
	a.equal("groups", all(a.t, a.c.ListGroups(ctx, client.ListOptions{}))[0], want, nil)
	a.received("GET " + a.root + "/groups?pageNum=1&includeCount=false " + a.accept)
}

func (a around) roles() {
	ctx := a.t.Context()
	made := time.Date(2024, 1, 19, 1, 40, 4, 0, time.UTC)
	list := all(a.t, a.c.ListRoles(ctx, group))
	a.received("GET " + a.root + "/groups/<G>/cloudProviderAccess " + a.accept)
	want := client.Role{ProviderName: client.AWS, RoleID: sim.AWSRole, CreatedDate: made, AuthorizedDate: made.Add(2 * time.Minute), FeatureUsages: list[0].FeatureUsages,
		IAMAssumedRoleARN: "arn:aws:iam::123456789012:role/atlas-exports", AtlasAWSAccountARN: "arn:aws:iam::210987654321:root", AtlasAssumedRoleExternalID: list[0].AtlasAssumedRoleExternalID}
	if len(want.FeatureUsages) == 0 || want.FeatureUsages[0].FeatureType != "EXPORT_SNAPSHOT" || want.AtlasAssumedRoleExternalID == "" {
		a.t.Errorf("%+v", list[0])
	}
	a.equal("first role", list[0], want, nil)
	var ids []string
	for _, role := range list {
		ids = append(ids, string(role.ProviderName)+" "+role.ID())
	}
	a.equal("roles", ids, []string{"AWS " + sim.AWSRole, "AWS " + sim.UnassumableRole, "AWS " + sim.UnauthorizedRole, "AZURE " + sim.AzureRole, "GCP " + sim.GCPRole}, nil)
	got, err := a.c.GetRole(ctx, group, sim.AWSRole)
	a.equal("role", *got, want, err)
	a.received("GET " + a.root + "/groups/<G>/cloudProviderAccess/<ROLE> " + a.accept)
	azure, err := a.c.GetRole(ctx, group, sim.AzureRole)
	a.equal("role of Azure", azure.ID(), sim.AzureRole, err)
	a.received("GET " + a.root + "/groups/<G>/cloudProviderAccess/" + sim.AzureRole + " " + a.accept)
}

// The newest snapshot that can be exported, of a replica set and of a sharded cluster.
func TestLatestSnapshot(t *testing.T) {
	ways(t, sim.Config{Now: func() time.Time { return later }}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		seed := sim.DefaultSeed()
		seed.Groups[0].Clusters[0].Snapshots, seed.Groups[0].Clusters[1].Snapshots = seed.Groups[0].Clusters[0].Snapshots[:2], nil // a fallback, and one that failed
		without := newClient(t, client.Config{BaseURL: sim.Start(t, sim.Config{Seed: seed}).URL(), Credential: key})
		c := newClient(t, way)
		for name, pair := range map[string][2]generation{"v2": {c, without}, "v1.0": {c.V1(), without.V1()}} {
			for clusterName, want := range map[string]string{cluster: sim.LatestSnapshot, sim.EventsCluster: sim.LatestEvents} {
				if got, err := pair[0].LatestSnapshot(t.Context(), group, clusterName); err != nil || got.ID != want {
					t.Errorf("%s: %s: %+v, %v", name, clusterName, got, err)
				}
				got, err := pair[1].LatestSnapshot(t.Context(), group, clusterName)
				if !errors.Is(err, client.ErrNotFound) || asError(t, err).Status != 0 || !strings.HasSuffix(err.Error(), "no snapshot of the cluster "+clusterName+" that can be exported") {
					t.Errorf("%s: %s without one: %+v, %v", name, clusterName, got, err)
				}
			}
			_, err := pair[0].LatestSnapshot(t.Context(), group, "none")
			if diff := cmp.Diff(failure{Kind: "not found", Status: 404, Code: "CLUSTER_NOT_FOUND"}, failureOf(t, err)); diff != "" {
				t.Errorf("%s: no such cluster (-want +got):\n%s", name, diff)
			}
		}
	})
}

// A list without an end does not keep LatestSnapshot, and what answers in the place of the list of
// sharded clusters decides in v1.0 which list is read.
func TestLatestSnapshotOfStrangeLists(t *testing.T) {
	pages := 0
	var sharded func(r *http.Request) *http.Response
	c := newClient(t, client.Config{BaseURL: "http://127.0.0.1:1", MaxRetries: -1, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/shardedClusters") {
			return sharded(r), nil
		}
		pages++
		var page strings.Builder
		for i := range 500 {
			fmt.Fprintf(&page, `,{"id":"%d-%d","status":"completed"}`, pages, i)
		}
		return answer(r, 200, `{"results":[`+page.String()[1:]+`],"links":[{"rel":"next"}]}`), nil
	})})
	for name, test := range map[string]struct {
		status int
		body   string
		want   failure
		pages  int
	}{
		"empty":               {200, `{"results":[]}`, failure{}, 41},
		"another kind":        {400, `{"error":400,"errorCode":"INCORRECT_BACKUP_API_ENDPOINT"}`, failure{}, 41},
		"not there":           {404, `{"error":404,"errorCode":"SNAPSHOT_NOT_FOUND"}`, failure{}, 41},
		"no such cluster":     {404, `{"error":404,"errorCode":"CLUSTER_NOT_FOUND"}`, failure{"not found", 404, "CLUSTER_NOT_FOUND", ""}, 0},
		"a rate limit":        {400, `{"error":400,"errorCode":"RATE_LIMITED_TOKEN_BUCKET"}`, failure{"rate limited", 400, "RATE_LIMITED_TOKEN_BUCKET", ""}, 0},
		"forbidden":           {403, `{"error":403,"errorCode":"USER_UNAUTHORIZED"}`, failure{"forbidden", 403, "USER_UNAUTHORIZED", ""}, 0},
		"neither Atlas's":     {404, `<html></html>`, failure{"", 404, "", ""}, 0},
		"one":                 {200, `{"results":[{"id":"a","status":"completed"}]}`, failure{Kind: "success"}, 0},
		"one that is too new": {200, `{"results":[{"id":"a","status":"queued"}]}`, failure{Kind: "not found"}, 0},
	} {
		pages = 0
		sharded = func(r *http.Request) *http.Response { return answer(r, test.status, test.body) }
		got, err := c.V1().LatestSnapshot(t.Context(), group, cluster)
		if diff := cmp.Diff(test.want, failureOf(t, err)); diff != "" || pages != test.pages || test.pages > 0 && !strings.HasSuffix(err.Error(), "more than 20000 snapshots, too many to look for the newest") {
			t.Errorf("%s: %d pages, %+v, %v (-want +got):\n%s", name, pages, got, err, diff)
		}
	}
}
