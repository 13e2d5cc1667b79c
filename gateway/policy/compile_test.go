package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/strictyaml"

	"github.com/google/go-cmp/cmp"
)

// mistakes returns what Compile refuses, in the order of Compile.
func mistakes(t testing.TB, grants ...policy.Grant) []string {
	t.Helper()
	var found []string
	p := policy.Compile("nightly", "callers.nightly.grants", grants, ids(), func(path, format string, args ...any) {
		found = append(found, fmt.Sprintf(path+": "+format, args...))
	})
	if (p == nil) != (len(found) > 0) {
		t.Errorf("got %v along with %q", p, found)
	}
	return found
}

// at is where mistakes finds the first grant.
const at = "callers.nightly.grants[0]"

func TestCompileRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		grant policy.Grant
		want  []string
	}{
		{"nothing", policy.Grant{}, []string{
			at + `.operations: is required; write ["*"] to allow all`,
			at + `.groups: is required; write ["*"] to allow all`,
		}},
		{"empty lists", policy.Grant{Operations: []string{}, Groups: []string{}, Clusters: []string{}}, []string{
			at + `.operations: is required; write ["*"] to allow all`,
			at + `.groups: is required; write ["*"] to allow all`,
			at + `.clusters: is empty, which allows none; leave it out to allow any`,
		}},
		{"operations", anywhere("read", "creatBackupExport", "list*", "v1UpdateBackupExportBucket", "Export", ""), []string{
			at + `.operations[1]: "creatBackupExport" is not an operationId, read, export, manage or *; did you mean createBackupExport?`,
			at + `.operations[2]: "list*" is not an operationId, read, export, manage or *`,
			at + `.operations[3]: "v1UpdateBackupExportBucket" is not an operationId, read, export, manage or *; did you mean updateBackupExportBucket?`,
			at + `.operations[4]: "Export" is not an operationId, read, export, manage or *; did you mean export?`,
			at + `.operations[5]: "" is not an operationId, read, export, manage or *`,
		}},
		{"no effect", policy.Grant{
			Operations: []string{"listExportBuckets"}, Groups: []string{"*"}, Clusters: []string{"a"}, ExportBuckets: []string{bucket}, BucketNames: []string{"*"}, ServiceURLs: []string{acmestore + "*"},
		}, []string{
			at + `.clusters: restricts none of the operations that the grant names`,
			at + `.export_buckets: restricts none of the operations that the grant names`,
			at + `.service_urls: restricts none of the operations that the grant names`,
		}},
		{"clusters on their list", policy.Grant{Operations: []string{"listClusters"}, Groups: []string{"*"}, Clusters: []string{"orders"}}, []string{
			at + `.clusters: restricts none of the operations that the grant names`,
		}},
		{"every group, for one", policy.Grant{Operations: []string{"listGroups", "read", "v1ListGroups"}, Groups: []string{group}}, []string{
			at + `.operations[0]: listGroups shows every group, and the grant is for some; write groups: ["*"], or allow getGroup and getGroupByName instead`,
			at + `.operations[2]: v1ListGroups shows every group, and the grant is for some; write groups: ["*"], or allow getGroup and getGroupByName instead`,
		}},
		{"every group", policy.Grant{Operations: []string{"listGroups"}, Groups: []string{group, "*"}}, nil},
		{"a group by its name", policy.Grant{Operations: []string{"getGroupByName"}, Groups: []string{group}}, nil},
		{"clusters on roles", policy.Grant{Operations: []string{"listCloudProviderAccess"}, Groups: []string{"*"}, Clusters: []string{"orders"}}, []string{
			at + `.clusters: restricts none of the operations that the grant names`,
		}},
		{"buckets on a schedule", policy.Grant{Operations: []string{"updateBackupSchedule"}, Groups: []string{"*"}, ExportBuckets: []string{bucket}}, nil},
		{"clusters on a schedule", policy.Grant{Operations: []string{"listClusters", "getBackupSchedule"}, Groups: []string{"*"}, Clusters: []string{"orders"}}, nil},
		{"good", policy.Grant{
			Operations: []string{"*", "v1GetExportBucket"}, Groups: []string{group, "65*"}, Clusters: []string{"a?"}, ExportBuckets: []string{"*"},
			CloudProviders: []string{"*"}, BucketNames: []string{"[a-f]*"}, ServiceURLs: []string{acmestore + "$*"},
		}, nil},
	} {
		if diff := cmp.Diff(test.want, mistakes(t, test.grant)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	// With one bad grant there is no Policy, also for the good ones.
	if got := mistakes(t, anywhere("read"), anywhere("raed")); len(got) != 1 || !strings.HasPrefix(got[0], "callers.nightly.grants[1].operations[0]: ") {
		t.Errorf("got %q", got)
	}
}

func TestCompileRefusesPatterns(t *testing.T) {
	const noURL = " is not https://ACCOUNT.blob.core.windows.net/CONTAINER, with a pattern for the account and one for the container"
	got := mistakes(t, policy.Grant{
		Operations: []string{"manage"}, Groups: []string{"orders", strings.ToUpper(group), "64[", "", "[!6]*"}, Clusters: []string{"[a-", "ok", `a\`, "^event.*$", "a_b", "Az-09?*"},
		ExportBuckets: []string{bucket + "0", "a/*"}, CloudProviders: []string{"aws", "A*", "AZURE"}, BucketNames: []string{"acme/*"},
		ServiceURLs: []string{"acmestore/*", acmestore, "*", "http" + acmestore[5:] + "a", "https://acmestore.example.com/a", "https://.blob.core.windows.net/a",
			acmestore + "a/b", "https://acme[.blob.core.windows.net/a]", acmestore + "[a-", "https://a/b.blob.core.windows.net/c", "https://ACME*.blob.core.windows.net/[a-f]?"},
	})
	want := []string{
		at + `.groups[0]: "orders" is not an id, 24 hexadecimal digits in lower case, and would match nothing`,
		at + `.groups[1]: "64F0C1A2B3D4E5F607182930" is not an id, 24 hexadecimal digits in lower case, and would match nothing`,
		at + `.groups[2]: "64[" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
		at + `.groups[3]: "" is not a pattern`,
		at + `.groups[4]: "[!6]*" begins a class with !, which stands for itself; write [^a-f] for all but some`,
		at + `.clusters[0]: "[a-" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
		at + `.clusters[2]: "a\\" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
		at + `.clusters[3]: "^event.*$" would match nothing: the name of a cluster has letters, digits and hyphens, and a pattern also * and ?`,
		at + `.clusters[4]: "a_b" would match nothing: the name of a cluster has letters, digits and hyphens, and a pattern also * and ?`,
		at + `.export_buckets[0]: "65a9d3e1f20b4c77889900110" is not an id, 24 hexadecimal digits in lower case, and would match nothing`,
		at + `.export_buckets[1]: "a/*" holds a slash, and would match nothing`,
		at + `.cloud_providers[0]: "aws" is not AWS, AZURE or GCP; did you mean AWS?`,
		at + `.cloud_providers[1]: "A*" is not AWS, AZURE or GCP`,
		at + `.bucket_names[0]: "acme/*" holds a slash, and would match nothing`,
		at + `.service_urls[0]: "acmestore/*"` + noURL,
		at + `.service_urls[1]: "` + acmestore + `"` + noURL,
		at + `.service_urls[2]: "*"` + noURL,
		at + `.service_urls[3]: "http://acmestore.blob.core.windows.net/a"` + noURL,
		at + `.service_urls[4]: "https://acmestore.example.com/a"` + noURL,
		at + `.service_urls[5]: "https://.blob.core.windows.net/a"` + noURL,
		at + `.service_urls[6]: "` + acmestore + `a/b" holds a slash, and would match nothing`,
		at + `.service_urls[7]: "https://acme[.blob.core.windows.net/a]" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
		at + `.service_urls[8]: "` + acmestore + `[a-" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
		at + `.service_urls[9]: "https://a/b.blob.core.windows.net/c"` + noURL,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestYAML(t *testing.T) {
	var c struct {
		Grants []policy.Grant `yaml:"grants"`
	}
	document, err := strictyaml.Decode("gateway.yaml", []byte(`grants:
  - operations: [export, deleteExportBucket]
    groups: [64f0c1a2b3d4e5f607182930, 640000000000000000000000, 64e101020304050607080910, 65*]
    clusters: ["analytics-*", "*"]
    export_buckets: [65a9d3e1f20b4c7788990011]
  - operations: ["*"]
    groups: ["*"]
    cloud_providers: [AWS, aws]
    bucket_names: [acme-*]
    service_urls: ["https://acmestore.blob.core.windows.net/*"]
`), &c)
	if err != nil {
		t.Fatal(err)
	}
	want := []policy.Grant{
		{
			Operations: []string{"export", "deleteExportBucket"}, Groups: []string{group, "640000000000000000000000", "64e101020304050607080910", "65*"},
			Clusters: []string{"analytics-*", "*"}, ExportBuckets: []string{bucket},
		},
		{Operations: []string{"*"}, Groups: []string{"*"}, CloudProviders: []string{"AWS", "aws"}, BucketNames: []string{"acme-*"}, ServiceURLs: []string{acmestore + "*"}},
	}
	if diff := cmp.Diff(want, c.Grants); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	var errs []error
	policy.Compile("nightly", "grants", c.Grants, ids(), func(path, format string, args ...any) {
		errs = append(errs, document.Errorf(path, format, args...))
	})
	if got, want := fmt.Sprint(errs), `[gateway.yaml:8: grants[1].cloud_providers[1]: "aws" is not AWS, AZURE or GCP; did you mean AWS?]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := strictyaml.Decode("gateway.yaml", []byte("grants: [{cluster: [a]}]"), &c); err == nil {
		t.Error("an unknown key was accepted")
	}
}
