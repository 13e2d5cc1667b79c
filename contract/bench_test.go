package contract_test

import (
	"strings"
	"testing"
)

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
				if _, err := m.Check(v, nil, body, 1000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
