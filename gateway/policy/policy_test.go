package policy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"atlas-export-gateway/api"
	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/strictyaml"

	"github.com/google/go-cmp/cmp"
)

const (
	group  = "64f0c1a2b3d4e5f607182930"
	bucket = "65a9d3e1f20b4c7788990011"
	other  = "65ffffffffffffffffffffff"

	acmestore = "https://acmestore.blob.core.windows.net/"
)

// contractOperations are the operations of the contract by id.
var contractOperations = sync.OnceValue(func() map[string]*contract.Operation {
	doc, err := api.Load()
	if err != nil {
		panic(err)
	}
	c, err := contract.Compile(doc)
	if err != nil {
		panic(err)
	}
	operations := map[string]*contract.Operation{}
	for _, o := range c.Operations() {
		operations[o.ID] = o
	}
	return operations
})

// ids are the operations of the contract.
func ids() []string { return slices.Sorted(maps.Keys(contractOperations())) }

func compile(t testing.TB, grants ...policy.Grant) *policy.Policy {
	t.Helper()
	return policy.Compile("nightly", "grants", grants, ids(), func(path, format string, args ...any) {
		t.Helper()
		t.Errorf("%s: "+format, append([]any{path}, args...)...)
	})
}

// mistakes are what Compile refuses, in its order.
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

func anywhere(operations ...string) policy.Grant {
	return policy.Grant{Operations: operations, Groups: []string{"*"}}
}

// rows are, for each operation of v2, the least set that holds it, and which of the other
// lists restrict it.
var rows = map[string]struct{ set, restricted string }{
	"listBackupExports":        {"read", "group cluster"},
	"getBackupExport":          {"read", "group cluster"},
	"createBackupExport":       {"export", "group cluster bucket"},
	"listExportBuckets":        {"read", "group"},
	"getExportBucket":          {"read", "group bucket"},
	"createExportBucket":       {"manage", "group provider name url"},
	"updateBackupExportBucket": {"manage", "group bucket"},
	"deleteExportBucket":       {"manage", "group bucket"},
	"listClusters":             {"manage", "group"},
	"getBackupSchedule":        {"manage", "group cluster"},
}

func v2Name(id string) string {
	if rest, ok := strings.CutPrefix(id, "v1"); ok {
		return strings.ToLower(rest[:1]) + rest[1:]
	}
	return id
}

func TestEveryOperation(t *testing.T) {
	everything := ids()
	p := compile(t, policy.Grant{
		Operations: []string{"manage"}, Groups: []string{group}, Clusters: []string{"analytics-*"},
		ExportBuckets: []string{bucket}, CloudProviders: []string{"AWS", "GCP"}, BucketNames: []string{"acme-*"},
		ServiceURLs: []string{acmestore + "*"},
	})
	changes := []struct {
		name, part string
		change     func(*policy.Request)
	}{
		{"group", "groups", func(r *policy.Request) { r.Group = other }},
		{"cluster", "clusters", func(r *policy.Request) { r.Cluster = "orders" }},
		{"bucket", "export_buckets", func(r *policy.Request) { r.ExportBucket = other }},
		{"provider", "cloud_providers", func(r *policy.Request) { r.CloudProvider = "AZURE" }},
		{"name", "bucket_names", func(r *policy.Request) { r.BucketName = "other" }},
		{"url", "service_urls", func(r *policy.Request) { r.ServiceURL = "https://other.blob.core.windows.net/acme-exports" }},
	}
	for _, id := range everything {
		row, ok := rows[v2Name(id)]
		if !ok {
			t.Errorf("%s is not in the table", id)
			continue
		}
		good := policy.Request{Operation: id, Group: group, Cluster: "analytics-1", ExportBucket: bucket, CloudProvider: "AWS", BucketName: "acme-exports"}
		if err := p.Allow(good); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		for _, change := range changes {
			request := good
			change.change(&request)
			wantRefused(t, p, request, strings.Contains(row.restricted, change.name), change.part)
		}
		// What is missing matches nothing.
		for _, part := range changes {
			request := good
			switch part.name {
			case "url": // not missing in a bucket of AWS
				continue
			case "group":
				request.Group = ""
			case "cluster":
				request.Cluster = ""
			case "bucket":
				request.ExportBucket = ""
			case "provider":
				request.CloudProvider = ""
			case "name":
				request.BucketName = ""
			}
			wantRefused(t, p, request, strings.Contains(row.restricted, part.name), part.part)
		}

		// By name, in a set, by another name, by none.
		wantRefused(t, compile(t, anywhere(id)), good, false, "")
		wantRefused(t, compile(t, anywhere(v2Name(id))), good, false, "")
		wantRefused(t, compile(t, anywhere("*")), good, false, "")
		others := slices.DeleteFunc(slices.Clone(everything), func(name string) bool { return name == id || name == v2Name(id) })
		wantRefused(t, compile(t, anywhere(others...)), good, true, "operations")
		wantRefused(t, compile(t), good, true, "operations")
		wantRefused(t, nil, good, true, "operations")
		sets := []string{"read", "export", "manage"}
		for i, set := range sets {
			wantRefused(t, compile(t, anywhere(set)), good, i < slices.Index(sets, row.set), "operations")
		}
		if id != v2Name(id) {
			request := good
			request.Operation = v2Name(id)
			wantRefused(t, compile(t, anywhere(id)), request, true, "operations")
		}
		// Each list that the grant has is one that the operation must pass; none adds up
		// with another grant.
		elsewhere := policy.Grant{Operations: []string{id}, Groups: []string{other}}
		wantRefused(t, compile(t, elsewhere, anywhere(others...)), good, true, "groups")
		wantRefused(t, compile(t, elsewhere, anywhere(id)), good, false, "")
	}
}

