package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	traceparent  = "Traceparent: 00-" + callersTrace + "-b7ad6b7169203331-01"
)

// Row 110: whatever stands in the fields of a trace, a request is answered as it is without them,
// and nothing of them reaches Atlas or a span. Only the traceparent of a caller who was let in
// names a span, and only where that is trusted.
func TestTraceHeaders(t *testing.T) {
	t.Parallel()
	for _, trust := range []bool{false, true} {
		atlas, receiver := sim.Start(t, sim.Config{}), gatewaytest.StartReceiver(t, nil)
		p := serveFor(t, atlas.URL(), fmt.Sprintf("tracing: {endpoint: %q, trust_traceparent: %t}\nreads: {share: 'off'}\n", receiver.URL, trust)+forToken(callerToken))
		fields := []string{
			traceparent,
			traceparent + "\r\n" + traceparent,
			"Traceparent: " + strings.Repeat("c4na7y", 2000),
			"Traceparent: 00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-ff",
			traceparent + "\r\nTracestate: " + strings.Repeat("c4na7y=c4na7y,", 1000),
			traceparent + "\r\n" + strings.Repeat("Tracestate: c4na7y=c4na7y\r\n", 99) + "Tracestate: ===",
			"Baggage: key=c4na7y\r\nB3: c4na7y\r\nX-B3-Traceid: c4na7y\r\nUber-Trace-Id: c4na7y",
		}
		for _, field := range fields {
			for key, want := range map[string]int{callerToken: 200, "wrong": 401} {
				if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: Bearer "+key, field)); len(got) != 1 || got[0].Status != want {
					t.Errorf("%.80q: %v", field, got)
				}
			}
		}
		p.stop(t)
		continued := 0
		for _, span := range receiver.Spans() {
			if span.Trace == callersTrace && span.Kind == "SERVER" {
				continued++
				if span.Attributes["atlas_gateway.caller"] != "nightly" {
					t.Errorf("nobody's trace was continued: %+v", span)
				}
			}
		}
		if trust && continued != 3 || !trust && continued != 0 {
			t.Errorf("trust %t: %d traces were continued", trust, continued)
		}
		for _, sent := range []string{fmt.Sprintf("%+v", receiver.Spans()), fmt.Sprintf("%+v", atlas.Requests(0))} {
			if strings.Contains(sent, "c4na7y") || strings.Contains(strings.ToLower(sent), "traceparent") {
				t.Errorf("trust %t: sent on: %s", trust, sent)
			}
		}
	}
}

// Row 111: a span holds no text of a caller's, wherever the caller puts it.
func TestSpansHoldNoText(t *testing.T) {
	t.Parallel()
	atlas, receiver := sim.Start(t, sim.Config{}), gatewaytest.StartReceiver(t, nil)
	p := serveFor(t, atlas.URL(), "requests: {check: report}\ntracing: {endpoint: "+receiver.URL+"}\n"+forToken(callerToken))
	note := strings.Replace(export, "}", `,"customData":[{"key":"c4na7y","value":"c4na7y"}]}`, 1)
	authorization := "Authorization: " + bearer
	for _, bytes := range []string{
		request("GET "+buckets+"?c4na7y=c4na7y", "", accept, authorization), // which is reported
		request("GET "+buckets+"?pretty=c4na7y", "", accept, authorization),
		request("GET "+buckets, "", accept, authorization, "User-Agent: c4na7y", "Referer: c4na7y", "Cookie: c4na7y", "X-Forwarded-For: c4na7y", "Forwarded: for=c4na7y"),
		request("GET "+buckets, "", "Accept: application/vnd.atlas.c4na7y+json", authorization),
		request("GET "+group+"/clusters/c4na7y%20c4na7y/backup/exports", "", accept, authorization),
		request("GET /api/atlas/v2/groups/c4na7y/backup/exportBuckets", "", accept, authorization),
		request("GET "+buckets+"/c4na7y", "", accept, authorization),
		request("GET /api/atlas/v2/c4na7y", "", accept, authorization),
		request("GET /c4na7y#c4na7y", "", accept, authorization),
		request("C4NA7Y "+buckets, "", accept, authorization),
		request("POST "+exports, note, accept, isJSON, authorization, "Idempotency-Key: c4na7y"),
		request("POST "+exports, `{"c4na7y":"c4na7y"}`, accept, isJSON, authorization),
		request("GET "+buckets, "", accept, "Authorization: Bearer c4na7y"),
		request("GET "+buckets, "", accept, "Authorization: "+gatewaytest.Basic("c4na7y", "c4na7y")),
		"GET " + buckets + " HTTP/1.1\r\nHost: c4na7y\r\n" + accept + "\r\nConnection: close\r\n\r\n",
	} {
		if got := p.send(t, bytes); len(got) != 1 {
			t.Errorf("%.80q: %v", bytes, got)
		}
	}
	p.stop(t)
	spans := receiver.Spans()
	if found := strings.ToLower(fmt.Sprintf("%+v", spans)); strings.Contains(found, "c4na7y") || len(spans) < 15 {
		t.Errorf("%d spans: %s", len(spans), found)
	}
}

