package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/policy"
)

func TestRefusal(t *testing.T) {
	p := nightly(t)
	for _, test := range []struct {
		request policy.Request
		want    string
	}{
		{policy.Request{Operation: "deleteExportBucket", Group: group, ExportBucket: bucket},
			"no grant of caller nightly allows deleteExportBucket; its grants allow operations export, createBackupExport, v1GetExportBucket, createExportBucket, read"},
		{policy.Request{Operation: "v1CreateBackupExport", Group: "66ffffffffffffffffffffff", Cluster: "orders", ExportBucket: bucket},
			"no grant of caller nightly allows v1CreateBackupExport in group 66ffffffffffffffffffffff; its grants allow groups 64f0c1a2b3d4e5f607182930, 65*"},
		{policy.Request{Operation: "createBackupExport", Group: group, Cluster: "orders", ExportBucket: other},
			"no grant of caller nightly allows createBackupExport on cluster orders of group " + group + "; its grants allow clusters analytics-*, reports"},
		{policy.Request{Operation: "createBackupExport", Group: group, Cluster: "reports", ExportBucket: other},
			"no grant of caller nightly allows createBackupExport on cluster reports of group " + group + " with export bucket " + other + "; its grants allow export buckets " + bucket},
		{policy.Request{Operation: "createExportBucket", Group: group, CloudProvider: "AZURE", BucketName: "x"},
			"no grant of caller nightly allows createExportBucket in group " + group + " with cloud provider AZURE; its grants allow cloud providers AWS, GCP"},
		{policy.Request{Operation: "createExportBucket", Group: group, CloudProvider: "AWS", BucketName: "x\ny, z"},
			"no grant of caller nightly allows createExportBucket in group " + group + ` with bucket name "x\ny, z"; its grants allow bucket names acme-*`},
		{policy.Request{Operation: "listGroups"},
			"no grant of caller nightly allows listGroups, which shows every group; its grants allow groups " + group + "; ask for one of them with getGroup or getGroupByName"},
	} {
		err := p.Allow(test.request)
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
	if got, want := fmt.Sprint(p.AllowAnswer(policy.Request{Operation: "getGroupByName"}, other)), "no grant of caller nightly allows getGroupByName for the group of this name, or there is none; its grants allow groups "+group; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	schedule := compile(t, policy.Grant{Operations: []string{"*"}, Groups: []string{"*"}, ExportBuckets: []string{bucket}}).Allow(policy.Request{Operation: "updateBackupSchedule", Group: group, Cluster: "orders"})
	if want := "no grant of caller nightly allows updateBackupSchedule on cluster orders of group " + group + " with no export bucket; its grants allow export buckets " + bucket; fmt.Sprint(schedule) != want {
		t.Errorf("got %v, want %s", schedule, want)
	}
	if got, want := fmt.Sprint(compile(t).Allow(policy.Request{Operation: "listClusters"})), "no grant of caller nightly allows listClusters; it has no grants"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	azure := policy.Request{Operation: "createExportBucket", Group: group, CloudProvider: "AZURE", ServiceURL: acmestore + "a"}
	for _, test := range []struct {
		grant policy.Grant
		want  string
	}{
		{policy.Grant{BucketNames: []string{"a"}}, "; its grants allow no service urls"},
		{policy.Grant{ServiceURLs: []string{acmestore + "b*"}}, "; its grants allow service urls " + acmestore + "b*"},
	} {
		test.grant.Operations, test.grant.Groups = []string{"*"}, []string{"*"}
		err := compile(t, test.grant).Allow(azure)
		if want := "no grant of caller nightly allows createExportBucket in group " + group + " with service url " + acmestore + "a" + test.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	many := anywhere("createExportBucket")
	for i := range 11 {
		many.BucketNames = append(many.BucketNames, fmt.Sprintf("b%d", i))
	}
	err := compile(t, many).Allow(policy.Request{Operation: "createExportBucket", Group: group, BucketName: "b"})
	if want := "; its grants allow bucket names b0, b1, b2, b3, b4, b5, b6, b7 and 3 more"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want ...%s", err, want)
	}
}
