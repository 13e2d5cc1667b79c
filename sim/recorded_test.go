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
