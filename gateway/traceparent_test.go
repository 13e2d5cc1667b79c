package gateway_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"
)

// A trace of a caller's, and the fields that name it.
const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
	traceparent  = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// plus returns header fields with another one.
func plus(header map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for name, value := range header {
		all[name] = value
	}
	return all
}

// Only where it is trusted, and only of a caller who was let in, traceparent continues a trace.
func TestTraceparent(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	for _, trust := range []bool{false, true} {
		g := startTraced(t, atlas.URL(), fmt.Sprintf("%s  trust_traceparent: %t\nreads: {share: 'off'}\n", tracingSettings, trust), nightly)
		tests := []struct {
			authorization, traceparent string
			continued                  bool
		}{
			{nightly.Bearer(), traceparent, true},
			{nightly.Bearer(), "01-" + callersTrace + "-" + callersSpan + "-01-of-a-later-version", true},
			{"Bearer wrong", traceparent, false},
			{nightly.Bearer(), strings.ToUpper(traceparent), false},
			{nightly.Bearer(), traceparent + "-of-a-later-version", false},
			{nightly.Bearer(), "00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01", false},
			{nightly.Bearer(), "ff-" + callersTrace + "-" + callersSpan + "-01", false},
			{nightly.Bearer(), strings.Repeat(traceparent, 100), false},
		}
		for _, test := range tests {
			header := plus(plus(as(test.authorization), "Traceparent", test.traceparent), "Tracestate", "vendor=submitted-value")
			g.Send(t, "GET", v2Exports, header, "")
		}
		// Two fields are none, as two parents would be.
		g.Raw(t, request("GET "+v2Exports, "", "Accept: "+latest, "Authorization: "+nightly.Bearer(), "Traceparent: "+traceparent, "Traceparent: "+traceparent))
		tests = append(tests, tests[2])
		for n, span := range g.spans(t, "SERVER", len(tests)) {
			test, wantParent := tests[n], ""
			if trust && test.continued {
				wantParent = callersSpan
			}
			if span.Parent != wantParent || (span.Trace == callersTrace) != (trust && test.continued) || span.State != "" {
				t.Errorf("trust %t, %q: %+v", trust, test.traceparent, span)
			}
			if record := g.Record(t, n); !strings.Contains(record, `"trace_id":"`+span.Trace+`","span_id":"`+span.ID+`"`) {
				t.Errorf("the record: %s", record)
			}
		}
	}
}

// A trusted caller's choice not to sample its trace counts, and so does the configuration's share
// of the other traces. The record names the trace in any case.
func TestUnsampled(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	g := startTraced(t, atlas.URL(), tracingSettings+"  trust_traceparent: true\n  sample: 1000000\n"+eachSent)
	g.Send(t, "GET", v2Exports, plus(readHeader, "Traceparent", strings.TrimSuffix(traceparent, "1")+"0"), "")
	g.Send(t, "GET", v2Exports, readHeader, "") // one in a million is sent
	g.Send(t, "GET", v2Exports, plus(readHeader, "Traceparent", traceparent), "")
	if span := g.spans(t, "SERVER", 1)[0]; span.Parent != callersSpan {
		t.Errorf("%+v", span)
	}
	if clients := g.spans(t, "CLIENT", 1); clients[0].Trace != callersTrace {
		t.Errorf("%+v", clients)
	}
	if record := g.Record(t, 0); !strings.Contains(record, `"trace_id":"`+callersTrace+`"`) {
		t.Errorf("the record: %s", record)
	}
	if record := g.Record(t, 1); !strings.Contains(record, `"trace_id":"`) {
		t.Errorf("the record: %s", record)
	}
}

// A span has no link to one that is not sampled, which nobody has sent.
func TestUnsampledIsNotLinked(t *testing.T) {
	t.Parallel()
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, done)))
	g := startTraced(t, upstream.URL, tracingSettings+"  trust_traceparent: true\n"+fresh)
	g.Send(t, "GET", v2Job, plus(readHeader, "Traceparent", strings.TrimSuffix(traceparent, "1")+"0"), "")
	g.Send(t, "GET", v2Job, plus(readHeader, "Traceparent", traceparent), "")
	if span := g.spans(t, "SERVER", 1)[0]; span.Attributes["atlas_gateway.read"] != "kept" || span.Links != nil {
		t.Errorf("%+v", span)
	}
}

// Without tracing, a record names no trace, whatever a caller sends.
func TestNotTraced(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "tracing: {trust_traceparent: true}")
	g.Send(t, "GET", v2Exports, plus(readHeader, "Traceparent", traceparent), "")
	if record := g.Record(t, 0); strings.Contains(record, "trace_id") {
		t.Errorf("the record: %s", record)
	}
}

