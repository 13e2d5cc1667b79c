package config

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/net/http/httpguts"

	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/secret"
)

// defaultTracesPath is where a receiver of OTLP over HTTP takes spans.
const defaultTracesPath = "/v1/traces"

// tracing finds out whether requests are traced, and how: what the section tracing says comes
// before what the environment of OpenTelemetry says. Only the two variables that switch tracing
// off have precedence. Of a variable that is not needed, the value is not looked at.
func (b *builder) tracing(c Tracing) {
	disabled, exporter := b.getenv("OTEL_SDK_DISABLED"), b.getenv("OTEL_TRACES_EXPORTER")
	if disabled != "" && !strings.EqualFold(disabled, "true") && !strings.EqualFold(disabled, "false") {
		b.refuseVariable("OTEL_SDK_DISABLED", "expected true or false")
	}
	if exporter != "" {
		b.variableOneOf("OTEL_TRACES_EXPORTER", "otlp", "none")
	}
	if strings.EqualFold(disabled, "true") || exporter == "none" {
		return
	}
	endpoint := b.tracesEndpoint(c, exporter == "otlp")
	if endpoint == nil {
		return
	}
	b.parts.Tracing = &tracing.Config{
		Receiver: tracing.Receiver{
			Endpoint: endpoint.String(),
			Header:   b.tracesHeader(c, endpoint),
			Timeout:  b.tracesTimeout(c),
		},
		Sampler:          b.tracesSampler(c),
		TrustTraceparent: c.TrustTraceparent,
		Service:          cmp.Or(c.ServiceName, b.getenv("OTEL_SERVICE_NAME")),
		Attributes:       b.resourceAttributes(c),
	}
	if c.ServiceName == "" && !utf8.ValidString(b.parts.Tracing.Service) {
		b.refuseVariable("OTEL_SERVICE_NAME", "%w", errNotUTF8)
	}
	b.tracesRoots(c, endpoint)
	b.unsupportedVariables()
	if t := b.parts.Tracing; t.Service == "" {
		t.Service = "atlas-gateway"
		for _, a := range t.Attributes {
			if a.Key == "service.name" {
				t.Service = a.Value.AsString()
			}
		}
	}
}

// refuseVariable notes that the value of a variable of OpenTelemetry is refused. The error does
// not quote it: a key may stand there.
func (b *builder) refuseVariable(name, format string, args ...any) {
	b.refusals = append(b.refusals, refusal{0, fmt.Errorf("environment: %s: %w", name, fmt.Errorf(format, args...))})
}

func (b *builder) variableOneOf(name string, allowed ...string) {
	if !slices.Contains(allowed, b.getenv(name)) {
		b.refuseVariable(name, "expected one of %s", strings.Join(allowed, ", "))
	}
}

