package gateway_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// policyRows has, for each operation of the contract, a valid request and the lists of a grant
// that restrict the operation, besides operations and groups. They are those of gateway/policy's
// comment.
var policyRows = map[string]struct {
	restricted []string
	content    string // with BUCKET for the id of a bucket
	status     int    // of the answer to a caller who is granted it
}{
	"listBackupExports":           {[]string{"clusters"}, "", 200},
	"getBackupExport":             {[]string{"clusters"}, "", 200},
	"createBackupExport":          {[]string{"clusters", "export_buckets"}, `{"snapshotId":"` + snapshot + `","exportBucketId":"BUCKET"}`, 200},
	"listExportBuckets":           {nil, "", 200},
	"listClusters":                {nil, "", 200},
	"getCluster":                  {[]string{"clusters"}, "", 200},
	"getClusterStatus":            {[]string{"clusters"}, "", 200},
	"getBackupSchedule":           {[]string{"clusters"}, "", 200},
	"updateBackupSchedule":        {[]string{"clusters", "export_buckets"}, autoExport, 200},
	"listBackupSnapshots":         {[]string{"clusters"}, "", 200},
	"takeSnapshots":               {[]string{"clusters"}, `{"retentionInDays":1}`, 200},
	"getClusterBackupSnapshot":    {[]string{"clusters"}, "", 200},
	"listBackupShardedClusters":   {[]string{"clusters"}, "", 200},
	"getBackupShardedCluster":     {[]string{"clusters"}, "", 200},
	"getGroup":                    {nil, "", 200},
	"listCloudProviderAccess":     {nil, "", 200},
	"getCloudProviderAccess":      {nil, "", 200},
	"v1GetBackupSchedule":         {[]string{"clusters"}, "", 200},
	"v1UpdateBackupSchedule":      {[]string{"clusters", "export_buckets"}, autoExport, 200},
	"v1ListBackupSnapshots":       {[]string{"clusters"}, "", 200},
	"v1TakeSnapshots":             {[]string{"clusters"}, `{"retentionInDays":1}`, 200},
	"v1GetClusterBackupSnapshot":  {[]string{"clusters"}, "", 200},
	"v1ListBackupShardedClusters": {[]string{"clusters"}, "", 200},
	"v1GetBackupShardedCluster":   {[]string{"clusters"}, "", 200},
	"v1GetGroup":                  {nil, "", 200},
	"v1ListCloudProviderAccess":   {nil, "", 200},
	"v1GetCloudProviderAccess":    {nil, "", 200},
	"getExportBucket":             {[]string{"export_buckets"}, "", 200},
	"createExportBucket":          {[]string{"cloud_providers", "bucket_names"}, awsBucket, 200},
	"updateBackupExportBucket":    {[]string{"export_buckets"}, `{"requirePrivateNetworking":true}`, 200},
	"deleteExportBucket":          {[]string{"export_buckets"}, "", 204},
	"v1ListBackupExports":         {[]string{"clusters"}, "", 200},
	"v1GetBackupExport":           {[]string{"clusters"}, "", 200},
	"v1CreateBackupExport":        {[]string{"clusters", "export_buckets"}, `{"snapshotId":"` + snapshot + `","exportBucketId":"BUCKET"}`, 200},
	"v1ListExportBuckets":         {nil, "", 200},
	"v1GetExportBucket":           {[]string{"export_buckets"}, "", 200},
	"v1CreateExportBucket":        {[]string{"cloud_providers", "bucket_names"}, awsBucket, 200},
	"v1DeleteExportBucket":        {[]string{"export_buckets"}, "", 204},
}

// autoExport changes the export policy of a schedule.
const autoExport = `{"autoExportEnabled":true,"export":{"exportBucketId":"BUCKET","frequencyType":"monthly"}}`

// groupRows has the operations whose group is not in the path, and the status of the answer to a
// caller who is granted it. Grants for some groups allow none of listGroups, and of getGroupByName
// what is about these groups.
var groupRows = map[string]int{"listGroups": 200, "v1ListGroups": 200, "getGroupByName": 200, "v1GetGroupByName": 200}

// policyLists are the lists of a grant, in the order in which a refusal names them.
var policyLists = []struct {
	key          string
	entry, other string // what the request has, with BUCKET as above, and what it does not have
	where        string // how a refusal words it, with PLACE for group and cluster
	operation    string // an operation that the list restricts
}{
	{"groups", group, "64f0c1a2b3d4e5f607182931", " in group " + group, ""},
	{"clusters", "orders", "events", " on cluster orders of group " + group, "listBackupExports"},
	{"export_buckets", "BUCKET", jobID, "PLACE with export bucket BUCKET", "getExportBucket"},
	{"cloud_providers", "AWS", "GCP", "PLACE with cloud provider AWS", "createExportBucket"},
	{"bucket_names", "acme-*", "other-*", "PLACE with bucket name acme-exports", "createExportBucket"},
}

