package sim_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

func (c caller) read(path, id string) map[string]any {
	c.t.Helper()
	return c.value(c.do("GET", path+"/"+id, ""))
}

func TestJobLife(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	id := c.job(orders, sim.OrdersSnapshot, c.bucket())
	for _, step := range []struct {
		at              time.Duration
		state           string
		exported, total float64
	}{
		{0, "Queued", 0, 0},
		{30*time.Second - 1, "Queued", 0, 0},
		{30 * time.Second, "InProgress", 0, 42},
		{30*time.Second + 345*time.Second, "InProgress", 21, 42},
		{12*time.Minute - 1, "InProgress", 41, 42},
		{12 * time.Minute, "Successful", 42, 42},
		{24 * time.Minute, "Successful", 42, 42},
	} {
		atlas.Advance(step.at - atlas.Now().Sub(now))
		job := c.read(v2+orders, id)
		check(t, step.at.String(), job["state"], any(step.state))
		check(t, step.at.String(), job["exportStatus"], any(map[string]any{"exportedCollections": step.exported, "totalCollections": step.total}))
		finished := any(nil)
		if step.state == "Successful" {
			finished = "2026-08-20T12:12:00Z"
		}
		check(t, step.at.String(), job["finishedAt"], finished)
		check(t, step.at.String(), job["stateReason"], any(nil))
	}
}

func TestShardedJobLife(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	id := c.job(events, sim.EventsSnapshot, c.bucket())
	components := c.read(v2+events, id)["components"]
	atlas.Advance(12 * time.Minute)
	job := c.read(v2+events, id)
	check(t, "state", job["state"], any("Successful"))
	check(t, "components", job["components"], components)
	check(t, "exportStatus", job["exportStatus"], any(nil))
}

func TestJobsThatDoNotSucceed(t *testing.T) {
	atlas := start(t, sim.Config{ExportDir: t.TempDir()})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	reason := map[string]any{"errorCode": "DISK_FULL", "message": "No space is left."}
	for _, test := range []struct {
		name, snapshot  string
		outcome         *sim.Outcome
		state, v1State  string
		reason, message any
		exported        float64
	}{
		{"by the seed", sim.FailingSnapshot, nil, "Failed", "Failed",
			map[string]any{"errorCode": "CANNOT_ASSUME_ROLE", "message": "The role of the export bucket can no longer be assumed."},
			"The role of the export bucket can no longer be assumed.", 21},
		{"next", sim.OrdersSnapshot, &sim.Outcome{State: "Failed", ErrorCode: "DISK_FULL", Message: "No space is left."}, "Failed", "Failed", reason, "No space is left.", 21},
		{"cancelled", sim.OrdersSnapshot, &sim.Outcome{State: "Cancelled"}, "Cancelled", "Failed", nil, "The export job was cancelled.", 21},
		{"of another snapshot", sim.OrdersSnapshot, &sim.Outcome{State: "Failed", SnapshotID: sim.OrdersSnapshot2}, "Successful", "Successful", nil, nil, 42},
		{"of this snapshot", sim.OrdersSnapshot2, nil, "Failed", "Failed", map[string]any{"errorCode": "", "message": ""}, "", 21},
		{"the next one", sim.OrdersSnapshot2, nil, "Successful", "Successful", nil, nil, 42},
		{"good against the seed", sim.FailingSnapshot, &sim.Outcome{State: "Successful"}, "Successful", "Successful", nil, nil, 42},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.outcome != nil {
				if err := atlas.SetOutcome(*test.outcome); err != nil {
					t.Fatal(err)
				}
			}
			id := c.job(orders, test.snapshot, bucket)
			atlas.Advance(12 * time.Minute)
			job, old := c.read(v2+orders, id), c.read(v1+orders, id)
			check(t, "state", job["state"], any(test.state))
			check(t, "stateReason", job["stateReason"], test.reason)
			check(t, "v1.0 state", old["state"], any(test.v1State))
			check(t, "v1.0 errMsg", old["errMsg"], test.message)
			check(t, "v1.0 has no stateReason", old["stateReason"], any(nil))
			check(t, "exportStatus", job["exportStatus"], any(map[string]any{"exportedCollections": test.exported, "totalCollections": 42.0}))
			if job["finishedAt"] == nil || old["finishedAt"] == nil {
				t.Error("there is no finishedAt")
			}
			_, err := os.Stat(filepath.Join(atlas.ExportPath(id), ".complete"))
			check(t, "is complete", err == nil, test.state == "Successful")
		})
	}
	t.Run("ended by hand", func(t *testing.T) {
		id := c.job(orders, sim.OrdersSnapshot, bucket)
		if err := atlas.EndJob(id, sim.Outcome{State: "Cancelled"}); err != nil {
			t.Fatal(err)
		}
		check(t, "state", c.read(v2+orders, id)["state"], any("Cancelled"))
		if atlas.EndJob(id, sim.Outcome{}) == nil || atlas.EndJob(unknown, sim.Outcome{}) == nil {
			t.Error("a job ended twice")
		}
		if atlas.EndJob(id, sim.Outcome{State: "Lost"}) == nil || atlas.SetOutcome(sim.Outcome{State: "Lost"}) == nil {
			t.Error("a job ended in a state that there is not")
		}
	})
}

