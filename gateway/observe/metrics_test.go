package observe_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/observe"

	"github.com/google/go-cmp/cmp"
)

// series returns the gateway's own series with their values. Of a histogram's buckets it has
// those whose bound is in the list.
func series(t *testing.T, m *observe.Metrics, bounds ...string) map[string]string {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		t.Fatal(response.Status, err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		last := strings.LastIndex(line, " ")
		name, value := strings.TrimPrefix(line[:last], "atlas_gateway_"), strings.TrimSpace(line[last:])
		if name == line[:last] || strings.HasPrefix(line, "#") {
			continue // of Go or the process
		}
		if _, bound, bucket := strings.Cut(name, `,le="`); bucket {
			for _, wanted := range bounds {
				if bound == wanted+`"}` {
					found[name] = value
				}
			}
			continue
		}
		if strings.HasPrefix(name, "build_info") || name == "last_reload_success_timestamp_seconds" {
			continue // see TestBuildAndReload
		}
		found[name] = value
	}
	return found
}

// untouched are the series of Metrics that have observed nothing: each operation is there from
// the start.
func untouched() map[string]string {
	return map[string]string{
		"last_reload_successful": "1",
		"reload_retries_total":   "0",
		`request_duration_seconds_count{operation="createBackupExport"}`:             "0",
		`request_duration_seconds_count{operation="listBackupExports"}`:              "0",
		`request_duration_seconds_sum{operation="createBackupExport"}`:               "0",
		`request_duration_seconds_sum{operation="listBackupExports"}`:                "0",
		`connections{authenticated="true"}`:                                          "0",
		`connections{authenticated="false"}`:                                         "0",
		"connection_evictions_total":                                                 "0",
		`handshakes_refused_total{reason="certificate_untrusted"}`:                   "0",
		`handshakes_refused_total{reason="certificate_expired"}`:                     "0",
		`handshakes_refused_total{reason="certificate_required"}`:                    "0",
		"preambles_refused_total":                                                    "0",
		`requests_total{operation="createBackupExport",status="200"}`:                "0",
		`requests_total{operation="listBackupExports",status="200"}`:                 "0",
		`response_violations_total{operation="createBackupExport",pointer=""}`:       "0",
		`response_violations_total{operation="listBackupExports",pointer=""}`:        "0",
		`upstream_request_duration_seconds_count{method="GET"}`:                      "0",
		`upstream_request_duration_seconds_sum{method="GET"}`:                        "0",
		`upstream_request_duration_seconds_count{method="POST"}`:                     "0",
		`upstream_request_duration_seconds_sum{method="POST"}`:                       "0",
		`upstream_request_duration_seconds_count{method="PATCH"}`:                    "0",
		`upstream_request_duration_seconds_sum{method="PATCH"}`:                      "0",
		`upstream_request_duration_seconds_count{method="DELETE"}`:                   "0",
		`upstream_request_duration_seconds_sum{method="DELETE"}`:                     "0",
		`upstream_requests_total{status="200"}`:                                      "0",
		`upstream_requests_total{status="401"}`:                                      "0",
		`upstream_requests_total{status="429"}`:                                      "0",
		`upstream_requests_total{status="500"}`:                                      "0",
		`upstream_requests_total{status="503"}`:                                      "0",
		`upstream_requests_total{status="error"}`:                                    "0",
		`refusals_total{kind="internal",operation="createBackupExport",reason=""}`:   "0",
		`refusals_total{kind="internal",operation="listBackupExports",reason=""}`:    "0",
		`refusals_total{kind="internal",operation="none",reason=""}`:                 "0",
		`refusals_total{kind="overloaded",operation="createBackupExport",reason=""}`: "0",
		`refusals_total{kind="overloaded",operation="listBackupExports",reason=""}`:  "0",
		`refusals_total{kind="unauthorized",operation="none",reason="a_wrong_key"}`:  "0",
	}
}

