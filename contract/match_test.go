package contract_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/contract"

	"github.com/google/go-cmp/cmp"
)

func TestMatch(t *testing.T) {
	c := compiled(t)
	v1 := strings.NewReplacer("/v2/", "/v1.0/")
	tests := []struct{ method, target, operation, path string }{
		{"POST", exports, "createBackupExport", exports},
		{"POST", exports + "/", "createBackupExport", exports},
		{"GET", exports + "?pageNum=1", "listBackupExports", exports},
		{"HEAD", exports, "listBackupExports", exports},
		{"GET", exports + "/" + job, "getBackupExport", exports + "/" + job},
		{"POST", buckets, "createExportBucket", buckets},
		{"GET", buckets, "listExportBuckets", buckets},
		{"GET", buckets + "/" + bucket + "/", "getExportBucket", buckets + "/" + bucket},
		{"DELETE", buckets + "/" + bucket, "deleteExportBucket", buckets + "/" + bucket},
		{"PATCH", buckets + "/" + bucket, "updateBackupExportBucket", buckets + "/" + bucket},
		{"POST", v1.Replace(exports), "v1CreateBackupExport", v1.Replace(exports) + "/"},
		{"POST", v1.Replace(exports) + "/", "v1CreateBackupExport", v1.Replace(exports) + "/"},
		{"GET", v1.Replace(exports) + "/?pretty=true", "v1ListBackupExports", v1.Replace(exports) + "/"},
		{"GET", v1.Replace(exports) + "/" + job + "/", "v1GetBackupExport", v1.Replace(exports) + "/" + job},
		{"POST", v1.Replace(buckets) + "/", "v1CreateExportBucket", v1.Replace(buckets)},
		{"GET", v1.Replace(buckets), "v1ListExportBuckets", v1.Replace(buckets)},
		{"GET", v1.Replace(buckets) + "/" + bucket, "v1GetExportBucket", v1.Replace(buckets) + "/" + bucket},
		{"DELETE", v1.Replace(buckets) + "/" + bucket, "v1DeleteExportBucket", v1.Replace(buckets) + "/" + bucket},
		{"GET", cluster, "getCluster", cluster},
		{"GET", cluster + "/status/", "getClusterStatus", cluster + "/status"},
		{"GET", cluster + "/backup/schedule", "getBackupSchedule", cluster + "/backup/schedule"},
		{"PATCH", cluster + "/backup/schedule/", "updateBackupSchedule", cluster + "/backup/schedule"},
		{"GET", snapshots + "?oplogTs=1", "listBackupSnapshots", snapshots},
		{"POST", snapshots + "/", "takeSnapshots", snapshots},
		{"HEAD", snapshots + "/" + job, "getClusterBackupSnapshot", snapshots + "/" + job},
		{"GET", snapshots + "/shardedClusters", "listBackupShardedClusters", snapshots + "/shardedClusters"},
		{"GET", snapshots + "/shardedCluster/" + job, "getBackupShardedCluster", snapshots + "/shardedCluster/" + job},
		{"GET", project, "getGroup", project},
		{"GET", project + "/cloudProviderAccess", "listCloudProviderAccess", project + "/cloudProviderAccess"},
		{"GET", project + "/cloudProviderAccess/" + bucket, "getCloudProviderAccess", project + "/cloudProviderAccess/" + bucket},
		{"GET", v1.Replace(snapshots) + "/", "v1ListBackupSnapshots", v1.Replace(snapshots)},
		{"POST", v1.Replace(snapshots), "v1TakeSnapshots", v1.Replace(snapshots)},
		{"GET", v1.Replace(snapshots) + "/" + job, "v1GetClusterBackupSnapshot", v1.Replace(snapshots) + "/" + job},
		{"GET", v1.Replace(snapshots) + "/shardedClusters/", "v1ListBackupShardedClusters", v1.Replace(snapshots) + "/shardedClusters"},
		{"GET", v1.Replace(snapshots) + "/shardedCluster/" + job, "v1GetBackupShardedCluster", v1.Replace(snapshots) + "/shardedCluster/" + job},
		{"GET", v1.Replace(cluster) + "/backup/schedule", "v1GetBackupSchedule", v1.Replace(cluster) + "/backup/schedule"},
		{"PATCH", v1.Replace(cluster) + "/backup/schedule", "v1UpdateBackupSchedule", v1.Replace(cluster) + "/backup/schedule"},
		{"GET", v1.Replace(project) + "/", "v1GetGroup", v1.Replace(project)},
		{"GET", v1.Replace(project) + "/cloudProviderAccess", "v1ListCloudProviderAccess", v1.Replace(project) + "/cloudProviderAccess"},
		{"GET", v1.Replace(project) + "/cloudProviderAccess/" + bucket, "v1GetCloudProviderAccess", v1.Replace(project) + "/cloudProviderAccess/" + bucket},
	}
	for _, test := range tests {
		m, err := c.Match(test.method, test.target)
		if err != nil {
			t.Errorf("%s %s: %v", test.method, test.target, err)
			continue
		}
		if m.Operation.ID != test.operation || m.Path != test.path || m.Parameter("groupId") != group {
			t.Errorf("%s %s: got %s %s group %s", test.method, test.target, m.Operation.ID, m.Path, m.Parameter("groupId"))
		}
	}
}

