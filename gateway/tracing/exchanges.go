package tracing

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"atlas-export-gateway/internal/objectid"
)

// Exchanges are those with Atlas that one request for Atlas takes: each time that it is sent, and
// each request for a challenge before. Each is a span.
type Exchanges struct {
	tracer trace.Tracer
	of     trace.SpanContext // the span of the request that Atlas is asked for
	sent   atomic.Int32
}

// More returns the exchanges of a further request for Atlas; nil for nil Exchanges.
func (e *Exchanges) More() *Exchanges {
	if e == nil {
		return nil
	}
	return &Exchanges{tracer: e.tracer, of: e.of}
}

// Through returns a transport that makes a span of each exchange through another one. template is
// the path of the operation, with its parameters in braces.
func (e *Exchanges) Through(base http.RoundTripper, template string) http.RoundTripper {
	return &through{e, base, template}
}

type through struct {
	*Exchanges
	base     http.RoundTripper
	template string
}

// RoundTrip sends the request as it is. The span ends with the response's content.
func (t *through) RoundTrip(r *http.Request) (*http.Response, error) {
	attributes := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(r.Method),
		semconv.URLFull(r.URL.Scheme + "://" + r.URL.Host + Path(t.template, r.URL.EscapedPath())),
		semconv.URLTemplate(t.template),
		semconv.ServerAddress(r.URL.Hostname()),
		semconv.ServerPort(Port(r.URL)),
	}
	if n := t.sent.Add(1) - 1; n > 0 {
		attributes = append(attributes, semconv.HTTPRequestResendCount(int(n)))
	}
	parent := trace.ContextWithSpanContext(context.Background(), t.of)
	_, span := t.tracer.Start(parent, r.Method+" "+t.template, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	response, err := t.base.RoundTrip(r)
	if err != nil {
		fail(span, errorType(err, "disconnected"))
		span.End()
		return nil, err
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(response.StatusCode))
	if response.StatusCode >= 400 {
		fail(span, strconv.Itoa(response.StatusCode))
	}
	response.Body = &content{ReadCloser: response.Body, span: span}
	return response, nil
}

// fail says that an exchange has failed, and how.
func fail(span trace.Span, errorType string) {
	span.SetAttributes(semconv.ErrorTypeKey.String(errorType))
	span.SetStatus(codes.Error, "")
}

// errorType returns a word for an error: timeout, canceled, unreachable, or otherwise the one
// given. The text of an error may quote anything.
func errorType(err error, otherwise string) string {
	network, ok := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case ok && network.Op == "dial":
		return "unreachable"
	}
	return otherwise
}

// content is that of a response, whose end is the end of a span.
type content struct {
	io.ReadCloser
	span trace.Span
	once sync.Once
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil {
		c.end(err)
	}
	return n, err
}

func (c *content) Close() error {
	c.end(io.EOF)
	return c.ReadCloser.Close()
}

func (c *content) end(err error) {
	c.once.Do(func() {
		if err != io.EOF {
			fail(c.span, errorType(err, "truncated"))
		}
		c.span.End()
	})
}

// Path returns a path as a span shows it: as its template, with the ids and the names of clusters
// in the place of their parameters. What else stands in a path may be any text.
func Path(template, path string) string {
	segments, shown := strings.Split(path, "/"), strings.Split(template, "/")
	if len(segments) != len(shown) {
		return template
	}
	for i, parameter := range shown {
		if strings.HasPrefix(parameter, "{") && (objectid.Valid(segments[i]) || parameter == "{clusterName}" && isClusterName(segments[i])) {
			shown[i] = segments[i]
		}
	}
	return strings.Join(shown, "/")
}

// isClusterName reports whether a text has the form of a cluster's name.
func isClusterName(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 64 && s[0] != '-'
}

// Port returns the port of a URL.
func Port(u *url.URL) int {
	if port, err := strconv.Atoi(u.Port()); err == nil {
		return port
	}
	if u.Scheme == "https" {
		return 443
	}
	return 80
}
