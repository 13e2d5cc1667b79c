package sim_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

const (
	snapshots       = "/clusters/orders/backup/snapshots"
	shardedList     = "/clusters/events/backup/snapshots/shardedClusters"
	shardedSnapshot = "/clusters/events/backup/snapshots/shardedCluster/"
)

// results returns the ids of a list.
func (c caller) results(path string) []string {
	c.t.Helper()
	ids := []string{}
	for _, result := range c.value(c.do("GET", path, ""))["results"].([]any) {
		ids = append(ids, result.(map[string]any)["id"].(string))
	}
	return ids
}

// take begins an on-demand snapshot and returns its id.
func (c caller) take(cluster string) string {
	c.t.Helper()
	return c.value(c.do("POST", v2+"/clusters/"+cluster+"/backup/snapshots", `{"description":"test","retentionInDays":1}`))["id"].(string)
}

// An on-demand snapshot is queued, then in progress, and knows its time and server late. Until it
// is completed, it expires by the time of its request.
func TestRecordedSnapshot(t *testing.T) {
	atlas, r := newRecorded(t, sim.Config{})
	const (
		links = `"links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/orders/backup/snapshots/<TAKEN>","rel":"self"},` +
			`{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/orders","rel":"https://cloud.mongodb.com/cluster"}]`
		fresh = `{"copyRegions":[],"description":"test-snapshot","expiresAt":"2026-08-21T12:00:00Z","frequencyType":"ondemand","id":"<TAKEN>",` + links +
			`,"policyItems":[],"replicaSetName":"orders","snapshotType":"onDemand","status":"STATUS","storageSizeBytes":0,"type":"replicaSet"}`
		known = `{"cloudProvider":"AWS","copyRegions":[],"createdAt":"2026-08-20T12:04:05Z","description":"test-snapshot","expiresAt":"EXPIRY","frequencyType":"ondemand","id":"<TAKEN>",` + links +
			`,"mongodVersion":"8.0.16","policyItems":[],"replicaSetName":"orders","snapshotType":"onDemand","status":"STATUS","storageSizeBytes":SIZE,"type":"replicaSet"}`
	)
	with := func(body, status, expiry, size string) string {
		return strings.NewReplacer("STATUS", status, "EXPIRY", expiry, "SIZE", size).Replace(body)
	}
	path := v2 + snapshots + "/<TAKEN>"
	r.answers("POST", v2+snapshots, `{"description":"test-snapshot","retentionInDays":1}`, 200, "TAKEN", with(fresh, "queued", "", ""))
	atlas.Advance(5 * time.Second)
	r.answers("GET", path, "", 200, "", with(fresh, "inProgress", "", ""))
	atlas.Advance(4*time.Minute - time.Second)
	r.answers("GET", path, "", 200, "", with(fresh, "inProgress", "", ""))
	atlas.Advance(time.Second)
	r.answers("GET", path, "", 200, "", with(known, "inProgress", "2026-08-21T12:00:00Z", "0"))
	atlas.Advance(4*time.Minute - time.Nanosecond)
	r.answers("GET", path, "", 200, "", with(known, "inProgress", "2026-08-21T12:00:00Z", "0"))
	atlas.Advance(time.Nanosecond)
	completed := with(known, "completed", "2026-08-21T12:08:05Z", "1596661760")
	r.answers("GET", path, "", 200, "", completed)
	r.answers("GET", v2+snapshots+"?itemsPerPage=1", "", 200, "", `{"links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/orders/backup/snapshots?includeCount=true&pageNum=1&itemsPerPage=1","rel":"self"},`+
		`{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/orders/backup/snapshots?includeCount=true&itemsPerPage=1&pageNum=2","rel":"next"}],"results":[`+completed+`],"totalCount":8}`)
	r.answers("GET", v1+snapshots+"/<TAKEN>", "", 200, "", strings.ReplaceAll(completed, "/atlas/v2/", "/atlas/v1.0/"))
	check(t, "taken", atlas.Counts().SnapshotsTaken, int64(1))
}

