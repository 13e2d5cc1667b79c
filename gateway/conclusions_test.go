package gateway_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// apiErrorOf reads an answer as Atlas's Go SDK does, which fails without an integer and a JSON
// type. text is what the SDK makes of it, without the URL.
func apiErrorOf(t *testing.T, got gatewaytest.Response) (code, text string) {
	t.Helper()
	var e struct {
		Error                     int
		ErrorCode, Detail, Reason string
		Parameters                []any
	}
	if err := json.Unmarshal([]byte(got.Body), &e); err != nil || e.Error != got.Status || !jsonType.MatchString(got.Header.Get("Content-Type")) {
		t.Fatalf("%d %s: %v", got.Status, got.Body, err)
	}
	return e.ErrorCode, strings.Join([]string{e.ErrorCode, e.Detail, e.Reason}, " ")
}

// Terraform's provider refreshes what it has in its state. It takes a thing for deleted if the
// status is 404 or, for export buckets and jobs, if the text of the error holds these digits. Of
// whatever path of Atlas's API the gateway answers itself, the refresh ends in another error, and
// the state stays.
func TestTerraformRefresh(t *testing.T) {
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, "http://"+gatewaytest.Refused(t), "", nightly)
	text, err := os.ReadFile("unserved/paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	read := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		path := strings.Replace(strings.TrimSpace(line), "{groupId}", group, 1)
		path = parameter.ReplaceAllString(path, jobID)
		got := g.Send(t, "GET", "/api/atlas/v2/"+path, as(nightly.Bearer()), "")
		code, text := apiErrorOf(t, got)
		if got.Status < 400 || got.Status == 404 || strings.Contains(text, "404") || strings.HasSuffix(code, "_NOT_FOUND") {
			t.Errorf("%s: %d %s", path, got.Status, got.Body)
		}
		read++
	}
	if read < 200 {
		t.Errorf("only %d paths", read)
	}
}

// The Atlas CLI asks for a flex cluster before it watches a snapshot, and goes on to the cluster
// only after one of three errorCodes. After any other it ends with success, and has watched
// nothing. What it asks then is answered by Atlas, or is an error that the CLI shows.
func TestSnapshotsWatch(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	granted := gatewaytest.Issue(t, "granted", everything)
	other := gatewaytest.Issue(t, "other", `[{operations: [read], groups: [`+group+`], clusters: [events]}]`)
	g := gatewaytest.StartFor(t, atlas.URL(), "", granted, other)
	for _, caller := range []*gatewaytest.Caller{granted, other} {
		for _, cluster := range []string{"orders", "events", "no-such-cluster", "no_such_name"} {
			path := cluster + "/backup/snapshots/" + snapshot
			first := g.Send(t, "GET", v2Group+"/flexClusters/"+path, as(caller.Bearer()), "")
			if code, _ := apiErrorOf(t, first); !slices.Contains([]string{"CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API", "FEATURE_UNSUPPORTED", "CLUSTER_NOT_FOUND"}, code) {
				t.Errorf("%s, %s: the CLI ends with success after %d %s", caller.Name, cluster, first.Status, first.Body)
			}
			// Atlas's own 404 is of a snapshot or a cluster that is not there.
			second := g.Send(t, "GET", v2Clusters+"/"+path, as(caller.Bearer()), "")
			if ours := second.Header.Get("Gateway-Error") != ""; ours && second.Status == 404 || !ours && second.Status != 200 && second.Status != 404 {
				t.Errorf("%s, %s: %d %s", caller.Name, cluster, second.Status, second.Body)
			}
		}
	}
}

// conclusionsOf are answers of Atlas's, or their lack, and what callers get of them: the status,
// the errorCode, the kind of the gateway's own errors, and the outcome of a change.
var conclusionsOf = map[string]struct {
	answer              string
	status              int
	code, kind, outcome string
}{
	"a conflict":         {gatewaytest.LastJSON(409, `{"error":409,"errorCode":"EXPORT_ALREADY_IN_PROGRESS","reason":"Conflict","detail":"No.","parameters":[]}`), 409, "EXPORT_ALREADY_IN_PROGRESS", "", "answered"},
	"a version is gone":  {gatewaytest.LastJSON(410, `{"error":410,"errorCode":"VERSION_GONE","reason":"Gone","detail":"No.","parameters":[]}`), 410, "VERSION_GONE", "", "answered"},
	"a rate limit":       {gatewaytest.LastJSON(429, `{"error":429,"errorCode":"RATE_LIMITED","reason":"Too Many Requests","detail":"No.","parameters":[]}`, "Retry-After: 7"), 429, "RATE_LIMITED", "", "answered"},
	"a failure":          {gatewaytest.LastJSON(500, `{"error":500,"errorCode":"UNEXPECTED_ERROR","reason":"Internal Server Error","detail":"No.","parameters":[]}`), 500, "UNEXPECTED_ERROR", "", "answered"},
	"an outage":          {gatewaytest.LastJSON(503, `{"error":503,"errorCode":"SERVICE_UNAVAILABLE","reason":"Service Unavailable","detail":"No.","parameters":[]}`), 503, "SERVICE_UNAVAILABLE", "", "answered"},
	"a page of a proxy":  {"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n404", 502, "UNEXPECTED_ERROR", "upstream_response", "unknown"},
	"a refused key":      {gatewaytest.LastJSON(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+gatewaytest.Challenge), 502, "UNEXPECTED_ERROR", "upstream_credential", "not_sent"},
	"a reset":            {"", 502, "UNEXPECTED_ERROR", "upstream_unreachable", "unknown"},
	"no answer for long": {"wait", 504, "UNEXPECTED_ERROR", "upstream_timeout", "unknown"},
}

// Whatever Atlas answers, and if it answers nothing, reads and changes end in an error that the
// SDK reads, with its status and errorCode. None can be taken for the news that a thing is not
// there, and none for success. Of a change, the answer says what became of it.
func TestConclusions(t *testing.T) {
	for name, test := range conclusionsOf {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for method, request := range map[string]struct{ target, content string }{
				"GET": {v2Buckets + "/" + bucketID, ""}, "POST": {v2Exports, export},
				"PATCH": {v2Schedule, `{"autoExportEnabled":false}`}, "DELETE": {v2Buckets + "/" + bucketID, ""},
			} {
				upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
					if test.answer == "wait" {
						<-t.Context().Done()
					}
					return test.answer
				}))
				settings := "budget: {attempts: 1}\n"
				if test.answer == "wait" {
					settings += "timeouts: {upstream: 500ms}\n"
				}
				g := gatewaytest.StartFor(t, upstream.URL, settings)
				header, outcome := createHeader, test.outcome
				if request.content == "" {
					header = readHeader
				}
				if method == "GET" {
					outcome = ""
				}
				got := g.Send(t, method, request.target, header, request.content)
				for tries := 1; tries < 20 && test.answer == "wait" && upstream.Signed.Load() == 0; tries++ {
					got = g.Send(t, method, request.target, header, request.content) // on a busy machine, it has not left in time
				}
				code, text := apiErrorOf(t, got)
				if got.Status != test.status || code != test.code || got.Header.Get("Gateway-Error") != test.kind || got.Header.Get("Gateway-Outcome") != outcome {
					t.Errorf("%s: %d %v %s", method, got.Status, got.Header, got.Body)
				}
				if strings.Contains(text, "404") || strings.HasSuffix(code, "_NOT_FOUND") {
					t.Errorf("%s: %s", method, text)
				}
			}
		})
	}
}
