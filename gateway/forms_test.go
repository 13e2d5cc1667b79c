package gateway_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/api"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Each operation that reads is answered alike in each form that a request may have: with a slash
// at the end and without, as HEAD, indented and in an envelope. Atlas receives the documented
// path. The answers are of the contract, and their links lead to the gateway.
func TestFormsOfEveryRead(t *testing.T) {
	doc, err := api.Load()
	if err != nil {
		t.Fatal(err)
	}
	seed := sim.DefaultSeed()
	seed.Groups[0].Buckets = append(seed.Groups[0].Buckets, sim.Bucket{ID: bucketID, CloudProvider: "AWS", BucketName: "acme-exports", IamRoleID: role})
	now := time.Date(2026, 8, 14, 12, 0, 0, 0, time.UTC)
	atlas := sim.Start(t, sim.Config{Seed: seed, Now: func() time.Time { return now }})
	g := gatewaytest.StartFor(t, atlas.URL(), "responses: {check: enforce}\n"+eachSent)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(g.Send(t, "POST", v2Exports, createHeader, export).Body), &made); err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		if item.Get == nil {
			continue
		}
		id := item.Get.OperationID
		documented := strings.NewReplacer("{groupId}", group, "{clusterName}", clusterOf(id), "{exportBucketId}", bucketID, "{exportId}", made.ID, "{groupName}", "production",
			"{snapshotId}", map[string]string{"orders": snapshot, "events": sim.EventsSnapshot}[clusterOf(id)], "{roleId}", role).Replace(path)
		header := readHeader
		if strings.HasPrefix(path, "/api/atlas/v1.0/") {
			header = map[string]string{"Accept": plain}
		}
		bare := strings.TrimSuffix(documented, "/")
		ask := func(method, target string) gatewaytest.Response {
			atlas.Reset()
			got := g.Send(t, method, target, header, "")
			received := atlas.Requests(0)
			if len(received) == 0 {
				t.Fatalf("%s: Atlas received nothing", id)
			}
			_, query, _ := strings.Cut(target, "?")
			if last := received[len(received)-1]; last.Method != http.MethodGet || last.Target != strings.TrimSuffix(documented+"?"+query, "?") {
				t.Errorf("%s %s: Atlas received %s %s", method, target, last.Method, last.Target)
			}
			if got.Status != 200 || strings.Contains(got.Body, atlas.URL()) {
				t.Errorf("%s %s: %d %s", method, target, got.Status, got.Body)
			}
			return got
		}
		plainly, slash, head := ask("GET", bare), ask("GET", bare+"/"), ask("HEAD", bare)
		if plainly.Body != slash.Body {
			t.Errorf("%s: %s\nwith a slash: %s", id, plainly.Body, slash.Body)
		}
		if head.Body != "" || head.Header.Get("Content-Type") != plainly.Header.Get("Content-Type") {
			t.Errorf("%s: HEAD: %v %s", id, head.Header, head.Body)
		}
		enveloped := ask("GET", bare+"?envelope=true&pretty=true")
		var envelope struct {
			Status  int
			Content map[string]any
			Results []any
		}
		if err := json.Unmarshal([]byte(enveloped.Body), &envelope); err != nil || envelope.Status != 200 || envelope.Content == nil && envelope.Results == nil || !strings.Contains(enveloped.Body, "\n") {
			t.Errorf("%s: in an envelope: %s", id, enveloped.Body)
		}
	}
}
