package gateway_test

import (
	"encoding/json"
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
