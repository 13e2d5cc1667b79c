package contract_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/contract"
)

// What breaks only schemas is told from what programs may read in two ways, and from what the
// contract leaves out on purpose.
func TestOnlySchemas(t *testing.T) {
	c := compiled(t)
	with := func(members string) string { return validExport[:len(validExport)-1] + "," + members + "}" }
	schedule := cluster + "/backup/schedule"
	for _, test := range []struct {
		method, target, body string
		only                 bool
	}{
		{"POST", exports, with(`"force":true`), true},
		{"POST", exports, with(`"force":{"a-b_9":[{"c":null}]}`), true},
		{"POST", exports, with(`"customData":null`), true},
		{"POST", exports, with(`"customData":[{"key":7,"x":1}]`), true},
		{"POST", exports, `{"snapshotId":"latest"}`, true},
		{"POST", exports, `[]`, true},
		{"POST", buckets, `{"cloudProvider":"aws"}`, true},
		{"POST", snapshots, `{"retentionInDays":"7"}`, true},
		{"PATCH", schedule, `{"useOrgAndGroupNamesInExportPrefix":"yes"}`, false},
		{"PATCH", schedule + "?policies=1", `{"autoExportEnabled":false}`, false},
		{"GET", exports + "?pageSize=1&sort=-created_at,id", "", true},
		{"GET", exports + "?pageNum=010&itemsPerPage=501&pretty=True&includeCount", "", true},
		{"POST", exports + "?force=true", with(`"force":true`), true},

		{"POST", exports, with(`"SnapshotId":"6a01e0b45be2d84417c09f10"`), false},
		{"POST", exports, with(`"customData":[{"Key":"a"}]`), false},
		{"POST", exports, with(`"__proto__":{}`), false},
		{"POST", exports, with(`"a b":1`), false},
		{"POST", exports, with(`"$where":1`), false},
		{"POST", exports, with(`"":1`), false},
		{"POST", exports, with(`"ä":1`), false},
		{"POST", exports, with(`"` + strings.Repeat("x", 41) + `":1`), false},
		{"POST", exports, with(`"force":{"a":[{"$where":1}]}`), false},
		{"POST", exports, with(`"customData":{"$where":1}`), false},
		{"POST", exports, with(`"force":1,"force":1`), false},
		{"POST", exports, with(`"clusterName":"other"`), false},
		{"POST", exports, validExport + validExport, false},
		{"POST", exports, "", false},
		{"GET", exports, validExport, false},
		{"PATCH", schedule, `{"policies":[]}`, false},
		{"PATCH", schedule, `{"autoExportEnable":true}`, false},
		{"GET", exports + "?PAGENUM=1", "", false},
		{"GET", exports + "?pageNum=1&pageNum=2", "", false},
		{"GET", exports + "?page=1&page=2", "", false},
		{"GET", exports + "?page%4eum=1", "", false},
		{"GET", exports + "?pageNum=%31", "", false},
		{"GET", exports + "?page=%31", "", false},
		{"GET", exports + "?page[]=1", "", false},
		{"GET", exports + "?page=a;b", "", false},
		{"GET", exports + "?page=" + strings.Repeat("1", 257), "", false},
		{"GET", exports + "?=1", "", false},
		{"GET", exports + "?page=1&&pretty=true", "", false},
		{"GET", exports + "?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1&l=1&m=1&n=1&o=1&p=1&q=1&r=1&s=1&t=1&u=1", "", false},
		{"GET", exports + "?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1&l=1&m=1&n=1&o=1&p=1&q=1&r=1&s=1&t=1&pageNum=0", "", false},
		{"GET", strings.Replace(exports, group, strings.ToUpper(group), 1), "", false},
	} {
		if only := onlySchemas(t, c, test.method, test.target, test.body); only != test.only {
			t.Errorf("%s %s %s: %t", test.method, test.target, test.body, only)
		}
	}
}

// onlySchemas returns what Check says of a request that breaks the contract.
func onlySchemas(t *testing.T, c *contract.Contract, method, target, body string) bool {
	t.Helper()
	m, err := c.Match(method, target)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Check(m.Operation.Versions[len(m.Operation.Versions)-1], http.Header{}, []byte(body), 1000)
	invalid, ok := errors.AsType[*contract.ValidationError](err)
	if !ok {
		t.Fatalf("%s %s %s: %v", method, target, body, err)
	}
	return invalid.OnlySchemas
}
