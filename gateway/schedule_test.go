package gateway_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

const v2Schedule = v2Clusters + "/orders/backup/schedule"

// beyondExports are contents that would change more of a schedule than its export policy, or that
// some reader could take for such.
var beyondExports = []string{
	`{"policies":[]}`,
	`{"autoExportEnabled":true,"policies":[{"id":"64f0c2d1b3d4e5f607182950","policyItems":[]}]}`,
	`{"autoExportEnabled":false,"copySettings":[]}`,
	`{"export":{"exportBucketId":"` + bucketID + `","frequencyType":"daily"},"restoreWindowDays":1}`,
	`{"useOrgAndGroupNamesInExportPrefix":true,"updateSnapshots":true}`,
	`{"referenceHourOfDay":3,"referenceMinuteOfHour":0}`,
	`{"deleteCopiedBackups":[],"extraRetentionSettings":[]}`,
	`{"autoExportEnabled":false,"Policies":[]}`,
	`{"autoExportEnabled":false,"p\u006flicies":[]}`,
	`{"autoExportEnabled":false,"policies":null}`,
	`{"autoExportEnabled":false}{"policies":[]}`,
	`{"autoExportEnabled":false,"autoExportEnabled":{"policies":[]}}`,
	`{"export":{"exportBucketId":"` + bucketID + `","policies":[]}}`,
	`[{"policies":[]}]`,
	`{"links":[]}`,
	`{"clusterId":"64f0c2d1b3d4e5f607182940","clusterName":"orders"}`,
	`{"autoExportEnabled":false,"clusterName":"another"}`,
	`{"autoExportEnabled":false,"clusterName":null}`,
	`{}`,
	`null`,
}