// A snapshot of a sharded cluster has members, and none of what is of one replica set.
func TestShardedSnapshots(t *testing.T) {
	atlas, r := newRecorded(t, sim.Config{})
	r.ids["EVENTS"] = sim.EventsSnapshot
	const (
		first  = "6a01e0b45be2d84417c09f21"
		second = "6a01e0b45be2d84417c09f22"
		body   = `{"configServerType":"EMBEDDED","createdAt":"2026-08-10T03:27:40Z","expiresAt":"2036-08-10T03:27:40Z","frequencyType":"daily","id":"<EVENTS>",` +
			`"links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/events/backup/snapshots/shardedCluster/<EVENTS>","rel":"self"},` +
			`{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/events","rel":"https://cloud.mongodb.com/cluster"}],` +
			`"members":[{"cloudProvider":"AWS","id":"` + first + `","replicaSetName":"atlas-9x2kqf-shard-0"},{"cloudProvider":"AWS","id":"` + second + `","replicaSetName":"atlas-9x2kqf-shard-1"}],` +
			`"mongodVersion":"8.0.16","policyItems":[],"snapshotIds":["` + first + `","` + second + `"],"snapshotType":"scheduled","status":"completed","storageSizeBytes":1557864448,"type":"shardedCluster"}`
	)
	r.answers("GET", v2+shardedSnapshot+"<EVENTS>", "", 200, "", body)
	r.answers("GET", v1+shardedSnapshot+"<EVENTS>", "", 200, "", strings.ReplaceAll(body, "/atlas/v2/", "/atlas/v1.0/"))
	check(t, "all", r.results(v2+shardedList), []string{sim.LatestEvents, sim.EventsSnapshot})
	check(t, "all in v1.0", r.results(v1+shardedList), []string{sim.LatestEvents, sim.EventsSnapshot})

	// The paths of one kind of cluster have no snapshots of the other.
	check(t, "pages", r.results(v2+"/clusters/events/backup/snapshots"), []string{})
	check(t, "the other list", r.results(v2+"/clusters/orders/backup/snapshots/shardedClusters"), []string{})
	check(t, "by the other path", r.do("GET", v2+"/clusters/events/backup/snapshots/"+sim.EventsSnapshot, "").status, 404)
	check(t, "of a replica set", r.do("GET", v2+"/clusters/orders/backup/snapshots/shardedCluster/"+sim.OrdersSnapshot, "").status, 404)

	taken := r.take(sim.EventsCluster)
	queued := r.value(r.do("GET", v2+shardedSnapshot+taken, ""))
	check(t, "queued", []any{queued["status"], queued["createdAt"], len(queued["members"].([]any)), queued["members"].([]any)[0].(map[string]any)["cloudProvider"]}, []any{"queued", nil, 2, nil})
	atlas.Advance(9 * time.Minute)
	check(t, "taken", r.results(v2+shardedList), []string{taken, sim.LatestEvents, sim.EventsSnapshot})
	r.job(events, taken, r.bucket())
}

func TestListOfSnapshots(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	newest := []string{sim.LatestSnapshot, sim.FailingSnapshot, sim.OrdersSnapshot3, sim.OrdersSnapshot2, sim.OrdersSnapshot, sim.FailedSnapshot, sim.FallbackSnapshot}
	check(t, "newest first", c.results(v2+snapshots), newest)
	check(t, "in v1.0", c.results(v1+snapshots+"/"), newest)
	check(t, "a page", c.results(v2+snapshots+"?pageNum=2&itemsPerPage=3"), newest[3:6])
	check(t, "a point in time changes nothing", c.results(v2+snapshots+"?pointInTimeUtcSeconds=1&oplogTs=2&oplogInc=3"), newest)
	latest := c.value(c.do("GET", v2+snapshots+"/"+sim.LatestSnapshot, ""))
	check(t, "its age", latest["createdAt"], any("2026-08-20T09:00:00Z"))
	failed := c.value(c.do("GET", v2+snapshots+"/"+sim.FailedSnapshot, ""))
	check(t, "one that failed", []any{failed["status"], failed["storageSizeBytes"], failed["createdAt"]}, []any{"failed", 0.0, "2026-08-09T03:27:10Z"})
	check(t, "a fallback", c.value(c.do("GET", v2+snapshots+"/"+sim.FallbackSnapshot, ""))["snapshotType"], any("fallback"))

	// What has expired is gone, for reading and for exports.
	taken := c.take(sim.OrdersCluster)
	bucket := c.bucket()
	atlas.Advance(24*time.Hour + 8*time.Minute + 5*time.Second - 1)
	check(t, "before it expires", c.results(v2 + snapshots)[0], taken)
	atlas.Advance(1)
	check(t, "afterwards", c.results(v2+snapshots), newest)
	check(t, "its export", c.do("POST", v2+orders, exportOf(taken, bucket)).header.Get("X-Error-Code"), "SNAPSHOT_NOT_FOUND")
	check(t, "another one may be taken", c.take(sim.OrdersCluster) != taken, true)
}

