package main

import (
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"
)

// Row 49: what the gateway does not serve is answered 403 to whoever has a key, 401 to all others,
// and never 404, on neither listener. Nothing of it reaches Atlas.
func TestNotServed(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	token := callers.NewToken("nightly").Secret.Reveal()
	p := serveFor(t, atlas.URL(), forToken(token))
	management := &process{Listener: p.Management}
	for target, want := range map[string]struct {
		status     int
		kind, code string
	}{
		group + "/databaseUsers/admin/c4na7y":           {403, "not_served", "OPERATION_NOT_SERVED"},
		group + "/accessList/10.0.0.1":                  {403, "not_served", "OPERATION_NOT_SERVED"},
		group + "/c4na7y":                               {403, "not_served", "OPERATION_NOT_SERVED"},
		"/api/atlas/v2/orgs/64f0c0ffb3d4e5f60718292f":   {403, "not_served", "OPERATION_NOT_SERVED"},
		"/api/private/ipinfo":                           {403, "not_served", "OPERATION_NOT_SERVED"},
		"/c4na7y" + exports:                             {403, "not_served", "OPERATION_NOT_SERVED"},
		"/":                                             {403, "not_served", "OPERATION_NOT_SERVED"},
		group + "/flexClusters/orders/backup/snapshots": {400, "not_flex", "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API"},
		"/" + exports:                                   {400, "invalid_target", "INVALID_PATH_PARAMETER"},
		strings.Replace(exports, "64f0c1a2b3d4", "64F0C1A2B3D4", 1): {400, "invalid_request", "INVALID_PATH_PARAMETER"},
	} {
		got := p.send(t, request("GET "+target, "", accept, "Authorization: Bearer "+token))
		if len(got) != 1 || got[0].Status != want.status || got[0].Header.Get("Gateway-Error") != want.kind || got[0].Header.Get("X-Error-Code") != want.code || strings.Contains(got[0].Body, "404") {
			t.Errorf("%s: %v", target, got)
		}
		status := 401
		if want.kind == "invalid_target" {
			status = 400
		}
		if got := p.send(t, request("GET "+target, "", accept)); len(got) != 1 || got[0].Status != status {
			t.Errorf("%s without a key: %v", target, got)
		}
		if got := management.send(t, request("GET "+strings.TrimPrefix(target, "/c4na7y"), "", accept, "Authorization: Bearer "+token)); len(got) != 1 || got[0].Status == 404 || got[0].Status < 300 && target != "/" {
			t.Errorf("%s on the operators' listener: %v", target, got)
		}
	}
	untouched(t, atlas, "what is not served")
	p.stop(t)
	if log := p.stderr.String(); strings.Contains(log, "c4na7y") || !strings.Contains(log, `"path":"/api/atlas/v2/groups/{groupId}/databaseUsers/{databaseName}/{username}"`) {
		t.Errorf("the log: %s", log)
	}
}