func wantRefused(t *testing.T, p *policy.Policy, request policy.Request, refused bool, part string) {
	t.Helper()
	err := p.Allow(request)
	if !refused {
		if err != nil {
			t.Errorf("%+v: %v", request, err)
		}
		return
	}
	var refusal *policy.Refusal
	if !errors.As(err, &refusal) || refusal.Part != part || refusal.Request != request {
		t.Errorf("%+v: got %#v, want a Refusal for %s", request, err, part)
	}
}

// The table of the policy says what the paths of the contract say.
func TestAgreesWithContract(t *testing.T) {
	for id, o := range contractOperations() {
		row := rows[v2Name(id)].restricted
		if got := strings.Contains(o.Path, "{clusterName}"); got != strings.Contains(row, "cluster") {
			t.Errorf("%s: %s has a cluster: %v, the policy restricts %q", id, o.Path, got, row)
		}
		if strings.Contains(o.Path, "{exportBucketId}") && !strings.Contains(row, "bucket") {
			t.Errorf("%s: %s has a bucket, the policy restricts %q", id, o.Path, row)
		}
	}
}

func TestUnknownOperation(t *testing.T) {
	request := policy.Request{Operation: "getSomethingNew", Group: group}
	wantRefused(t, compile(t, anywhere("*")), request, true, "operations") // not in the contract
	refuse := func(path, format string, args ...any) { t.Errorf(path+": "+format, args...) }
	for _, set := range []string{"read", "export", "manage"} {
		p := policy.Compile("nightly", "grants", []policy.Grant{anywhere(set)}, []string{"getSomethingNew"}, refuse)
		wantRefused(t, p, request, set != "manage", "operations")
	}
	for part, change := range map[string]func(*policy.Grant){
		"clusters":        func(g *policy.Grant) { g.Clusters = []string{"a"} },
		"export_buckets":  func(g *policy.Grant) { g.ExportBuckets = []string{bucket} },
		"cloud_providers": func(g *policy.Grant) { g.CloudProviders = []string{"AWS"} },
		"bucket_names":    func(g *policy.Grant) { g.BucketNames, g.ServiceURLs = []string{"a*"}, []string{acmestore + "*"} },
	} {
		g := anywhere("manage")
		change(&g)
		wantRefused(t, policy.Compile("nightly", "grants", []policy.Grant{g}, []string{"getSomethingNew"}, refuse), request, true, part)
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"acme-*", "acme-exports", true},
		{"acme-*", "acme-", true},
		{"acme-*", "acme", false},
		{"acme-*", "xacme-exports", false},
		{"acme-*", "ACME-exports", false},
		{"acme-*", "acme-a/secret", false},
		{"*", "acme", true},
		{"*", "", false},
		{"*", "a/b", false},
		{"acme[^x]exports", "acme-exports", true},
		{"acme[^x]exports", "acme/exports", false},
		{"acme[+-0]exports", "acme/exports", false},
		{"acme?exports", "acme/exports", false},
		{"acme?exports", "acme.exports", true},
		{"*-prod", "orders-prod", true},
		{"*-prod", "orders-prod-2", false},
		{"a.me", "acme", false},
		{`acme\*`, "acme*", true},
		{`acme\*`, "acme-", false},
		{"[acme]", "[acme]", false},
		{"exports", "exports\n", false},
	} {
		p := compile(t, policy.Grant{Operations: []string{"*"}, Groups: []string{"64*"}, BucketNames: []string{"never", test.pattern}})
		request := policy.Request{Operation: "createExportBucket", Group: group, BucketName: test.name}
		if err := p.Allow(request); (err == nil) != test.want {
			t.Errorf("%q on %q: %v", test.pattern, test.name, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	const (
		at    = "callers.nightly.grants[0]"
		noURL = " is not https://ACCOUNT.blob.core.windows.net/CONTAINER, with a pattern for the account and one for the container"
	)
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
		{"patterns", policy.Grant{
			Operations: []string{"manage"}, Groups: []string{"orders", strings.ToUpper(group), "64[", "", "[!6]*"}, Clusters: []string{"[a-", "ok", `a\`},
			ExportBuckets: []string{bucket + "0", "a/*"}, CloudProviders: []string{"aws", "A*", "AZURE"}, BucketNames: []string{"acme/*"},
			ServiceURLs: []string{"acmestore/*", acmestore, "*", "http" + acmestore[5:] + "a", "https://acmestore.example.com/a", "https://.blob.core.windows.net/a",
				acmestore + "a/b", "https://acme[.blob.core.windows.net/a]", acmestore + "[a-", "https://a/b.blob.core.windows.net/c", "https://ACME*.blob.core.windows.net/[a-f]?"},
		}, []string{
			at + `.groups[0]: "orders" is not an id, 24 hexadecimal digits in lower case, and would match nothing`,
			at + `.groups[1]: "64F0C1A2B3D4E5F607182930" is not an id, 24 hexadecimal digits in lower case, and would match nothing`,
			at + `.groups[2]: "64[" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
			at + `.groups[3]: "" is not a pattern`,
			at + `.groups[4]: "[!6]*" begins a class with !, which stands for itself; write [^a-f] for all but some`,
			at + `.clusters[0]: "[a-" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
			at + `.clusters[2]: "a\\" is not a pattern; a class such as [a-f] ends in ], and \ stands before a character`,
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
	// One bad grant takes the good ones with it.
	if got := mistakes(t, anywhere("read"), anywhere("raed")); len(got) != 1 || !strings.HasPrefix(got[0], "callers.nightly.grants[1].operations[0]: ") {
		t.Errorf("got %q", got)
	}
}

func TestImmutable(t *testing.T) {
	grants := []policy.Grant{{Operations: []string{"read"}, Groups: []string{other}}}
	p := compile(t, grants...)
	request := policy.Request{Operation: "listExportBuckets", Group: group}
	grants[0].Groups[0] = "*"
	p.Explain(request)[0].Lines[1].Entries[0] = "*"
	wantRefused(t, p, request, true, "groups")
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

// nightly has grants of several kinds, for messages.
func nightly(t testing.TB) *policy.Policy {
	return compile(t,
		policy.Grant{Operations: []string{"export"}, Groups: []string{group}, Clusters: []string{"analytics-*", "reports"}, ExportBuckets: []string{bucket}},
		policy.Grant{Operations: []string{"createBackupExport", "v1GetExportBucket"}, Groups: []string{"65*"}},
		policy.Grant{Operations: []string{"createExportBucket", "read"}, Groups: []string{group}, CloudProviders: []string{"AWS", "GCP"}, BucketNames: []string{"acme-*"}},
	)
}

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
	} {
		err := p.Allow(test.request)
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
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
`
	p := nightly(t)
	var b strings.Builder
	for _, request := range []policy.Request{
		{Operation: "createBackupExport", Group: group, Cluster: "orders"},
		{Operation: "v1CreateExportBucket", Group: group, CloudProvider: "AWS", BucketName: "acme-exports"},
		{Operation: "createExportBucket", Group: group, CloudProvider: "AZURE", ServiceURL: acmestore + "snapshots"},
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

// Explain and Allow agree.
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
						if err := p.Allow(request); (err == nil) != explained {
							t.Errorf("%+v: explained %v, %v", request, explained, err)
						}
					}
				}
			}
		}
	}
}

