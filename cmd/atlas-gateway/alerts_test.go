package main

import (
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/sim"
)

// An increase over a counter does not see what it began with. So a process that nobody has called
// yet has each series that operators alert on, and each is 0.
func TestAlertsFromTheStart(t *testing.T) {
	p := serveFor(t, sim.Start(t, sim.Config{}).URL(), "")
	_, metrics := get(t, p.Management+"/metrics")
	p.stop(t)
	has := func(series string) {
		t.Helper()
		if !strings.Contains(metrics, "\n"+series+" 0\n") {
			t.Errorf("there is no %s that is 0", series)
		}
	}
	document := readFile(t, "../../docs/operate.md")
	_, table, _ := strings.Cut(document, "### Alerts")
	table, _, _ = strings.Cut(table, "\n### ")
	rules, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, kind := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			kinds++
			if kind[1] == "not_served" {
				has(`atlas_gateway_refusals_total{kind="not_served",operation="none",reason=""}`)
				continue
			}
			for _, operation := range rules.OperationIDs() {
				has(`atlas_gateway_refusals_total{kind="` + kind[1] + `",operation="` + operation + `",reason=""}`)
			}
		}
	}
	if kinds < 10 {
		t.Errorf("the document names only %d kinds", kinds)
	}
	has(`atlas_gateway_refusals_total{kind="internal",operation="none",reason=""}`)
	for _, operation := range append(rules.OperationIDs(), "none") {
		has(`atlas_gateway_refusals_total{kind="unauthorized",operation="` + operation + `",reason="wrong_credential"}`)
	}
	has(`atlas_gateway_refusals_total{kind="oauth",operation="none",reason="wrong_credential"}`)
	has(`atlas_gateway_upstream_requests_total{status="error"}`)
	has(`atlas_gateway_connection_evictions_total`)
	has(`atlas_gateway_log_records_dropped_total`)
}