func TestSnapshotErrors(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	taken := c.take(sim.OrdersCluster)
	incomplete := [2]string{"CANNOT_START_RESTORE_JOB_FOR_INCOMPLETE_CLUSTER_SNAPSHOT", "Cannot start restore job for incomplete cluster snapshot."}
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		want                     [2]string // errorCode and detail
	}{
		{"no id", "GET", v2 + snapshots + "/latest", "", 404, [2]string{"INVALID_SNAPSHOT_ID", "An invalid snapshot ID latest was specified."}},
		{"unknown", "GET", v1 + snapshots + "/" + unknown, "", 404, [2]string{"SNAPSHOT_NOT_FOUND", "No snapshot with ID " + unknown + " exists for cluster orders."}},
		{"of another cluster", "GET", v2 + snapshots + "/" + sim.EventsSnapshot, "", 404, [2]string{"SNAPSHOT_NOT_FOUND", "No snapshot with ID " + sim.EventsSnapshot + " exists for cluster orders."}},
		{"unknown cluster", "GET", v2 + "/clusters/order/backup/snapshots", "", 404, [2]string{"CLUSTER_NOT_FOUND", "No cluster named order exists in group " + sim.GroupID + "."}},
		{"page 0", "GET", v2 + snapshots + "?pageNum=0", "", 400, [2]string{"INVALID_QUERY_PARAMETER", "Invalid query parameter pageNum specified."}},
		{"a second one", "POST", v2 + snapshots, "{}", 400, [2]string{"UNFINISHED_ON_DEMAND_SNAPSHOT", "Another on-demand snapshot is queued or in progress."}},
		{"kept for no day", "POST", v2 + snapshots, `{"retentionInDays":0}`, 400, [2]string{"ATTRIBUTE_NEGATIVE_OR_ZERO", "The attribute retentionInDays cannot be negative or zero."}},
		{"kept for some days", "POST", v2 + snapshots, `{"retentionInDays":"1"}`, 400, [2]string{"INVALID_JSON_ATTRIBUTE", "Received JSON for the retentionInDays attribute does not match expected format."}},
		{"kept for half a day", "POST", v2 + snapshots, `{"retentionInDays":0.5}`, 400, [2]string{"INVALID_JSON_ATTRIBUTE", "Received JSON for the retentionInDays attribute does not match expected format."}},
		{"with a number for a text", "POST", v1 + snapshots, `{"description":1}`, 400, [2]string{"INVALID_JSON_ATTRIBUTE", "Received JSON for the description attribute does not match expected format."}},
		{"with more", "POST", v2 + snapshots, `{"retention":1}`, 400, [2]string{"INVALID_ATTRIBUTE", "Invalid attribute retention specified."}},
		{"an export of one that is queued", "POST", v2 + orders, exportOf(taken, bucket), 409, incomplete},
		{"an export of one that failed", "POST", v1 + orders, exportOf(sim.FailedSnapshot, bucket), 409, incomplete},
		{"an export of a fallback", "POST", v2 + orders, exportOf(sim.FallbackSnapshot, bucket), 400,
			[2]string{"VALIDATION_ERROR", "The request content produced the validation error: a fallback snapshot cannot be exported."}},
	} {
		a := c.do(test.method, test.path, test.body)
		check(t, test.name, a.status, test.status)
		check(t, test.name, a.header.Get("X-Error-Code"), test.want[0])
		if !strings.Contains(a.body, `"detail":"`+test.want[1]+`"`) {
			t.Errorf("%s: %s", test.name, a.body)
		}
	}
	check(t, "of another cluster at the same time", len(c.take(sim.EventsCluster)), 24)
	atlas.Advance(5 * time.Second)
	check(t, "while it is in progress", c.do("POST", v2+snapshots, "{}").status, 400)
	atlas.Advance(8 * time.Minute)
	check(t, "afterwards", c.do("POST", v2+snapshots, "{}").status, 200)
	c.job(orders, taken, bucket)
	check(t, "counts", atlas.Counts().SnapshotsTaken, int64(3))
}