// firstVariable returns the first of the variables that has a value, and the value. For
// OpenTelemetry, an empty variable is one that is not set.
func (b *builder) firstVariable(names ...string) (name, value string) {
	for _, name := range names {
		if value := b.getenv(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// tracesEndpoint returns where spans are sent to, nil where nothing says so. wanted says that
// something else asks for traces.
func (b *builder) tracesEndpoint(c Tracing, wanted bool) *url.URL {
	if c.Endpoint != "" {
		u, err := parseEndpoint(c.Endpoint)
		if err != nil {
			b.refuse("tracing.endpoint", "%w", err)
			return nil
		}
		if strings.Trim(u.Path, "/") == "" {
			u.Path = defaultTracesPath
		}
		return u
	}
	name, value := b.firstVariable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch {
	case value == "" && wanted:
		return &url.URL{Scheme: "http", Host: "localhost:4318", Path: defaultTracesPath}
	case value == "":
		for path, set := range map[string]bool{"ca_file": c.CAFile != "", "headers_file": c.HeadersFile != "", "sample": c.Sample > 1, "trust_traceparent": c.TrustTraceparent} {
			if set {
				b.warn("tracing."+path, "has no effect: without tracing.endpoint, or an endpoint of the environment, no request is traced")
			}
		}
		return nil
	}
	u, err := parseEndpoint(value)
	if err != nil {
		b.refuseVariable(name, "%w", err)
		return nil
	}
	if name == "OTEL_EXPORTER_OTLP_ENDPOINT" { // the base of an URL for each signal
		u.Path = strings.TrimSuffix(u.Path, "/") + defaultTracesPath
	}
	return u
}

// parseEndpoint reads the URL of a receiver. Its errors quote nothing of it.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("is not a URL; expected http://HOST:PORT/v1/traces or https://HOST:PORT/v1/traces")
	case u.User != nil || strings.Contains(text, "@"):
		return nil, errors.New("holds user information; keys belong in headers_file")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("does not begin with http:// or https://")
	case u.Hostname() == "":
		return nil, errors.New("has no host; expected http://HOST:PORT/v1/traces or https://HOST:PORT/v1/traces")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("has a query or a fragment; keys belong in headers_file")
	}
	return u, nil
}

// tracesRoots reads the authorities of the receiver's certificate.
func (b *builder) tracesRoots(c Tracing, endpoint *url.URL) {
	name, value := b.firstVariable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
	refuse := func(format string, args ...any) { b.refuse("tracing.ca_file", format, args...) }
	file := c.CAFile
	if file == "" && value != "" {
		file, refuse = value, func(format string, args ...any) { b.refuseVariable(name, format, args...) }
	}
	if file != "" && endpoint.Scheme != "https" {
		refuse("is for an endpoint that begins with https://")
		return
	}
	roots, err := certificates(file)
	if err != nil {
		refuse("%w", err)
	}
	b.parts.Tracing.Roots = roots.Pool()
}

// tracesHeader reads the fields that are sent with spans.
func (b *builder) tracesHeader(c Tracing, endpoint *url.URL) map[string]secret.Secret {
	var header map[string]secret.Secret
	path := "tracing.headers_file"
	if c.HeadersFile != "" {
		data, err := smallfile.Read(c.HeadersFile, maxKey)
		if err == nil {
			header, err = parseHeader(data)
		}
		if err != nil {
			b.refuse(path, "%w", smallfile.WithoutName(err))
		}
		b.warnOfMode(path, c.HeadersFile)
	} else if name, value := b.firstVariable("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"); value != "" {
		path = name
		pairs, err := parsePairs(value)
		if err != nil {
			b.refuseVariable(name, "%w", err)
		}
		header = map[string]secret.Secret{}
		for _, pair := range pairs {
			if err := addField(header, pair.name, pair.value); err != nil {
				b.refuseVariable(name, "%w", err)
			}
		}
	}
	if len(header) > 0 && endpoint.Scheme == "http" && !hosts.Loopback(endpoint.Hostname()) {
		b.warn("tracing.endpoint", "begins with http, so that everyone on the way to it can read the fields of %s", path)
	}
	return header
}

// parseHeader reads lines of the form "Name: value". Its errors quote nothing of them.
func parseHeader(data []byte) (map[string]secret.Secret, error) {
	header := map[string]secret.Secret{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("line %d has no colon; expected NAME: VALUE", n)
		}
		if err := addField(header, name, strings.TrimSpace(value)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, errors.New("has a line that is too long")
	}
	if len(header) == 0 {
		return nil, errors.New("is empty; expected lines of the form NAME: VALUE")
	}
	return header, nil
}

// framing are fields that say how a message is read, which only the sender of spans decides.
var framing = []string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// addField adds a field to a header, if it may be sent (RFC 9110, section 5).
func addField(header map[string]secret.Secret, name, value string) error {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch _, known := header[canonical]; {
	case !httpguts.ValidHeaderFieldName(name):
		return errors.New("the name of a field is empty, or has characters that no name has")
	case slices.Contains(framing, canonical):
		return fmt.Errorf("the field %s can't be set", canonical)
	case !httpguts.ValidHeaderFieldValue(value):
		return errors.New("the value of a field has control characters")
	case known:
		return fmt.Errorf("the field %s is there twice", canonical)
	}
	header[canonical] = secret.New(value)
	return nil
}

// tracesTimeout returns how long the receiver may take.
func (b *builder) tracesTimeout(c Tracing) time.Duration {
	name, value := b.firstVariable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
	if c.Timeout != 0 || value == "" {
		return cmp.Or(c.Timeout, 10*time.Second)
	}
	milliseconds, err := strconv.Atoi(value)
	if err != nil || milliseconds < 1 || milliseconds > int(time.Hour/time.Millisecond) {
		b.refuseVariable(name, "expected a number of milliseconds, 1 to 3600000")
	}
	return time.Duration(milliseconds) * time.Millisecond
}

// tracesSampler returns what decides which traces are sent.
func (b *builder) tracesSampler(c Tracing) sdktrace.Sampler {
	name := b.getenv("OTEL_TRACES_SAMPLER")
	if c.Sample != 0 || name == "" {
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(1 / float64(max(1, c.Sample))))
	}
	ratio := 1.0
	if argument := b.getenv("OTEL_TRACES_SAMPLER_ARG"); argument != "" && strings.HasSuffix(name, "traceidratio") {
		var err error
		if ratio, err = strconv.ParseFloat(argument, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			b.refuseVariable("OTEL_TRACES_SAMPLER_ARG", "expected a number from 0 to 1")
			ratio = 0
		}
	}
	root, based := strings.CutPrefix(name, "parentbased_")
	samplers := map[string]sdktrace.Sampler{"always_on": sdktrace.AlwaysSample(), "always_off": sdktrace.NeverSample(), "traceidratio": sdktrace.TraceIDRatioBased(ratio)}
	sampler, ok := samplers[root]
	switch {
	case !ok:
		b.variableOneOf("OTEL_TRACES_SAMPLER", "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio")
	case based:
		return sdktrace.ParentBased(sampler)
	}
	return sampler
}

