package policy_test

import (
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

func anywhere(operations ...string) policy.Grant {
	return policy.Grant{Operations: operations, Groups: []string{"*"}}
}

// rows have, for each operation of v2, the smallest set that has the operation, and the lists that
// restrict it: "every" stands for groups where the operation shows every group, and "answer" where
// only Atlas's answer tells the group.
var rows = map[string]struct{ set, restricted string }{
	"listBackupExports":         {"read", "group cluster"},
	"getBackupExport":           {"read", "group cluster"},
	"createBackupExport":        {"export", "group cluster bucket"},
	"listExportBuckets":         {"read", "group"},
	"getExportBucket":           {"read", "group bucket"},
	"createExportBucket":        {"manage", "group provider name url"},
	"updateBackupExportBucket":  {"manage", "group bucket"},
	"deleteExportBucket":        {"manage", "group bucket"},
	"listClusters":              {"manage", "group"},
	"getBackupSchedule":         {"manage", "group cluster"},
	"updateBackupSchedule":      {"manage", "group cluster bucket"},
	"listBackupSnapshots":       {"read", "group cluster"},
	"getClusterBackupSnapshot":  {"read", "group cluster"},
	"listBackupShardedClusters": {"read", "group cluster"},
	"getBackupShardedCluster":   {"read", "group cluster"},
	"takeSnapshots":             {"export", "group cluster"},
	"getCluster":                {"read", "group cluster"},
	"getClusterStatus":          {"read", "group cluster"},
	"listGroups":                {"read", "every"},
	"getGroup":                  {"read", "group"},
	"getGroupByName":            {"read", "answer"},
	"listCloudProviderAccess":   {"read", "group"},
	"getCloudProviderAccess":    {"read", "group"},
}

func v2Name(id string) string {
	if rest, ok := strings.CutPrefix(id, "v1"); ok {
		return strings.ToLower(rest[:1]) + rest[1:]
	}
	return id
}

// requestOf returns a request that the grants of these tests allow.
func requestOf(id string) policy.Request {
	return policy.Request{Operation: id, Group: group, Cluster: "analytics-1", ExportBucket: bucket, CloudProvider: "AWS", BucketName: "acme-exports"}
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

// nightly returns a policy with grants of several kinds.
func nightly(t testing.TB) *policy.Policy {
	return compile(t,
		policy.Grant{Operations: []string{"export"}, Groups: []string{group}, Clusters: []string{"analytics-*", "reports"}, ExportBuckets: []string{bucket}},
		policy.Grant{Operations: []string{"createBackupExport", "v1GetExportBucket"}, Groups: []string{"65*"}},
		policy.Grant{Operations: []string{"createExportBucket", "read"}, Groups: []string{group}, CloudProviders: []string{"AWS", "GCP"}, BucketNames: []string{"acme-*"}},
	)
}

// changes has, for each list, a change of a request that the list refuses if it restricts the
// operation.
var changes = []struct {
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

// Each list of a grant restricts the operations that the table says, and no others.
func TestEveryOperation(t *testing.T) {
	p := compile(t, policy.Grant{
		Operations: []string{"manage"}, Groups: []string{group}, Clusters: []string{"analytics-*"},
		ExportBuckets: []string{bucket}, CloudProviders: []string{"AWS", "GCP"}, BucketNames: []string{"acme-*"},
		ServiceURLs: []string{acmestore + "*"},
	})
	for _, id := range ids() {
		row, ok := rows[v2Name(id)]
		if !ok {
			t.Errorf("%s is not in the table", id)
			continue
		}
		good := requestOf(id)
		if row.restricted == "every" {
			wantRefused(t, p, good, true, "groups")
			continue
		}
		if err := p.Allow(good); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		for _, change := range changes {
			request := good
			change.change(&request)
			wantRefused(t, p, request, strings.Contains(row.restricted, change.name), change.part)
		}
		// No pattern matches a missing value.
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
	}
}

// Each operation is allowed by its name, by a set that has it, and by nothing else.
func TestEveryName(t *testing.T) {
	everything := ids()
	for _, id := range everything {
		row, good := rows[v2Name(id)], requestOf(id)
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
		// The right group in one grant and the right operation in another don't add up.
		elsewhere := policy.Grant{Operations: []string{id}, Groups: []string{other}}
		if row.restricted == "every" { // a grant that names it must be for every group
			elsewhere.Operations = []string{row.set}
		}
		wantRefused(t, compile(t, elsewhere, anywhere(others...)), good, row.restricted != "answer", "groups")
		wantRefused(t, compile(t, elsewhere, anywhere(id)), good, false, "")
	}
}

// What shows every group takes a grant for every group: no pattern is enough, whatever it matches,
// and several grants don't add up.
func TestEveryGroup(t *testing.T) {
	for _, id := range []string{"listGroups", "v1ListGroups"} {
		for _, groups := range [][]string{{group}, {group, other}, {"?*"}, {"**"}, {"[^a]*", "a*"}, {"?"}, {"[*]"}, {`\*`}} {
			wantRefused(t, compile(t, policy.Grant{Operations: []string{"manage"}, Groups: groups}), policy.Request{Operation: id}, true, "groups")
		}
		wantRefused(t, compile(t, policy.Grant{Operations: []string{"read"}, Groups: []string{group, "*"}, Clusters: []string{"orders"}}), policy.Request{Operation: id}, false, "")
	}
}

// Where only Atlas's answer tells the group, a caller sees the answer about a group that its
// grants name. All other answers are refused alike.
func TestAllowAnswer(t *testing.T) {
	some := compile(t,
		policy.Grant{Operations: []string{"export"}, Groups: []string{group, "65*"}, Clusters: []string{"orders"}},
		policy.Grant{Operations: []string{"listExportBuckets"}, Groups: []string{"*"}},
	)
	every := compile(t, policy.Grant{Operations: []string{"getGroupByName"}, Groups: []string{"*"}})
	for _, id := range []string{"getGroupByName", "v1GetGroupByName"} {
		request := policy.Request{Operation: id}
		wantRefused(t, some, request, false, "")
		for _, answered := range []string{group, other} {
			if err := some.AllowAnswer(request, answered); err != nil {
				t.Errorf("%s of group %s: %v", id, answered, err)
			}
		}
		texts := map[string]bool{}
		for _, answered := range []string{"64f0c1a2b3d4e5f607182931", "", "*", "65/..", "\n"} {
			err := some.AllowAnswer(request, answered)
			var refusal *policy.Refusal
			if !errors.As(err, &refusal) || refusal.Part != "groups" {
				t.Errorf("%s of group %q: %v", id, answered, err)
			}
			texts[fmt.Sprint(err)] = true
			if err := every.AllowAnswer(request, answered); err != nil {
				t.Errorf("%s of group %q, by a caller for every group: %v", id, answered, err)
			}
		}
		if len(texts) != 1 {
			t.Errorf("the refusals differ: %v", texts)
		}
		if err := (*policy.Policy)(nil).AllowAnswer(request, group); err == nil {
			t.Errorf("%s without a policy was allowed", id)
		}
	}
	for _, id := range ids() {
		if rows[v2Name(id)].restricted != "answer" {
			if err := some.AllowAnswer(policy.Request{Operation: id}, ""); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
}

// The table of operations agrees with the paths of the contract.
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

func TestImmutable(t *testing.T) {
	grants := []policy.Grant{{Operations: []string{"read"}, Groups: []string{other}}}
	p := compile(t, grants...)
	request := policy.Request{Operation: "listExportBuckets", Group: group}
	grants[0].Groups[0] = "*"
	p.Explain(request)[0].Lines[1].Entries[0] = "*"
	wantRefused(t, p, request, true, "groups")
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
