package policy_test

import (
	"encoding/json"
	"testing"

	"atlas-export-gateway/gateway/policy"

	"github.com/google/go-cmp/cmp"
)

// decode returns the value of a body, or nil for an empty body.
func decode(t testing.TB, body string) (value any) {
	t.Helper()
	if body != "" {
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatal(err)
		}
	}
	return value
}

func TestFromBody(t *testing.T) {
	const azure = `{"cloudProvider":"AZURE","roleId":"65a9d2f4f20b4c7788990002","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"`
	job := `{"snapshotId":"` + other + `","customData":[{"key":"exportBucketId","value":"x"}],"links":[{"href":"x","rel":"y"}],"exportBucketId":"` + bucket + `"}`
	aws := `{"bucketName":"acme-exports","cloudProvider":"AWS","iamRoleId":"65a9d2f4f20b4c7788990001","links":[{"rel":"bucketName"}]}`
	for _, test := range []struct {
		operation, body string
		want            policy.Request
	}{
		{"createBackupExport", job, policy.Request{ExportBucket: bucket}},
		{"v1CreateBackupExport", job, policy.Request{ExportBucket: bucket}},
		{"createBackupExport", ` { "export\u0042ucketId" : "\u0036\u0035" } `, policy.Request{ExportBucket: "65"}},
		{"createBackupExport", `{"customData":[{"exportBucketId":"x"}],"ExportBucketId":"y"}`, policy.Request{}},
		{"createExportBucket", aws, policy.Request{CloudProvider: "AWS", BucketName: "acme-exports"}},
		{"v1CreateExportBucket", aws, policy.Request{CloudProvider: "AWS", BucketName: "acme-exports"}},
		{"createExportBucket", azure + `}`, policy.Request{CloudProvider: "AZURE", ServiceURL: acmestore + "snapshots"}},
		{"createExportBucket", azure + `,"bucketName":"snapshots"}`, policy.Request{CloudProvider: "AZURE", BucketName: "snapshots", ServiceURL: acmestore + "snapshots"}},
		{"createExportBucket", azure + `,"bucketName":"acme-exports"}`, policy.Request{CloudProvider: "AZURE", BucketName: "acme-exports"}},
		{"createExportBucket", `{"serviceUrl":"https://acmestore.blob.core.windows.net"}`, policy.Request{ServiceURL: "https://acmestore.blob.core.windows.net"}},
		{"updateBackupSchedule", `{"export":{"exportBucketId":"` + bucket + `","frequencyType":"daily"}}`, policy.Request{ExportBucket: bucket}},
		{"v1UpdateBackupSchedule", `{"autoExportEnabled":false,"export":{"exportBucketId":"` + bucket + `"}}`, policy.Request{ExportBucket: bucket}},
		{"updateBackupSchedule", `{"autoExportEnabled":false}`, policy.Request{ExportOff: true}},
		{"v1UpdateBackupSchedule", `{"autoExportEnabled":false}`, policy.Request{ExportOff: true}},
		{"updateBackupSchedule", `{"autoExportEnabled":false,"clusterName":"orders"}`, policy.Request{ExportOff: true}},
		{"updateBackupSchedule", `{"clusterName":"orders"}`, policy.Request{}},
		{"updateBackupSchedule", `{"autoExportEnabled":true}`, policy.Request{}},
		{"updateBackupSchedule", `{"autoExportEnabled":false,"useOrgAndGroupNamesInExportPrefix":true}`, policy.Request{}},
		{"updateBackupSchedule", `{"useOrgAndGroupNamesInExportPrefix":false}`, policy.Request{}},
		{"updateBackupSchedule", `{"export":{"frequencyType":"daily"}}`, policy.Request{}},
		{"takeSnapshots", `{"description":"` + bucket + `"}`, policy.Request{}},
		{"updateBackupExportBucket", aws, policy.Request{}},
		{"deleteExportBucket", "", policy.Request{}},
		{"getSomethingNew", job, policy.Request{}},
		// Validation lets none of these through.
		{"updateBackupSchedule", `{"autoExportEnabled":"false"}`, policy.Request{}},
		{"updateBackupSchedule", `{"exportBucketId":"` + bucket + `","export":null}`, policy.Request{}},
		{"createBackupExport", `{"exportBucketId":null}`, policy.Request{}},
		{"createExportBucket", `{"bucketName":"a","cloudProvider":["AWS"]}`, policy.Request{BucketName: "a"}},
		{"createBackupExport", `["exportBucketId","a"]`, policy.Request{}},
		{"createBackupExport", "", policy.Request{}},
		{"createBackupExport", `"exportBucketId"`, policy.Request{}},
	} {
		got := policy.Request{Operation: test.operation, Group: group, Cluster: "orders"}
		got.FromBody(decode(t, test.body))
		test.want.Operation, test.want.Group, test.want.Cluster = test.operation, group, "orders"
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.operation, test.body, diff)
		}
	}
}

