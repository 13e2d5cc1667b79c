package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

func TestPaging(t *testing.T) {
	atlas := start(t, sim.Config{PublicURL: "https://cloud.mongodb.com/", Settings: sim.Settings{ParallelExports: true}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	var jobs []string
	for range 5 {
		jobs = append([]string{c.job(orders, sim.OrdersSnapshot, bucket)}, jobs...) // newest first
	}
	for _, test := range []struct {
		path    string
		results []string
		count   any
		links   string // rel=parameters, separated by spaces
	}{
		{v2 + orders, jobs, 5.0, "self=includeCount=true&pageNum=1&itemsPerPage=100"},
		{v2 + orders + "?pageNum=1&itemsPerPage=2", jobs[:2], 5.0,
			"self=includeCount=true&pageNum=1&itemsPerPage=2 next=includeCount=true&itemsPerPage=2&pageNum=2"},
		{v2 + orders + "?itemsPerPage=2&pageNum=2&includeCount=false&pretty=true", jobs[2:4], nil,
			"self=includeCount=false&pageNum=2&itemsPerPage=2&pretty=true next=includeCount=false&itemsPerPage=2&pageNum=3&pretty=true previous=includeCount=false&itemsPerPage=2&pageNum=1&pretty=true"},
		{v2 + orders + "?itemsPerPage=2&pageNum=3", jobs[4:], 5.0,
			"self=includeCount=true&pageNum=3&itemsPerPage=2 previous=includeCount=true&itemsPerPage=2&pageNum=2"},
		{v2 + orders + "?itemsPerPage=500&pageNum=9223372036854775807", nil, 5.0,
			"self=includeCount=true&pageNum=9223372036854775807&itemsPerPage=500 previous=includeCount=true&itemsPerPage=500&pageNum=9223372036854775806"},
		{v1 + orders + "/", jobs, 5.0, "self=pageNum=1&itemsPerPage=100"},
		{v1 + orders + "?itemsPerPage=3&includeCount=true", jobs[:3], 5.0,
			"self=includeCount=true&pageNum=1&itemsPerPage=3 next=includeCount=true&itemsPerPage=3&pageNum=2"},
		{v2 + events, nil, 0.0, "self=includeCount=true&pageNum=1&itemsPerPage=100"},
	} {
		t.Run(test.path, func(t *testing.T) {
			list := c.value(c.do("GET", test.path, ""))
			var ids []string
			for _, job := range list["results"].([]any) {
				ids = append(ids, job.(map[string]any)["id"].(string))
			}
			check(t, "results", ids, test.results)
			check(t, "totalCount", list["totalCount"], test.count)
			path, _, _ := strings.Cut(test.path, "?")
			var want []any
			for link := range strings.FieldsSeq(test.links) {
				rel, query, _ := strings.Cut(link, "=")
				want = append(want, map[string]any{"rel": rel, "href": "https://cloud.mongodb.com" + path + "?" + query})
			}
			check(t, "links", list["links"], any(want))
		})
	}
}

// The links of a page of clusters have one more parameter, and each cluster has links of its
// own.
func TestPagesOfClusters(t *testing.T) {
	atlas := start(t, sim.Config{PublicURL: "https://cloud.mongodb.com"})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	const base = "https://cloud.mongodb.com" + v2 + clusters
	link := func(rel, lead string, num int, tail string) any {
		order := fmt.Sprintf("itemsPerPage=1&pageNum=%d", num)
		if rel == "self" {
			order = fmt.Sprintf("pageNum=%d&itemsPerPage=1", num)
		}
		return map[string]any{"rel": rel, "href": base + "?" + lead + "&" + order + tail}
	}
	const given = "includeCount=false&includeDeletedWithRetainedBackups=true"
	const defaults = "includeCount=true&includeDeletedWithRetainedBackups=false"
	for _, test := range []struct {
		query, name   string
		status, count any
		links         []any
	}{
		{"?itemsPerPage=1&includeDeletedWithRetainedBackups=true&includeCount=false&pretty=true&envelope=true", "orders", 200.0, nil,
			[]any{link("self", given, 1, "&pretty=true&envelope=true"), link("next", given, 2, "&pretty=true&envelope=true")}},
		{"?pageNum=2&itemsPerPage=1", "events", nil, 2.0,
			[]any{link("self", defaults, 2, ""), link("previous", defaults, 1, "")}},
	} {
		list := c.value(c.do("GET", v2+clusters+test.query, ""))
		results := list["results"].([]any)
		cluster := results[0].(map[string]any)
		check(t, test.query, []any{len(results), cluster["name"], list["status"], list["totalCount"], list["links"]}, []any{1, test.name, test.status, test.count, any(test.links)})
		check(t, "the cluster's own link", cluster["links"].([]any)[0], any(map[string]any{"rel": "self", "href": base + "/" + test.name}))
	}
	slash := c.value(c.do("GET", v2+clusters+"/", ""))
	check(t, "with a slash at the end", slash["results"].([]any)[0].(map[string]any)["links"].([]any)[0], any(map[string]any{"rel": "self", "href": base + "/orders"}))
	none := c.value(c.do("GET", "/api/atlas/v2/groups/"+sim.EmptyGroupID+clusters, ""))
	check(t, "no clusters", []any{none["results"], none["totalCount"]}, []any{[]any{}, 0.0})
}

// JSON has & < > as they are, and not as escapes, as at Atlas.
func TestPlainJSON(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	a := c.do("GET", v1+buckets, "")
	check(t, "body", a.body, fmt.Sprintf(`{"links":[{"href":"%s%s?pageNum=1&itemsPerPage=100","rel":"self"}],"results":[],"totalCount":0}`, atlas.URL(), v1+buckets))

	bucket := c.bucket()
	for _, value := range []string{`<&>`, `\\u0026`, `\\\u0026`, `\u003c\u003E`, `\"\\`, `\u2028`, `\u001f\u0000`} {
		a := c.do("POST", v2+orders, `{"snapshotId":"`+sim.OrdersSnapshot+`","exportBucketId":"`+bucket+`","customData":[{"value":"`+value+`"}]}`)
		id := c.value(a)["id"].(string)
		want := value
		for _, escape := range [][2]string{{`\u003c\u003E`, `<>`}, {`\\\u0026`, `\\&`}} {
			if value == escape[0] {
				want = escape[1]
			}
		}
		if !strings.Contains(a.body, `"customData":[{"value":"`+want+`"}]`) {
			t.Errorf("%s became %s", value, a.body)
		}
		if err := atlas.EndJob(id, sim.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEnvelopeAndPretty(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	self := func(path, tail string) string {
		return fmt.Sprintf(`"links":[{"href":"%s%s?pageNum=1&itemsPerPage=100%s","rel":"self"}]`, atlas.URL(), path, tail)
	}
	listed := `{"_id":"` + bucket + `","bucketName":"acme-snapshots","cloudProvider":"AWS","iamRoleId":"` + sim.AWSRole + `","projectId":"` + sim.GroupID + `"}`
	one := strings.TrimSuffix(listed, "}") + `,"region":"us-east-1"}`
	missing := `{"detail":"No export Bucket with ID ` + unknown + ` does not exist.","error":404,"errorCode":"EXPORT_BUCKET_NOT_FOUND","parameters":["` + unknown + `"],"reason":"Not Found"}`
	for _, test := range []struct {
		path   string
		status int
		body   string
	}{
		{v1 + buckets + "/" + bucket, 200, one},
		{v1 + buckets + "/" + bucket + "?envelope=true", 200, `{"status":200,"content":` + one + `}`},
		{v1 + buckets + "/" + bucket + "?envelope=false", 200, one},
		{v1 + buckets + "?envelope=true", 200, `{` + self(v1+buckets, "&envelope=true") + `,"results":[` + listed + `],"totalCount":1,"status":200}`},
		{v1 + buckets + "/" + unknown + "?envelope=true", 404, `{"status":404,"content":` + missing + `}`},
		{v1 + orders + "?pretty=true&envelope=true", 200, `{
  "links": [
    {
      "href": "` + atlas.URL() + v1 + orders + `?pageNum=1&itemsPerPage=100&pretty=true&envelope=true",
      "rel": "self"
    }
  ],
  "results": [],
  "totalCount": 0,
  "status": 200
}`},
		{v1 + "/nothing?envelope=true&pretty=true", 404, `{
  "status": 404,
  "content": {
    "detail": "Cannot find resource ` + v1 + `/nothing.",
    "error": 404,
    "errorCode": "RESOURCE_NOT_FOUND",
    "parameters": [
      "` + v1 + `/nothing"
    ],
    "reason": "Not Found"
  }
}`},
	} {
		t.Run(test.path, func(t *testing.T) {
			a := c.do("GET", test.path, "")
			check(t, "status", a.status, test.status)
			check(t, "body", a.body, test.body)
			check(t, "Content-Length", a.header.Get("Content-Length"), fmt.Sprint(len(test.body)))
		})
	}
	t.Run("schedule", func(t *testing.T) {
		a := c.value(c.do("GET", v2+schedule+"?envelope=true", ""))
		check(t, "members", []any{a["status"], a["content"].(map[string]any)["clusterName"]}, []any{200.0, "orders"})
	})
	t.Run("delete", func(t *testing.T) {
		a := c.do("DELETE", v2+buckets+"/"+bucket+"?envelope=true", "")
		check(t, "status", a.status, 204)
		check(t, "body", a.body, "")
		check(t, "type", a.header.Get("Content-Type"), v20230101)
	})
}
