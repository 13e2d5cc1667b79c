package gateway_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/store"
)

// with returns an export with more members.
func with(members string) string { return export[:len(export)-1] + "," + members + "}" }

// What breaks only schemas is forwarded byte for byte where requests.check is report, counted and
// logged in words of the contract, by operation and place. Elsewhere it is refused.
func TestReportedRequests(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	settings := "requests: {check: report}\n" + eachSent
	g := gatewaytest.StartFor(t, upstream.URL, settings)
	strict := gatewaytest.StartFor(t, upstream.URL, eachSent)
	if !strings.Contains(g.Log.String(), `requests.check: is report`) || !strings.Contains(g.Metrics(t), "\natlas_gateway_report_only_callers 1\n") ||
		strings.Contains(strict.Log.String(), "report") || !strings.Contains(strict.Metrics(t), "\natlas_gateway_report_only_callers 0\n") {
		t.Error("neither log nor metrics say where requests are only reported")
	}
	for i, test := range []struct{ method, target, body, operation, places string }{
		{"POST", v2Exports, with(` "c4na7y" : {"a":[1,null]}`), "createBackupExport", `"/*"`},
		{"POST", v2Exports, with(`"force":true,"links":7`), "createBackupExport", `"/*","/links"`},
		{"POST", v2Snapshots, `{"retentionInDays" : "7"}`, "takeSnapshots", `"/retentionInDays"`},
		{"POST", v2Buckets + "?force=c4na7y&pretty=yes", awsBucket, "createExportBucket", `"*","pretty"`},
		{"GET", v2Exports + "?itemsPerPage=1000&pageNum=01", "", "listBackupExports", `"itemsPerPage","pageNum"`},
	} {
		offset := upstream.Received.Len()
		got := g.Send(t, test.method, test.target, createHeader, test.body)
		received := upstream.Received.String()[offset:]
		if got.Status != 200 || !strings.Contains(received, test.method+" "+test.target+" ") || !strings.HasSuffix(received, "\r\n\r\n"+test.body) {
			t.Errorf("%s %s: %d %s; the upstream received %q", test.target, test.body, got.Status, got.Body, received)
		}
		record := g.Record(t, i)
		if !strings.Contains(record, `"level":"WARN"`) || !strings.Contains(record, `"operation":"`+test.operation+`"`) || !strings.Contains(record, `"reported":[`+test.places+`]`) || strings.Contains(record, "c4na7y") {
			t.Error(record)
		}
		if got := strict.Send(t, test.method, test.target, createHeader, test.body); got.Status != 400 || upstream.Received.Len() > offset+len(received) {
			t.Errorf("%s %s: %d where requests.check is enforce", test.target, test.body, got.Status)
		}
	}
	metrics := g.Metrics(t)
	for _, line := range []string{
		`{operation="createBackupExport",pointer="/*"} 2`, `{operation="createBackupExport",pointer="/links"} 1`, `{operation="takeSnapshots",pointer="/retentionInDays"} 1`,
		`{operation="createExportBucket",pointer="*"} 1`, `{operation="listBackupExports",pointer="pageNum"} 1`,
	} {
		if !strings.Contains(metrics, "\natlas_gateway_request_violations_total"+line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if strings.Contains(metrics, "c4na7y") {
		t.Error("a name of a caller's is in the metrics")
	}
	if got := g.Send(t, "POST", v2Exports, createHeader, export); got.Status != 200 || strings.Contains(g.Record(t, 5), "reported") || !strings.Contains(g.Record(t, 5), `"level":"INFO"`) {
		t.Errorf("a good request: %d %s", got.Status, g.Record(t, 5))
	}
}

// Where the gateway itself decides something, requests are held to the contract also in report
// mode: what grants and the idempotency of creates are about, and the form of Atlas's answer.
func TestReportedRequestsAreDecided(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "requests: {check: report}")
	schedule := v2Clusters + "/orders/backup/schedule"
	for _, test := range []struct{ method, target, body string }{
		{"POST", v2Exports, `{"snapshotId":"` + snapshot + `"}`},
		{"POST", v2Exports, `{"exportBucketId":"` + bucketID + `"}`},
		{"POST", v2Exports, strings.Replace(export, bucketID, "latest", 1)},
		{"POST", v2Exports, strings.Replace(export, snapshot, strings.ToUpper(snapshot), 1)},
		{"POST", v2Exports, strings.Replace(export, `"`+bucketID+`"`, `["`+bucketID+`"]`, 1)},
		{"POST", v2Exports, with(`"customData":[{"key":1,"value":2}]`)},
		{"POST", v2Exports, with(`"customData":null`)},
		{"POST", v2Exports, with(`"clusterName":"orders"`)},
		{"POST", v2Exports, with(`"ClusterName":"other"`)},
		{"POST", v2Exports, with(`"groupId":7`)},
		{"POST", v2Exports, with(`"BUCKETNAME":"other"`)},
		{"POST", v2Exports, `[]`},
		{"POST", v2Exports + "?envelope=TRUE", export},
		{"POST", v2Exports + "?Envelope=true", export},
		{"GET", v2Exports + "?envelope=1", ""},
		{"POST", v2Buckets, strings.Replace(awsBucket, "AWS", "aws", 1)},
		{"POST", v2Buckets, strings.Replace(awsBucket, "acme-exports", "a", 1)},
		{"POST", v2Buckets, awsBucket[:len(awsBucket)-1] + `,"serviceUrl":"https://a.blob.core.windows.net/b"}`},
		{"POST", v2Buckets, awsBucket[:len(awsBucket)-1] + `,"roleid":"` + role + `"}`},
		{"POST", v2Snapshots, `{"description":7}`},
		{"POST", v2Snapshots, `{"snapshotType":"scheduled"}`},
		{"PATCH", v2Buckets + "/" + bucketID, `{"requirePrivateNetworking":true,"bucketName":"other"}`},
		{"PATCH", schedule, `{"autoExportEnabled":"no"}`},
		{"PATCH", schedule, `{"autoExportEnabled":false,"export":{"exportBucketId":"x"}}`},
		{"PATCH", schedule, `{"autoExportEnabled":true,"restoreWindowDays":1}`},
		{"PATCH", schedule, `{}`},
		{"GET", strings.Replace(v2Exports, group, strings.ToUpper(group), 1), ""},
	} {
		if got := g.Send(t, test.method, test.target, createHeader, test.body); got.Status != 400 || got.Header.Get("Gateway-Error") != "invalid_request" {
			t.Errorf("%s %s %s: %d %s", test.method, test.target, test.body, got.Status, got.Body)
		}
	}
	if n := upstream.Total.Load(); n > 0 {
		t.Errorf("%d requests have reached the upstream", n)
	}
}

// The mode is that of the caller, or else that of all, and a reload changes it. Grants stay
// enforced.
func TestReportedCallers(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	issue := func(name, check string) *gatewaytest.Caller {
		c := gatewaytest.Issue(t, name, `[{operations: [export], groups: ["`+group+`"], export_buckets: ["`+bucketID+`"]}]`)
		if check != "" {
			c.YAML += "    requests_check: " + check + "\n"
		}
		return c
	}
	one, strict, other := issue("one", "report"), issue("strict", "enforce"), issue("other", "")
	g := gatewaytest.StartFor(t, upstream.URL, "requests: {check: enforce}", one, strict, other)
	body := with(`"force":true`)
	sends := func(c *gatewaytest.Caller, body string, want int, kind string) {
		t.Helper()
		if got := g.Send(t, "POST", v2Exports, as(c.Bearer()), body); got.Status != want || got.Header.Get("Gateway-Error") != kind {
			t.Errorf("%s: %d %s, want %d", c.Name, got.Status, got.Body, want)
		}
	}
	shows := func(callers int) {
		t.Helper()
		if !strings.Contains(g.Metrics(t), fmt.Sprint("\natlas_gateway_report_only_callers ", callers, "\n")) {
			t.Errorf("the metrics do not say that %d callers are only reported", callers)
		}
	}
	sends(one, body, 200, "")
	sends(strict, body, 400, "invalid_request")
	sends(other, body, 400, "invalid_request")
	sends(one, strings.Replace(body, bucketID, "65a9d3e1f20b4c7788990012", 1), 403, "forbidden")
	shows(1)
	if log := g.Log.String(); !strings.Contains(log, "callers.list[0].requests_check: is report") || strings.Contains(log, "list[1].requests_check") {
		t.Error("the log does not say whose requests are only reported")
	}
	offset := g.Log.Len()
	g.Rewrite(t, gatewaytest.YAML(upstream.URL, "requests: {check: report}", one, strict, other))
	sends(one, body, 200, "")
	sends(strict, body, 400, "invalid_request")
	sends(other, body, 200, "")
	shows(2)
	if log := g.Log.String()[offset:]; !strings.Contains(log, "requests.check: is report") {
		t.Errorf("the reload does not say it: %s", log)
	}
}

// Creates that differ only in a part of the query that the contract does not have are other creates.
func TestReportedQueriesOfCreates(t *testing.T) {
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() })
	made := new(atomic.Int64)
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if r.Method == "POST" {
			id = fmt.Sprintf("%024x", made.Add(1))
		}
		return gatewaytest.LastJSON(200, strings.Replace(job, jobID, id, 1))
	}))
	g := gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(upstream.URL, "requests: {check: report}"),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal) },
	})
	for i, query := range []string{"", "?force=true", "?force=false"} {
		if got := g.Send(t, "POST", v2Exports+query, createHeader, export); got.Status != 200 || made.Load() != int64(i+1) || got.Header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%q: %d %v %s", query, got.Status, got.Header, got.Body)
		}
	}
	g.Send(t, "POST", v2Exports+"?force=true", createHeader, export)
	if made.Load() != 3 {
		t.Errorf("%d creates", made.Load())
	}
}
