package gateway_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// traced is a gateway that sends its spans to a receiver.
type traced struct {
	*gatewaytest.Gateway
	receiver *gatewaytest.Receiver
}

func startTraced(t *testing.T, upstream, settings string, list ...*gatewaytest.Caller) *traced {
	t.Helper()
	receiver := gatewaytest.StartReceiver(t, nil)
	tracing := "tracing:\n  endpoint: " + receiver.URL + "\n"
	if strings.Contains(settings, tracingSettings) {
		tracing, settings = "", strings.ReplaceAll(settings, tracingSettings, tracing)
	}
	return &traced{gatewaytest.StartFor(t, upstream, tracing+settings, list...), receiver}
}

// tracingSettings stands in front of further settings of tracing.
const tracingSettings = "tracing:\n"

// spans stops the gateway, which then has sent its spans, and returns those of a kind. There must
// be n.
func (g *traced) spans(t *testing.T, kind string, n int) (found []gatewaytest.Spanned) {
	t.Helper()
	g.Stop()
	g.Wait(t)
	for _, s := range g.receiver.Spans() {
		if s.Kind == kind {
			found = append(found, s)
		}
	}
	if len(found) != n {
		t.Fatalf("%d spans are %s, want %d: %+v", len(found), kind, n, found)
	}
	return found
}

// exportsRoute is the path of v2Exports in the contract.
const exportsRoute = "/api/atlas/v2/groups/{groupId}/clusters/{clusterName}/backup/exports"

// A request is a span, and each exchange with Atlas that it takes is one below it, with the
// attributes of OpenTelemetry's conventions for HTTP and with the gateway's own.
func TestSpans(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := startTraced(t, atlas.URL(), "", nightly)
	got := g.Send(t, "GET", v2Exports+"?pretty=true", map[string]string{"Accept": latest, "Authorization": nightly.Bearer(), "User-Agent": "submitted-value"}, "")
	if got.Status != 200 {
		t.Fatal(got)
	}
	server := g.spans(t, "SERVER", 1)[0]
	host, port := hostPort(t, g.URL)
	want := map[string]any{
		string(semconv.HTTPRequestMethodKey):      "GET",
		string(semconv.HTTPRouteKey):              exportsRoute,
		string(semconv.HTTPResponseStatusCodeKey): int64(200),
		string(semconv.URLSchemeKey):              "http",
		string(semconv.URLPathKey):                v2Exports,
		string(semconv.ServerAddressKey):          host,
		string(semconv.ServerPortKey):             port,
		string(semconv.ClientAddressKey):          "127.0.0.1",
		string(semconv.NetworkProtocolVersionKey): "1.1",
		"atlas_gateway.request_id":                got.Header.Get("Gateway-Request-Id"),
		"atlas_gateway.operation":                 "listBackupExports",
		"atlas_gateway.version":                   "2023-01-01",
		"atlas_gateway.group":                     group,
		"atlas_gateway.cluster":                   "orders",
		"atlas_gateway.caller":                    "nightly",
		"atlas_gateway.key":                       nightly.Token.Entry.Tokens[0].SHA256[:8],
		"atlas_gateway.form":                      "static_token",
		"atlas_gateway.read":                      "sent",
	}
	if diff := cmp.Diff(want, server.Attributes); diff != "" {
		t.Errorf("the span of the request (-want +got):\n%s", diff)
	}
	if server.Name != "GET "+exportsRoute || server.Parent != "" || server.Failed || server.Links != nil {
		t.Errorf("the span of the request: %+v", server)
	}
	for n, client := range g.spans(t, "CLIENT", 2) {
		want := map[string]any{
			string(semconv.HTTPRequestMethodKey):      "GET",
			string(semconv.HTTPResponseStatusCodeKey): []int64{401, 200}[n], // a challenge, and the answer
			string(semconv.URLFullKey):                atlas.URL() + v2Exports,
			string(semconv.URLTemplateKey):            exportsRoute,
		}
		want[string(semconv.ServerAddressKey)], want[string(semconv.ServerPortKey)] = hostPort(t, atlas.URL())
		if n == 0 {
			want[string(semconv.ErrorTypeKey)] = "401"
		} else {
			want[string(semconv.HTTPRequestResendCountKey)] = int64(1)
		}
		if diff := cmp.Diff(want, client.Attributes); diff != "" {
			t.Errorf("exchange %d (-want +got):\n%s", n, diff)
		}
		if client.Name != "GET "+exportsRoute || client.Trace != server.Trace || client.Parent != server.ID || client.Failed != (n == 0) ||
			client.Start.Before(server.Start) || client.End.After(server.End) || client.End.Before(client.Start) {
			t.Errorf("exchange %d: %+v, of %+v", n, client, server)
		}
	}
	var record struct {
		TraceID string `json:"trace_id"`
		SpanID  string `json:"span_id"`
	}
	if err := json.Unmarshal([]byte(g.Record(t, 0)), &record); err != nil || record.TraceID != server.Trace || record.SpanID != server.ID {
		t.Errorf("the record: %v %+v, want %s %s", err, record, server.Trace, server.ID)
	}
	if server.Resource["service.name"] != "atlas-gateway" || server.Resource["telemetry.sdk.language"] != "go" {
		t.Errorf("the resource: %v", server.Resource)
	}
}

// hostPort returns host and port of a URL, as attributes.
func hostPort(t *testing.T, url string) (string, int64) {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	return host, int64(number)
}