// droppedSpans returns the metric.
func (p *process) droppedSpans(t *testing.T) int {
	t.Helper()
	_, metrics := get(t, p.Management+"/metrics")
	_, behind, _ := strings.Cut(metrics, "\natlas_gateway_trace_spans_dropped_total ")
	number, _, _ := strings.Cut(behind, "\n")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// Row 112: a receiver that is down, hangs, refuses or answers anything holds up neither requests
// nor the end. The spans that are lost are counted, and logged once. The receiver's key goes
// nowhere else, and what the receiver answers is not repeated.
func TestReceiverFails(t *testing.T) {
	t.Parallel()
	thief := gatewaytest.StartReceiver(t, nil)
	answer := func(status int, fields ...string) string {
		receiver := gatewaytest.StartReceiver(t, nil)
		receiver.Refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			for i := 0; i < len(fields); i += 2 {
				w.Header().Set(fields[i], fields[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprint(w, "c4na7y-of-the-receiver")
			return true
		}
		return receiver.URL
	}
	hangs := gatewaytest.Serve(t, func(conn net.Conn) { conn.Read(make([]byte, 1<<20)); <-t.Context().Done() })
	atlas := sim.Start(t, sim.Config{})
	t.Cleanup(func() {
		if stolen := thief.Batches(); len(stolen) > 0 {
			t.Errorf("another server was sent spans: %v", stolen[0].Header)
		}
	})
	for name, test := range map[string]struct {
		endpoint, cause string // of the record; none where the receiver may still take the spans
	}{
		"down":       {"http://" + gatewaytest.Refused(t), ""},
		"hanging":    {"http://" + hangs.Addr().String(), ""},
		"proxied":    {"http://receiver.invalid:4318", ""},
		"busy":       {answer(429, "Retry-After", "3600"), ""},
		"refusing":   {answer(403), "the receiver answered 403"},
		"misplaced":  {answer(200, "Content-Type", "text/html"), ""},
		"redirected": {answer(307, "Location", thief.URL+"/v1/traces"), "the receiver answered 307"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "headers"), "Api-Key: c4na7y-for-the-receiver\n")
			p := serveFor(t, atlas.URL(), "tracing: {endpoint: '"+test.endpoint+"', headers_file: "+headers+"}\n"+forToken(callerToken), "HTTP_PROXY="+thief.URL)
			for range 3 {
				began := time.Now()
				if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: "+bearer)); len(got) != 1 || got[0].Status != 200 || time.Since(began) > 5*time.Second {
					t.Errorf("%v", got)
				}
			}
			if test.cause != "" {
				gatewaytest.WaitFor(t, "a record", func() bool { return strings.Contains(p.stderr.String(), `"cause":"traces export: `+test.cause+`"`) })
				if n := p.droppedSpans(t); n < 3 {
					t.Errorf("%d spans were dropped", n)
				}
			}
			began := time.Now()
			p.stop(t)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %s", took)
			}
			for line := range strings.Lines(p.stderr.String()) {
				if !json.Valid([]byte(line)) || strings.Contains(line, "c4na7y") || strings.Contains(line, `"msg":"library"`) {
					t.Errorf("standard error has %q", line)
				}
			}
		})
	}
}

