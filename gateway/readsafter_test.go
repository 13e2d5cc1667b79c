package gateway_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

const awsAnswer = `{"_id":"` + bucketID + `","bucketName":"acme-exports","cloudProvider":"AWS","iamRoleId":"` + role + `"}`

// changesOfGroup are changes, and how Atlas answers them.
var changesOfGroup = map[string]struct {
	method, target, body string
	answer               string
	journal              bool
}{
	"a create":                            {"POST", v2Exports, export, gatewaytest.JSON(200, job), false},
	"a create with a key":                 {"POST", v2Exports, export, gatewaytest.JSON(200, job), true},
	"a create of unknown outcome":         {"POST", v2Exports, export, "", false},
	"a deletion":                          {"DELETE", v2Buckets + "/" + bucketID, "", "HTTP/1.1 204 No Content\r\n\r\n", false},
	"a deletion of unknown outcome":       {"DELETE", v2Buckets + "/" + bucketID, "", "", false},
	"an update":                           {"PATCH", v2Buckets + "/" + bucketID, `{"requirePrivateNetworking":true}`, gatewaytest.JSON(200, awsAnswer), false},
	"a change that Atlas refuses":         {"DELETE", v2Buckets + "/" + bucketID, "", gatewaytest.JSON(409, `{"error":409,"errorCode":"BUCKET_IN_USE"}`), false},
	"a create that Atlas does not answer": {"POST", v2Exports, export, gatewaytest.JSON(503, `{}`), false},
}

// startReads starts a gateway that keeps answers about jobs, with a journal or without.
func startReads(t *testing.T, upstream string, journaled bool) *gatewaytest.Gateway {
	t.Helper()
	config := gatewaytest.Config{YAML: gatewaytest.YAML(upstream, fresh+"timeouts: {shutdown: 1s}")}
	if journaled {
		journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { journal.Close() })
		config.Prepare = func(g *gateway.Gateway) { g.UseJournal(journal) }
	}
	return gatewaytest.StartConfig(t, config)
}

// Who has made a change reads nothing from before it: neither what was kept nor the answer to a
// read that was under way. Nor does anybody who reads once the change has left.
func TestReadAfterChange(t *testing.T) {
	for name, change := range changesOfGroup {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a read that is not sent is waited for
			upstream, requests := askedUpstream(t)
			g := startReads(t, upstream.URL, change.journal)
			answer := func(want, text string) {
				t.Helper()
				r := next(t, requests)
				if r.Method != want {
					t.Fatalf("Atlas received %s", r.Method)
				}
				r.answer <- text
			}
			kept := send(t, g, "GET", v2Job+"?pretty=true", "")
			answer("GET", gatewaytest.JSON(200, job))
			next(t, kept)
			targets := []string{v2Job + "?pretty=true", v2Job, v2Exports} // the first was kept
			var before []asked
			var old []<-chan gatewaytest.Response
			for _, target := range []string{v2Job, v2Exports} {
				old = append(old, send(t, g, "GET", target, ""))
				before = append(before, next(t, requests))
			}
			changed := send(t, g, change.method, change.target, change.body)
			left := next(t, requests)
			failed := func(round int, target, how string) { // and all that is under way ends
				t.Errorf("round %d: %s %s", round, target, how)
				if round == 0 {
					left.answer <- change.answer
					next(t, changed)
				}
				for i, r := range before {
					r.answer <- gatewaytest.JSON(200, job)
					next(t, old[i])
				}
				t.FailNow()
			}
			for round := range 2 {
				if round == 1 {
					left.answer <- change.answer
					next(t, changed)
				}
				for _, target := range targets {
					got := send(t, g, "GET", target, "")
					select {
					case early := <-got:
						failed(round, target, "was answered without Atlas: "+early.Body)
					case r := <-requests:
						r.answer <- gatewaytest.JSON(200, fmt.Sprintf(`{"id":"`+jobID+`","state":"Queued","round":%d}`, round))
					case <-time.After(10 * time.Second):
						failed(round, target, "waits for an answer from before")
					}
					if got := next(t, got); got.Status != 200 || !strings.Contains(got.Body, fmt.Sprintf(`"round":%d`, round)) {
						t.Errorf("round %d: %s: %+v", round, target, got)
					}
				}
			}
			for i, r := range before {
				r.answer <- gatewaytest.JSON(200, job)
				if got := next(t, old[i]); got.Status != 200 || got.Body != job {
					t.Errorf("who read before: %+v", got)
				}
			}
			if got := g.Send(t, "GET", v2Job, readHeader, ""); !strings.Contains(got.Body, `"round":1`) || got.Header["Age"] == nil {
				t.Errorf("after the old answer: %+v", got)
			}
		})
	}
}

// Who creates through one gateway and reads through another sees what was created, also where the
// other one has just read the same.
func TestReadThroughAnotherGateway(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	one, other := gatewaytest.StartFor(t, atlas.URL(), fresh), gatewaytest.StartFor(t, atlas.URL(), fresh)
	other.Send(t, "GET", v2Exports, readHeader, "")
	id := createExport(t, one)
	list, item := other.Send(t, "GET", v2Exports, readHeader, ""), other.Send(t, "GET", v2Exports+"/"+id, readHeader, "")
	if !strings.Contains(list.Body, id) || item.Status != 200 {
		t.Errorf("%+v\n%+v", list, item)
	}
	// The other one's answer to a list that it asked for before does not reach who reads
	// afterwards.
	upstream, requests := askedUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, fresh)
	old := send(t, g, "GET", v2Exports, "")
	before := next(t, requests)
	later := send(t, g, "GET", v2Exports, "")
	after := next(t, requests) // after a second: the first one is not answered yet
	after.answer <- gatewaytest.JSON(200, `{"results":[],"totalCount":1}`)
	if got := next(t, later); !strings.Contains(got.Body, "1") || got.Header["Age"] != nil {
		t.Errorf("%+v", got)
	}
	before.answer <- gatewaytest.JSON(200, `{"results":[],"totalCount":0}`)
	next(t, old)
}