// A change of a schedule names a bucket that the grant names. One that only turns exports off
// needs none.
func TestScheduleOfABucket(t *testing.T) {
	p := compile(t, policy.Grant{Operations: []string{"manage"}, Groups: []string{group}, Clusters: []string{"orders"}, ExportBuckets: []string{bucket}})
	for body, allowed := range map[string]bool{
		`{"autoExportEnabled":true,"export":{"exportBucketId":"` + bucket + `","frequencyType":"daily"}}`: true,
		`{"export":{"exportBucketId":"` + bucket + `"},"useOrgAndGroupNamesInExportPrefix":true}`:         true,
		`{"autoExportEnabled":false}`: true,
		`{"autoExportEnabled":true,"export":{"exportBucketId":"` + other + `","frequencyType":"daily"}}`: false,
		`{"autoExportEnabled":false,"export":{"exportBucketId":"` + other + `"}}`:                        false,
		`{"autoExportEnabled":true}`: false,
		`{"autoExportEnabled":false,"useOrgAndGroupNamesInExportPrefix":true}`: false,
		`{"export":{"frequencyType":"daily"}}`:                                 false,
		`{"useOrgAndGroupNamesInExportPrefix":true}`:                           false,
	} {
		for _, id := range []string{"updateBackupSchedule", "v1UpdateBackupSchedule"} {
			request := policy.Request{Operation: id, Group: group, Cluster: "orders"}
			request.FromBody(decode(t, body))
			wantRefused(t, p, request, !allowed, "export_buckets")
			wantRefused(t, p, policy.Request{Operation: "createBackupExport", Group: group, Cluster: "orders", ExportOff: request.ExportOff}, true, "export_buckets")
			request.Cluster = "events"
			wantRefused(t, p, request, true, "clusters")
		}
	}
}

// A bucket is allowed by the list that can name it. An Azure container is allowed by its URL only,
// because another account may have a container of the same name; other buckets by their name.
func TestBucketsByProvider(t *testing.T) {
	names, urls := []string{"*", "*[^x]*", "acme", "other"}, []string{acmestore + "acme"}
	grants := map[string]policy.Grant{"neither": {}, "names": {BucketNames: names}, "urls": {ServiceURLs: urls}, "both": {BucketNames: names, ServiceURLs: urls}}
	for _, test := range []struct {
		body    string
		refused map[string]string // grants, and the list at which they refuse
	}{
		{`{"cloudProvider":"AWS","bucketName":"acme"}`, map[string]string{"urls": "bucket_names"}},
		{`{"cloudProvider":"GCP","bucketName":"acme"}`, map[string]string{"urls": "bucket_names"}},
		{`{"cloudProvider":"AZURE","serviceUrl":"` + acmestore + `acme"}`, map[string]string{"names": "service_urls"}},
		{`{"cloudProvider":"AZURE","serviceUrl":"` + acmestore + `acme","bucketName":"acme"}`, map[string]string{"names": "service_urls"}},
		{`{"cloudProvider":"AZURE","serviceUrl":"` + acmestore + `acme","bucketName":"other"}`, map[string]string{"names": "service_urls", "urls": "service_urls", "both": "service_urls"}},
		{`{"cloudProvider":"AZURE","serviceUrl":"` + acmestore + `other"}`, map[string]string{"names": "service_urls", "urls": "service_urls", "both": "service_urls"}},
		// Validation lets neither through.
		{`{"cloudProvider":"AZURE","bucketName":"acme"}`, map[string]string{"names": "service_urls", "urls": "service_urls", "both": "service_urls"}},
		{`{"serviceUrl":"` + acmestore + `acme"}`, map[string]string{"names": "service_urls"}},
	} {
		request := policy.Request{Operation: "createExportBucket", Group: group}
		request.FromBody(decode(t, test.body))
		for name, grant := range grants {
			grant.Operations, grant.Groups = []string{"createExportBucket"}, []string{"*"}
			part, refused := test.refused[name]
			wantRefused(t, compile(t, grant), request, refused, part)
		}
	}
}
