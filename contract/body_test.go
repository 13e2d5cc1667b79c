package contract_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/contract"

	"github.com/google/go-cmp/cmp"
)

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
		{"a snapshot", snapshots, `{"description":"d","retentionInDays":1,"links":[]}`, nil},
		{"a snapshot with nothing said", snapshots, `{}`, nil},
		{"a snapshot that is not kept", snapshots, `{"retentionInDays":0,"snapshotType":"onDemand"}`, []contract.Violation{
			{"/retentionInDays", "is 0; expected an integer of at least 1", "INVALID_ATTRIBUTE"},
			{"/snapshotType", "is not a known member", "INVALID_ATTRIBUTE"},
		}},
		{"half a day", snapshots, `{"retentionInDays":1.5}`, one("/retentionInDays", "is 1.5; expected an integer of at least 1", "INVALID_JSON_ATTRIBUTE")},
		{"an early end", exports, `{"snapshotId":`, one("/snapshotId", "is not valid JSON at line 1, column 15: the text ends early", "INVALID_JSON")},
	}
	for _, test := range tests {
		got := check(t, c, "POST", test.target, latest, test.body)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
	}
}

// Of a backup schedule only the export policy can be changed, in both generations and all
// versions.
func TestCheckSchedule(t *testing.T) {
	c := compiled(t)
	const (
		outside = "is outside the export policy, the only part of a schedule that can be changed here"
		all     = "an object with at least one of autoExportEnabled, export and useOrgAndGroupNamesInExportPrefix"
	)
	one := func(field, description, code string) []contract.Violation {
		return []contract.Violation{{field, description, code}}
	}
	for body, want := range map[string][]contract.Violation{
		`{"autoExportEnabled":false}`:                nil,
		`{"useOrgAndGroupNamesInExportPrefix":true}`: nil,
		`{"autoExportEnabled":true,"export":{"exportBucketId":"` + bucket + `","frequencyType":"yearly"}}`: nil,
		`{"export":{"frequencyType":"daily"}}`: nil,
		`{}`:                                   one("", "is empty; expected "+all, "MISSING_ATTRIBUTE"),
		`[]`:                                   one("", "is an array; expected "+all, "INVALID_JSON_ATTRIBUTE"),
		`null`:                                 one("", "is null; expected "+all, "INVALID_JSON_ATTRIBUTE"),
		``:                                     one("", "is empty; expected "+all, "INVALID_JSON"),
		`{"policies":[]}`:                      one("/policies", outside, "VALIDATION_ERROR"),
		`{"autoExportEnabled":true,"policies":null}`:        one("/policies", outside, "VALIDATION_ERROR"),
		`{"autoExportEnabled":true,"restoreWindowDays":7}`:  one("/restoreWindowDays", outside, "VALIDATION_ERROR"),
		`{"autoExportEnabled":true,"updateSnapshots":true}`: one("/updateSnapshots", outside, "VALIDATION_ERROR"),
		`{"autoExportEnabled":true,"links":[]}`:             one("/links", outside, "VALIDATION_ERROR"),
		`{"autoExportEnable":true}`:                         one("/autoExportEnable", "is not a known member; did you mean autoExportEnabled?", "INVALID_ATTRIBUTE"),
		`{"AutoExportEnabled":true}`:                        one("/AutoExportEnabled", "is not a known member; did you mean autoExportEnabled?", "INVALID_ATTRIBUTE"),
		`{"autoExportEnabled":"true"}`:                      one("/autoExportEnabled", `is "true"; expected a boolean`, "INVALID_JSON_ATTRIBUTE"),
		`{"export":null}`:                                   one("/export", "is null; expected an object with exportBucketId, frequencyType or both", "INVALID_JSON_ATTRIBUTE"),
		`{"export":{}}`:                                     one("/export", "is empty; expected an object with exportBucketId, frequencyType or both", "MISSING_ATTRIBUTE"),
		`{"export":{"frequencyType":"hourly"}}`:             one("/export/frequencyType", `is "hourly"; expected daily, weekly, monthly, yearly`, "INVALID_ENUM_VALUE"),
		`{"export":{"exportBucketId":"latest"}}`:            one("/export/exportBucketId", `is "latest"; expected 24 hexadecimal digits in lower case`, "INVALID_ATTRIBUTE"),
		`{"export":{"policies":[]}}`:                        one("/export/policies", "is not a known member", "INVALID_ATTRIBUTE"),
		`{"copySettings":[],"deleteCopiedBackups":[]}`: {
			{"/copySettings", outside, "VALIDATION_ERROR"},
			{"/deleteCopiedBackups", outside, "VALIDATION_ERROR"},
		},
	} {
		for _, target := range []string{cluster, strings.Replace(cluster, "v2", "v1.0", 1)} {
			for _, accept := range []string{latest, "application/vnd.atlas.2023-01-01+json"} {
				if diff := cmp.Diff(want, check(t, c, "PATCH", target+"/backup/schedule", accept, body)); diff != "" {
					t.Errorf("%s %s:\n%s", target, body, diff)
				}
			}
		}
	}
}

// A body that is not strict JSON has one violation, INVALID_JSON.
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