// decode returns the value of a body, nil where there is none.
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
		{"updateBackupExportBucket", aws, policy.Request{}},
		{"deleteExportBucket", "", policy.Request{}},
		{"getSomethingNew", job, policy.Request{}},
		// Validation lets none of these through.
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

func TestServiceURLs(t *testing.T) {
	for _, test := range []struct {
		pattern, url string
		want         bool
	}{
		{acmestore + "snapshots", acmestore + "snapshots", true},
		{acmestore + "snapshots", "https://ACMEstore.Blob.core.windows.net/snapshots", true},
		{"https://AcmeStore.blob.core.windows.net/snapshots", acmestore + "snapshots", true},
		{acmestore + "snapshots", acmestore + "Snapshots", false},
		{acmestore + "snapshots", acmestore + "snapshots-2", false},
		{acmestore + "snapshots", "https://xacmestore.blob.core.windows.net/snapshots", false},
		{acmestore + "*", acmestore + "$root", true},
		{acmestore + "*", acmestore, false},
		{acmestore + "*", acmestore + "a/b", false},
		{acmestore + "[^x]*", acmestore + "a/b", false},
		{acmestore + "*", "https://other.blob.core.windows.net/snapshots", false},
		{acmestore + "*", "http://acmestore.blob.core.windows.net/snapshots", false},
		{acmestore + "*", "https://acmestore.blob.core.windows.net.example.com/snapshots", false},
		{acmestore + "*", "acmestore.blob.core.windows.net/snapshots", false},
		{acmestore + "*", "acmestore/snapshots", false},
		{acmestore + "*", "snapshots", false},
		{acmestore + "*", "", false},
		{"https://acme*.blob.core.windows.net/s?", "https://acmeprod.blob.core.windows.net/s1", true},
		{"https://acme*.blob.core.windows.net/s?", "https://prodacme.blob.core.windows.net/s1", false},
		{"https://acme*.blob.core.windows.net/*", "https://acme@example.com?.blob.core.windows.net/x", false},
		{"https://acme*.blob.core.windows.net/*", "https://acme%2f.blob.core.windows.net/x", false},
		{"https://*.blob.core.windows.net/*", "https://example.com/x.blob.core.windows.net/s1", false},
		{"https://acme[^x]*.blob.core.windows.net/*", "https://acme/x.blob.core.windows.net/s1", false},
	} {
		p := compile(t, policy.Grant{Operations: []string{"*"}, Groups: []string{"*"}, ServiceURLs: []string{"https://never.blob.core.windows.net/never", test.pattern}})
		request := policy.Request{Operation: "createExportBucket", Group: group, CloudProvider: "AZURE", ServiceURL: test.url}
		wantRefused(t, p, request, !test.want, "service_urls")
	}
}

