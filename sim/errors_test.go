package sim_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

const unknown = "65a9d3e1f20b4c77889900ff"

// errorTest is a mistake, and the error by which Atlas answers it. <BUCKET> and <AZURE> stand
// for the ids of buckets.
type errorTest struct {
	name, method, path, body string
	status                   int
	code                     string
	parameters               parameters // not checked if nil
}

type parameters = []any

func awsBucket(attributes string) string {
	return `{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"` + sim.AWSRole + `"` + attributes + `}`
}

func exportWith(attributes string) string {
	return `{"snapshotId":"` + sim.OrdersSnapshot2 + `","exportBucketId":"<BUCKET>"` + attributes + `}`
}

var errorTests = []errorTest{
	{"group that is no id", "GET", "/api/atlas/v2/groups/xyz/backup/exportBuckets", "", 404, "INVALID_GROUP_ID", parameters{"xyz"}},
	{"unknown group", "GET", "/api/atlas/v1.0/groups/" + unknown + "/backup/exportBuckets", "", 404, "GROUP_NOT_FOUND", parameters{unknown}},
	{"unknown cluster", "GET", v2 + "/clusters/order/backup/exports", "", 404, "CLUSTER_NOT_FOUND", parameters{"order", sim.GroupID}},
	{"cluster of another group", "GET", "/api/atlas/v2/groups/" + sim.EmptyGroupID + orders, "", 404, "CLUSTER_NOT_FOUND", parameters{"orders", sim.EmptyGroupID}},
	{"escaped slash in a cluster", "GET", v2 + "/clusters/C0%2f..%2fOther/backup/exports", "", 404, "CLUSTER_NOT_FOUND", parameters{"C0/../Other", sim.GroupID}},
	{"unknown bucket", "GET", v2 + buckets + "/" + unknown, "", 404, "EXPORT_BUCKET_NOT_FOUND", parameters{unknown}},
	{"bucket of another group", "GET", "/api/atlas/v2/groups/" + sim.EmptyGroupID + buckets + "/<BUCKET>", "", 404, "EXPORT_BUCKET_NOT_FOUND", parameters{"<BUCKET>"}},
	{"unknown job", "GET", v2 + orders + "/" + unknown, "", 404, "INVALID_JOB_ID", parameters{unknown}},
	{"job that is no id", "GET", v1 + orders + "/latest", "", 404, "INVALID_JOB_ID", parameters{"latest"}},

	{"no JSON", "POST", v2 + orders, `snapshotId=1`, 400, "MALFORMED_JSON", parameters{}},
	{"a missing comma, as seed 002 prints it", "POST", v1 + orders + "/", `{"snapshotId" : "x"
		"exportBucketId" : "y"}`, 400, "MALFORMED_JSON", parameters{}},
	{"something after the JSON", "POST", v2 + orders, exportWith("") + "{}", 400, "MALFORMED_JSON", parameters{}},
	{"null", "POST", v2 + orders, `null`, 400, "INVALID_JSON", parameters{}},
	{"an array", "POST", v2 + orders, `[]`, 400, "INVALID_JSON", parameters{}},
	{"nothing", "POST", v2 + orders, " ", 400, "MALFORMED_JSON", parameters{}},

	{"no snapshot", "POST", v2 + orders, `{"exportBucketId":"<BUCKET>"}`, 400, "MISSING_ATTRIBUTE", parameters{"snapshotId"}},
	{"no bucket", "POST", v1 + orders, `{"snapshotId":"` + sim.OrdersSnapshot + `"}`, 400, "MISSING_ATTRIBUTE", parameters{"exportBucketId"}},
	{"null bucket", "POST", v2 + orders, `{"snapshotId":"` + sim.OrdersSnapshot + `","exportBucketId":null}`, 400, "MISSING_ATTRIBUTE", parameters{"exportBucketId"}},
	{"snapshot that is no id", "POST", v2 + orders, exportOf("latest", "<BUCKET>"), 400, "INVALID_ATTRIBUTE", parameters{"snapshotId"}},
	{"snapshot that is a number", "POST", v2 + orders, `{"snapshotId":1,"exportBucketId":"<BUCKET>"}`, 400, "INVALID_JSON_ATTRIBUTE", parameters{"snapshotId"}},
	{"unknown snapshot", "POST", v2 + orders, exportOf(unknown, "<BUCKET>"), 404, "SNAPSHOT_NOT_FOUND", parameters{unknown, "orders"}},
	{"snapshot of another cluster", "POST", v2 + orders, exportOf(sim.EventsSnapshot, "<BUCKET>"), 404, "SNAPSHOT_NOT_FOUND", parameters{sim.EventsSnapshot, "orders"}},
	{"unknown export bucket", "POST", v2 + orders, exportOf(sim.OrdersSnapshot, unknown), 404, "EXPORT_BUCKET_NOT_FOUND", parameters{unknown}},
	{"unknown attribute", "POST", v2 + orders, exportWith(`,"snapshotID":"x"`), 400, "INVALID_ATTRIBUTE", parameters{"snapshotID"}},
	{"null custom data", "POST", v2 + orders, exportWith(`,"customData":null`), 400, "INVALID_ATTRIBUTE", parameters{"customData"}},
	{"custom data that is no list", "POST", v2 + orders, exportWith(`,"customData":{}`), 400, "INVALID_JSON_ATTRIBUTE", parameters{"customData"}},
	{"custom data of numbers", "POST", v2 + orders, exportWith(`,"customData":[{"key":1}]`), 400, "INVALID_JSON_ATTRIBUTE", parameters{"key"}},
	{"custom data with more", "POST", v2 + orders, exportWith(`,"customData":[{"key":"a","Value":"b"}]`), 400, "INVALID_ATTRIBUTE", parameters{"Value"}},
	{"null pair", "POST", v2 + orders, exportWith(`,"customData":[null]`), 400, "INVALID_ATTRIBUTE", parameters{"customData"}},
	{"half a pair in v1.0", "POST", v1 + orders, exportWith(`,"customData":[{"key":"a"}]`), 400, "MISSING_ATTRIBUTE", parameters{"value"}},

	{"no provider", "POST", v2 + buckets, `{}`, 400, "MISSING_ATTRIBUTE", parameters{"cloudProvider"}},
	{"unknown provider", "POST", v2 + buckets, `{"cloudProvider":"OCI"}`, 400, "INVALID_ENUM_VALUE", parameters{"OCI"}},
	{"another provider in v1.0", "POST", v1 + buckets, `{"cloudProvider":"GCP"}`, 400, "INVALID_ENUM_VALUE", parameters{"GCP"}},
	{"no role", "POST", v2 + buckets, `{"cloudProvider":"AWS","bucketName":"acme"}`, 400, "MISSING_ATTRIBUTE", parameters{"iamRoleId"}},
	{"role of another provider", "POST", v2 + buckets, awsBucket(`,"roleId":"` + sim.AWSRole + `"`), 400, "INVALID_ATTRIBUTE", parameters{"roleId"}},
	{"bucket name of two", "POST", v2 + buckets, strings.Replace(awsBucket(""), "acme", "ac", 1), 400, "EXPORT_BUCKET_NAME_INVALID", parameters{}},
	{"bucket name of 64", "POST", v1 + buckets, strings.Replace(awsBucket(""), "acme", strings.Repeat("a", 64), 1), 400, "EXPORT_BUCKET_NAME_INVALID", parameters{}},
	{"bucket name with a path", "POST", v2 + buckets, strings.Replace(awsBucket(""), "acme", "a/../../b", 1), 400, "EXPORT_BUCKET_NAME_INVALID", parameters{}},
	{"networking that is no flag", "POST", v2 + buckets, awsBucket(`,"requirePrivateNetworking":"yes"`), 400, "INVALID_JSON_ATTRIBUTE", parameters{"requirePrivateNetworking"}},
	{"service URL elsewhere", "POST", v2 + buckets, `{"cloudProvider":"AZURE","roleId":"` + sim.AWSRole + `","serviceUrl":"https://acmestore.blob.example.com/snapshots"}`, 400, "INVALID_ATTRIBUTE", parameters{"serviceUrl"}},
	{"service URL without container", "POST", v2 + buckets, `{"cloudProvider":"AZURE","roleId":"` + sim.AWSRole + `","serviceUrl":"https://acmestore.blob.core.windows.net/"}`, 400, "INVALID_ATTRIBUTE", parameters{"serviceUrl"}},
	{"role that can't be assumed", "POST", v2 + buckets, strings.Replace(awsBucket(""), sim.AWSRole, sim.UnassumableRole, 1), 400, "CANNOT_ASSUME_ROLE", parameters{sim.UnassumableRole}},
	{"role that isn't authorized", "POST", v1 + buckets, strings.Replace(awsBucket(""), sim.AWSRole, sim.UnauthorizedRole, 1), 400, "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED", parameters{sim.UnauthorizedRole}},
	{"networking of another provider", "PATCH", v2 + buckets + "/<AZURE>", `{"requirePrivateNetworking":true}`, 400, "INVALID_ATTRIBUTE", parameters{"requirePrivateNetworking"}},
	{"networking left out", "PATCH", v2 + buckets + "/<BUCKET>", `{}`, 400, "MISSING_ATTRIBUTE", parameters{"requirePrivateNetworking"}},

	{"page 0", "GET", v2 + buckets + "?pageNum=0", "", 400, "INVALID_QUERY_PARAMETER", parameters{"pageNum"}},
	{"page one", "GET", v2 + orders + "?pageNum=one", "", 400, "INVALID_QUERY_PARAMETER", parameters{"pageNum"}},
	{"page size 501", "GET", v1 + orders + "?itemsPerPage=501", "", 400, "INVALID_QUERY_PARAMETER", parameters{"itemsPerPage"}},
	{"count maybe", "GET", v1 + buckets + "?includeCount=maybe", "", 400, "INVALID_QUERY_PARAMETER", parameters{"includeCount"}},

	{"clusters of an unknown group", "GET", "/api/atlas/v2/groups/" + unknown + "/clusters", "", 404, "GROUP_NOT_FOUND", parameters{unknown}},
	{"schedule of an unknown group", "GET", "/api/atlas/v2/groups/" + unknown + "/clusters/orders/backup/schedule", "", 404, "GROUP_NOT_FOUND", parameters{unknown}},
	{"schedule of an unknown cluster", "GET", v2 + "/clusters/order/backup/schedule", "", 404, "CLUSTER_NOT_FOUND", parameters{"order", sim.GroupID}},
	{"schedule of another group's cluster", "GET", "/api/atlas/v2/groups/" + sim.EmptyGroupID + "/clusters/orders/backup/schedule", "", 404, "CLUSTER_NOT_FOUND", parameters{"orders", sim.EmptyGroupID}},
	{"page 0 of clusters", "GET", v2 + "/clusters?pageNum=0", "", 400, "INVALID_QUERY_PARAMETER", parameters{"pageNum"}},
	{"deleted clusters maybe", "GET", v2 + "/clusters?includeDeletedWithRetainedBackups=maybe", "", 400, "INVALID_QUERY_PARAMETER", parameters{"includeDeletedWithRetainedBackups"}},

	{"unknown path", "GET", v2 + "/clusters/orders/processArgs", "", 404, "RESOURCE_NOT_FOUND", nil},
	{"no clusters in v1.0", "GET", v1 + "/clusters", "", 404, "RESOURCE_NOT_FOUND", nil},
	{"no status in v1.0", "GET", v1 + "/clusters/orders/status", "", 404, "RESOURCE_NOT_FOUND", nil},
	{"root", "GET", "/", "", 404, "RESOURCE_NOT_FOUND", nil},
	{"two slashes at the end", "GET", v2 + buckets + "//", "", 404, "RESOURCE_NOT_FOUND", nil},
	{"two slashes within", "GET", "/api/atlas/v2//groups/" + sim.GroupID + buckets, "", 404, "RESOURCE_NOT_FOUND", nil},
	{"dots", "GET", "/api/atlas/v2/./groups/" + sim.GroupID + buckets, "", 404, "RESOURCE_NOT_FOUND", nil},
	{"wrong method", "PUT", v2 + buckets, "", 405, "METHOD_NOT_ALLOWED", nil},
	{"no PATCH in v1.0", "PATCH", v1 + buckets + "/<BUCKET>", `{"requirePrivateNetworking":true}`, 405, "METHOD_NOT_ALLOWED", nil},
}