// Nothing of a trace reaches Atlas: neither the gateway's own, nor what a trusted caller sends, in
// no request that the gateway makes.
func TestNothingIsPropagated(t *testing.T) {
	t.Parallel()
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := startTraced(t, upstream.URL, tracingSettings+"  trust_traceparent: true\n")
	header := createHeader
	for name, value := range map[string]string{
		"Traceparent": traceparent, "Tracestate": "vendor=submitted-value", "Baggage": "key=submitted-value", "B3": callersTrace + "-" + callersSpan + "-1",
		"X-B3-Traceid": callersTrace, "Uber-Trace-Id": callersTrace + ":" + callersSpan + ":0:1", "X-Amzn-Trace-Id": "Root=submitted-value",
	} {
		header = plus(header, name, value)
	}
	g.Send(t, "GET", v2Exports+"/"+jobID, header, "")
	g.Send(t, "POST", v2Exports, header, export)
	sent := strings.ToLower(upstream.Received.String())
	if upstream.Signed.Load() != 2 {
		t.Fatalf("Atlas has received:\n%s", sent)
	}
	var ids []string
	for _, span := range append(g.spans(t, "SERVER", 2), g.spans(t, "CLIENT", 3)...) {
		ids = append(ids, span.Trace, span.ID)
	}
	for _, text := range append(ids, "trace", "baggage", "\nb3", "\nx-b3", "\nx-amzn", "submitted-value", callersTrace, callersSpan) {
		if strings.Contains(sent, text) {
			t.Errorf("Atlas has received %q:\n%s", text, sent)
		}
	}
}

// What an answer was got for is linked from the spans of the requests that share it: a read that
// joins another one, and one that is answered from what is kept.
func TestSharedAnswersAreLinked(t *testing.T) {
	upstream, requests := askedUpstream(t)
	g := startTraced(t, upstream.URL, fresh)
	first := send(t, g.Gateway, "GET", v2Job, "")
	waits := next(t, requests)
	second := send(t, g.Gateway, "GET", v2Job, "")
	joined(t, 1)
	waits.answer <- gatewaytest.JSON(200, done)
	next(t, first)
	next(t, second)
	g.Send(t, "GET", v2Job, readHeader, "")

	leader := g.spans(t, "CLIENT", 2)[1]
	found := map[any]int{}
	for _, span := range g.spans(t, "SERVER", 3) {
		read := span.Attributes["atlas_gateway.read"]
		found[read]++
		wantLink := leader.Trace + "/" + leader.Parent
		if read == "sent" && (span.Links != nil || span.ID != leader.Parent) || read != "sent" && (len(span.Links) != 1 || span.Links[0] != wantLink) {
			t.Errorf("%+v; the exchange: %+v", span, leader)
		}
		if joined := span.Attributes["atlas_gateway.joined"]; (joined == true) != (read == "joined") {
			t.Errorf("joined is %v: %+v", joined, span)
		}
	}
	if found["sent"] != 1 || found["joined"] != 1 || found["kept"] != 1 {
		t.Errorf("the reads were answered so: %v", found)
	}
}

// The exchanges of a create belong to the request that sent it, although what carries the create
// out outlives requests. A create that joins it has a link.
func TestCreatesAreTraced(t *testing.T) {
	journal, err := store.OpenFile(t.Context(), filepath.Join(t.TempDir(), "creates.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { journal.Close() }) // after the gateway's end
	upstream, requests := askedUpstream(t)
	receiver := gatewaytest.StartReceiver(t, nil)
	g := &traced{gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(upstream.URL, "tracing: {endpoint: '"+receiver.URL+"'}"),
		Prepare: func(g *gateway.Gateway) { g.UseJournal(journal) },
	}), receiver}
	first := send(t, g.Gateway, "POST", v2Exports, export)
	waits := next(t, requests)
	second := send(t, g.Gateway, "POST", v2Exports, export)
	waitIn(t, "gateway/idempotency.(*Creates).do(", 2)
	waits.answer <- gatewaytest.JSON(200, job)
	for _, answer := range []<-chan gatewaytest.Response{first, second} {
		if got := next(t, answer); got.Status != 200 {
			t.Errorf("%+v", got)
		}
	}
	servers, clients := g.spans(t, "SERVER", 2), g.spans(t, "CLIENT", 2)
	sent, joined := servers[0], servers[1]
	for n, client := range clients {
		if client.Trace != sent.Trace || client.Parent != sent.ID || client.Name != "POST "+exportsRoute || client.Attributes["http.response.status_code"] != []any{int64(401), int64(200)}[n] {
			t.Errorf("exchange %d: %+v, of %+v", n, client, sent)
		}
	}
	if sent.Links != nil || sent.Attributes["atlas_gateway.outcome"] != "answered" || sent.Attributes["atlas_gateway.replayed"] != nil {
		t.Errorf("the create that was sent: %+v", sent)
	}
	if len(joined.Links) != 1 || joined.Links[0] != sent.Trace+"/"+sent.ID || joined.Attributes["atlas_gateway.joined"] != true || joined.Attributes["atlas_gateway.replayed"] != true {
		t.Errorf("the create that has joined: %+v", joined)
	}
}