// Each operation of the contract is tried by callers who are granted it, who are not, and who are
// granted it for something else. A refusal says which grant is missing, and Atlas hears nothing
// of it. A list restricts the operations that have what it lists, and no others.
func TestPolicyOfEveryOperation(t *testing.T) {
	p := newPolicyTest(t)
	for _, id := range slices.Sorted(maps.Keys(p.paths)) {
		if groupRows[id] != 0 {
			p.addGroups(id)
		} else {
			p.addOperation(id)
		}
	}
	p.addContainers()
	atlas := sim.Start(t, sim.Config{Seed: p.seed})
	admin := gatewaytest.Issue(t, "admin", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), eachSent, admin, &gatewaytest.Caller{YAML: p.list})
	var job struct{ ID string }
	created := g.Send(t, "POST", v2Exports, as(admin.Bearer()), strings.Replace(policyRows["createBackupExport"].content, "BUCKET", p.attempts[0].bucket, 1))
	if err := json.Unmarshal([]byte(created.Body), &job); err != nil || created.Status != 200 {
		t.Fatal(created, err)
	}
	for _, a := range p.attempts {
		atlas.Advance(time.Hour) // by which every export has ended
		target := strings.NewReplacer("{groupId}", group, "{clusterName}", clusterOf(a.operation), "{exportBucketId}", a.bucket, "{exportId}", job.ID, "{groupName}", "production",
			"{snapshotId}", map[string]string{"orders": snapshot, "events": sim.EventsSnapshot}[clusterOf(a.operation)], "{roleId}", role).Replace(p.paths[a.operation])
		header := as("Bearer " + a.token)
		if strings.HasPrefix(target, "/api/atlas/v1.0/") {
			header["Accept"] = plain
		}
		got := try(t, g, atlas, func() gatewaytest.Response {
			return g.Send(t, p.methods[a.operation], target, header, a.content)
		})
		if diff := cmp.Diff(a.want, got); diff != "" {
			t.Errorf("%s:\n%s", a.name, diff)
		}
	}
}

// A policyTest collects attempts, and what the gateway and Atlas must hold for them.
type policyTest struct {
	*testing.T
	paths, methods map[string]string // of the contract, by operationId
	attempts       []attempt
	list           string // callers.list, in YAML
	seed           *sim.Seed
}

// An attempt is a request of a caller who sends no other.
type attempt struct {
	name, operation, content, bucket, token string
	want                                    outcome
}

func newPolicyTest(t *testing.T) *policyTest {
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	p := &policyTest{T: t, paths: map[string]string{}, methods: map[string]string{}, seed: sim.DefaultSeed()}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			p.paths[operation.OperationID], p.methods[operation.OperationID] = path, method
		}
	}
	return p
}

// add adds a caller, who has grants and an export bucket of its own and tries the operation.
// missing is the part of the grants that is missing, and detail how the refusal ends.
func (p *policyTest) add(operation, does, content, grants, missing, detail string) {
	a := attempt{name: operation + "." + does, operation: operation, bucket: fmt.Sprintf("65a9d3e1f20b4c77%08x", len(p.attempts))}
	a.content = strings.ReplaceAll(content, "BUCKET", a.bucket)
	token := callers.NewToken(a.name)
	a.token = token.Secret.Reveal()
	gatewaytest.KeepSecret(p, "the token of "+a.name, a.token)
	grants = strings.ReplaceAll(grants, "BUCKET", a.bucket)
	p.list += fmt.Sprintf("  - {name: %s, tokens: [{sha256: %s}], grants: %s}\n", a.name, token.Entry.Tokens[0].SHA256, grants)
	p.seed.Groups[0].Buckets = append(p.seed.Groups[0].Buckets, sim.Bucket{ID: a.bucket, CloudProvider: "AWS", BucketName: "acme-exports", IamRoleID: role})
	key := token.Entry.Tokens[0].SHA256[:8]
	if missing == "" {
		status := policyRows[operation].status + groupRows[operation]
		a.want = outcome{Status: status, Record: record{Status: status, Caller: a.name, Key: key, Form: "static_token"}, Atlas: 1}
	} else {
		detail = strings.ReplaceAll("The caller may not do this: no grant of caller "+a.name+" allows "+operation+detail, "BUCKET", a.bucket)
		a.want = outcome{
			Status: 403, GatewayError: "forbidden",
			Refusal: `{"error":403,"errorCode":"USER_UNAUTHORIZED","reason":"Forbidden","detail":"` + detail + `."}`,
			Record:  record{Status: 403, Caller: a.name, Key: key, Form: "static_token", Error: "forbidden", Missing: missing},
		}
	}
	p.attempts = append(p.attempts, a)
}

