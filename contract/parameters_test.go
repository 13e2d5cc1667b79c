package contract_test

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/contract"

	"github.com/google/go-cmp/cmp"
)

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

// Fields of the header that are parameters have one value each, in its plain form. Other fields
// don't matter.
func TestCheckFields(t *testing.T) {
	m, err := compiled(t).Match("GET", cluster)
	if err != nil {
		t.Fatal(err)
	}
	const name = "Use-Effective-Instance-Fields"
	v := m.Operation.Versions[len(m.Operation.Versions)-1]
	for _, test := range []struct {
		header http.Header
		want   []contract.Violation
	}{
		{nil, nil},
		{http.Header{name: {"true"}, "Use-Effective-Fields-Replication-Specs": {"false"}, "Use-Effective-Other": {"x"}}, nil},
		{http.Header{name: {"True"}}, []contract.Violation{{name, `is "True"; expected true or false`, "VALIDATION_ERROR"}}},
		{http.Header{name: {""}}, []contract.Violation{{name, `is ""; expected true or false`, "VALIDATION_ERROR"}}},
		{http.Header{name: {"true\r\nX: y"}}, []contract.Violation{{name, `is "true\r\nX: y"; expected true or false`, "VALIDATION_ERROR"}}},
		{http.Header{name: {"true", "true"}}, []contract.Violation{{name, "is given more than once", "VALIDATION_ERROR"}}},
	} {
		_, err := m.Check(v, test.header, nil, 10)
		var got []contract.Violation
		if invalid, ok := errors.AsType[*contract.ValidationError](err); ok {
			got = invalid.Violations
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v:\n%s", test.header, diff)
		}
	}
	all := http.Header{name: {"true"}, "Authorization": {"x"}, "Use-Effective-Other": {"x"}}
	if diff := cmp.Diff(http.Header{name: {"true"}}, m.Operation.Fields(all)); diff != "" {
		t.Error(diff)
	}
	other, err := compiled(t).Match("GET", exports)
	if err != nil {
		t.Fatal(err)
	}
	if got := other.Operation.Fields(all); got != nil {
		t.Errorf("listBackupExports: %v", got)
	}
}

// An id is what the pattern of the contract says, byte by byte.
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