// resourceAttributes returns the attributes of the resource, those of the section before those of
// the environment.
func (b *builder) resourceAttributes(c Tracing) []attribute.KeyValue {
	var attributes []attribute.KeyValue
	fromVariable, err := parseAttributes(b.getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		b.refuseVariable("OTEL_RESOURCE_ATTRIBUTES", "%w", err)
	}
	fromSection, err := parseAttributes(c.ResourceAttributes)
	if err != nil {
		b.refuse("tracing.resource_attributes", "%w", err)
	}
	for _, pair := range append(fromVariable, fromSection...) { // the last with a key counts
		attributes = append(attributes, attribute.String(pair.name, pair.value))
	}
	return attributes
}

// parseAttributes is parsePairs for text that goes out with each span.
func parseAttributes(text string) ([]pair, error) {
	pairs, err := parsePairs(text)
	for _, pair := range pairs {
		if !utf8.ValidString(pair.name + pair.value) {
			return nil, errNotUTF8
		}
	}
	return pairs, err
}

// errNotUTF8 refuses text that OTLP can't hold: no span would be sent.
var errNotUTF8 = errors.New("is not UTF-8")

type pair struct{ name, value string }

// parsePairs reads pairs in the form that OpenTelemetry's variables have: NAME=VALUE,NAME=VALUE,
// with percent escapes in values. Its errors quote nothing of them.
func parsePairs(text string) (pairs []pair, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, escaped, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(escaped))
		if !ok || name == "" || err != nil {
			return nil, errors.New("expected NAME=VALUE, and a comma between two of them; other characters are written as percent escapes")
		}
		pairs = append(pairs, pair{name, value})
	}
	return pairs, nil
}

// unsupportedVariables refuses what the environment asks for and the gateway can't do: spans would
// get lost, or be sent in another way than somebody expects.
func (b *builder) unsupportedVariables() {
	for _, of := range []string{"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"} {
		for setting, allowed := range map[string]string{"PROTOCOL": "http/protobuf", "COMPRESSION": "none", "CLIENT_CERTIFICATE": "", "CLIENT_KEY": ""} {
			switch value := b.getenv(of + setting); {
			case value == "" || value == allowed:
			case allowed == "":
				b.refuseVariable(of+setting, "is not supported: the gateway shows receivers no certificate")
			default:
				b.refuseVariable(of+setting, "expected %s: the gateway speaks OTLP in no other way", allowed)
			}
		}
	}
}