// A bucket is allowed by the list that can name it: of Azure by its URL, whatever its name,
// which may be anybody's in another account; of the others by its name.
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

func BenchmarkAllow(b *testing.B) {
	grants := []policy.Grant{{Operations: []string{"export"}, Groups: []string{group}, Clusters: []string{"analytics-*"}, ExportBuckets: []string{bucket}}}
	for i := range 20 {
		grants = append([]policy.Grant{{Operations: []string{"export"}, Groups: []string{fmt.Sprintf("%024x", i)}, Clusters: []string{"*"}}}, grants...)
	}
	request := policy.Request{Operation: "createBackupExport", Group: group, Cluster: "analytics-1", ExportBucket: bucket}
	refused := request
	refused.Cluster = "orders"
	for _, bench := range []struct {
		name    string
		grants  []policy.Grant
		request policy.Request
		refused bool
	}{
		{"1 grant", grants[20:], request, false},
		{"21 grants", grants, request, false},
		{"refused", grants, refused, true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := compile(b, bench.grants...)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Allow(bench.request); (err != nil) != bench.refused {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAllowAllocates(t *testing.T) {
	p := nightly(t)
	request := policy.Request{Operation: "createBackupExport", Group: group, Cluster: "analytics-1", ExportBucket: bucket}
	if n := testing.AllocsPerRun(100, func() {
		if err := p.Allow(request); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Allow allocates %v times", n)
	}
}
