package sim_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// The constants name what the default seed has.
func TestDefaultSeed(t *testing.T) {
	seed := sim.DefaultSeed()
	group := seed.Groups[0]
	check(t, "groups", []string{group.ID, seed.Groups[1].ID, group.Org.ID}, []string{sim.GroupID, sim.EmptyGroupID, sim.OrgID})
	check(t, "the empty group", seed.Groups[1].Clusters == nil && seed.Groups[1].Buckets == nil, true)
	var snapshots []string
	for _, cluster := range group.Clusters {
		for _, snapshot := range cluster.Snapshots {
			snapshots = append(snapshots, cluster.Name+" "+snapshot.ID)
		}
	}
	var want []string
	for _, id := range []string{sim.FallbackSnapshot, sim.FailedSnapshot, sim.OrdersSnapshot, sim.OrdersSnapshot2, sim.OrdersSnapshot3, sim.FailingSnapshot, sim.LatestSnapshot} {
		want = append(want, sim.OrdersCluster+" "+id)
	}
	check(t, "snapshots", snapshots, append(want, sim.EventsCluster+" "+sim.EventsSnapshot, sim.EventsCluster+" "+sim.LatestEvents))
	check(t, "roles", []string{group.Roles[0].ID, group.Roles[1].ID, group.Roles[2].ID, group.Roles[3].ID, group.Roles[4].ID},
		[]string{sim.AWSRole, sim.AzureRole, sim.GCPRole, sim.UnassumableRole, sim.UnauthorizedRole})
	check(t, "sharded", []bool{group.Clusters[0].Sharded, group.Clusters[1].Sharded}, []bool{false, true})
	check(t, "keys", []string{seed.Keys[0].PublicKey, seed.Keys[0].PrivateKey.Reveal(), seed.Keys[1].PublicKey, seed.Keys[1].PrivateKey.Reveal()},
		[]string{sim.PublicKey, sim.PrivateKey, sim.ReadOnlyPublicKey, sim.PrivateKey})
	check(t, "account", []string{seed.ServiceAccounts[0].ClientID, seed.ServiceAccounts[0].ClientSecret.Reveal()}, []string{sim.ClientID, sim.ClientSecret})
	if printed := fmt.Sprintf("%+v", seed); strings.Contains(printed, sim.PrivateKey) || strings.Contains(printed, sim.ClientSecret) {
		t.Error("a printed seed shows its secrets")
	}
	seed.Groups = nil
	if sim.DefaultSeed().Groups == nil {
		t.Error("the default seed was changed")
	}
}

