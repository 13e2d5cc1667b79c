package contract_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/contract"

	"github.com/google/go-cmp/cmp"
)

const (
	group   = "64f0c1a2b3d4e5f607182930"
	bucket  = "65a9d3e1f20b4c7788990011"
	job     = "6a01f3c95be2d84417c0aa01"
	exports = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports"
	buckets = "/api/atlas/v2/groups/" + group + "/backup/exportBuckets"
	latest  = "application/vnd.atlas.2025-03-12+json"
)

func compiled(t testing.TB) *contract.Contract {
	t.Helper()
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	c, err := contract.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

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
	for _, path := range []string{"/", "/api", "/api/atlas/v2/groups/" + group, strings.ToUpper(exports), exports + "/" + job + "/x", "/api/atlas/v3/groups"} {
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

// The versions that Atlas has announced to remove, and when.
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
		"createExportBucket 2023-01-01": announced,
		"getBackupSchedule 2023-01-01":  announced,
		"getExportBucket 2023-01-01":    announced,
		"listClusters 2023-01-01":       announced,
		"listClusters 2023-02-01":       announced,
		"listExportBuckets 2023-01-01":  announced,
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

// check runs a request through the contract and returns its violations.
func check(t testing.TB, c *contract.Contract, method, target, accept, body string) []contract.Violation {
	t.Helper()
	m, err := c.Match(method, target)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Operation.Resolve([]string{accept})
	if err != nil {
		t.Fatal(err)
	}
	value, err := m.Check(v, []byte(body), 1000)
	if err == nil {
		checkValue(t, body, value)
		return nil
	}
	var invalid *contract.ValidationError
	if !errors.As(err, &invalid) {
		t.Fatalf("%T: %v", err, err)
	}
	return invalid.Violations
}

// checkValue compares the value that Check returns for a body with encoding/json's.
func checkValue(t testing.TB, body string, got any) {
	t.Helper()
	var want any
	if body != "" {
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the value of %s (-want +got):\n%s", body, diff)
	}
}

func TestCheckParameters(t *testing.T) {
	c := compiled(t)
	tests := []struct {
		target string
		want   []contract.Violation
	}{
		{exports + "?pageNum=1&itemsPerPage=500&includeCount=false&envelope=true&pretty=true", nil},
		{exports + "?", nil},
		{exports + "?pageNum=0", []contract.Violation{{"pageNum", `is "0"; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pageNum=010", []contract.Violation{{"pageNum", `is "010"; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pageNum=%2B1", []contract.Violation{{"pageNum", `is "%2B1"; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pageNum=", []contract.Violation{{"pageNum", `is ""; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pageNum", []contract.Violation{{"pageNum", `is ""; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pageNum=3;x", []contract.Violation{{"pageNum", `is "3;x"; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?itemsPerPage=501", []contract.Violation{{"itemsPerPage", `is "501"; expected a whole number from 1 to 500`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?itemsPerPage=99999999999999999999", []contract.Violation{{"itemsPerPage", `is "99999999999999999999"; expected a whole number from 1 to 500`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pretty=True", []contract.Violation{{"pretty", `is "True"; expected true or false`, "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pageNum=1&pageNum=1", []contract.Violation{{"pageNum", "is given more than once", "INVALID_QUERY_PARAMETER"}}},
		{exports + "?PAGENUM=1", []contract.Violation{{"PAGENUM", "is not a parameter of listBackupExports; did you mean pageNum?", "INVALID_QUERY_PARAMETER"}}},
		{exports + "?page%4eum=1", []contract.Violation{{"page%4eum", "is not a parameter of listBackupExports; write pageNum without escapes", "INVALID_QUERY_PARAMETER"}}},
		{exports + "?%zz=1", []contract.Violation{{"%zz", "is not a parameter of listBackupExports; it takes envelope, includeCount, itemsPerPage, pageNum, pretty", "INVALID_QUERY_PARAMETER"}}},
		{exports + "?=1", []contract.Violation{{"query", "holds a pair without a name", "INVALID_QUERY_PARAMETER"}}},
		{exports + "?pretty=true&pretty=true&pretty=true&pretty=true&pretty=true&pretty=true&pretty=true&pretty=true&pretty=true&envelope=true&envelope=true", slices.Concat(
			slices.Repeat([]contract.Violation{{"pretty", "is given more than once", "INVALID_QUERY_PARAMETER"}}, 8),
			[]contract.Violation{{"envelope", "is given more than once", "INVALID_QUERY_PARAMETER"}},
		)},
		{exports + "?pageNum=1&", []contract.Violation{{"query", "holds a pair without a name", "INVALID_QUERY_PARAMETER"}}},
		{exports + "?&pageNum=1", []contract.Violation{{"query", "holds a pair without a name", "INVALID_QUERY_PARAMETER"}}},
		{exports + "/" + job + "?pageNum=1", []contract.Violation{{"pageNum", "is not a parameter of getBackupExport; it takes envelope, pretty", "INVALID_QUERY_PARAMETER"}}},
		{
			"/api/atlas/v2/groups/XYZ/clusters/-orders/backup/exports?pageNum=x",
			[]contract.Violation{
				{"groupId", `is "XYZ"; expected 24 hexadecimal digits in lower case`, "INVALID_PATH_PARAMETER"},
				{"clusterName", `is "-orders"; expected a cluster name of letters, digits and hyphens that starts with a letter or digit`, "INVALID_PATH_PARAMETER"},
				{"pageNum", `is "x"; expected a whole number of at least 1`, "INVALID_QUERY_PARAMETER"},
			},
		},
		{
			strings.Replace(exports, "orders", strings.Repeat("a", 65), 1),
			[]contract.Violation{{"clusterName", `is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."; expected a cluster name of letters, digits and hyphens that starts with a letter or digit`, "INVALID_PATH_PARAMETER"}},
		},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, check(t, c, "GET", test.target, latest, "")); diff != "" {
			t.Errorf("%s:\n%s", test.target, diff)
		}
	}
}

const (
	validExport = `{"snapshotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011"}`
	aws         = `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"65a9d2f4f20b4c7788990001"}`
	azure       = `{"cloudProvider":"AZURE","roleId":"65a9d2f4f20b4c7788990002","serviceUrl":"https://acmestore.blob.core.windows.net/snapshots"}`
)

func TestCheckBody(t *testing.T) {
	c := compiled(t)
	v1 := strings.Replace(exports, "v2", "v1.0", 1)
	one := func(field, description, code string) []contract.Violation {
		return []contract.Violation{{field, description, code}}
	}
	tests := []struct {
		name, target, body string
		want               []contract.Violation
	}{
		{"minimal", exports, validExport, nil},
		{"custom data", exports, validExport[:len(validExport)-1] + `,"customData":[{"key":"a","value":"b"},{"key":"c"},{}],"links":[{"href":"h","rel":"self"}]}`, nil},
		{"an AWS bucket", buckets, aws[:len(aws)-1] + `,"requirePrivateNetworking":true,"links":[]}`, nil},
		{"an Azure bucket", buckets, azure, nil},
		{"three mistakes", exports, `{"snapshotID":"6a01e0b45be2d84417c09f10","exportBucketId":"latest","customData":[{"key":7}]}`, []contract.Violation{
			{"/customData/0/key", "is 7; expected a string", "INVALID_JSON_ATTRIBUTE"},
			{"/exportBucketId", `is "latest"; expected 24 hexadecimal digits in lower case`, "INVALID_ATTRIBUTE"},
			{"/snapshotID", "is not a known member; did you mean snapshotId?", "INVALID_ATTRIBUTE"},
			{"/snapshotId", "is required", "MISSING_ATTRIBUTE"},
		}},
		{"a folded name", exports, `{"\u017fnap\u017fhotId":"6a01e0b45be2d84417c09f10","exportBucketId":"65a9d3e1f20b4c7788990011"}`, []contract.Violation{
			{"/ſnapſhotId", "is not a known member; did you mean snapshotId?", "INVALID_ATTRIBUTE"},
			{"/snapshotId", "is required", "MISSING_ATTRIBUTE"},
		}},
		{"a null member", exports, validExport[:len(validExport)-1] + `,"customData":null}`, one("/customData", "is null; expected an array", "INVALID_JSON_ATTRIBUTE")},
		{"v1.0 needs key and value", v1, validExport[:len(validExport)-1] + `,"customData":[{"key":"a"}]}`, one("/customData/0/value", "is required", "MISSING_ATTRIBUTE")},
		{"a pointer's escapes", exports, validExport[:len(validExport)-1] + `,"a/b~c":1}`, one("/a~1b~0c", "is not a known member", "INVALID_ATTRIBUTE")},
		{"no provider", buckets, `{"bucketName":"acme-snapshots"}`, one("/cloudProvider", "is required; expected one of AWS, AZURE, GCP", "MISSING_ATTRIBUTE")},
		{"another provider", buckets, strings.Replace(aws, `"AWS"`, `"aws"`, 1), one("/cloudProvider", `is "aws"; expected one of AWS, AZURE, GCP`, "INVALID_ENUM_VALUE")},
		{"a provider that is no string", buckets, strings.Replace(aws, `"AWS"`, `7`, 1), one("/cloudProvider", `is 7; expected one of AWS, AZURE, GCP`, "INVALID_ENUM_VALUE")},
		{"an AWS bucket in part", buckets, `{"cloudProvider":"AWS","bucketName":"ab","roleId":"65a9d2f4f20b4c7788990001"}`, []contract.Violation{
			{"/bucketName", `is "ab"; expected a string of 3 to 63 characters`, "INVALID_ATTRIBUTE"},
			{"/roleId", "is not a known member", "INVALID_ATTRIBUTE"},
			{"/iamRoleId", "is required", "MISSING_ATTRIBUTE"},
		}},
		{"an Azure URL of another host", buckets, strings.Replace(azure, "windows.net", "example.net", 1), one("/serviceUrl", `is "https://acmestore.blob.core.example.net/..."; expected https://ACCOUNT.blob.core.windows.net/CONTAINER`, "INVALID_ATTRIBUTE")},
		{"not an object", exports, `[]`, one("", "is an array; expected an object", "INVALID_JSON_ATTRIBUTE")},
		{"null", exports, `null`, one("", "is null; expected an object", "INVALID_JSON_ATTRIBUTE")},
		{"null for oneOf", buckets, `null`, one("", "is null; expected an object", "INVALID_JSON_ATTRIBUTE")},
		{"a list for oneOf", buckets, `[]`, one("", "is an array; expected an object", "INVALID_JSON_ATTRIBUTE")},
		{"a text for oneOf", buckets, `"x"`, one("", `is "x"; expected an object`, "INVALID_JSON_ATTRIBUTE")},
		{"nothing", exports, ``, one("", "is empty; expected an object", "INVALID_JSON")},
		{"a missing comma", exports, "{\n  \"snapshotId\" : \"6a01e0b45be2d84417c09f10\"\n    \"exportBucketId\" : 1}", one("", "is not valid JSON at line 3, column 5: invalid character '\"' after object value (expecting ',' or '}')", "INVALID_JSON")},
		{"a repeated member", exports, `{"snapshotId":"a","snapshotId":"b"}`, one("/snapshotId", `is not valid JSON at line 1, column 19: duplicate object member name`, "INVALID_JSON")},
		{"a repeated member, escaped", exports, `{"snapshotId":"a","snapshot\u0049d":"b"}`, one("/snapshotId", `is not valid JSON at line 1, column 19: duplicate object member name`, "INVALID_JSON")},
		{"a second value", exports, validExport + validExport, one("", "is not valid JSON at line 1, column 87: something follows the JSON value", "INVALID_JSON")},
		{"trailing letters", exports, validExport + "xx", one("", "is not valid JSON at line 1, column 86: something follows the JSON value", "INVALID_JSON")},
		{"a trailing NUL", exports, validExport + "\x00", one("", "is not valid JSON at line 1, column 86: something follows the JSON value", "INVALID_JSON")},
		{"an early end", exports, `{"snapshotId":`, one("/snapshotId", "is not valid JSON at line 1, column 15: the text ends early", "INVALID_JSON")},
	}
	for _, test := range tests {
		got := check(t, c, "POST", test.target, latest, test.body)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
	}
}

// What no JSON reader should let through, as the one violation INVALID_JSON.
func TestCheckBodyRefusesWhatIsNotStrictJSON(t *testing.T) {
	c := compiled(t)
	for name, body := range map[string]string{
		"byte order mark":        "\ufeff" + validExport,
		"invalid UTF-8":          strings.Replace(validExport, "6a01", "6a\xff1", 1),
		"lone surrogate":         strings.Replace(validExport, "6a01", `\ud800`, 1),
		"UTF-16":                 "{\x00}\x00",
		"single quotes":          strings.ReplaceAll(validExport, `"`, `'`),
		"a comment":              "/* */" + validExport,
		"a trailing comma":       validExport[:len(validExport)-1] + ",}",
		"NaN":                    `{"snapshotId":NaN}`,
		"a number beyond bounds": `{"snapshotId":1e999}`,
		"nested too deep":        strings.Repeat("[", 100_000),
		"lists too deep":         strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"objects too deep":       strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
	} {
		got := check(t, c, "POST", exports, latest, body)
		if len(got) != 1 || got[0].Code != "INVALID_JSON" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// At most 20 violations are named, all are counted, and their values are shortened.
func TestViolationsAreBounded(t *testing.T) {
	c := compiled(t)
	body := validExport[:len(validExport)-1] + `,"customData":[` + strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 99) + `1]}`
	m, err := c.Match("POST", exports)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Operation.Resolve([]string{latest})
	if err != nil {
		t.Fatal(err)
	}
	var invalid *contract.ValidationError
	if _, err := m.Check(v, []byte(body), 1000); !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	if len(invalid.Violations) != contract.MaxViolations || invalid.Total != 100 {
		t.Errorf("%d violations of %d", len(invalid.Violations), invalid.Total)
	}
	if invalid.Error() != "100 violations of the contract" {
		t.Errorf("the error holds a value: %s", invalid)
	}
	for _, violation := range invalid.Violations {
		if len(violation.Description) > 200 {
			t.Errorf("a description of %d bytes", len(violation.Description))
		}
	}
}

func TestCheckResponse(t *testing.T) {
	c := compiled(t)
	m, err := c.Match("GET", exports)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Operation.Resolve([]string{latest})
	if err != nil {
		t.Fatal(err)
	}
	const one = `{"id":"6a01f3c95be2d84417c0aa01","state":"Paused","later":{"any":"thing"}}`
	tests := []struct {
		name      string
		status    int
		body      string
		enveloped bool
		valid     bool
	}{
		{"a list with an unknown state and member", 200, `{"results":[` + one + `],"links":[]}`, false, true},
		{"an enveloped list", 200, `{"results":[` + one + `],"status":200}`, true, true},
		{"an error", 404, `{"error":404,"errorCode":"GROUP_NOT_FOUND","detail":"d"}`, false, true},
		{"an undeclared error", 418, `{"error":418,"errorCode":"TEAPOT"}`, false, true},
		{"an enveloped error", 404, `{"status":404,"content":{"error":404,"errorCode":"GROUP_NOT_FOUND"}}`, true, true},
		{"a list without results", 200, `{"links":[]}`, false, false},
		{"a job without a state", 200, `{"results":[{"id":"6a01f3c95be2d84417c0aa01"}]}`, false, false},
		{"an error with a text for a number", 404, `{"error":"404","errorCode":"GROUP_NOT_FOUND"}`, false, false},
		{"an enveloped error that HTTP calls a success", 200, `{"status":404,"content":{"error":404,"errorCode":"GROUP_NOT_FOUND"}}`, true, true},
		{"an enveloped error that is none", 200, `{"status":404,"content":{"id":"6a01f3c95be2d84417c0aa01"}}`, true, false},
		{"an envelope in other words", 200, `{"status":200,"envelope":{"results":[` + one + `]}}`, true, true},
		{"an enveloped list without results", 200, `{"status":200,"content":{"links":[]}}`, true, false},
		{"an envelope nobody asked for", 404, `{"status":404,"content":{"error":404,"errorCode":"X"}}`, false, false},
		{"half an answer", 200, `{"results":[`, false, false},
		{"nothing", 200, ``, false, false},
	}
	for _, test := range tests {
		if err := v.CheckResponse(test.status, []byte(test.body), test.enveloped); (err == nil) != test.valid {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	m, err = c.Match(http.MethodDelete, buckets+"/"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Operation.Versions[0].CheckResponse(204, nil, false); err != nil {
		t.Errorf("204 without content: %v", err)
	}
	if err := m.Operation.Versions[0].CheckResponse(200, []byte(`{"status":204}`), true); err != nil {
		t.Errorf("an enveloped 204: %v", err)
	}
	if err := m.Operation.Versions[0].CheckResponse(204, []byte("{}"), false); err == nil {
		t.Error("204 with content was accepted")
	}
}

func BenchmarkCheck(b *testing.B) {
	c := compiled(b)
	pairs := strings.Repeat(`{"key":"exported by","value":"somebody"},`, 50)
	for _, bench := range []struct{ name, method, target, body string }{
		{"GET with query", "GET", exports + "?includeCount=true&itemsPerPage=100&pageNum=1", ""},
		{"POST of 200 bytes", "POST", exports, validExport[:len(validExport)-1] + `,"customData":[{"key":"exported by","value":"somebody"},{"key":"ticket","value":"OPS-1024 quarterly archive"}]}`},
		{"POST with 50 pairs", "POST", exports, validExport[:len(validExport)-1] + `,"customData":[` + pairs[:len(pairs)-1] + `]}`},
		{"POST of a bucket", "POST", buckets, aws},
	} {
		body := []byte(bench.body)
		accept := []string{latest}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := c.Match(bench.method, bench.target)
				if err != nil {
					b.Fatal(err)
				}
				v, err := m.Operation.Resolve(accept)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Check(v, body, 1000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Whatever a body of 256 KiB holds, checking it allocates a small multiple of its size,
// and what is said about it is short.
func TestCheckIsBounded(t *testing.T) {
	c := compiled(t)
	const size = 256 << 10
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (size-len(head)-len(tail))/len(unit)) + tail
	}
	unknown := func() string {
		var b strings.Builder
		for i := 0; b.Len() < size-20; i++ {
			fmt.Fprintf(&b, `,"m%d":1`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	open := validExport[:len(validExport)-1]
	for name, request := range map[string]struct{ target, body string }{
		"numbers in custom data": {exports, fill(open+`,"customData":[1`, ",1", "]}")},
		"objects in custom data": {exports, fill(open+`,"customData":[{}`, ",{}", "]}")},
		"v1.0 custom data":       {strings.Replace(exports, "v2", "v1.0", 1), fill(open+`,"customData":[{}`, ",{}", "]}")},
		"numbers in links":       {buckets, fill(aws[:len(aws)-1]+`,"links":[1`, ",1", "]}")},
		"a list of numbers":      {exports, fill("[1", ",1", "]")},
		"unknown members":        {exports, unknown()},
		"a long name":            {exports, fill(`{"`, "\u2028", `":{`)},
		"a long number":          {exports, fill(`{"snapshotId":1`, "0", "}")},
		"a long text":            {exports, fill(`{"snapshotId":"`, "\u2028", `"}`)},
	} {
		m, err := c.Match("POST", request.target)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.Operation.Resolve([]string{latest})
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = m.Check(v, []byte(request.body), 10_000)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16*size {
			t.Errorf("%s: %d KiB allocated for %d KiB", name, allocated>>10, len(request.body)>>10)
		}
		var invalid *contract.ValidationError
		if !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said := 0
		for _, violation := range invalid.Violations {
			said += len(violation.Field) + len(violation.Description)
		}
		if said > 8<<10 {
			t.Errorf("%s: %d bytes are said about it", name, said)
		}
	}
}

// What the look at a response costs is bounded as well, and more violations than are named
// aren't looked for.
func TestCheckResponseIsBounded(t *testing.T) {
	const size = 4 << 20
	m, err := compiled(t).Match("GET", exports)
	if err != nil {
		t.Fatal(err)
	}
	v, err := m.Operation.Resolve([]string{latest})
	if err != nil {
		t.Fatal(err)
	}
	for name, element := range map[string]string{
		"many values":     `{},`,
		"many violations": `{"id":1,"pad":"` + strings.Repeat("x", 64) + `"},`,
	} {
		body := `{"results":[` + strings.Repeat(element, size/len(element)) + `{}]}`
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := v.CheckResponse(200, []byte(body), false)
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16*size {
			t.Errorf("%s: %d KiB allocated for %d KiB", name, allocated>>10, size>>10)
		}
		var invalid *contract.ValidationError
		if !errors.As(err, &invalid) || invalid.Total > contract.MaxViolations {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Ids are what their pattern says, byte by byte.
func TestIDs(t *testing.T) {
	c := compiled(t)
	pattern := regexp.MustCompile(`^[a-f0-9]{24}$`)
	const id = group
	values := []string{"", id, id[1:], id + "0", id + id}
	for b := range 256 {
		values = append(values, id[:7]+string([]byte{byte(b)})+id[8:], id[:23]+string([]byte{byte(b)}), string([]byte{byte(b)})+id[1:])
	}
	for _, value := range values {
		if err := c.CheckParameter("groupId", value); (err == nil) != pattern.MatchString(value) {
			t.Errorf("%q: %v", value, err)
		}
	}
}