func TestMatchRefuses(t *testing.T) {
	c := compiled(t)
	var target *contract.TargetError
	for _, path := range []string{
		"/api/atlas/v2/groups/" + group + "/clusters/C0%2f..%2fOther/backup/exports",
		"/api/atlas/v2/groups/%2e%2e/clusters/orders/backup/exports",
		"/api/atlas/v2/groups/../clusters/orders/backup/exports",
		byName + "..", byName + ".", byName + "%2e%2e", byName + "%2E", byName + "a%2", byName + "a%", byName + "a%zz", byName + "%41", byName + "%7e",
		byName + "a%20b/%20", byName[:len(byName)-1] + "%20/a", byName + "a;b", byName + "a b", byName + "a*b", byName + "a=b", byName + "é", byName + `a\b`, byName + "/a",
		"/api/atlas/v2/groups/byname/%20", project + "%20", "/api/atlas/v2/groups/%20", cluster + "%20", strings.Replace(byName, "v2", "v3", 1) + "%20",
		"/api/atlas/v2/./groups", "//api/atlas", "/api//atlas", exports + "//", "/..", "/.",
		exports + ";x", exports + `\`, exports + "%00", exports + "%0d%0a", exports + "%252f", exports + "%c0%ae",
		strings.Replace(exports, "exports", "%65xports", 1), exports + "\x00", exports + "é", exports + " ",
		"http://evil" + exports, "*", "", "evil:443", exports[1:],
	} {
		if _, err := c.Match("POST", path); !errors.As(err, &target) {
			t.Errorf("%q: %v, want a TargetError", path, err)
		}
	}
	if _, err := c.Match("GET", "/%61"); err == nil || !strings.Contains(err.Error(), "percent escape") {
		t.Errorf("a percent escape: %v", err)
	}
	if _, err := c.Match("GET", "/"+exports); err == nil || !strings.Contains(err.Error(), "a base URL must not end in a slash") {
		t.Errorf("a base URL that ends in a slash: %v", err)
	}
	for _, path := range []string{"/", "/api", "/api/atlas/v2/groups/byName", strings.ToUpper(exports), exports + "/" + job + "/x", "/api/atlas/v3/groups"} {
		if _, err := c.Match("POST", path); !errors.Is(err, contract.ErrNotFound) {
			t.Errorf("%q: %v, want ErrNotFound", path, err)
		}
	}
	var method *contract.MethodError
	if _, err := c.Match("DELETE", cluster+"/backup/schedule"); !errors.As(err, &method) || method.Allow != "GET, HEAD, PATCH" || !strings.Contains(method.Reason, "ends the backups of the cluster") {
		t.Errorf("deleting a schedule: %#v", err)
	}
	if _, err := c.Match("PUT", cluster+"/backup/schedule"); !errors.As(err, &method) || method.Reason != "" {
		t.Errorf("replacing a schedule: %#v", err)
	}
	for path, allow := range map[string]string{
		exports:                "GET, HEAD, POST",
		exports + "/" + job:    "GET, HEAD",
		buckets + "/" + bucket: "DELETE, GET, HEAD, PATCH",
	} {
		for _, m := range []string{"PUT", "TRACE", "get", "OPTIONS", ""} {
			if _, err := c.Match(m, path); !errors.As(err, &method) || method.Allow != allow {
				t.Errorf("%s %s: %v, want a MethodError that allows %s", m, path, err, allow)
			}
		}
	}
}

// The name of a group may have what a path has only as a percent escape.
func TestMatchNames(t *testing.T) {
	c := compiled(t)
	for _, version := range []string{"v2", "v1.0"} {
		prefix := strings.Replace(byName, "v2", version, 1)
		for written, name := range map[string]string{
			"production": "production", "byName": "byName", "clusters": "clusters", group: group, "...": "...", "a.b-c_d": "a.b-c_d",
			"Project%200": "Project 0", "Production%20%28EU%29": "Production (EU)", "Production%20(EU)": "Production (EU)",
			"%c3%a9t%C3%A9": "été", "%E6%97%A5%E6%9C%AC": "日本", "a&b+c:d@e,f'g": "a&b+c:d@e,f'g", "a%26b%2Bc%3ad%40e%2cf%27g": "a&b+c:d@e,f'g",
			strings.Repeat("%C3%A9", 64): strings.Repeat("é", 64),
		} {
			m, err := c.Match("GET", prefix+written+"/?pretty=true")
			if err != nil {
				t.Errorf("%s: %v", written, err)
				continue
			}
			v := m.Operation.Versions[0]
			if _, err := m.Check(v, nil, nil, 10); err != nil || m.Parameter("groupName") != name || m.Path != prefix+written || !strings.HasSuffix(m.Operation.Path, "/byName/{groupName}") {
				t.Errorf("%s: %v, %s as %q at %s", written, err, m.Operation.ID, m.Parameter("groupName"), m.Path)
			}
		}
		for _, written := range []string{
			"a%2fb", "a%2F..%2Fb", "a%252fb", "a%00", "%0d%0aX", "a%3Fb", "a%23b", "a%3Bb", "a%5cb", "a%25", "%c0%ae%c0%ae", "%ff", "a%7f", "%e2%80%ae", "%EF%BB%BFa", "e%CC%81",
			"a%22b", "a%3Cb", "a%2Ab", "%0a", "a%09", strings.Repeat("a", 65), strings.Repeat("%C3%A9", 65),
		} {
			m, err := c.Match("GET", prefix+written)
			if err != nil {
				t.Errorf("%s: %v", written, err)
				continue
			}
			var invalid *contract.ValidationError
			if _, err := m.Check(m.Operation.Versions[0], nil, nil, 10); !errors.As(err, &invalid) || invalid.Violations[0].Field != "groupName" || invalid.Violations[0].Code != "INVALID_PATH_PARAMETER" {
				t.Errorf("%s: %v, want a violation of groupName", written, err)
			}
		}
	}
}

func TestResolve(t *testing.T) {
	c := compiled(t)
	resolve := func(method, target string, accept ...string) (string, error) {
		m, err := c.Match(method, target)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.Operation.Resolve(accept)
		if err != nil {
			return "", err
		}
		return v.Date, nil
	}
	tests := []struct {
		method, target, accept, want string // "-" for a VersionError
	}{
		{"POST", buckets, "application/vnd.atlas.2023-01-01+json", "2023-01-01"},
		{"POST", buckets, "application/vnd.atlas.2024-05-29+json", "2023-01-01"},
		{"POST", buckets, "application/vnd.atlas.2024-05-30+json", "2024-05-30"},
		{"POST", buckets, latest, "2024-05-30"},
		{"POST", buckets, "Application/Vnd.Atlas.2025-03-12+JSON; charset=utf-8", "2024-05-30"},
		{"POST", buckets, "text/html, application/vnd.atlas.2023-06-01+json;q=0.5", "2023-01-01"},
		{"POST", buckets, "application/vnd.atlas.2022-12-31+json", "-"},
		{"POST", buckets, "application/vnd.atlas.2024-13-01+json", "-"},
		{"POST", buckets, "application/vnd.atlas.preview+json", "-"},
		{"POST", buckets, "application/vnd.atlas.2024-05-30.upcoming+json", "-"},
		{"POST", buckets, "application/vnd.atlas.2024-05-30+xml", "-"},
		{"POST", buckets, "application/json", "-"},
		{"POST", buckets, "*/*", "-"},
		{"DELETE", buckets + "/" + bucket, latest, "2023-01-01"},
		{"PATCH", buckets + "/" + bucket, latest, "2024-05-30"},
		{"PATCH", buckets + "/" + bucket, "application/vnd.atlas.2023-01-01+json", "-"},
		{"GET", exports, latest, "2023-01-01"},
		{"GET", cluster, "application/vnd.atlas.2024-08-04+json", "2023-02-01"},
		{"GET", cluster, latest, "2024-08-05"},
		{"PATCH", cluster + "/backup/schedule", "application/vnd.atlas.2024-05-30+json", "2023-01-01"},
		{"PATCH", cluster + "/backup/schedule", latest, "2024-08-05"},
		{"POST", snapshots, latest, "2023-01-01"},
		{"POST", snapshots, "application/json", "-"},
		{"GET", byName + "a%20b", latest, "2023-01-01"},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "application/json", ""},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "*/*", ""},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "text/html", "-"},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "application/problem+json", "-"},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "application/json;q=0", "-"},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "text/html, application/*; q=0.1", ""},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), latest, ""},
		{"GET", strings.Replace(exports, "v2", "v1.0", 1), "", ""},
		{"POST", buckets, "application/vnd.atlas.2024-05-30+json; q=0.0, application/vnd.atlas.2023-01-01+json", "2023-01-01"},
	}
	for _, test := range tests {
		got, err := resolve(test.method, test.target, test.accept)
		if err != nil {
			var version *contract.VersionError
			if !errors.As(err, &version) {
				t.Errorf("%s: %v", test.accept, err)
			}
			got = "-"
		}
		if got != test.want {
			t.Errorf("%s %s with Accept %s: got %q (%v), want %q", test.method, test.target, test.accept, got, err, test.want)
		}
	}
	if _, err := resolve("GET", exports); err == nil {
		t.Error("v2 without Accept was resolved")
	}
	if _, err := resolve("GET", strings.Replace(exports, "v2", "v1.0", 1)); err != nil {
		t.Errorf("v1.0 without Accept: %v", err)
	}
}

// A version that is not stable, and one that is misspelt, are not the same mistake.
func TestResolveSaysWhatIsWrong(t *testing.T) {
	m, err := compiled(t).Match("GET", exports)
	if err != nil {
		t.Fatal(err)
	}
	const send = " Send Accept: application/vnd.atlas.2023-01-01+json."
	for accept, want := range map[string]string{
		"application/vnd.atlas.preview+json":             "the operation has only stable versions.",
		"application/vnd.atlas.2030-01-01.upcoming+json": "the operation has only stable versions.",
		"application/vnd.atlas.2025-13-12+json":          "a version is application/vnd.atlas.YYYY-MM-DD+json.",
		"application/vnd.atlas.2025-3-12+json":           "a version is application/vnd.atlas.YYYY-MM-DD+json.",
		"application/vnd.atlas.2025-03-12":               "a version is application/vnd.atlas.YYYY-MM-DD+json.",
	} {
		_, err := m.Operation.Resolve([]string{accept})
		if err == nil || !strings.HasSuffix(err.Error(), `"; `+want+send) {
			t.Errorf("%s: got %v, want %s", accept, err, want+send)
		}
	}
}

