package tracing

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
)

// Receiver is what takes spans: a collector, or a backend that speaks OTLP over HTTP.
type Receiver struct {
	// Endpoint is the URL that spans are sent to, such as http://127.0.0.1:4318/v1/traces.
	Endpoint string
	// Roots are the certificate authorities to trust; nil means the system's.
	Roots *x509.CertPool
	// Header has fields that are sent with spans, such as the receiver's key.
	Header map[string]secret.Secret
	// Timeout is how long the receiver may take to answer.
	Timeout time.Duration
}

// target is a Receiver with the connections to it.
type target struct {
	Receiver
	client *http.Client
}

// newTarget prepares connections to a receiver and to nothing else: it uses no proxy of the
// environment, and follows no redirect, which would get the header.
func newTarget(r Receiver) *target {
	return &target{r, &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: r.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			ForceAttemptHTTP2:      true,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    1,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       r.Timeout,
	}}
}

// same reports whether the target is a receiver.
func (t *target) same(r Receiver) bool {
	return t.Endpoint == r.Endpoint && t.Timeout == r.Timeout && t.Roots.Equal(r.Roots) &&
		maps.EqualFunc(t.Header, r.Header, secret.Secret.Equal)
}

// sending is the client of otlptrace's exporter. OpenTelemetry's own, otlptracehttp, links gRPC,
// and takes headers and proxies from the environment of the process, whatever the configuration
// says.
type sending struct {
	to     atomic.Pointer[target]
	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
}

// Start does nothing.
func (s *sending) Start(context.Context) error { return nil }

// Stop ends what is being sent.
func (s *sending) Stop(context.Context) error {
	s.cancel()
	return nil
}

// minPause and maxPause are the first and the longest pause before a batch is sent again.
const (
	minPause = time.Second
	maxPause = 10 * time.Second
)

// UploadTraces sends a batch of spans until the receiver takes it or refuses it, or until the
// context ends.
func (s *sending) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// ExportTraceServiceRequest has the same form, and a package that links gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		after, err := s.to.Load().send(ctx, body)
		if after < 0 {
			return err
		}
		select {
		case <-time.After(max(pause, after)):
		case <-ctx.Done():
			return err
		}
	}
}

var errUnanswered = errors.New("the receiver did not answer in time")

// never says that a batch is not to be sent again.
const never = -1

// send sends a batch once. again is after which pause it may be sent again, at least, or never.
func (t *target) send(ctx context.Context, body []byte) (again time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.Endpoint, bytes.NewReader(body))
	if err != nil {
		return never, errors.New("the endpoint is no URL") // config has checked it
	}
	for name, value := range t.Header {
		r.Header.Set(name, value.Reveal())
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "atlas-export-gateway")
	response, err := t.client.Do(r)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, errUnanswered
	case err != nil:
		return 0, unquoted(err)
	}
	defer outbound.Discard(response)
	switch status := response.StatusCode; status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return outbound.RetryAfter(response.Header, time.Now()), fmt.Errorf("the receiver answered %d", status)
	case http.StatusOK:
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // the batch was taken, whatever becomes of the answer
		if n := rejected(answer); n > 0 {
			return never, rejectedError(n)
		}
		return never, nil
	default:
		return never, fmt.Errorf("the receiver answered %d", status)
	}
}

// unquoted returns an error of net/http without the URL, and without what it quotes of an answer.
func unquoted(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	text, _, _ := strings.Cut(err.Error(), `"`)
	return errors.New(strings.TrimSpace(text))
}

// rejectedError is the number of spans of a batch that the receiver has not taken.
type rejectedError uint64

func (n rejectedError) Error() string { return "the receiver rejected spans of a batch" }

// rejected returns ExportTraceServiceResponse.partial_success.rejected_spans of an answer.
func rejected(answer []byte) uint64 {
	partial, _ := field(answer, 1)
	_, n := field(partial, 1)
	return n
}

// field returns the bytes or the number of the last field with a number of a message of Protocol
// Buffers.
func field(message []byte, number protowire.Number) (bytes []byte, n uint64) {
	for len(message) > 0 {
		is, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			break
		}
		value := message[length:]
		if length = protowire.ConsumeFieldValue(is, kind, value); length < 0 {
			break
		}
		message = value[length:]
		switch {
		case is == number && kind == protowire.BytesType:
			bytes, _ = protowire.ConsumeBytes(value)
		case is == number && kind == protowire.VarintType:
			n, _ = protowire.ConsumeVarint(value)
		}
	}
	return bytes, n
}
