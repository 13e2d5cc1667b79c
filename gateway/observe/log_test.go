package observe_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/observe"
)

var end = time.Date(2028, 7, 1, 3, 28, 25, 0, time.UTC)

// full is a Record with everything that a Record can hold.
var full = observe.Record{
	ID: "0a4f113b-7", End: end, Duration: 1500 * time.Microsecond, Remote: "127.0.0.1:7", Method: "POST", Operation: "createBackupExport", Status: 502, Path: "/api", Outcome: "unknown",
	Caller: "nightly", Key: "agwnightly", Form: "digest", Version: "2023-01-01", Sunset: time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), Group: "64f0c1a2b3d4e5f607182930", Cluster: "orders",
	Upstream: observe.Upstream{Status: 503, Duration: 900 * time.Microsecond},
	Refusal:  observe.Refusal{Kind: "upstream_response", Reason: "a_reason", Missing: "a_list", Violations: 3, Places: []string{"/snapshotId", "body"}, Cause: `status 503, Content-Type "text/html"`},
}

// The record in the log has what the Record holds, in this order, and nothing of what is empty.
func TestLog(t *testing.T) {
	const least = `"id":"","remote":"","method":"","operation":"","status":0,"duration_microseconds":0`
	ok := observe.Record{End: end, Status: 200}
	late, failed, refused, unanswered, relayed, reported := ok, ok, ok, ok, ok, ok
	reported.Reported = []string{"/*", "pageNum"}
	late.Sunset = full.Sunset
	failed.Status, failed.Refusal = 500, observe.Refusal{Kind: "internal"}
	refused.Status, refused.Refusal, refused.Sunset = 403, observe.Refusal{Kind: "forbidden"}, full.Sunset
	unanswered.Upstream.Duration = time.Millisecond
	relayed.Status, relayed.Upstream = 503, observe.Upstream{Status: 503, Duration: time.Millisecond}
	status := func(status int) string {
		return strings.Replace(least, `"status":0`, fmt.Sprint(`"status":`, status), 1)
	}
	for _, test := range []struct {
		name   string
		record observe.Record
		level  string
		want   string
	}{
		{"full", full, "ERROR", `"id":"0a4f113b-7","remote":"127.0.0.1:7","method":"POST","operation":"createBackupExport","status":502,"duration_microseconds":1500,` +
			`"path":"/api","outcome":"unknown","caller":"nightly","key":"agwnightly","form":"digest","version":"2023-01-01","sunset":"2027-07-01","group":"64f0c1a2b3d4e5f607182930","cluster":"orders",` +
			`"upstream_status":503,"upstream_duration_microseconds":900,"error":"upstream_response","violations":3,"places":["/snapshotId","body"],"reason":"a_reason","missing":"a_list","cause":"status 503, Content-Type \"text/html\""`},
		{"empty", observe.Record{End: end}, "INFO", least},
		{"a version past its sunset", late, "WARN", status(200) + `,"sunset":"2027-07-01"`},
		{"a request that went on", reported, "WARN", status(200) + `,"reported":["/*","pageNum"]`},
		{"an error of the gateway's", failed, "ERROR", status(500) + `,"error":"internal"`},
		{"a refusal with a version past its sunset", refused, "WARN", status(403) + `,"sunset":"2027-07-01","error":"forbidden"`},
		{"no answer of Atlas's", unanswered, "INFO", status(200) + `,"upstream_status":0,"upstream_duration_microseconds":1000`},
		{"Atlas's own 503", relayed, "INFO", status(503) + `,"upstream_status":503,"upstream_duration_microseconds":1000`},
	} {
		var out bytes.Buffer
		observe.NewLog(slog.New(slog.NewJSONHandler(&out, nil))).Observe(t.Context(), &test.record)
		if want := `{"time":"2028-07-01T03:28:25Z","level":"` + test.level + `","msg":"request",` + test.want + "}\n"; out.String() != want {
			t.Errorf("%s:\n got %swant %s", test.name, &out, want)
		}
		if !json.Valid(out.Bytes()) {
			t.Errorf("%s: not JSON", test.name)
		}
	}
}

// A level that the log does not take is not written.
func TestLogLevel(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelInfo: 3, slog.LevelWarn: 2, slog.LevelError: 1} {
		var out bytes.Buffer
		log := observe.NewLog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level})))
		log.Observe(t.Context(), &observe.Record{Status: 200})
		log.Observe(t.Context(), &observe.Record{Status: 200, Sunset: end})
		log.Observe(t.Context(), &full)
		if n := strings.Count(out.String(), "\n"); n != want {
			t.Errorf("%s: %d records, want %d", level, n, want)
		}
	}
}