// addOperation adds the attempts at an operation.
func (p *policyTest) addOperation(id string) {
	row, ok := policyRows[id]
	if !ok {
		p.Errorf("%s is not in the table", id)
		return
	}
	another := "v1" + strings.ToUpper(id[:1]) + id[1:] // v1.0's, which is another operation
	if p.paths[another] == "" {
		another = "listExportBuckets"
	}
	if id == "v1ListExportBuckets" {
		another = "getExportBucket"
	}
	place := " in group " + group
	if strings.Contains(p.paths[id], "{clusterName}") {
		place = " on cluster " + clusterOf(id) + " of group " + group
	}
	// here exchanges the two clusters in what policyLists says, where the request is for the
	// other.
	here := strings.NewReplacer("orders", clusterOf(id), "events", map[string]string{"orders": "events", "events": "orders"}[clusterOf(id)])
	// grant writes a grant of everything that the request needs, except for one list.
	grant := func(except, with string) string {
		text := "[{operations: [" + id + "]"
		for _, list := range policyLists {
			switch {
			case list.key == except:
				text += ", " + list.key + ": ['" + here.Replace(with) + "']"
			case list.key == "groups" || slices.Contains(row.restricted, list.key):
				text += ", " + list.key + ": ['" + here.Replace(list.entry) + "']"
			}
		}
		return text + "}]"
	}
	p.add(id, "granted", row.content, grant("", ""), "", "")
	p.add(id, "without-grants", row.content, "[]", "operations", "; it has no grants")
	p.add(id, "another-operation", row.content, "[{operations: ["+another+"], groups: ['*']}]", "operations", "; its grants allow operations "+another)
	for _, list := range policyLists {
		if list.key == "groups" || slices.Contains(row.restricted, list.key) {
			where := strings.Replace(here.Replace(list.where), "PLACE", place, 1)
			p.add(id, "other-"+list.key, row.content, grant(list.key, list.other), list.key, where+"; its grants allow "+strings.ReplaceAll(list.key, "_", " ")+" "+here.Replace(list.other))
		} else {
			p.add(id, "any-"+list.key, row.content, "[{operations: ["+id+", "+list.operation+"], groups: ["+group+"], "+list.key+": ['"+list.other+"']}]", "", "")
		}
	}
}

// clusterOf returns the cluster that an operation is tried with: a sharded one for what only such
// clusters have.
func clusterOf(operation string) string {
	if strings.Contains(operation, "Sharded") {
		return "events"
	}
	return "orders"
}

// addGroups adds the attempts at an operation whose group is not in the path.
func (p *policyTest) addGroups(id string) {
	grant := func(operations, groups string) string {
		return "[{operations: [" + operations + "], groups: [" + groups + "], clusters: [orders]}]"
	}
	p.add(id, "every-group", "", "[{operations: ["+id+"], groups: ['*']}]", "", "")
	p.add(id, "every-group-in-a-set", "", grant("read", "'*'"), "", "")
	p.add(id, "without-grants", "", "[]", "operations", "; it has no grants")
	p.add(id, "another-operation", "", "[{operations: [getGroup], groups: ['*']}]", "operations", "; its grants allow operations getGroup")
	if strings.HasSuffix(id, "ListGroups") || id == "listGroups" {
		for does, groups := range map[string]string{"its-group": group, "a-pattern": "6*"} {
			p.add(id, does, "", grant("read", "'"+groups+"'"), "groups", ", which shows every group; its grants allow groups "+groups+"; ask for one of them with getGroup or getGroupByName")
		}
		return
	}
	p.add(id, "its-group", "", grant("read", group), "", "")
	p.add(id, "other-group", "", grant("read", sim.EmptyGroupID), "groups", " for the group of this name, or there is none; its grants allow groups "+sim.EmptyGroupID)
	p.attempts[len(p.attempts)-1].want.Atlas = 1 // only Atlas knows whose name it is
}