// published are the sentences of Atlas's published list of errors.
var published = map[string]string{
	"CLUSTER_NOT_FOUND":          "No cluster named %s exists in group %s.",
	"EXPORT_BUCKET_NAME_INVALID": "Export Bucket name is invalid.",
	"EXPORT_BUCKET_NOT_FOUND":    "No export Bucket with ID %s does not exist.",
	"GROUP_NOT_FOUND":            "No group with ID %s exists.",
	"INVALID_ATTRIBUTE":          "Invalid attribute %s specified.",
	"INVALID_ENUM_VALUE":         "An invalid enumeration value %s was specified.",
	"INVALID_GROUP_ID":           "An invalid group ID %s was specified.",
	"INVALID_JOB_ID":             "An invalid restore job ID %s was specified.",
	"INVALID_JSON":               "Received JSON does not match expected format.",
	"INVALID_JSON_ATTRIBUTE":     "Received JSON for the %s attribute does not match expected format.",
	"INVALID_QUERY_PARAMETER":    "Invalid query parameter %s specified.",
	"MALFORMED_JSON":             "Received JSON is malformed.",
	"MISSING_ATTRIBUTE":          "The required attribute %s was not specified.",
	"RESOURCE_NOT_FOUND":         "Cannot find resource %s.",
	"SNAPSHOT_NOT_FOUND":         "No snapshot with ID %s exists for cluster %s.",
}