// The seed, AddSnapshot and the control listener give the simulation snapshots of any kind, and
// EndSnapshot ends one early.
func TestSeededSnapshots(t *testing.T) {
	seed := sim.DefaultSeed()
	cluster := &seed.Groups[0].Clusters[0]
	cluster.CloudProvider = "GCP"
	cluster.Snapshots = []sim.Snapshot{{ID: unknown, Status: "inProgress"}}
	atlas := start(t, sim.Config{Seed: seed})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	check(t, "of the seed", c.value(c.do("GET", v2+snapshots+"/"+unknown, ""))["status"], any("inProgress"))

	added, err := atlas.AddSnapshot(sim.Snapshot{GroupID: sim.GroupID, ClusterName: "orders", Age: sim.Duration(30 * time.Hour), FrequencyType: "weekly",
		StorageSizeBytes: 7, MongodVersion: "7.0.1", PolicyItems: []string{sim.GroupID}, ExpiresAt: now.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	got := c.value(c.do("GET", v2+snapshots+"/"+added.ID, ""))
	for name, want := range map[string]any{"createdAt": "2026-08-19T06:00:00Z", "expiresAt": "2026-08-20T13:00:00Z", "frequencyType": "weekly", "storageSizeBytes": 7.0,
		"mongodVersion": "7.0.1", "policyItems": []any{sim.GroupID}, "cloudProvider": "GCP", "status": "completed"} {
		check(t, name, got[name], want)
	}
	posted := control(t, atlas, 200, "POST", "/snapshots", `{"groupId":"`+sim.GroupID+`","clusterName":"orders","age":"1h","snapshotType":"onDemand","description":"by hand"}`).(object)
	check(t, "by the control listener", c.value(c.do("GET", v2+snapshots+"/"+posted["id"].(string), ""))["frequencyType"], any("ondemand"))
	taken := c.take("orders")
	control(t, atlas, 200, "POST", "/snapshots/"+taken+"/end", `{"status":"failed"}`)
	ended := c.value(c.do("GET", v2+snapshots+"/"+taken, ""))
	check(t, "ended by hand", []any{ended["status"], ended["createdAt"], ended["storageSizeBytes"]}, []any{"failed", "2026-08-20T12:00:00Z", 0.0})
	shown := control(t, atlas, 200, "GET", "/snapshots", "").([]any)
	check(t, "all of them", shown[len(shown)-1].(object)["id"], any(taken))

	for body, want := range map[string]string{
		`{"clusterName":"orders","age":"1h"}`:                                                         `there is no cluster "orders" in the group ""`,
		`{"groupId":"` + sim.GroupID + `","clusterName":"orders"}`:                                    "createdAt: is missing, and so is age",
		`{"groupId":"` + sim.GroupID + `","clusterName":"orders","age":"1h","id":"x"}`:                `id: "x" is not 24 hexadecimal`,
		`{"groupId":"` + sim.GroupID + `","clusterName":"orders","age":"1h","id":"` + added.ID + `"}`: "id: there is a snapshot " + added.ID + " already",
		`{"groupId":"` + sim.GroupID + `","clusterName":"orders","age":"1h","outcome":{"state":"x"}}`: `outcome: the state "x"`,
	} {
		got := control(t, atlas, 400, "POST", "/snapshots", body).(object)["error"].(string)
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	for _, end := range []string{"/snapshots/" + taken + "/end", "/snapshots/" + unknown + "0/end"} {
		control(t, atlas, 400, "POST", end, `{"status":"completed"}`)
	}
	control(t, atlas, 400, "POST", "/snapshots/"+unknown+"/end", `{"status":"queued"}`)
}

// A state file of an older version has neither snapshots nor schedules: they are the seed's.
func TestOlderStateFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(file, []byte(`{"format":1,"advance":"1h0m0s","buckets":[],"jobs":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCaller(t, start(t, sim.Config{StateFile: file}).URL(), sim.PublicKey)
	check(t, "the newest", c.value(c.do("GET", v2+snapshots+"/"+sim.LatestSnapshot, ""))["createdAt"], any("2026-08-20T10:00:00Z"))
	check(t, "the schedule", c.value(c.do("GET", v2+schedule, ""))["autoExportEnabled"], any(false))
}

// Snapshots and schedules outlive a restart.
func TestRestartOfBackups(t *testing.T) {
	cfg := sim.Config{Now: stopped, StateFile: filepath.Join(t.TempDir(), "state.json")}
	first, err := sim.New(cfg)
	if err == nil {
		err = first.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newCaller(t, first.URL(), sim.PublicKey)
	taken := c.take("orders")
	bucket := c.bucket()
	change := fmt.Sprintf(`{"autoExportEnabled":true,"export":{"exportBucketId":%q,"frequencyType":"daily"}}`, bucket)
	check(t, "change", c.do("PATCH", v2+schedule, change).status, 200)
	first.Advance(time.Minute)
	wantSnapshot := c.value(c.do("GET", v2+snapshots+"/"+taken, ""))
	wantList := c.results(v2 + snapshots)
	first.Close()

	second := start(t, cfg)
	c = newCaller(t, second.URL(), sim.PublicKey)
	got := c.value(c.do("GET", v2+snapshots+"/"+taken, ""))
	delete(got, "links")
	delete(wantSnapshot, "links")
	check(t, "the snapshot", got, wantSnapshot)
	check(t, "all", c.results(v2+snapshots), wantList)
	check(t, "the schedule", c.value(c.do("GET", v2+schedule, ""))["export"], any(map[string]any{"exportBucketId": bucket, "frequencyType": "daily"}))
	second.Advance(8 * time.Minute)
	c.job(orders, taken, bucket)
	second.Advance(24 * time.Hour)
	check(t, "automatic exports go on", second.Counts().AutomaticExports, int64(1))
	check(t, "no snapshot twice", len(slices.Compact(slices.Sorted(slices.Values(c.results(v2+snapshots))))), len(c.results(v2+snapshots)))
}
