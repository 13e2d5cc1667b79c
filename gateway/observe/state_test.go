package observe_test

import (
	"io"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/internal/build"
)

// scrape returns the page of metrics.
func scrape(t *testing.T, m *observe.Metrics) string {
	t.Helper()
	recorded := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorded, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(recorded.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The page says which program runs, and since when its configuration is in force: since a reload
// that was good, and not since one that was refused.
func TestBuildAndReload(t *testing.T) {
	began := time.Now()
	m := observe.NewMetrics(nil)
	if want := "\natlas_gateway_build_info{go_version=" + strconv.Quote(runtime.Version()) + ",version=" + strconv.Quote(build.Version()) + "} 1\n"; !strings.Contains(scrape(t, m), want) {
		t.Errorf("there is no %s", want)
	}
	reloaded := func() float64 {
		found := regexp.MustCompile(`(?m)^atlas_gateway_last_reload_success_timestamp_seconds (.+)$`).FindStringSubmatch(scrape(t, m))
		if found == nil {
			t.Fatal("there is no time of the last reload")
		}
		at, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := reloaded()
	if at := float64(began.UnixNano()) / 1e9; first < at-1 || first > at+60 {
		t.Errorf("the configuration is in force since %f; it is %f", first, at)
	}
	if m.Reloaded(false); reloaded() != first {
		t.Error("a reload that was refused counts")
	}
	if m.Reloaded(true); reloaded() <= first {
		t.Error("a reload does not count")
	}
}

// The page shows a State as it is when the page is asked for.
func TestState(t *testing.T) {
	m := observe.NewMetrics(nil)
	state := observe.State{}
	m.Watch(func() observe.State { return state })
	scrape(t, m)
	state = observe.State{Worked: 3, Buffered: 2, InFlight: 512, Connections: 4096, ReportOnly: 1, Certificates: []observe.Certificate{
		{Name: "listener", Expires: time.Unix(1900000000, 0)}, {Name: "other", Expires: time.Unix(1900000001, 0)},
	}}
	page := scrape(t, m)
	for _, line := range []string{
		`in_flight_requests{count="worked"} 3`, `in_flight_requests{count="buffered"} 2`, "max_in_flight_requests 512", "max_connections 4096", "report_only_callers 1",
		`certificate_expiration_timestamp_seconds{certificate="listener"} 1.9e+09`, `certificate_expiration_timestamp_seconds{certificate="other"} 1.900000001e+09`,
	} {
		if !strings.Contains(page, "\natlas_gateway_"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}

// However many places callers break the contract in, their series are bounded.
func TestViolationsAreBounded(t *testing.T) {
	m := observe.NewMetrics(nil)
	for i := range 1500 {
		m.Observe(t.Context(), &observe.Record{Operation: "listBackupExports", Reported: []string{"/" + strconv.Itoa(i)}})
	}
	page := scrape(t, m)
	if n := strings.Count(page, "\natlas_gateway_request_violations_total{"); n != 1001 || !strings.Contains(page, `{operation="other",pointer="other"} 500`) {
		t.Errorf("there are %d series", n)
	}
}

// A request that went on although it breaks the contract counts at each of its places.
func TestReportedPlaces(t *testing.T) {
	m := observe.NewMetrics(nil)
	m.Observe(t.Context(), &observe.Record{Operation: "listBackupExports", Reported: []string{"/*", "pageNum"}})
	m.Observe(t.Context(), &observe.Record{Operation: "listBackupExports", Reported: []string{"pageNum"}})
	for _, line := range []string{`{operation="listBackupExports",pointer="/*"} 1`, `{operation="listBackupExports",pointer="pageNum"} 2`} {
		if !strings.Contains(scrape(t, m), "\natlas_gateway_request_violations_total"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}