func TestErrors(t *testing.T) {
	atlas := start(t, sim.Config{})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	azure := c.value(c.do("POST", v2+buckets, `{"cloudProvider":"AZURE","roleId":"`+sim.AzureRole+`","serviceUrl":"https://acmestore.blob.core.windows.net/c"}`))["_id"].(string)
	ids := strings.NewReplacer("<BUCKET>", c.bucket(), "<AZURE>", azure)
	for _, test := range errorTests {
		t.Run(test.name, func(t *testing.T) {
			a := c.do(test.method, ids.Replace(test.path), ids.Replace(test.body))
			parameters := slices.Clone(test.parameters)
			for i, parameter := range parameters {
				parameters[i] = ids.Replace(parameter.(string))
			}
			var body struct {
				Error      int    `json:"error"`
				ErrorCode  string `json:"errorCode"`
				Reason     string `json:"reason"`
				Detail     string `json:"detail"`
				Parameters []any  `json:"parameters"`
			}
			decoder := json.NewDecoder(strings.NewReader(a.body))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&body); err != nil {
				t.Fatalf("%v: %s", err, a.body)
			}
			check(t, "status", a.status, test.status)
			check(t, "error", body.Error, test.status)
			check(t, "code", body.ErrorCode, test.code)
			check(t, "X-Error-Code", a.header.Get("X-Error-Code"), test.code)
			check(t, "type", a.header.Get("Content-Type"), "application/json")
			if parameters != nil {
				check(t, "parameters", body.Parameters, parameters)
			}
			if sentence, ok := published[test.code]; ok {
				check(t, "sentence", body.Detail, fmt.Sprintf(sentence, body.Parameters...))
			}
			for _, parameter := range parameters {
				if !strings.Contains(body.Detail, fmt.Sprint(parameter)) {
					t.Errorf("the detail %q does not mention %v", body.Detail, parameter)
				}
			}
			if body.Reason == "" || a.header.Get("Location") != "" {
				t.Errorf("reason %q, Location %q", body.Reason, a.header.Get("Location"))
			}
			check(t, "Allow", a.header.Get("Allow") != "", test.status == 405)
		})
	}
	check(t, "jobs that errors created", atlas.Counts().JobsCreated, int64(0))
}

