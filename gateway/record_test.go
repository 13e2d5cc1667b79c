package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// Each request has one record: what is known of it when it ends, and nothing that a caller
// whose request is not valid has written.
func TestRecords(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultUnavailable, Count: 1}}})
	nightly := issue(t, "nightly", `[{operations: [read], groups: ["`+sim.GroupID+`"]}]`)
	g := startFor(t, atlas, "", nightly)
	token := "Bearer " + nightly.token.Secret.Reveal()

	for n, test := range []struct{ method, authorization, body, want string }{
		{"GET", token, "", `{"level":"ERROR","msg":"request","method":"GET","operation":"listBackupExports","status":502,"caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","cluster":"orders","upstream_status":503,"error":"upstream_response","cause":"status 503, Content-Type \"text/html\""}`},
		{"GET", token, "", `{"level":"INFO","msg":"request","method":"GET","operation":"listBackupExports","status":200,"caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","cluster":"orders","upstream_status":200}`},
		{"POST", token, `{"submitted":1}`, `{"level":"INFO","msg":"request","method":"POST","operation":"createBackupExport","status":400,"outcome":"not_sent","caller":"nightly","form":"static_token","version":"2023-01-01","error":"invalid_request","violations":3}`},
		{"POST", token, export, `{"level":"INFO","msg":"request","method":"POST","operation":"createBackupExport","status":403,"outcome":"not_sent","caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","cluster":"orders","error":"forbidden","missing":"operations"}`},
		{"GET", "Bearer wrong", "", `{"level":"INFO","msg":"request","method":"GET","operation":"listBackupExports","status":401,"error":"unauthorized","reason":"wrong_credential"}`},
		{"POST", token, "", `{"level":"INFO","msg":"request","method":"POST","operation":"createBackupExport","status":400,"outcome":"not_sent","caller":"nightly","form":"static_token","version":"2023-01-01","error":"invalid_request","violations":1}`},
		{"PUT", token, "", `{"level":"INFO","msg":"request","method":"PUT","operation":"none","status":405,"error":"method_not_allowed"}`},
	} {
		send(t, test.method, g.url+v2Exports, map[string]string{"Accept": latest, "Content-Type": "application/json", "Authorization": test.authorization}, test.body)
		records := func() []string {
			var found []string
			for line := range strings.Lines(g.logs.String()) {
				if strings.Contains(line, `"msg":"request"`) {
					found = append(found, line)
				}
			}
			return found
		}
		waitFor(t, "the record", func() bool { return len(records()) > n })
		var got, want map[string]any
		if err := json.Unmarshal([]byte(records()[n]), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(test.want), &want); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"time", "id", "remote", "duration_microseconds"} {
			if got[name] == nil || got[name] == "" {
				t.Errorf("%d has no %s", n, name)
			}
			delete(got, name)
		}
		if want["caller"] != nil {
			want["key"] = nightly.token.Entry.Tokens[0].SHA256[:8]
		}
		if _, forwarded := got["upstream_duration_microseconds"].(float64); forwarded != (want["upstream_status"] != nil) {
			t.Errorf("%d: upstream_duration_microseconds is %v", n, got["upstream_duration_microseconds"])
		}
		delete(got, "upstream_duration_microseconds")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", n, diff)
		}
	}
	metrics := send(t, "GET", g.management+"/metrics", nil, "").body
	for _, want := range []string{
		`{kind="forbidden",operation="createBackupExport",reason="operations"} 1`,
		`{kind="invalid_request",operation="createBackupExport",reason=""} 2`,
		`{kind="unauthorized",operation="listBackupExports",reason="wrong_credential"} 1`,
	} {
		if !strings.Contains(metrics, "\natlas_gateway_refusals_total"+want+"\n") {
			t.Errorf("the metrics don't count %s:\n%s", want, metrics)
		}
	}
}
