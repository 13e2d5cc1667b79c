package gateway_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// Every log line is one JSON object, whatever a caller sends.
func TestLogLinesAreJSON(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "")
	g.Raw(t, request("GET /a\x1b[31m\x01", ""))
	g.Raw(t, request("G\x7fET /", ""))
	g.Raw(t, request("GET /api", "", "Accept: \x1b[2J"))
	g.Raw(t, request("GET "+v2Exports, "", "Accept: application/vnd.atlas.submitted-value+json"))
	g.Raw(t, request("GET /\xff\xfe", ""))
	g.Raw(t, request("G'ET"+strings.Repeat("x", 1000)+" /%1b[31m", ""))
	g.Raw(t, request("submitted-value /", ""))
	g.Raw(t, "\x16\x03\x01\x00\r\n\r\n")
	if strings.Contains(g.Log.String(), "submitted-value") {
		t.Errorf("what was submitted is in the log: %s", g.Log)
	}
	lines := strings.Split(strings.TrimSpace(g.Log.String()), "\n")
	if len(lines) < 3 {
		t.Errorf("only %d lines", len(lines))
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) || strings.Contains(line, "\x1b") {
			t.Errorf("not a clean line: %q", line)
		}
	}
}

// What strangers write in a handshake, or in the place of HTTP/2, is not in the log, however long it
// is.
func TestStrangersTextsAreNotLogged(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", gatewaytest.NewAuthority(t).Loopback(t).TLS(t))
	long := make([]string, 200)
	for i := range long {
		long[i] = "http: panic serving c4na7y" + strings.Repeat("\x01", 220)
	}
	for _, protocols := range [][]string{long, {"h2"}} {
		conn, err := tls.Dial("tcp", g.Address, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if err != nil {
			continue
		}
		io.WriteString(conn, "Authorization: c4na7y c4na7y\r\n\r\n")
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	// A ClientHello (RFC 5246, section 7.4.1.2) with 8,000 ciphers that nobody has.
	hello := append([]byte{3, 3}, make([]byte, 32+1)...)
	hello = binary.BigEndian.AppendUint16(hello, 16000)
	hello = append(append(hello, bytes.Repeat([]byte{0xfe, 0xfe}, 8000)...), 1, 0)
	hello = append([]byte{1, 0, byte(len(hello) >> 8), byte(len(hello))}, hello...)
	g.Raw(t, string(append(binary.BigEndian.AppendUint16([]byte{22, 3, 1}, uint16(len(hello))), hello...)))
	gatewaytest.WaitFor(t, "the records", func() bool {
		return strings.Contains(g.Log.String(), "no cipher suite") && strings.Contains(g.Log.String(), "unsupported application protocols") && strings.Contains(g.Log.String(), "greeting")
	})
	for line := range strings.Lines(g.Log.String()) {
		if strings.Contains(line, "c4na7y") || len(line) > 1000 {
			t.Errorf("%d bytes: %.200s", len(line), line)
		}
	}
}

// Each request has one record, which holds what is known of the request when it ends. It holds
// nothing that the caller of an invalid request has written.
func TestRecords(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultUnavailable, Count: 1}}})
	nightly := gatewaytest.Issue(t, "nightly", `[{operations: [read], groups: ["`+sim.GroupID+`"]}]`)
	g := gatewaytest.StartFor(t, atlas.URL(), "budget: {attempts: 1}", nightly)
	token := nightly.Bearer()

	for n, test := range []struct{ method, authorization, body, want string }{
		{"GET", token, "", `{"level":"ERROR","msg":"request","method":"GET","operation":"listBackupExports","status":502,"read":"sent","caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","cluster":"orders","upstream_status":503,"error":"upstream_response","cause":"status 503, Content-Type text/html"}`},
		{"GET", token, "", `{"level":"INFO","msg":"request","method":"GET","operation":"listBackupExports","status":200,"read":"sent","caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","cluster":"orders","upstream_status":200}`},
		{"POST", token, `{"submitted":1}`, `{"level":"INFO","msg":"request","method":"POST","operation":"createBackupExport","status":400,"outcome":"not_sent","caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","error":"invalid_request","violations":3,"places":["/*","/snapshotId","/exportBucketId"]}`},
		{"POST", token, export, `{"level":"INFO","msg":"request","method":"POST","operation":"createBackupExport","status":403,"outcome":"not_sent","caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","cluster":"orders","error":"forbidden","missing":"operations"}`},
		{"GET", "Bearer wrong", "", `{"level":"INFO","msg":"request","method":"GET","operation":"listBackupExports","status":401,"error":"unauthorized","reason":"wrong_credential"}`},
		{"POST", token, "", `{"level":"INFO","msg":"request","method":"POST","operation":"createBackupExport","status":400,"outcome":"not_sent","caller":"nightly","form":"static_token","version":"2023-01-01","group":"` + sim.GroupID + `","error":"invalid_request","violations":1,"places":["body"]}`},
		{"PUT", token, "", `{"level":"INFO","msg":"request","method":"PUT","operation":"none","status":405,"path":"/api/atlas/v2/groups/{groupId}/clusters/{clusterName}/backup/exports","caller":"nightly","form":"static_token","group":"` + sim.GroupID + `","error":"method_not_allowed"}`},
	} {
		g.Send(t, test.method, v2Exports, as(test.authorization), test.body)
		var got, want map[string]any
		if err := json.Unmarshal([]byte(g.Record(t, n)), &got); err != nil {
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
			want["key"] = nightly.Token.Entry.Tokens[0].SHA256[:8]
		}
		if _, forwarded := got["upstream_duration_microseconds"].(float64); forwarded != (want["upstream_status"] != nil) {
			t.Errorf("%d: upstream_duration_microseconds is %v", n, got["upstream_duration_microseconds"])
		}
		delete(got, "upstream_duration_microseconds")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d (-want +got):\n%s", n, diff)
		}
	}
	metrics := g.Metrics(t)
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