// A change of a schedule beyond its export policy is refused, and so is deleting it: the upstream
// hears nothing of either. The refusals say why.
func TestScheduleBeyondExports(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{}`)))
	manager := gatewaytest.Issue(t, "manager", everything)
	g := gatewaytest.StartFor(t, upstream.URL, "", manager)
	for _, target := range []string{v2Schedule, strings.Replace(v2Schedule, "v2", "v1.0", 1) + "/"} {
		for _, accept := range []string{latest, of2023} {
			for _, content := range beyondExports {
				header := map[string]string{"Accept": accept, "Content-Type": plain, "Authorization": manager.Bearer()}
				if got := g.Send(t, "PATCH", target, header, content); got.Status != 400 || got.Header.Get("Gateway-Error") != "invalid_request" {
					t.Errorf("%s %s: %d %s", target, content, got.Status, got.Body)
				}
			}
		}
		got := g.Send(t, "DELETE", target, as(manager.Bearer()), "")
		if got.Status != 405 || got.Header.Get("Allow") != "GET, HEAD, PATCH" || !strings.Contains(got.Body, "Deleting the schedule ends the backups of the cluster.") {
			t.Errorf("DELETE %s: %d %v %s", target, got.Status, got.Header, got.Body)
		}
		got = g.Send(t, "PUT", target, as(manager.Bearer()), `{"autoExportEnabled":false}`)
		if got.Status != 405 || strings.Contains(got.Body, "Deleting") {
			t.Errorf("PUT %s: %d %s", target, got.Status, got.Body)
		}
	}
	const why = "is outside the export policy, the only part of a schedule that can be changed here."
	for content, want := range map[string]string{
		`{"policies":[]}`:                       `"detail":"/policies ` + why + `"`,
		`{"policies":[],"restoreWindowDays":1}`: `"detail":"The request breaks the contract in 2 places: /policies, /restoreWindowDays. Each ` + why + `"`,
	} {
		if got := g.Send(t, "PATCH", v2Schedule, as(manager.Bearer()), content); got.Status != 400 || !strings.Contains(got.Body, want) {
			t.Errorf("%s: %s, want %s", content, got.Body, want)
		}
	}
	if n := upstream.Total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests, want none", n)
	}
	if got := g.Send(t, "PATCH", v2Schedule, as(manager.Bearer()), `{"autoExportEnabled":false}`); got.Status != 200 || upstream.Signed.Load() != 1 {
		t.Errorf("turning exports off: %d %s", got.Status, got.Body)
	}
}

// A caller may change the export policy of its clusters, to its buckets. It may turn exports off.
func TestScheduleOfGrants(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{}`)))
	narrow := gatewaytest.Issue(t, "narrow", `[{operations: [manage], groups: [`+group+`], clusters: [orders], export_buckets: [`+bucketID+`]}]`)
	exporter := gatewaytest.Issue(t, "exporter", `[{operations: [export], groups: [`+group+`]}]`)
	g := gatewaytest.StartFor(t, upstream.URL, "", narrow, exporter)
	events := strings.Replace(v2Schedule, "orders", "events", 1)
	to := func(bucket string) string {
		return `{"autoExportEnabled":true,"export":{"exportBucketId":"` + bucket + `","frequencyType":"daily"}}`
	}
	for _, test := range []struct {
		who             *gatewaytest.Caller
		target, content string
		missing         string // "" for what is allowed
	}{
		{narrow, v2Schedule, to(bucketID), ""},
		{narrow, v2Schedule, `{"autoExportEnabled":false}`, ""},
		{narrow, v2Schedule, to(jobID), "with export bucket " + jobID + "; its grants allow export buckets " + bucketID},
		{narrow, v2Schedule, `{"autoExportEnabled":true}`, "with no export bucket; its grants allow export buckets " + bucketID},
		{narrow, v2Schedule, `{"useOrgAndGroupNamesInExportPrefix":true}`, "with no export bucket; its grants allow export buckets " + bucketID},
		{narrow, events, to(bucketID), "on cluster events of group " + group + "; its grants allow clusters orders"},
		{narrow, events, `{"autoExportEnabled":false}`, "on cluster events of group " + group + "; its grants allow clusters orders"},
		{exporter, v2Schedule, to(bucketID), "updateBackupSchedule; its grants allow operations export"},
	} {
		before := upstream.Signed.Load()
		got := g.Send(t, "PATCH", test.target, as(test.who.Bearer()), test.content)
		heard := upstream.Signed.Load() - before
		if test.missing == "" && (got.Status != 200 || heard != 1) || test.missing != "" && (got.Status != 403 || heard != 0 || !strings.Contains(got.Body, test.missing+".")) {
			t.Errorf("%s, %s %s: %d %s, and Atlas heard %d", test.who.Name, test.target, test.content, got.Status, got.Body, heard)
		}
	}
}

// Fields of the header that are parameters of an operation are checked and forwarded, and no
// others.
func TestParametersInTheHeader(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{}`)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	const instance, specs = "Use-Effective-Instance-Fields", "Use-Effective-Fields-Replication-Specs"
	answer := g.Raw(t, request("GET "+v2Clusters+"/orders", "", acceptLatest, strings.ToLower(instance)+": true", specs+": false", "Use-Effective-Fields: canary", "X-Anything: canary"))
	received := upstream.Received.String()
	if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.Contains(received, instance+": true\r\n") || !strings.Contains(received, specs+": false\r\n") || strings.Contains(received, "canary") {
		t.Errorf("%s\nAtlas received %s", answer, received)
	}
	before := upstream.Total.Load()
	for _, fields := range [][]string{{instance + ": yes"}, {instance + ": true", instance + ": true"}, {specs + ":"}, {specs + ": true, Authorization: x"}} {
		if answer := g.Raw(t, request("GET "+v2Clusters+"/orders", "", append(fields, acceptLatest)...)); !strings.HasPrefix(answer, "HTTP/1.1 400 ") || !strings.Contains(answer, "Use-Effective-") {
			t.Errorf("%q: %s", fields, answer)
		}
	}
	if upstream.Total.Load() != before {
		t.Error("a wrong field reached Atlas")
	}
	if answer := g.Raw(t, request("GET "+v2Clusters, "", acceptLatest, instance+": canary")); !strings.HasPrefix(answer, "HTTP/1.1 200 ") || strings.Contains(upstream.Received.String(), "canary") {
		t.Errorf("of another operation: %s", answer)
	}
}