func TestOwnSeed(t *testing.T) {
	seed, err := sim.ReadSeed("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	atlas := start(t, sim.Config{Seed: seed, ExportDir: t.TempDir()})
	c := newCaller(t, atlas.URL(), "ownpubl")
	const base = "/api/atlas/v2/groups/70f0c1a2b3d4e5f607182930"
	job := c.value(c.do("POST", base+"/clusters/c/backup/exports", exportOf("70f0e0b45be2d84417c09f10", "70f0d3e1f20b4c7788990011")))
	check(t, "prefix of names", job["prefix"], any(fmt.Sprintf("exported_snapshots/own_org/own/c/2026-01-02T0304/%d", now.Unix())))
	atlas.Advance(12 * time.Minute)
	check(t, "status", c.read(base+"/clusters/c/backup/exports", job["id"].(string))["exportStatus"],
		any(map[string]any{"exportedCollections": 1.0, "totalCollections": 1.0}))
	check(t, "bucket in use", c.do("DELETE", base+buckets+"/70f0d3e1f20b4c7788990011", "").status, 400)
	cluster := c.value(c.do("GET", base+clusters, ""))["results"].([]any)[0].(map[string]any)
	check(t, "state", cluster["stateName"], any("UPDATING"))
	schedule := c.value(c.do("GET", base+"/clusters/c/backup/schedule", ""))
	items := schedule["policies"].([]any)[0].(map[string]any)["policyItems"].([]any)
	check(t, "policy items", items, []any{map[string]any{"id": items[0].(map[string]any)["id"], "frequencyType": "weekly", "frequencyInterval": 6.0, "retentionUnit": "weeks", "retentionValue": 4.0}})
	check(t, "automatic export", []any{schedule["autoExportEnabled"], schedule["export"], schedule["useOrgAndGroupNamesInExportPrefix"]},
		[]any{true, map[string]any{"exportBucketId": "70f0d3e1f20b4c7788990011", "frequencyType": "weekly"}, true})
	check(t, "the default's key", newCaller(t, atlas.URL(), sim.PublicKey).do("GET", base+buckets, "").status, 401)
}

func TestParseSeed(t *testing.T) {
	const keys = "keys:\n  - {publicKey: k, privateKey: s, groups: [64f0c1a2b3d4e5f607182930]}\n"
	const group = "groups: [{id: 64f0c1a2b3d4e5f607182930, name: n, org: {id: 64f0c0ffb3d4e5f60718292f, name: o}}]\n"
	if seed, err := sim.ParseSeed("own.yaml", []byte(keys+group)); err != nil || seed.Groups[0].Name != "n" {
		t.Errorf("%v, %+v", err, seed)
	}
	if seed, err := sim.ParseSeed("own.yaml", []byte("\ufeff"+keys+group)); err != nil || seed.Groups[0].Name != "n" {
		t.Errorf("behind a byte order mark: %v, %+v", err, seed)
	}
	const want = "own.yaml:2: keys[0].groups[0]: there is no group 64f0c1a2b3d4e5f607182930"
	if _, err := sim.ParseSeed("own.yaml", []byte(keys)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestBadSeeds(t *testing.T) {
	for file, want := range map[string]string{
		"testdata/bad-key.yaml":      `testdata/bad-key.yaml:5: groups[0].cluster: unknown key; did you mean clusters?`,
		"testdata/bad-snapshot.yaml": `testdata/bad-snapshot.yaml:11: groups[0].clusters[0].snapshots[1].id: "LATEST" is not 24 hexadecimal digits in lower case`,
		"testdata/none.yaml":         "no such file",
	} {
		if _, err := sim.ReadSeed(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", file, err, want)
		}
	}
	for want, change := range map[string]func(*sim.Seed){
		"groups[1].id: the group " + sim.GroupID + " is at groups[0].id already":          func(s *sim.Seed) { s.Groups[1].ID = sim.GroupID },
		`groups[0].org.id: "acme" is not 24`:                                              func(s *sim.Seed) { s.Groups[0].Org.ID = "acme" },
		`clusters[0].name: "a b" is not a cluster name`:                                   func(s *sim.Seed) { s.Groups[0].Clusters[0].Name = "a b" },
		`clusters[0].uniqueId: "" is not 24`:                                              func(s *sim.Seed) { s.Groups[0].Clusters[0].UniqueID = "" },
		"clusters[1].replicaSets: there are 2":                                            func(s *sim.Seed) { s.Groups[0].Clusters[1].Sharded = false },
		"clusters[0].replicaSets: there are 0":                                            func(s *sim.Seed) { s.Groups[0].Clusters[0].ReplicaSets = nil },
		"snapshots[0].createdAt: is missing":                                              func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].CreatedAt = time.Time{} },
		`outcome: the state "Lost" is not one of Successful, Failed, Cancelled`:           func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].Outcome.State = "Lost" },
		`snapshots[0].status: "done" is not one of queued, inProgress, completed, failed`: func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].Status = "done" },
		"snapshots[0].status: a snapshot that is queued has neither createdAt nor age":    func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].Status = "queued" },
		"snapshots[0].age: stands beside createdAt":                                       func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].Age = 1 },
		"snapshots[0].age: must not be negative":                                          func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].Age = -1 },
		`snapshots[0].snapshotType: "x" is not one of scheduled, onDemand, fallback`:      func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].SnapshotType = "x" },
		`snapshots[0].frequencyType: "x" is not one of hourly, daily`:                     func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].FrequencyType = "x" },
		"snapshots[0].storageSizeBytes: must not be negative":                             func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[0].StorageSizeBytes = -1 },
		`clusters[0].cloudProvider: "OCI" is not one of AWS, AZURE, GCP`:                  func(s *sim.Seed) { s.Groups[0].Clusters[0].CloudProvider = "OCI" },
		`roles[0].provider: "OCI" is not one of AWS, AZURE, GCP`:                          func(s *sim.Seed) { s.Groups[0].Roles[0].Provider = "OCI" },
		"roles[1].id: the role " + sim.AWSRole + " of " + sim.GroupID + " is at":          func(s *sim.Seed) { s.Groups[0].Roles[1].ID = sim.AWSRole },
		"snapshots[2].id: the snapshot " + sim.FallbackSnapshot + " is at":                func(s *sim.Seed) { s.Groups[0].Clusters[0].Snapshots[2].ID = sim.FallbackSnapshot },
		`clusters[0].stateName: "BUSY" is not one of IDLE, CREATING`:                      func(s *sim.Seed) { s.Groups[0].Clusters[0].StateName = "BUSY" },
		`policyItems[0].frequencyType: "" is not one of hourly, daily`:                    func(s *sim.Seed) { s.Groups[0].Clusters[0].PolicyItems = []sim.PolicyItem{{}} },
		`autoExportFrequency: "often" is not one of daily, weekly, monthly, yearly`:       func(s *sim.Seed) { s.Groups[0].Clusters[0].AutoExportFrequency = "often" },
		"databases[0]: a database needs":                                                  func(s *sim.Seed) { s.Groups[0].Clusters[0].Databases[0].Documents = -1 },
		"autoExportBucketId: the group has no bucket x":                                   func(s *sim.Seed) { s.Groups[0].Clusters[0].AutoExportBucketID = "x" },
		`roles[0].error: "NO" is not one of CANNOT_ASSUME_ROLE, CLOUD`:                    func(s *sim.Seed) { s.Groups[0].Roles[0].Error = "NO" },
		"keys[0].publicKey: is missing":                                                   func(s *sim.Seed) { s.Keys[0].PublicKey = "" },
		"keys[1].publicKey: the key demopubl is at keys[0].publicKey already":             func(s *sim.Seed) { s.Keys[1].PublicKey = sim.PublicKey },
		"keys[1].roles[0]: \"King\" is not one of Project Atlas Admin":                    func(s *sim.Seed) { s.Keys[1].Roles = []string{"King"} },
		"keys[1].groups[0]: there is no group x":                                          func(s *sim.Seed) { s.Keys[1].Groups = []string{"x"} },
		"serviceAccounts[0].clientSecret: is missing":                                     func(s *sim.Seed) { s.ServiceAccounts[0] = sim.ServiceAccount{ClientID: "a"} },
		`buckets[0].cloudProvider: "OCI" is not one of AWS, AZURE, GCP`: func(s *sim.Seed) {
			s.Groups[0].Buckets = []sim.Bucket{{ID: unknown, CloudProvider: "OCI", BucketName: "abc", RoleID: unknown}}
		},
		`buckets[0].bucketName: ".." is not the name`: func(s *sim.Seed) {
			s.Groups[0].Buckets = []sim.Bucket{{ID: unknown, CloudProvider: "GCP", BucketName: "..", RoleID: unknown}}
		},
		`buckets[0].serviceUrl: "x" names no container`: func(s *sim.Seed) {
			s.Groups[0].Buckets = []sim.Bucket{{ID: unknown, CloudProvider: "AZURE", RoleID: unknown, ServiceURL: "x"}}
		},
	} {
		seed := sim.DefaultSeed()
		change(seed)
		_, err := sim.New(sim.Config{Seed: seed})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "the seed: ") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
