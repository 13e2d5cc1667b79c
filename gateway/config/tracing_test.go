package config_test

import (
	"cmp"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/internal/gatewaytest"
)

// loadTracing loads a configuration with settings of tracing and variables of the environment.
func loadTracing(t *testing.T, settings string, variables ...string) (*config.Parts, string, error) {
	t.Helper()
	file := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "gateway.yaml"), "callers: {anonymous: true}\nupstream: {credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}\ntracing: {"+settings+"}\n")
	parts, err := config.Load(file, slices.Concat(environ, variables))
	return parts, file, err
}

// What the section says comes before what OpenTelemetry's variables say, and of those, what is said
// of traces before what is said of all signals.
func TestTracingSettings(t *testing.T) {
	dir := t.TempDir()
	first, second := gatewaytest.WriteFile(t, filepath.Join(dir, "a.pem"), gatewaytest.NewAuthority(t).PEM), gatewaytest.WriteFile(t, filepath.Join(dir, "b.pem"), gatewaytest.NewAuthority(t).PEM)
	headers := gatewaytest.WriteFile(t, filepath.Join(dir, "headers"), "Api-Key: c4na7y: with a colon\n\nX-Tenant:nightly\n")
	const all = "OTEL_EXPORTER_OTLP_"
	const traces = "OTEL_EXPORTER_OTLP_TRACES_"
	for _, test := range []struct {
		settings  string
		variables []string
		endpoint  string // empty: no request is traced
		sampler   string
		header    string // Api-Key
		timeout   time.Duration
		service   string
		roots     string // the file
	}{
		{settings: ""},
		{settings: "sample: 10, service_name: exports"},
		{settings: "endpoint: 'http://127.0.0.1:4318'", endpoint: "http://127.0.0.1:4318/v1/traces"},
		{settings: "endpoint: 'http://127.0.0.1:4318/'", endpoint: "http://127.0.0.1:4318/v1/traces"},
		{settings: "endpoint: 'https://receiver/otlp/v1/traces', ca_file: " + first + ", headers_file: " + headers + ", timeout: 2s, sample: 10, service_name: exports",
			variables: []string{all + "ENDPOINT=http://other", traces + "ENDPOINT=http://other", traces + "CERTIFICATE=" + second, traces + "HEADERS=api-key=c4na7y-other", all + "TIMEOUT=1", "OTEL_TRACES_SAMPLER=always_off", "OTEL_SERVICE_NAME=other", "OTEL_RESOURCE_ATTRIBUTES=service.name=another"},
			endpoint:  "https://receiver/otlp/v1/traces", sampler: "ParentBased{root:TraceIDRatioBased{0.1}", header: "c4na7y: with a colon", timeout: 2 * time.Second, service: "exports", roots: first},
		{settings: "endpoint: 'https://receiver'", variables: []string{all + "ENDPOINT=", "OTEL_SDK_DISABLED=", "OTEL_TRACES_EXPORTER="}, endpoint: "https://receiver/v1/traces"},
		{settings: "endpoint: 'https://receiver'", variables: []string{"OTEL_SDK_DISABLED=TRUE"}},
		{settings: "endpoint: 'https://receiver'", variables: []string{"OTEL_TRACES_EXPORTER=none"}},
		{variables: []string{"OTEL_TRACES_EXPORTER=otlp"}, endpoint: "http://localhost:4318/v1/traces"},
		{variables: []string{all + "ENDPOINT=https://receiver/otlp/"}, endpoint: "https://receiver/otlp/v1/traces"},
		{variables: []string{all + "ENDPOINT=https://receiver", "OTEL_SDK_DISABLED=false", "OTEL_TRACES_EXPORTER=otlp"}, endpoint: "https://receiver/v1/traces"},
		{variables: []string{all + "ENDPOINT=https://other", traces + "ENDPOINT=https://receiver/spans", all + "CERTIFICATE=" + first, traces + "CERTIFICATE=" + second, all + "HEADERS=api-key=c4na7y-other", traces + "HEADERS=x-tenant=a, api-key = c4na7y%3D%2C", all + "TIMEOUT=1", traces + "TIMEOUT=2500", all + "PROTOCOL=http/protobuf", traces + "COMPRESSION=none"},
			endpoint: "https://receiver/spans", header: "c4na7y=,", timeout: 2500 * time.Millisecond, roots: second},
		{variables: []string{all + "ENDPOINT=http://127.0.0.1", "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25", "OTEL_RESOURCE_ATTRIBUTES=service.name=another"}, endpoint: "http://127.0.0.1/v1/traces", sampler: "TraceIDRatioBased{0.25}", service: "another"},
		{variables: []string{all + "ENDPOINT=http://127.0.0.1", "OTEL_TRACES_SAMPLER=parentbased_always_off"}, endpoint: "http://127.0.0.1/v1/traces", sampler: "ParentBased{root:AlwaysOffSampler"},
		{variables: []string{all + "ENDPOINT=http://127.0.0.1", "OTEL_TRACES_SAMPLER=always_on"}, endpoint: "http://127.0.0.1/v1/traces", sampler: "AlwaysOnSampler"},
		{variables: []string{"OTEL_TRACES_SAMPLER=unknown", all + "PROTOCOL=grpc", all + "HEADERS=unused"}}, // nothing is traced
	} {
		parts, _, err := loadTracing(t, test.settings, test.variables...)
		if err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		got := parts.Tracing
		if got == nil {
			got = &tracing.Config{}
		} else {
			test.sampler = cmp.Or(test.sampler, "ParentBased{root:TraceIDRatioBased{1}")
			test.timeout = cmp.Or(test.timeout, 10*time.Second)
			test.service = cmp.Or(test.service, "atlas-gateway")
			if !strings.HasPrefix(got.Sampler.Description(), test.sampler) {
				t.Errorf("%+v: the sampler is %s", test, got.Sampler.Description())
			}
		}
		roots := ""
		for _, file := range []string{first, second} {
			if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(read(t, file)) && got.Roots.Equal(pool) {
				roots = file
			}
		}
		if header := got.Header["Api-Key"]; got.Endpoint != test.endpoint || header.Reveal() != test.header || got.Timeout != test.timeout || got.Service != test.service || roots != test.roots {
			t.Errorf("%+v: %+v", test, got)
		}
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// What is wrong is refused with its place, and without what stands there.
func TestTracingRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		return gatewaytest.WriteFile(t, filepath.Join(dir, name), content)
	}
	const receiver = "endpoint: 'https://receiver'"
	for _, test := range []struct{ settings, variable, refused string }{
		{"endpoint: 'c4na7y'", "", "tracing.endpoint: does not begin with http:// or https://"},
		{"endpoint: 'grpc://c4na7y:4317'", "", "tracing.endpoint: does not begin with"},
		{"endpoint: 'https://key:c4na7y@receiver'", "", "tracing.endpoint: holds user information"},
		{"endpoint: 'https://receiver/?key=c4na7y'", "", "tracing.endpoint: has a query"},
		{"endpoint: 'https:///c4na7y'", "", "tracing.endpoint: has no host"},
		{"endpoint: 'http://receiver', ca_file: " + file("ca", "x"), "", "tracing.ca_file: is for an endpoint that begins with https://"},
		{receiver + ", ca_file: " + file("ca", "c4na7y"), "", "tracing.ca_file: the file holds no PEM"},
		{receiver + ", headers_file: " + dir + "/none", "", "tracing.headers_file: the file can't be read"},
		{receiver + ", headers_file: " + file("empty", "\n"), "", "tracing.headers_file: is empty"},
		{receiver + ", headers_file: " + file("bare", "a: b\nc4na7y\n"), "", "tracing.headers_file: line 2 has no colon"},
		{receiver + ", headers_file: " + file("name", "c4na7y c4na7y: b\n"), "", "tracing.headers_file: line 1: the name of a field"},
		{receiver + ", headers_file: " + file("control", "a: c4na7y\x01\n"), "", "tracing.headers_file: line 1: the value of a field has control"},
		{receiver + ", headers_file: " + file("framing", "host: c4na7y\n"), "", "tracing.headers_file: line 1: the field Host can't be set"},
		{receiver + ", headers_file: " + file("twice", "a: c4na7y\nA: c4na7y\n"), "", "tracing.headers_file: line 2: the field A is there twice"},
		{receiver + ", headers_file: " + file("long", "a: "+strings.Repeat("c4na7y", 3000)), "", "tracing.headers_file: "},
		{receiver + ", resource_attributes: 'c4na7y'", "", "tracing.resource_attributes: expected NAME=VALUE"},
		{receiver + ", resource_attributes: 'a=c4na7y%'", "", "tracing.resource_attributes: expected NAME=VALUE"},
		{receiver + ", resource_attributes: 'a=c4na7y%FC'", "", "tracing.resource_attributes: is not UTF-8"},
		{"", "OTEL_SDK_DISABLED=c4na7y", ""},
		{"", "OTEL_TRACES_EXPORTER=c4na7y", ""},
		{"", "OTEL_EXPORTER_OTLP_ENDPOINT=c4na7y:4318", ""},
		{"", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://key:c4na7y@receiver", ""},
		{receiver, "OTEL_EXPORTER_OTLP_HEADERS=c4na7y", ""},
		{receiver, "OTEL_EXPORTER_OTLP_TRACES_HEADERS=a=c4na7y%0A", ""},
		{receiver, "OTEL_EXPORTER_OTLP_HEADERS=a=c4na7y,A=c4na7y", ""},
		{receiver, "OTEL_EXPORTER_OTLP_TIMEOUT=c4na7y", ""},
		{receiver, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=0", ""},
		{receiver, "OTEL_EXPORTER_OTLP_CERTIFICATE=" + file("c4na7y", "c4na7y"), ""},
		{receiver, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", ""},
		{receiver, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", ""},
		{receiver, "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", ""},
		{receiver, "OTEL_EXPORTER_OTLP_CLIENT_KEY=c4na7y", ""},
		{receiver, "OTEL_TRACES_SAMPLER=c4na7y", ""},
		{receiver, "OTEL_RESOURCE_ATTRIBUTES=c4na7y", ""},
		{receiver, "OTEL_RESOURCE_ATTRIBUTES=a=c4na7y%FC", ""},
		{receiver, "OTEL_SERVICE_NAME=c4na7y\xfc", ""},
	} {
		_, yaml, err := loadTracing(t, test.settings, test.variable)
		want := yaml + ":3: " + test.refused
		if name, _, ok := strings.Cut(test.variable, "="); ok {
			want = "environment: " + name + ": "
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%s %s: %v, want %s", test.settings, test.variable, err, want)
		}
	}
	for _, ratio := range []string{"c4na7y", "-0.1", "1.1", "NaN"} {
		if _, _, err := loadTracing(t, receiver, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG="+ratio); err == nil || !strings.Contains(err.Error(), "environment: OTEL_TRACES_SAMPLER_ARG: ") {
			t.Errorf("%s: %v", ratio, err)
		}
	}
}

// Fields that everyone on the way can read, and settings without effect, are warned of.
func TestTracingWarns(t *testing.T) {
	headers := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "headers"), "a: c4na7y\n")
	for settings, want := range map[string]string{
		"endpoint: 'http://receiver', headers_file: " + headers:  "tracing.endpoint: begins with http, so that everyone on the way to it can read the fields of tracing.headers_file",
		"endpoint: 'http://127.0.0.1', headers_file: " + headers: "",
		"endpoint: 'http://receiver'":                            "",
		"trust_traceparent: true":                                "tracing.trust_traceparent: has no effect",
	} {
		parts, _, err := loadTracing(t, settings)
		if err != nil {
			t.Fatal(err)
		}
		var warnings []string
		for _, warning := range parts.Warnings {
			warnings = append(warnings, warning.Error())
		}
		if said := strings.Join(warnings, "\n"); (said == "") != (want == "") || !strings.Contains(said, want) {
			t.Errorf("%s: %s, want %s", settings, said, want)
		}
	}
}