// The versions that Atlas has announced to remove, and the days.
func TestSunsets(t *testing.T) {
	got := map[string]string{}
	for _, o := range compiled(t).Operations() {
		for _, v := range o.Versions {
			if !v.Sunset.IsZero() {
				got[o.ID+" "+v.Date] = v.Sunset.Format(time.RFC3339)
			}
		}
	}
	const announced = "2027-07-01T00:00:00Z"
	want := map[string]string{
		"createExportBucket 2023-01-01":   announced,
		"getBackupSchedule 2023-01-01":    announced,
		"getCluster 2023-01-01":           announced,
		"getCluster 2023-02-01":           announced,
		"updateBackupSchedule 2023-01-01": announced,
		"getExportBucket 2023-01-01":      announced,
		"listClusters 2023-01-01":         announced,
		"listClusters 2023-02-01":         announced,
		"listExportBuckets 2023-01-01":    announced,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, change := range map[string]struct{ old, new, want string }{
		"another form":     {"x-sunset: '2027-07-01'", "x-sunset: '1 July 2027'", "x-sunset is 1 July 2027; expected a date such as '2027-07-01'"},
		"a number":         {"x-sunset: '2027-07-01'", "x-sunset: 2027", "x-sunset is 2027; expected a date such as '2027-07-01'"},
		"two of a version": {"x-sunset: '2027-07-01'\n            schema: {$ref: '#/components/schemas/LegacyExportBucketRequest'}", "x-sunset: '2027-07-02'\n            schema: {$ref: '#/components/schemas/LegacyExportBucketRequest'}", "application/vnd.atlas.2023-01-01+json has two sunsets"},
	} {
		document := strings.Replace(string(api.YAML), change.old, change.new, 1)
		if document == string(api.YAML) {
			t.Fatalf("%s: nothing was changed", name)
		}
		doc, err := api.Parse([]byte(document))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := contract.Compile(doc); err == nil || !strings.Contains(err.Error(), change.want) {
			t.Errorf("%s: %v, want %s", name, err, change.want)
		}
	}
}

// Escapes are for a parameter that is the first of its path. Only then does what stands in front
// of it tell where an escape may be.
func TestEncodedParameters(t *testing.T) {
	document := strings.Replace(string(api.YAML), "      name: clusterName\n", "      name: clusterName\n      x-percent-encoded: true\n", 1)
	doc, err := api.Parse([]byte(document))
	if err != nil || document == string(api.YAML) {
		t.Fatal(err)
	}
	if _, err := contract.Compile(doc); err == nil || !strings.Contains(err.Error(), "clusterName: x-percent-encoded is for the first parameter") {
		t.Errorf("a second parameter: %v", err)
	}
}

func TestCheckContentType(t *testing.T) {
	for _, value := range []string{
		"application/json", "application/JSON; charset=UTF-8", `application/json;charset="utf-8"`,
		"application/vnd.atlas.2024-05-30+json", "application/vnd.atlas.2023-01-01+json; charset=utf-8",
	} {
		if err := contract.CheckContentType([]string{value}); err != nil {
			t.Errorf("%s: %v", value, err)
		}
	}
	for _, values := range [][]string{
		nil, {""}, {"text/plain"}, {"application/json; charset=utf-16"}, {"application/json;charset=utf-7"},
		{"application/xml"}, {"application/problem+json"}, {"application/json", "application/json"}, {"application/x-www-form-urlencoded"},
	} {
		var mediaType *contract.MediaTypeError
		if err := contract.CheckContentType(values); !errors.As(err, &mediaType) {
			t.Errorf("%q: %v, want a MediaTypeError", values, err)
		}
	}
}
