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
	for _, path := range []string{"/", "/api", "/api/atlas/v2/groups/byName", strings.ToUpper(exports), exports + "/" + job + "/x", "/api/atlas/v3/groups"} {
		if _, err := c.Match("POST", path); !errors.Is(err, contract.ErrNotFound) {
			t.Errorf("%q: %v, want ErrNotFound", path, err)
		}
	}
	var method *contract.MethodError
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