// addContainers adds attempts at a bucket of Azure's, a container. Grants name it by its URL, and
// bucket_names does not mean it.
func (p *policyTest) addContainers() {
	const (
		operation = "createExportBucket"
		container = "https://acmestore.blob.core.windows.net/snapshots"
		content   = `{"cloudProvider":"AZURE","roleId":"` + role + `","serviceUrl":"` + container + `"}`
	)
	grant := func(list string) string {
		return "[{operations: [" + operation + "], groups: ['*'], " + list + "}]"
	}
	p.add(operation, "azure", content, grant("cloud_providers: [AZURE]"), "", "")
	p.add(operation, "azure-by-name", content, grant("bucket_names: ['*']"), "service_urls",
		" in group "+group+" with service url "+container+"; its grants allow no service urls")
	p.add(operation, "azure-by-url", content, grant("service_urls: ['https://acmestore.blob.core.windows.net/*']"), "", "")
	p.add(operation, "azure-by-another-url", content, grant("service_urls: ['https://acme.blob.core.windows.net/*']"), "service_urls",
		" in group "+group+" with service url "+container+"; its grants allow service urls https://acme.blob.core.windows.net/*")
}

// A caller may do what a grant allows. A refusal says which part of the grants is missing,
// whether or not what the request names exists.
func TestPolicy(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	exporter := gatewaytest.Issue(t, "exporter", `[{operations: [export], groups: [`+group+`], clusters: [orders], export_buckets: [`+bucketID+`]}]`)
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["64*"]}]`)
	builder := gatewaytest.Issue(t, "builder", `[{operations: [createExportBucket], groups: ["*"], cloud_providers: [AWS], bucket_names: ["acme-*"]}]`)
	azure := gatewaytest.Issue(t, "azure", `[{operations: [createExportBucket], groups: ["*"], service_urls: ["https://acmestore.blob.core.windows.net/snap*"]}]`)
	nobody := gatewaytest.Issue(t, "nobody", `[]`)
	g := gatewaytest.StartFor(t, atlas.URL(), "", exporter, reader, builder, azure, nobody)
	other := strings.Replace(v2Exports, "orders", "events", 1)
	bucket := func(name string) string {
		return `{"cloudProvider":"AWS","bucketName":"` + name + `","iamRoleId":"` + role + `"}`
	}
	container := func(url, more string) string {
		return `{"cloudProvider":"AZURE","roleId":"` + role + `","serviceUrl":"https://` + url + `"` + more + `}`
	}
	tryGrants(t, g, atlas, []granted{
		{exporter, "POST", v2Exports, export, 404}, // by Atlas: there is no such bucket
		{exporter, "POST", v1Exports, export, 404},
		{exporter, "POST", v2Exports, strings.Replace(export, bucketID, jobID, 1), denied},
		{exporter, "POST", other, export, denied},
		{exporter, "GET", v2Exports, "", 200},
		{exporter, "HEAD", v2Exports, "", 200},
		{exporter, "GET", strings.Replace(v2Exports, group, jobID, 1), "", denied},
		{exporter, "DELETE", v2Buckets + "/" + bucketID, "", denied},
		{exporter, "POST", v2Buckets, bucket("acme-1"), denied},
		{reader, "GET", v2Exports, "", 200},
		{reader, "GET", v1Buckets, "", 200},
		{reader, "POST", v2Exports, export, denied},
		{reader, "DELETE", v2Buckets + "/" + bucketID, "", denied},
		{reader, "PATCH", v2Buckets + "/" + bucketID, `{"requirePrivateNetworking":true}`, denied},
		{builder, "POST", v2Buckets, bucket("acme-1"), 200},
		{builder, "POST", v1Buckets, bucket("acme-2"), 200},
		{builder, "POST", v2Buckets, bucket("other-1"), denied},
		{builder, "POST", v2Buckets, `{"cloudProvider":"GCP","bucketName":"acme-1","roleId":"` + role + `"}`, denied},
		{builder, "POST", v2Buckets, container("acmestore.blob.core.windows.net/acme-1", ""), denied},
		{builder, "GET", v2Buckets, "", denied},
		{azure, "POST", v2Buckets, container("acmestore.blob.core.windows.net/snapshots", ""), 200},
		{azure, "POST", v2Buckets, container("AcmeStore.blob.core.windows.net/snap-2", `,"bucketName":"snap-2"`), 200},
		{azure, "POST", v2Buckets, container("acmestore.blob.core.windows.net/snap-2", `,"bucketName":"other"`), denied},
		{azure, "POST", v2Buckets, container("acmestore.blob.core.windows.net/other", ""), denied},
		{azure, "POST", v2Buckets, container("otherstore.blob.core.windows.net/snapshots", ""), denied},
		{azure, "POST", v2Buckets, bucket("snapshots"), denied},
		{nobody, "GET", v2Buckets, "", denied},
	})
}

// A caller with the grants of a pipeline, for one cluster and one bucket, may do what an export
// takes: find or take a snapshot, export it, and wait. It may not do so with another cluster.
func TestPolicyOfAPipeline(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	exporter := gatewaytest.Issue(t, "exporter", `[{operations: [export], groups: [`+group+`], clusters: [orders], export_buckets: [`+bucketID+`]}]`)
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["64*"]}]`)
	g := gatewaytest.StartFor(t, atlas.URL(), "", exporter, reader)
	events := strings.Replace(v2Snapshots, "orders", "events", 1)
	tryGrants(t, g, atlas, []granted{
		{exporter, "GET", v2Snapshots, "", 200},
		{exporter, "GET", v2Snapshots + "/" + snapshot, "", 200},
		{exporter, "POST", v2Snapshots, `{"retentionInDays":1}`, 200},
		{exporter, "GET", strings.Replace(v2Snapshots, "v2", "v1.0", 1) + "/shardedClusters", "", 200},
		{exporter, "GET", events, "", denied},
		{exporter, "POST", events, `{"retentionInDays":1}`, denied},
		{exporter, "GET", events + "/shardedClusters", "", denied},
		{exporter, "GET", events + "/shardedCluster/" + sim.EventsSnapshot, "", denied},
		{exporter, "GET", v2Clusters + "/orders", "", 200},
		{exporter, "GET", v2Clusters + "/orders/status", "", 200},
		{exporter, "GET", v2Clusters + "/events", "", denied},
		{exporter, "GET", v2Clusters + "/events/status", "", denied},
		{exporter, "GET", v2Clusters, "", denied},
		{exporter, "GET", v2Schedule, "", denied},
		{exporter, "PATCH", v2Schedule, `{"autoExportEnabled":false}`, denied},
		{exporter, "GET", "/api/atlas/v2/groups/" + group, "", 200},
		{exporter, "GET", "/api/atlas/v2/groups/" + group + "/cloudProviderAccess", "", 200},
		{exporter, "GET", "/api/atlas/v2/groups/" + sim.EmptyGroupID + "/cloudProviderAccess", "", denied},
		{exporter, "GET", "/api/atlas/v2/groups", "", denied},
		{reader, "GET", v2Snapshots, "", 200},
		{reader, "GET", events + "/shardedClusters", "", 200},
		{reader, "POST", v2Snapshots, `{}`, denied},
		{reader, "PATCH", v2Schedule, `{"autoExportEnabled":false}`, denied},
	})
}

