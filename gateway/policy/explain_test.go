package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/policy"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	const golden = `grants[0] does not allow it
  yes operations: createBackupExport by export
  yes groups: 64f0c1a2b3d4e5f607182930 by 64f0c1a2b3d4e5f607182930
  no  clusters: orders is not in analytics-*, reports
  no  export_buckets: none is given, and it must be in 65a9d3e1f20b4c7788990011
grants[1] does not allow it
  yes operations: createBackupExport by createBackupExport
  no  groups: 64f0c1a2b3d4e5f607182930 is not in 65*
  yes clusters: any
  yes export_buckets: any
grants[2] does not allow it
  no  operations: createBackupExport is not in createExportBucket, read
grants[0] does not allow it
  no  operations: v1CreateExportBucket is not in export
grants[1] does not allow it
  no  operations: v1CreateExportBucket is not in createBackupExport, v1GetExportBucket
grants[2] allows it
  yes operations: v1CreateExportBucket by createExportBucket
  yes groups: 64f0c1a2b3d4e5f607182930 by 64f0c1a2b3d4e5f607182930
  yes cloud_providers: AWS by AWS
  yes bucket_names: acme-exports by acme-*
grants[0] does not allow it
  no  operations: createExportBucket is not in export
grants[1] does not allow it
  no  operations: createExportBucket is not in createBackupExport, v1GetExportBucket
grants[2] does not allow it
  yes operations: createExportBucket by createExportBucket
  yes groups: 64f0c1a2b3d4e5f607182930 by 64f0c1a2b3d4e5f607182930
  no  cloud_providers: AZURE is not in AWS, GCP
  no  service_urls: the grant allows none
grants[0] does not allow it
  yes operations: listGroups by export
  no  groups: * is not in 64f0c1a2b3d4e5f607182930
grants[1] does not allow it
  no  operations: listGroups is not in createBackupExport, v1GetExportBucket
grants[2] does not allow it
  yes operations: listGroups by read
  no  groups: * is not in 64f0c1a2b3d4e5f607182930
grants[0] allows it
  yes operations: getGroupByName by export
  yes groups: 64f0c1a2b3d4e5f607182930 by 64f0c1a2b3d4e5f607182930
grants[1] does not allow it
  no  operations: getGroupByName is not in createBackupExport, v1GetExportBucket
grants[2] allows it
  yes operations: getGroupByName by read
  yes groups: 64f0c1a2b3d4e5f607182930 by 64f0c1a2b3d4e5f607182930
`
	p := nightly(t)
	var b strings.Builder
	for _, request := range []policy.Request{
		{Operation: "createBackupExport", Group: group, Cluster: "orders"},
		{Operation: "v1CreateExportBucket", Group: group, CloudProvider: "AWS", BucketName: "acme-exports"},
		{Operation: "createExportBucket", Group: group, CloudProvider: "AZURE", ServiceURL: acmestore + "snapshots"},
		{Operation: "listGroups"},
		{Operation: "getGroupByName", Group: group},
	} {
		for _, e := range p.Explain(request) {
			fmt.Fprintln(&b, e)
		}
	}
	if diff := cmp.Diff(golden, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := (*policy.Policy)(nil).Explain(policy.Request{}); got != nil {
		t.Errorf("no policy: %v", got)
	}
}

// Explain and Allow agree about every request.
func TestExplainAgrees(t *testing.T) {
	p := compile(t,
		policy.Grant{Operations: []string{"export"}, Groups: []string{group}, Clusters: []string{"analytics-*", "reports"}, ExportBuckets: []string{bucket}},
		policy.Grant{Operations: []string{"createExportBucket", "read"}, Groups: []string{group}, BucketNames: []string{"acme-*"}},
		policy.Grant{Operations: []string{"createExportBucket"}, Groups: []string{group}, ServiceURLs: []string{acmestore + "acme-*"}},
	)
	for _, id := range append(ids(), "getSomethingNew") {
		for _, g := range []string{group, other, ""} {
			for _, cluster := range []string{"analytics-1", "orders"} {
				for _, b := range []string{bucket, other} {
					for _, url := range []string{"", acmestore + "acme-1", acmestore + "other"} {
						request := policy.Request{Operation: id, Group: g, Cluster: cluster, ExportBucket: b, CloudProvider: "AWS", BucketName: "acme-1", ServiceURL: url}
						explained := slices.ContainsFunc(p.Explain(request), func(e policy.Explanation) bool { return e.Allows })
						err := p.Allow(request)
						if err == nil {
							err = p.AllowAnswer(request, g)
						}
						if (err == nil) != explained {
							t.Errorf("%+v: explained %v, %v", request, explained, err)
						}
					}
				}
			}
		}
	}
}