func TestOneActiveExport(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	id := c.job(orders, sim.OrdersSnapshot, bucket)
	a := c.do("POST", v2+orders, exportOf(sim.OrdersSnapshot, bucket))
	check(t, "a second", a.status, 409)
	check(t, "its code", a.header.Get("X-Error-Code"), "EXPORT_ALREADY_IN_PROGRESS")
	check(t, "in v1.0", c.do("POST", v1+orders, exportOf(sim.OrdersSnapshot, bucket)).status, 409)
	c.job(orders, sim.OrdersSnapshot2, bucket)
	atlas.Advance(12 * time.Minute)
	c.job(orders, sim.OrdersSnapshot, bucket)
	settings := atlas.Settings()
	settings.ParallelExports = true
	if err := atlas.SetSettings(settings); err != nil {
		t.Fatal(err)
	}
	c.job(orders, sim.OrdersSnapshot, bucket)
	check(t, "the first", c.read(v2+orders, id)["state"], any("Successful"))
	check(t, "jobs", len(atlas.Jobs()), 4)
}

func TestBucketsInUse(t *testing.T) {
	seed := sim.DefaultSeed()
	const automatic = "65a9d3e1f20b4c7788990011"
	seed.Groups[0].Buckets = []sim.Bucket{{ID: automatic, CloudProvider: "AWS", BucketName: "acme-auto", IamRoleID: sim.AWSRole}}
	seed.Groups[0].Clusters[0].AutoExportBucketID = automatic
	atlas := start(t, sim.Config{Seed: seed})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	check(t, "a bucket of the seed", c.do("GET", v2+buckets+"/"+automatic, "").status, 200)
	const inUse = "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE"
	check(t, "automatic exports", c.do("DELETE", v2+buckets+"/"+automatic, "").header.Get("X-Error-Code"), inUse)
	bucket := c.bucket()
	c.job(orders, sim.OrdersSnapshot, bucket)
	check(t, "an active export", c.do("DELETE", v1+buckets+"/"+bucket+"/", "").header.Get("X-Error-Code"), inUse)
	atlas.Advance(12 * time.Minute)
	c.value(c.do("PATCH", v2+schedule, `{"autoExportEnabled":true,"export":{"exportBucketId":"`+bucket+`","frequencyType":"yearly"}}`))
	a := c.do("DELETE", v2+buckets+"/"+bucket, "")
	check(t, "a schedule that was changed", a.body, `{"detail":"Failed to delete export Bucket with ID `+bucket+` because it is in use.","error":400,"errorCode":"`+inUse+`","parameters":["`+bucket+`"],"reason":"Bad Request"}`)
	c.value(c.do("PATCH", v2+schedule, `{"autoExportEnabled":false}`))
	check(t, "afterwards", c.do("DELETE", v2+buckets+"/"+bucket, "").status, 204)
}