// The attributes of a request tell what became of it. What is refused is no failure; what Atlas or
// the gateway fails at is one.
func TestSpansTellOutcomes(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultUnavailable, Count: 2}}})
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["`+group+`"]}]`)
	g := startTraced(t, atlas.URL(), "budget: {attempts: 2}\n", reader)
	tests := []struct {
		method, target, authorization, body string

		name   string
		failed bool
		want   map[string]any // of the attributes; nil for one that is not there
	}{
		{"GET", v2Exports, reader.Bearer(), "", "GET " + exportsRoute, true, map[string]any{
			"http.response.status_code": int64(502), "error.type": "upstream_response", "atlas_gateway.error": "upstream_response", "atlas_gateway.read": "sent"}},
		{"POST", v2Exports, reader.Bearer(), export, "POST " + exportsRoute, false, map[string]any{
			"http.response.status_code": int64(403), "error.type": nil, "atlas_gateway.error": "forbidden", "atlas_gateway.missing": "operations", "atlas_gateway.outcome": "not_sent"}},
		{"POST", v2Exports, reader.Bearer(), `{"submitted":1}`, "POST " + exportsRoute, false, map[string]any{
			"http.response.status_code": int64(400), "atlas_gateway.error": "invalid_request", "atlas_gateway.violations": int64(3), "atlas_gateway.group": group, "atlas_gateway.cluster": nil}},
		{"GET", v2Exports, "Bearer wrong", "", "GET " + exportsRoute, false, map[string]any{
			"http.response.status_code": int64(401), "atlas_gateway.reason": "wrong_credential", "atlas_gateway.caller": nil}},
		{"PUT", v2Exports, reader.Bearer(), "", "PUT " + exportsRoute, false, map[string]any{
			"http.response.status_code": int64(405), "http.route": exportsRoute, "atlas_gateway.operation": "none"}},
		{"BREW", "/coffee", "", "", "HTTP", false, map[string]any{
			"http.request.method": "_OTHER", "http.route": nil, "url.path": nil, "atlas_gateway.operation": "none"}},
	}
	for _, test := range tests {
		g.Send(t, test.method, test.target, as(test.authorization), test.body)
	}
	for n, span := range g.spans(t, "SERVER", len(tests)) {
		test := tests[n]
		if span.Name != test.name || span.Failed != test.failed || span.Message != "" {
			t.Errorf("%d: %+v", n, span)
		}
		for key, want := range test.want {
			if got := span.Attributes[key]; got != want {
				t.Errorf("%d: %s is %v, want %v", n, key, got, want)
			}
		}
	}
	// The read was sent twice, and once without a credential.
	for n, client := range g.spans(t, "CLIENT", 3) {
		if n == 0 {
			continue
		}
		if client.Attributes["http.request.resend_count"] != int64(n) || client.Attributes["error.type"] != "503" || !client.Failed {
			t.Errorf("exchange %d: %+v", n, client)
		}
	}
}

// Behind a trusted proxy, the address of the client is what the proxy says.
func TestSpanBehindAProxy(t *testing.T) {
	t.Parallel()
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, job)))
	g := startTraced(t, upstream.URL, "listener: {client_address: x_forwarded_for, trusted_proxies: [127.0.0.1/32]}\n")
	g.Send(t, "GET", v2Exports+"/"+jobID, map[string]string{"Accept": latest, "X-Forwarded-For": "2001:db8::7"}, "")
	span := g.spans(t, "SERVER", 1)[0]
	if client, peer := span.Attributes["client.address"], span.Attributes["network.peer.address"]; client != "2001:db8::7" || peer != "127.0.0.1" {
		t.Errorf("client %v, peer %v", client, peer)
	}
}

// A program that has its own receiver, and a configuration that has none, goes on after a reload.
func TestOwnReceiver(t *testing.T) {
	t.Parallel()
	receiver, upstream := gatewaytest.StartReceiver(t, nil), gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, job)))
	tracer := tracing.New(tracing.Config{Receiver: tracing.Receiver{Endpoint: receiver.URL + "/v1/traces"}, Sampler: sdktrace.AlwaysSample(), Service: "own"}, slog.New(slog.DiscardHandler))
	g := gatewaytest.StartConfig(t, gatewaytest.Config{YAML: gatewaytest.YAML(upstream.URL, ""), Prepare: func(g *gateway.Gateway) { g.UseTracer(tracer) }})
	reloaded(t, g.Reload(t))
	g.Send(t, "GET", v2Job, readHeader, "")
	g.Stop()
	g.Wait(t)
	tracer.Close(t.Context())
	if spans := receiver.Spans(); len(spans) == 0 {
		t.Error("there are no spans")
	}
}

// An exchange that gets no answer is a failure with a type.
func TestSpanOfNoAnswer(t *testing.T) {
	t.Parallel()
	answers := make(chan string, 3)
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return <-answers }))
	g := startTraced(t, upstream.URL, "budget: {attempts: 1}\n"+eachSent)
	answers <- "" // resets a used connection, so that the read goes out on another one
	answers <- ""
	answers <- "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	for range 2 {
		if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 502 {
			t.Errorf("%+v", got)
		}
	}
	for n, client := range g.spans(t, "CLIENT", 4) { // each read is challenged, on a new connection
		errorType := []string{"401", "disconnected", "401", "truncated"}[n]
		status := []any{int64(401), nil, int64(401), int64(200)}[n]
		if client.Attributes["error.type"] != errorType || !client.Failed || client.Attributes["http.response.status_code"] != status {
			t.Errorf("exchange %d: %+v", n, client)
		}
	}
}
