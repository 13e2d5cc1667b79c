package contract_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"atlas-export-gateway/contract"
)

// At most MaxViolations violations are named, and all are counted. Their values are shortened.
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
	if _, err := m.Check(v, nil, []byte(body), 1000); !errors.As(err, &invalid) {
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

// The check of a body of 256 KiB allocates at most a small multiple of its size, whatever the body
// holds, and the violations are short.
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
		_, err = m.Check(v, nil, []byte(request.body), 10_000)
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

// The check of a response is bounded too. It looks for no more violations than MaxViolations.
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
