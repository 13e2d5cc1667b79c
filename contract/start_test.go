package contract_test

import (
	"encoding/json"
	"errors"
	"testing"

	"atlas-export-gateway/contract"

	"github.com/google/go-cmp/cmp"
)

const (
	group   = "64f0c1a2b3d4e5f607182930"
	bucket  = "65a9d3e1f20b4c7788990011"
	job     = "6a01f3c95be2d84417c0aa01"
	exports = "/api/atlas/v2/groups/" + group + "/clusters/orders/backup/exports"
	buckets = "/api/atlas/v2/groups/" + group + "/backup/exportBuckets"

	project   = "/api/atlas/v2/groups/" + group
	byName    = "/api/atlas/v2/groups/byName/"
	cluster   = project + "/clusters/orders"
	snapshots = cluster + "/backup/snapshots"

	latest = "application/vnd.atlas.2025-03-12+json"
)

func compiled(t testing.TB) *contract.Contract {
	t.Helper()
	c, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check checks a request, and returns its violations.
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
	value, err := m.Check(v, nil, []byte(body), 1000)
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