// Metrics count full and empty Records, and what else the gateway tells them.
func TestMetrics(t *testing.T) {
	denied := observe.Record{Operation: "listBackupExports", Status: 403, Refusal: observe.Refusal{Kind: "forbidden", Missing: "clusters"}}
	ok := observe.Record{Operation: "listBackupExports", Status: 200, Duration: 2 * time.Second}
	for _, test := range []struct {
		name string
		do   func(m *observe.Metrics)
		want map[string]string // in place of the untouched ones
	}{
		{"nothing", func(*observe.Metrics) {}, nil},
		{"a full Record", func(m *observe.Metrics) { m.Observe(t.Context(), &full) }, map[string]string{
			`requests_total{operation="createBackupExport",status="502"}`:                               "1",
			`request_duration_seconds_count{operation="createBackupExport"}`:                            "1",
			`request_duration_seconds_sum{operation="createBackupExport"}`:                              "0.0015",
			`refusals_total{kind="upstream_response",operation="createBackupExport",reason="a_reason"}`: "1",
		}},
		{"an empty Record", func(m *observe.Metrics) { m.Observe(t.Context(), &observe.Record{}) }, map[string]string{
			`requests_total{operation="",status="other"}`:  "1",
			`request_duration_seconds_count{operation=""}`: "1",
			`request_duration_seconds_sum{operation=""}`:   "0",
		}},
		{"several Records", func(m *observe.Metrics) {
			for _, record := range []*observe.Record{&ok, &ok, &denied} {
				m.Observe(t.Context(), record)
			}
		}, map[string]string{
			`requests_total{operation="listBackupExports",status="200"}`:                       "2",
			`requests_total{operation="listBackupExports",status="403"}`:                       "1",
			`request_duration_seconds_count{operation="listBackupExports"}`:                    "3",
			`request_duration_seconds_sum{operation="listBackupExports"}`:                      "4",
			`refusals_total{kind="forbidden",operation="listBackupExports",reason="clusters"}`: "1",
		}},
		{"requests to Atlas", func(m *observe.Metrics) {
			m.Upstream("GET", 401, time.Second)
			m.Upstream("GET", 200, time.Second)
			m.Upstream("POST", 200, time.Millisecond)
			m.Upstream("GET", 0, 0)
		}, map[string]string{
			`upstream_request_duration_seconds_count{method="GET"}`:  "3",
			`upstream_request_duration_seconds_sum{method="GET"}`:    "2",
			`upstream_request_duration_seconds_count{method="POST"}`: "1",
			`upstream_request_duration_seconds_sum{method="POST"}`:   "0.001",
			`upstream_requests_total{status="200"}`:                  "2",
			`upstream_requests_total{status="401"}`:                  "1",
			`upstream_requests_total{status="error"}`:                "1",
		}},
		{"violations", func(m *observe.Metrics) {
			m.ResponseViolation("listBackupExports", "/results/*/id")
			m.ResponseViolation("listBackupExports", "")
		}, map[string]string{
			`response_violations_total{operation="listBackupExports",pointer="/results/*/id"}`: "1",
			`response_violations_total{operation="listBackupExports",pointer=""}`:              "1",
		}},
		{"connections", func(m *observe.Metrics) { m.Connections(9, 9); m.Connections(3, 2); m.ConnectionEvicted() }, map[string]string{
			`connections{authenticated="true"}`:  "3",
			`connections{authenticated="false"}`: "2",
			"connection_evictions_total":         "1",
		}},
		{"a reload that was refused", func(m *observe.Metrics) { m.Reloaded(false) }, map[string]string{"last_reload_successful": "0"}},
		{"retries, before and after a reload", func(m *observe.Metrics) { m.Retried(); m.Reloaded(true); m.Retried() }, map[string]string{"reload_retries_total": "2"}},
		{"a reload after that", func(m *observe.Metrics) { m.Reloaded(false); m.Reloaded(true) }, nil},
	} {
		m := newMetrics()
		test.do(m)
		want := untouched()
		maps.Copy(want, test.want)
		if diff := cmp.Diff(want, series(t, m)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func newMetrics() *observe.Metrics {
	return observe.NewMetrics([]string{"createBackupExport", "listBackupExports"},
		observe.Alert{Kind: "internal", Matched: true, Unmatched: true}, observe.Alert{Kind: "overloaded", Matched: true},
		observe.Alert{Kind: "unauthorized", Reason: "a_wrong_key", Unmatched: true})
}

// The buckets of the durations are in seconds.
func TestDurationBuckets(t *testing.T) {
	m := observe.NewMetrics(nil)
	m.Observe(t.Context(), &full) // 1.5 ms
	want := map[string]string{"0.001": "0", "0.0025": "1", "60": "1", "+Inf": "1"}
	got := series(t, m, "0.001", "0.0025", "60", "+Inf")
	for bound, count := range want {
		if name := `request_duration_seconds_bucket{operation="createBackupExport",le="` + bound + `"}`; got[name] != count {
			t.Errorf("%s is %q, want %s", name, got[name], count)
		}
	}
}