// The program sends spans over TLS to a receiver whose authority a file has, with fields of a file
// that may be replaced. The log names the spans.
func TestTracingOverTLS(t *testing.T) {
	t.Parallel()
	authority := gatewaytest.NewAuthority(t)
	receiver := gatewaytest.StartReceiver(t, &authority.Loopback(t).Certificate)
	dir := t.TempDir()
	roots := gatewaytest.WriteFile(t, filepath.Join(dir, "ca.pem"), authority.PEM)
	headers := gatewaytest.WriteFile(t, filepath.Join(dir, "headers"), "Api-Key: c4na7y-first\n\nX-Tenant: nightly\n")
	atlas := sim.Start(t, sim.Config{})
	// A proxy of the environment is not used; nor is anything that OpenTelemetry reads by itself.
	p := serveFor(t, atlas.URL(), fmt.Sprintf("tracing: {endpoint: %q, ca_file: %s, headers_file: %s, sample: 1}\n", receiver.URL, roots, headers)+forToken(callerToken),
		"HTTPS_PROXY=http://"+gatewaytest.Refused(t), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+gatewaytest.Refused(t), "OTEL_EXPORTER_OTLP_HEADERS=api-key=c4na7y-of-the-environment", "OTEL_TRACES_SAMPLER=c4na7y", "OTEL_BSP_SCHEDULE_DELAY=c4na7y",
		"OTEL_SERVICE_NAME=exports", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=a%20test")
	calls := func() {
		if got := p.send(t, request("GET "+buckets, "", accept, "Authorization: "+bearer)); len(got) != 1 || got[0].Status != 200 {
			t.Fatalf("%v", got)
		}
	}
	calls()
	span := receiver.Await(t, 2)[0]
	if span.Resource["service.name"] != "exports" || span.Resource["deployment.environment.name"] != "a test" {
		t.Errorf("the resource: %v", span.Resource)
	}
	if !strings.Contains(p.stderr.String(), `"trace_id":"`+span.Trace+`","span_id":"`+span.ID+`"`) {
		t.Errorf("the log does not name %+v:\n%s", span, &p.stderr)
	}
	gatewaytest.WriteFile(t, headers, "Api-Key: c4na7y-second\n")
	gatewaytest.WaitFor(t, "a reload", func() bool { return strings.Contains(p.stderr.String(), "was reloaded") })
	calls()
	p.stop(t)
	batches := receiver.Batches()
	first, last := batches[0].Header, batches[len(batches)-1].Header
	if first.Get("Api-Key") != "c4na7y-first" || first.Get("X-Tenant") != "nightly" || last.Get("Api-Key") != "c4na7y-second" || last.Get("X-Tenant") != "" {
		t.Errorf("the receiver got %v and %v", first, last)
	}
	if strings.Contains(p.stderr.String(), "c4na7y") {
		t.Errorf("the log has a secret:\n%s", &p.stderr)
	}
}

// OpenTelemetry's own variables are enough, and two of them switch tracing off again.
func TestTracingByEnvironment(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	receiver := gatewaytest.StartReceiver(t, nil)
	for _, environ := range [][]string{nil, {"OTEL_SDK_DISABLED=true"}, {"OTEL_TRACES_EXPORTER=none"}, {"OTEL_TRACES_SAMPLER=always_off"}} {
		p := serveFor(t, atlas.URL(), "", append(slices.Clip(environ), "OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL)...)
		if got := p.send(t, request("GET "+buckets, "", accept)); len(got) != 1 || got[0].Status != 200 {
			t.Errorf("%v: %v", environ, got)
		}
		p.stop(t)
	}
	servers := 0
	for _, span := range receiver.Spans() {
		if span.Kind == "SERVER" {
			servers++
		}
	}
	if servers != 1 {
		t.Errorf("%d requests were traced, want 1", servers)
	}
}
