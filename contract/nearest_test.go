package contract_test

import (
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/contract"
)

// A misspelt word of a path leads to the documented path, and other paths lead nowhere.
func TestNearest(t *testing.T) {
	c := compiled(t)
	const (
		documented = "/api/atlas/v2/groups/{groupId}"
		list       = documented + "/clusters/{clusterName}/backup/exports"
	)
	v1 := strings.NewReplacer("/v2/", "/v1.0/")
	for target, want := range map[string]string{
		strings.ToLower(buckets):                            documented + "/backup/exportBuckets",
		strings.ToLower(buckets) + "/?pretty=true":          documented + "/backup/exportBuckets",
		strings.Replace(buckets, "exportB", "export-b", 1):  documented + "/backup/exportBuckets",
		strings.ToUpper(exports):                            list,
		strings.TrimSuffix(exports, "s"):                    list,
		strings.Replace(exports, "backup", "backups", 1):    list,
		strings.Replace(exports, "clusters", "cluster", 1):  list,
		v1.Replace(strings.TrimSuffix(exports, "s")):        v1.Replace(list),
		strings.TrimSuffix(exports, "s") + "/" + job:        list + "/{exportId}",
		strings.Replace(exports, "exports", "restores", 1):  "",
		strings.Replace(exports, "/backup", "", 1):          "",
		strings.Replace(exports, "v2", "v3", 1):             "",
		strings.Replace(exports, "exports", "checkpnts", 1): "",
		exports + "/" + job + "/x":                          "",
		"/":                                                 "",
		"":                                                  "",
	} {
		if got := c.Nearest(target); got != want {
			t.Errorf("%q: %q, want %q", target, got, want)
		}
	}
}

// A target whose form is wrong is refused with the cause: two slashes at the start come from a
// base URL that ends in one, and ids are in lower case.
func TestCauses(t *testing.T) {
	c := compiled(t)
	for target, want := range map[string]string{
		"/" + exports:       "begins with an empty segment (//): a base URL must not end in a slash",
		"//evil.example":    "begins with an empty segment",
		exports + "//":      "an empty segment (//)",
		"/api//atlas":       "an empty segment (//)",
		exports + "%2fx":    "a percent escape; no path that is served here",
		exports + "/a:x":    "the character ':'; the paths that are served here have only letters",
		exports + "/$other": "the character '$'; the paths that are served here have only letters",
	} {
		if _, err := c.Match("GET", target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", target, err, want)
		}
	}
	upper := strings.Replace(exports, group, strings.ToUpper(group), 1)
	want := contract.Violation{Field: "groupId", Description: `is "` + strings.ToUpper(group) + `"; write it in lower case: expected 24 hexadecimal digits in lower case`, Code: "INVALID_PATH_PARAMETER"}
	if got := check(t, c, "GET", upper, "application/vnd.atlas.2023-01-01+json", ""); len(got) != 1 || got[0] != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// Places are words of the contract, whatever the request holds.
func TestPlaces(t *testing.T) {
	c := compiled(t)
	for _, test := range []struct{ query, body, want string }{
		{"", `{"snapshotID":1,"c4na7y":{"c4na7y":1},"exportBucketId":"latest","customData":[{"key":7},{"key":8},{"c4na7y":1},3]}`, "/* /customData/*/key /customData/*/* /customData/* /exportBucketId /snapshotId"},
		{"", `[]`, "body"},
		{"", `{"c4na7y":1,"c4na7y":2}`, "/*"},
		{"", `{"customData/key":1,"a~1b":1,"snapshotId":"` + job + `","exportBucketId":"` + job + `"}`, "/*"},
		{"?c4na7y=1&pretty=1&&pretty=2", validExport, "* pretty query"},
		{"?c4na7y/pretty=1", validExport, "*/pretty"},
	} {
		m, err := c.Match("POST", exports+test.query)
		if err != nil {
			t.Fatal(err)
		}
		v, err := m.Operation.Resolve([]string{"application/vnd.atlas.2023-01-01+json"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Check(v, nil, []byte(test.body), 1000)
		invalid, ok := err.(*contract.ValidationError)
		if !ok {
			t.Fatalf("%s %s: %v", test.query, test.body, err)
		}
		if got := strings.Join(c.Places(invalid), " "); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.query, test.body, got, test.want)
		}
	}
	m, err := c.Match("GET", cluster)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Check(m.Operation.Versions[0], http.Header{"Use-Effective-Instance-Fields": {"c4na7y"}}, nil, 1)
	if invalid, ok := err.(*contract.ValidationError); !ok || strings.Join(c.Places(invalid), " ") != "Use-Effective-Instance-Fields" {
		t.Errorf("a field: %v", err)
	}
}