// A job ends by itself in real time, sped up, while nobody asks for it or moves the clock.
func TestSpeed(t *testing.T) {
	dir := t.TempDir()
	atlas := sim.Start(t, sim.Config{Speed: 10_000, ExportDir: dir}) // 72 ms
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	id := c.job(orders, sim.OrdersSnapshot, c.bucket())
	complete := filepath.Join(atlas.ExportPath(id), ".complete")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(complete); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job does not end")
		}
	}
	atlas.Settle()
	check(t, "state", c.read(v2+orders, id)["state"], any("Successful"))
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// countDocuments returns how many lines of JSON a compressed file has.
func countDocuments(t *testing.T, compressed string) (documents int) {
	t.Helper()
	reader, err := gzip.NewReader(strings.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
		documents++
	}
	return documents
}

func TestExportFiles(t *testing.T) {
	dir := t.TempDir()
	atlas := start(t, sim.Config{ExportDir: dir})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	const permission = "acme-snapshots/exported_snapshots/.permissioncheck"
	check(t, "after the bucket", tree(t, dir), map[string]string{permission: ""})
	os.RemoveAll(filepath.Join(dir, "acme-snapshots"))
	a := c.do("POST", v2+events, `{"snapshotId":"`+sim.EventsSnapshot+`","exportBucketId":"`+bucket+`","customData":[{"key":"purpose","value":"<archive>"},{"key":"alone"}]}`)
	id := c.value(a)["id"].(string)
	check(t, "after the start", tree(t, dir), map[string]string{permission: ""})
	atlas.Advance(12*time.Minute - 1)
	check(t, "before the end", len(tree(t, dir)), 1)
	atlas.Advance(1)

	files := tree(t, dir)
	prefix := fmt.Sprintf("acme-snapshots/exported_snapshots/%s/%s/events/2026-08-10T0327/%d/", sim.OrgID, sim.GroupID, now.Unix())
	want := []string{permission, prefix + ".complete"}
	for _, collection := range []string{"clicks", "devices", "errors", "sessions", "views"} {
		for _, name := range []string{"atlas-9x2kqf-shard-0.0.json.gz", "atlas-9x2kqf-shard-1.0.json.gz", "metadata.json"} {
			want = append(want, prefix+"telemetry/"+collection+"/"+name)
		}
	}
	slices.Sort(want)
	check(t, "files", slices.Sorted(maps.Keys(files)), want)
	check(t, ".complete", files[prefix+".complete"], `{
  "orgId": "`+sim.OrgID+`",
  "orgName": "acme",
  "groupId": "`+sim.GroupID+`",
  "groupName": "production",
  "clusterUniqueId": "64f0c2d1b3d4e5f607182941",
  "clusterName": "events",
  "snapshotInitiationDate": "2026-08-10T03:27:40.000Z",
  "totalFiles": 15,
  "labels": [],
  "customData": [
    {
      "key": "purpose",
      "value": "<archive>"
    },
    {
      "key": "alone"
    }
  ]
}
`)
	documents := 0
	for _, shard := range []string{"0", "1"} {
		documents += countDocuments(t, files[prefix+"telemetry/clicks/atlas-9x2kqf-shard-"+shard+".0.json.gz"])
	}
	check(t, "documents of both shards", documents, 30)
	if !json.Valid([]byte(files[prefix+"telemetry/clicks/metadata.json"])) {
		t.Error("the metadata is not JSON")
	}

	// The same export in another run has the same files, byte for byte.
	os.RemoveAll(filepath.Join(dir, prefix))
	other := start(t, sim.Config{ExportDir: dir})
	oc := newCaller(t, other.URL(), sim.PublicKey)
	oc.value(oc.do("POST", v2+events, `{"snapshotId":"`+sim.EventsSnapshot+`","exportBucketId":"`+oc.bucket()+`","customData":[{"key":"purpose","value":"<archive>"},{"key":"alone"}]}`))
	other.Advance(12 * time.Minute)
	check(t, "once more", tree(t, dir), files)
	check(t, "path", atlas.ExportPath(id), filepath.Join(dir, strings.TrimSuffix(prefix, "/")))
}

