package sim_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

// recorded compares answers with what the live service answered, member by member and in its
// order. <NAME> in a path or body stands for an id.
type recorded struct {
	caller
	ids map[string]string
}

func (r *recorded) fill(text string) string {
	for name, id := range r.ids {
		text = strings.ReplaceAll(text, "<"+name+">", id)
	}
	return text
}

// answers checks an answer, and keeps its id under a name if there is one.
func (r *recorded) answers(method, path, content string, status int, name, body string) {
	r.t.Helper()
	a := r.do(method, r.fill(path), r.fill(content))
	check(r.t, method+" "+path, a.status, status)
	if name != "" {
		value := r.value(a)
		id, ok := value["_id"].(string)
		if !ok {
			id = value["id"].(string)
		}
		r.ids[name] = id
	}
	check(r.t, method+" "+path, a.body, r.fill(body))
}

func newRecorded(t *testing.T, cfg sim.Config) (*sim.Server, *recorded) {
	cfg.PublicURL = "http://localhost:8080" // as in the recordings
	atlas := start(t, cfg)
	return atlas, &recorded{newCaller(t, atlas.URL(), sim.PublicKey), map[string]string{
		"GROUP": sim.GroupID, "ORG": sim.OrgID, "ROLE": sim.AWSRole, "SNAPSHOT": sim.OrdersSnapshot, "SEEDED": unknown}}
}

// An AWS bucket has requirePrivateNetworking also where nobody asked for it. Only the answer to
// a request for one bucket has a region. No answer has links.
func TestRecordedBuckets(t *testing.T) {
	seed := sim.DefaultSeed()
	seed.Groups[0].Buckets = []sim.Bucket{{ID: unknown, CloudProvider: "AWS", BucketName: "seeded-bucket", IamRoleID: sim.AWSRole}}
	_, r := newRecorded(t, sim.Config{Seed: seed})
	const members = `{"_id":"<BUCKET>","bucketName":"test-bucket","cloudProvider":"AWS","iamRoleId":"<ROLE>"`
	r.answers("POST", v2+buckets, `{"cloudProvider":"AWS","bucketName":"test-bucket","iamRoleId":"<ROLE>"}`, 200, "BUCKET",
		members+`,"requirePrivateNetworking":false}`)
	r.answers("GET", v2+buckets+"/<BUCKET>", "", 200, "", members+`,"region":"us-east-1","requirePrivateNetworking":false}`)
	r.answers("GET", v2+buckets, "", 200, "", `{"links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/backup/exportBuckets?includeCount=true&pageNum=1&itemsPerPage=100","rel":"self"}],"results":[`+
		`{"_id":"<SEEDED>","bucketName":"seeded-bucket","cloudProvider":"AWS","iamRoleId":"<ROLE>","requirePrivateNetworking":false},`+
		members+`,"requirePrivateNetworking":false}],"totalCount":2}`)
}

func TestRecordedJob(t *testing.T) {
	_, r := newRecorded(t, sim.Config{})
	r.ids["BUCKET"] = r.bucket()
	const job = `{"createdAt":"2026-08-20T12:00:00Z","customData":[],"exportBucketId":"<BUCKET>","exportStatus":{"exportedCollections":0,"totalCollections":0},"id":"<JOB>",` +
		`"prefix":"exported_snapshots/<ORG>/<GROUP>/orders/2026-08-10T0327/1787227200","snapshotId":"<SNAPSHOT>","state":"Queued"}`
	r.answers("POST", v2+orders, `{"snapshotId":"<SNAPSHOT>","exportBucketId":"<BUCKET>","customData":[]}`, 200, "JOB", job)
	r.answers("GET", v2+orders+"/<JOB>", "", 200, "", job)
	r.answers("GET", v2+orders, "", 200, "", `{"links":[{"href":"http://localhost:8080/api/atlas/v2/groups/<GROUP>/clusters/orders/backup/exports?includeCount=true&pageNum=1&itemsPerPage=100","rel":"self"}],"results":[`+job+`],"totalCount":1}`)
}

// Every answer has the fields that the recordings have, and an error those that name it.
func TestRecordedFields(t *testing.T) {
	_, r := newRecorded(t, sim.Config{})
	fields := map[string]string{
		"Referrer-Policy":                   "strict-origin-when-cross-origin",
		"Server":                            "mdbws",
		"Strict-Transport-Security":         "max-age=31536000; includeSubdomains;",
		"X-Content-Type-Options":            "nosniff",
		"X-Frame-Options":                   "DENY",
		"X-Java-Method":                     "ApiAtlasDiskBackupExportBucketsResource::addExportBucket",
		"X-Permitted-Cross-Domain-Policies": "none",
	}
	for name, a := range map[string]answer{
		"200": r.do("POST", v2+buckets, awsBucket("")),
		"400": r.do("POST", v2+buckets, "{}"),
		"401": plainly(t, "POST", r.base+v2+buckets, ""),
	} {
		for field, want := range fields {
			check(t, name+" "+field, a.header.Get(field), want)
		}
		for _, field := range []string{"X-Envoy-Upstream-Service-Time", "X-Java-Version", "X-MongoDB-Service-Version", "Date"} {
			if a.header.Get(field) == "" {
				t.Errorf("%s: there is no %s", name, field)
			}
		}
	}
}

// What Atlas answers to a DELETE of v1.0 was not recorded: a setting says which of the two.
func TestV1Delete(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	first, second := c.bucket(), c.bucket()
	a := c.do("DELETE", v1+buckets+"/"+first, "")
	check(t, "without content", []any{a.status, a.body}, []any{204, ""})
	control(t, atlas, 200, "PATCH", "/settings", `{"v1DeleteContent":true}`)
	a = c.do("DELETE", v1+buckets+"/"+second, "")
	check(t, "with content", []any{a.status, a.body, a.header.Get("Content-Type")}, []any{200, "{}", plain})
	check(t, "it is gone", c.do("DELETE", v1+buckets+"/"+second, "").status, 404)
	check(t, "v2", c.do("DELETE", v2+buckets+"/"+c.bucket(), "").status, 204)
}
