package gateway_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/audit.jsonl")

// audited is a gateway with a journal and an audit stream.
type audited struct {
	*gatewaytest.Gateway
	file   string
	stream *audit.Stream
}

func startAudited(t *testing.T, upstream, settings string, list ...*gatewaytest.Caller) *audited {
	t.Helper()
	a := &audited{file: filepath.Join(t.TempDir(), "audit.jsonl")}
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	if a.stream, err = audit.Open(a.file, nil, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the gateway's end
		a.stream.Close(context.Background())
		journal.Close()
	})
	a.Gateway = gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(upstream, settings, list...),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal); g.UseAudit(a.stream) },
	})
	return a
}

// text returns the stream once it is written.
func (a *audited) text(t *testing.T) string {
	t.Helper()
	if err := a.stream.Commit(&audit.Record{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[:len(lines)-2], "") // without the record of this function
}

// The stream has these lines for what callers and operators do: testdata/audit.jsonl. Programs
// read them, so that no field may change its name or its meaning. Nothing in them is a secret or a
// text that a caller submits, except the keys of custom data.
func TestAuditStream(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{ParallelExports: true}})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["`+group+`"]}]`)
	a := startAudited(t, atlas.URL(), "audit: {file: stderr, required: true}", nightly, reader)
	send := func(status int, caller *gatewaytest.Caller, method, target, body string) gatewaytest.Response {
		t.Helper()
		got := a.Send(t, method, target, as(caller.Bearer()), body)
		if got.Status != status {
			t.Errorf("%s %s: %d %s, want %d", method, target, got.Status, got.Body, status)
		}
		return got
	}
	const note = `,"customData":[{"key":"purpose","value":"submitted c4na7y"},{"key":"` + "\u00e9\\n" + `","value":"submitted"}]}`
	send(200, nightly, "GET", v2Exports, "")
	var bucket struct {
		ID string `json:"_id"`
	}
	made := send(200, nightly, "POST", v2Buckets, strings.Replace(awsBucket, "acme-exports", "submitted-bucket", 1))
	if err := json.Unmarshal([]byte(made.Body), &bucket); err != nil {
		t.Fatal(err)
	}
	create := strings.Replace(strings.TrimSuffix(export, "}"), bucketID, bucket.ID, 1) + note
	send(200, nightly, "POST", v2Exports, create)
	send(200, nightly, "POST", v2Exports, create) // replayed
	send(200, nightly, "PATCH", v2Clusters+"/orders/backup/schedule", `{"autoExportEnabled":true,"export":{"exportBucketId":"`+bucket.ID+`","frequencyType":"monthly"}}`)
	send(400, nightly, "DELETE", v2Buckets+"/"+bucket.ID, "")
	send(403, reader, "POST", v2Exports, create)
	send(403, reader, "GET", strings.Replace(v2Exports, group, "64f0c1a2b3d4e5f607182931", 1), "")
	send(400, nightly, "POST", v2Exports, `{"submitted":1}`) // nobody has authorized it
	a.decide(t)
	a.Reload(t)
	gatewaytest.WriteFile(t, a.File, "submitted: c4na7y\n")
	a.Reload(t)
	text := a.text(t)
	gatewaytest.FindSecrets(t, "the stream", text)
	for _, submitted := range []string{"submitted", "c4na7y", "x reason"} {
		if strings.Contains(text, submitted) {
			t.Errorf("%q is in the stream", submitted)
		}
	}
	const golden = "testdata/audit.jsonl"
	got := withoutChance(t, text)
	if *update {
		gatewaytest.WriteFile(t, golden, got)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// decide has an operator settle the newest create, which is refused, and release it.
func (a *audited) decide(t *testing.T) {
	t.Helper()
	var records []gateway.CreateRecord
	if err := json.Unmarshal([]byte(gatewaytest.Send(t, "GET", a.Management+"/creates?all=true", nil, "").Body), &records); err != nil || len(records) != 2 {
		t.Fatalf("%v %v", records, err)
	}
	decide := func(decision, content string, status int) {
		t.Helper()
		if got := gatewaytest.Send(t, "POST", a.Management+"/creates/"+records[0].ID+"/"+decision, nil, content); got.Status != status {
			t.Errorf("%s: %d %s", decision, got.Status, got.Body)
		}
	}
	decide("settle", `{"result":"`+jobID+`","reason":"x reason"}`, 404)
	decide("release", `{"reason":"x reason"}`, 200)
}

// withoutChance puts numbers in the place of what differs from run to run: each value has its own.
func withoutChance(t *testing.T, text string) string {
	t.Helper()
	seen := map[string]string{}
	for _, field := range []string{"time", "id", "remote", "key", "bucket", "create", "result"} {
		text = regexp.MustCompile(`"`+field+`":"([^"]+)"`).ReplaceAllStringFunc(text, func(found string) string {
			if field == "time" || field == "remote" || field == "key" {
				return `"` + field + `":"-"`
			}
			_, value, _ := strings.Cut(found, ":")
			if seen[value] == "" {
				seen[value] = fmt.Sprintf(`"#%d"`, len(seen)+1)
			}
			return `"` + field + `":` + seen[value]
		})
	}
	return text
}

// The page about the stream has each field of a record.
func TestAuditFieldsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[audit.Record]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/audit.md does not have the field %s", name)
		}
	}
}