// In the prefix, names have underscores in the place of spaces, and lack what object storage has
// to treat with care. A slash in a name adds no folder.
func TestNamesInPrefix(t *testing.T) {
	for _, test := range []struct{ org, name, want string }{
		{"acme", "production", "acme/production"},
		{"Acme Corp & Sons", "shop/eu: west", "Acme_Corp__Sons/shopeu_west"},
		{"a\\b^c%d`e[f]g\"h<i>j~k#l|m{n}o", "!-_.*'()", "abcdefghijklmno/!-_.*'()"},
		{"p@q=r;s,t?u+v$w:x&y", "Zürich Nord", "pqrstuvwxy/Zrich_Nord"},
		{"日本", "..", sim.OrgID + "/.."},
	} {
		seed := sim.DefaultSeed()
		group := &seed.Groups[0]
		group.NamesInPrefix, group.Org.Name, group.Name = true, test.org, test.name
		c := newCaller(t, start(t, sim.Config{Seed: seed}).URL(), sim.PublicKey)
		job := c.value(c.do("POST", v2+orders, exportOf(sim.OrdersSnapshot, c.bucket())))
		check(t, test.org+" "+test.name, job["prefix"], any("exported_snapshots/"+test.want+"/orders/2026-08-10T0327/"+fmt.Sprint(now.Unix())))
	}
}

// No name in a seed makes the simulation write outside the export directory.
func TestExportsStayInside(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	seed := sim.DefaultSeed()
	group := &seed.Groups[0]
	group.NamesInPrefix = true
	group.Name, group.Org.Name = "../../..", "/etc/acme\x00"
	cluster := &group.Clusters[0]
	cluster.ReplicaSets = []string{"../../../rs"}
	cluster.Databases = []sim.Database{{Name: "..", Collections: []string{"../x", ".", "C:\\y"}, Documents: 1}}
	group.Buckets = []sim.Bucket{{ID: unknown, CloudProvider: "AZURE", RoleID: sim.AzureRole, ServiceURL: "https://acmestore.blob.core.windows.net/.."}}
	// Nor does a symbolic link out of it.
	if err := os.Symlink(outer, filepath.Join(dir, "escape")); err != nil {
		t.Fatal(err)
	}
	atlas := start(t, sim.Config{Seed: seed, ExportDir: dir})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	id := c.job(orders, sim.OrdersSnapshot, unknown)
	atlas.Advance(12 * time.Minute)
	check(t, "state", c.read(v2+orders, id)["state"], any("Successful"))
	files := tree(t, outer)
	if len(files) < 7 {
		t.Errorf("only these were written: %v", slices.Collect(maps.Keys(files)))
	}
	for name := range files {
		if !strings.HasPrefix(name, "a/b/") || strings.Contains(name, "..") && !strings.Contains(name, "%2F") {
			t.Errorf("%s was written", name)
		}
	}
	a := c.do("POST", v2+buckets, `{"cloudProvider":"AWS","bucketName":"escape","iamRoleId":"`+sim.AWSRole+`"}`)
	check(t, "through a link", a.status, 500)
	if _, err := os.Stat(filepath.Join(outer, "exported_snapshots")); err == nil {
		t.Error("the link was followed")
	}
}

// An export that can't be written is not Successful.
func TestExportThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	atlas := start(t, sim.Config{ExportDir: dir})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	id := c.job(orders, sim.OrdersSnapshot, c.bucket())
	if err := os.WriteFile(filepath.Join(dir, "acme-snapshots", "exported_snapshots", sim.OrgID), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	atlas.Advance(12 * time.Minute)
	job := c.read(v2+orders, id)
	check(t, "state", job["state"], any("Failed"))
	check(t, "reason", job["stateReason"], any(map[string]any{"errorCode": "UNEXPECTED_ERROR", "message": "The export could not be written."}))
}