// sunsetRecord is what the record of a request says of its version.
type sunsetRecord struct {
	ID, Level, Msg, Caller, Operation, Version, Sunset string
	Status                                             int
	Upstream                                           int `json:"upstream_status"`
}

// A version past its sunset is forwarded as before, so that Atlas decides. The record of the
// request is then a warning that says who asked for the version and when the sunset was.
func TestSunset(t *testing.T) {
	day := time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC)
	var now atomic.Pointer[time.Time]
	now.Store(&day)
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", `[{operations: [read, listClusters], groups: ["*"]}]`)
	g := gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(atlas.URL(), "budget: {attempts: 1}", nightly),
		Prepare: func(g *gateway.Gateway) { g.SetClock(func() time.Time { return *now.Load() }) },
	})
	yearLater := day.AddDate(1, 0, 0)
	remove := func() error {
		return atlas.SetSettings(sim.Settings{Removed: map[string][]string{"listExportBuckets": {"2023-01-01"}}})
	}
	fail := func() error { return atlas.SetFaults([]sim.Fault{{Kind: sim.FaultUnavailable, Count: 1}}) }
	const (
		old      = "application/vnd.atlas.2024-05-29+json"
		oldest   = "application/vnd.atlas.2023-01-31+json"
		schedule = v2Clusters + "/orders/backup/schedule"
	)
	for i, test := range []struct {
		at             time.Time
		target, accept string
		before         func() error
		want           sunsetRecord
	}{
		{day.Add(-time.Nanosecond), v2Buckets, old, nil, sunsetRecord{Level: "INFO", Operation: "listExportBuckets", Version: "2023-01-01", Status: 200, Upstream: 200}},
		{day, v2Buckets, old, nil, sunsetRecord{Level: "WARN", Operation: "listExportBuckets", Version: "2023-01-01", Sunset: "2027-07-01", Status: 200, Upstream: 200}},
		{yearLater, v2Clusters, old, nil, sunsetRecord{Level: "WARN", Operation: "listClusters", Version: "2023-02-01", Sunset: "2027-07-01", Status: 200, Upstream: 200}},
		{yearLater, v2Clusters, oldest, nil, sunsetRecord{Level: "WARN", Operation: "listClusters", Version: "2023-01-01", Sunset: "2027-07-01", Status: 200, Upstream: 200}},
		// Other versions of the same operation, a version of another one, and v1.0 have no sunset.
		{yearLater, v2Buckets, latest, nil, sunsetRecord{Level: "INFO", Operation: "listExportBuckets", Version: "2024-05-30", Status: 200, Upstream: 200}},
		{yearLater, v2Exports, old, nil, sunsetRecord{Level: "INFO", Operation: "listBackupExports", Version: "2023-01-01", Status: 200, Upstream: 200}},
		{yearLater, v1Buckets, plain, nil, sunsetRecord{Level: "INFO", Operation: "v1ListExportBuckets", Status: 200, Upstream: 200}},
		// The gateway refuses, Atlas fails, and Atlas has removed the version.
		{yearLater, schedule, old, nil, sunsetRecord{Level: "WARN", Operation: "getBackupSchedule", Version: "2023-01-01", Sunset: "2027-07-01", Status: 403}},
		{yearLater, v2Buckets, old, fail, sunsetRecord{Level: "ERROR", Operation: "listExportBuckets", Version: "2023-01-01", Sunset: "2027-07-01", Status: 502, Upstream: 503}},
		{yearLater, v2Buckets, old, remove, sunsetRecord{Level: "WARN", Operation: "listExportBuckets", Version: "2023-01-01", Sunset: "2027-07-01", Status: 410, Upstream: 410}},
	} {
		now.Store(&test.at)
		if test.before != nil {
			if err := test.before(); err != nil {
				t.Fatal(err)
			}
		}
		got := g.Send(t, "GET", test.target, map[string]string{"Accept": test.accept, "Authorization": nightly.Bearer()}, "")
		if got.Status != test.want.Status {
			t.Errorf("%s at %s: %d %s", test.accept, test.at, got.Status, got.Body)
		}
		var record sunsetRecord
		if err := json.Unmarshal([]byte(g.Record(t, i)), &record); err != nil {
			t.Fatal(err)
		}
		test.want.ID, test.want.Msg, test.want.Caller = got.Header.Get("Gateway-Request-Id"), "request", "nightly"
		if diff := cmp.Diff(test.want, record); diff != "" {
			t.Errorf("%s at %s (-want +got):\n%s", test.accept, test.at, diff)
		}
	}
}
