package gateway

import (
	"cmp"
	"net"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"atlas-export-gateway/gateway/reads"
	"atlas-export-gateway/gateway/tracing"
)

// UseTracer has requests traced, from now on. It is called before the first request. The caller
// closes the Tracer once the gateway has ended.
func (g *Gateway) UseTracer(tracer *tracing.Tracer) {
	g.tracer = tracer
	g.metrics.CountSpans(tracer.Dropped)
}

// trace starts the span of a request. Only the traceparent of a caller who was let in may count.
func (g *Gateway) trace(x *exchange, traceparent []string) {
	if g.tracer != nil && x.span == nil {
		x.span = g.tracer.Start(x.start, traceparent)
	}
}

// endSpan ends the span of a request whose record is complete, and notes its ids in the record.
func (g *Gateway) endSpan(x *exchange) {
	if g.tracer == nil {
		return
	}
	g.trace(x, nil) // of a request that was not let in
	r := &x.record
	r.TraceID, r.SpanID = x.span.IDs()
	if !x.span.Sampled() {
		return
	}
	name, route := httpMethod(r.Method), x.route()
	if name == otherHTTPMethod {
		name = "HTTP"
	}
	if route != "" {
		name += " " + route
	}
	var answered *tracing.Exchanges
	if x.response != nil {
		answered = x.response.Exchanges
	}
	x.span.End(r.End, name, r.Status >= 500, answered, append(x.conventional(route), x.own()...)...)
}

// otherHTTPMethod is http.request.method for what no RFC defines.
const otherHTTPMethod = "_OTHER"

// httpMethod returns http.request.method for a method of knownMethod.
func httpMethod(method string) string {
	if method == otherMethod {
		return otherHTTPMethod
	}
	return method
}

// route returns the path of the request with placeholders, and "" where it is no known path.
func (x *exchange) route() string {
	if x.match.Operation != nil {
		return x.match.Operation.Path
	}
	if strings.HasPrefix(x.path, "/") {
		return x.path
	}
	return ""
}

// conventional returns the attributes of OpenTelemetry's conventions for HTTP servers. They leave
// out the query and the User-Agent, which are texts of the caller's.
func (x *exchange) conventional(route string) []attribute.KeyValue {
	r, public := &x.record, x.settings.publicURL
	scheme, version := "http", "1.1"
	if x.in.TLS != nil {
		scheme = "https"
	}
	switch {
	case x.in.ProtoMajor == 2:
		version = "2"
	case !x.in.ProtoAtLeast(1, 1):
		version = "1.0"
	}
	attributes := append(make([]attribute.KeyValue, 0, 28),
		semconv.HTTPRequestMethodKey.String(httpMethod(r.Method)),
		semconv.HTTPResponseStatusCode(r.Status),
		semconv.URLScheme(scheme),
		semconv.NetworkProtocolVersion(version),
		semconv.ClientAddress(withoutPort(r.Remote)),
	)
	if r.Proxy != "" {
		attributes = append(attributes, semconv.NetworkPeerAddress(withoutPort(r.Proxy)))
	}
	if route != "" {
		attributes = append(attributes, semconv.HTTPRoute(route), semconv.URLPath(tracing.Path(route, cmp.Or(x.match.Path, route))))
	}
	if host := public.Hostname(); host != "" {
		attributes = append(attributes, semconv.ServerAddress(host), semconv.ServerPort(tracing.Port(public)))
	}
	if r.Status >= 500 {
		attributes = append(attributes, semconv.ErrorTypeKey.String(cmp.Or(r.Refusal.Kind, strconv.Itoa(r.Status))))
	}
	return attributes
}

// withoutPort returns an address without its port, if it has one.
func withoutPort(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// own returns the attributes of the gateway's own namespace, with the values of the record.
func (x *exchange) own() (attributes []attribute.KeyValue) {
	r := &x.record
	for _, a := range []struct{ key, value string }{
		{"request_id", r.ID},
		{"operation", r.Operation},
		{"version", r.Version},
		{"group", r.Group},
		{"cluster", r.Cluster},
		{"caller", r.Caller},
		{"key", r.Key},
		{"form", r.Form},
		{"outcome", r.Outcome},
		{"read", r.Read},
		{"error", r.Refusal.Kind},
		{"reason", r.Refusal.Reason},
		{"missing", r.Refusal.Missing},
	} {
		if a.value != "" {
			attributes = append(attributes, attribute.String("atlas_gateway."+a.key, a.value))
		}
	}
	if r.Replayed {
		attributes = append(attributes, attribute.Bool("atlas_gateway.replayed", true))
	}
	if x.joined || r.Read == string(reads.Joined) {
		attributes = append(attributes, attribute.Bool("atlas_gateway.joined", true))
	}
	if n := cmp.Or(r.Refusal.Violations, len(r.Reported)); n > 0 {
		attributes = append(attributes, attribute.Int("atlas_gateway.violations", n))
	}
	return attributes
}
