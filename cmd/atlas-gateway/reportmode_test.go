package main

import (
	"testing"

	"atlas-export-gateway/sim"
)

// onlySchemas are the cases that break nothing but schemas of the contract, by row and name.
var onlySchemas = map[string]bool{
	"16 an unknown one":       true,
	"22 an unknown one":       true,
	"22 a leading zero":       true,
	"22 0":                    true,
	"22 more than a page":     true,
	"22 beyond 64 bits":       true,
	"22 True":                 true,
	"22 no value":             true,
	"22 of another operation": true,
	"22 on a create":          true,
}

// forbiddenInReportMode fails the test unless a gateway whose requests.check is report refuses as
// ever whatever threatens it or Atlas's parsers, before Atlas sees a connection.
func forbiddenInReportMode(t *testing.T, rows []forbiddenRow) {
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "requests: {check: report}\n")
	var reported []forbidden
	for _, row := range rows {
		t.Run(row.row, func(t *testing.T) {
			for _, test := range row.cases {
				if onlySchemas[row.row+" "+test.name] {
					reported = append(reported, test)
				} else {
					p.refuses(t, atlas, test)
				}
			}
		})
	}
	if len(reported) != len(onlySchemas) {
		t.Errorf("%d cases are only reported, and the list has %d", len(reported), len(onlySchemas))
	}
	for _, test := range reported { // Atlas decides
		if got := p.send(t, test.bytes); len(got) != 1 || got[0].Header.Get("Gateway-Error") != "" {
			t.Errorf("%s: %.500v", test.name, got)
		}
	}
	p.stop(t)
}