// denied is the status of a request that the gateway refuses, and that Atlas hears nothing of.
const denied = -403

// granted is a request of a caller with grants, and the status of the answer.
type granted struct {
	who                  *gatewaytest.Caller
	method, target, body string
	status               int
}

func tryGrants(t *testing.T, g *gatewaytest.Gateway, atlas *sim.Server, tests []granted) {
	t.Helper()
	for _, test := range tests {
		before := atlas.Counts().Requests
		header := as(test.who.Bearer())
		if strings.Contains(test.target, "v1.0") {
			header["Accept"] = plain
		}
		got := g.Send(t, test.method, test.target, header, test.body)
		if test.status == denied {
			if got.Status != 403 || got.Header.Get("Gateway-Error") != "forbidden" || !strings.Contains(got.Body, "no grant of caller "+test.who.Name) || atlas.Counts().Requests != before {
				t.Errorf("%s %s %s: %d %s", test.who.Name, test.method, test.target, got.Status, got.Body)
			}
		} else if got.Status != test.status || atlas.Counts().Requests == before {
			t.Errorf("%s %s %s: %d %s, want %d", test.who.Name, test.method, test.target, got.Status, got.Body, test.status)
		}
	}
}

// A refusal does not repeat the ids of grants that hold the digits 404, which Terraform's provider
// would take for the news that the thing was deleted.
func TestRefusalHoldsNo404(t *testing.T) {
	const named = "65a9d3e1f20b4c7740400011"
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: [`+group+`], export_buckets: [`+named+`]}]`)
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "", reader)
	got := g.Send(t, "GET", v2Buckets+"/"+bucketID, as(reader.Bearer()), "")
	if got.Status != 403 || strings.Contains(got.Body, "404") || !strings.Contains(got.Body, "no grant of caller reader allows getExportBucket in group "+group+" with export bucket "+bucketID+".") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}