// Atlas accepts these requests.
func TestLeniency(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{ParallelExports: true}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	for name, a := range map[string]answer{
		"unknown query parameter": c.do("GET", v2+buckets+"?colour=blue&pageNum=1", ""),
		"slash at the end":        c.do("GET", v2+buckets+"/", ""),
		"list parameters on a v1.0 create": c.do("POST", v1+buckets+"/?pretty=true&pageNum=1",
			`{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"`+sim.AWSRole+`"}`),
		"links":      c.do("POST", v2+orders+"/", `{"snapshotId":"`+sim.OrdersSnapshot+`","exportBucketId":"`+bucket+`","links":"anything"}`),
		"half pairs": c.do("POST", v2+orders, `{"snapshotId":"`+sim.OrdersSnapshot+`","exportBucketId":"`+bucket+`","customData":[{},{"key":"a"},{"value":"b"}]}`),
		"tenantId": c.do("POST", v2+buckets,
			`{"cloudProvider":"AZURE","roleId":"`+sim.AWSRole+`","serviceUrl":"https://acmestore.blob.core.windows.net/c","tenantId":"not a uuid"}`),
		"a bucket twice": c.do("POST", v2+buckets, `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"`+sim.AWSRole+`"}`),
		"HEAD":           c.do("HEAD", v2+buckets, ""),
	} {
		if a.status != 200 {
			t.Errorf("%s: status %d: %s", name, a.status, a.body)
		}
	}
}
