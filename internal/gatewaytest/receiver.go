package gatewaytest

import (
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Receiver takes spans by OTLP over HTTP. Its spans must hold no secret of the test.
type Receiver struct {
	// URL is the receiver's URL, without a path.
	URL string
	// Refuse, if not nil, may answer a batch in the place of the receiver, which then does not have
	// its spans, and reports whether it did. It is set before the first batch.
	Refuse func(http.ResponseWriter, *http.Request) bool

	mu      sync.Mutex
	spans   []Spanned
	batches []*http.Request
}

// Spanned is a span that a [Receiver] has got. Values of attributes are text, int64 or bool.
type Spanned struct {
	Name, Kind       string // the kind as SERVER or CLIENT
	Trace, ID, State string // the ids in hexadecimal digits, and tracestate
	Parent           string // the id of the span above; empty for none
	Links            []string
	Failed           bool
	Message          string // of the status
	Start, End       time.Time
	Attributes       map[string]any
	Resource         map[string]any
}

// StartReceiver serves a receiver until the test ends, with a certificate unless it is nil.
func StartReceiver(t testing.TB, certificate *tls.Certificate) *Receiver {
	t.Helper()
	r := &Receiver{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.take))
	if certificate == nil {
		server.Start()
	} else {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		server.StartTLS()
	}
	r.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections() // some may hang
		server.Close()
		FindSecrets(t, "the spans", fmt.Sprintf("%+v", r.Spans()))
	})
	return r
}

// take takes a batch.
func (r *Receiver) take(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.batches = append(r.batches, request)
	r.mu.Unlock()
	if r.Refuse != nil && r.Refuse(w, request) {
		return
	}
	body, err := io.ReadAll(request.Body)
	var data tracepb.TracesData
	if err == nil {
		err = proto.Unmarshal(body, &data)
	}
	if err != nil || request.URL.Path != "/v1/traces" || request.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "no batch of spans", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range data.ResourceSpans {
		for _, in := range of.ScopeSpans {
			for _, span := range in.Spans {
				r.spans = append(r.spans, spanned(span, values(of.Resource.GetAttributes())))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func spanned(s *tracepb.Span, resource map[string]any) Spanned {
	got := Spanned{
		Name:       s.Name,
		Kind:       s.Kind.String()[len("SPAN_KIND_"):],
		Trace:      hex.EncodeToString(s.TraceId),
		ID:         hex.EncodeToString(s.SpanId),
		State:      s.TraceState,
		Parent:     hex.EncodeToString(s.ParentSpanId),
		Failed:     s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		Message:    s.Status.GetMessage(),
		Start:      time.Unix(0, int64(s.StartTimeUnixNano)),
		End:        time.Unix(0, int64(s.EndTimeUnixNano)),
		Attributes: values(s.Attributes),
		Resource:   resource,
	}
	for _, link := range s.Links {
		got.Links = append(got.Links, hex.EncodeToString(link.TraceId)+"/"+hex.EncodeToString(link.SpanId))
	}
	return got
}

func values(attributes []*commonpb.KeyValue) map[string]any {
	found := map[string]any{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			found[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			found[a.Key] = v.IntValue
		case *commonpb.AnyValue_BoolValue:
			found[a.Key] = v.BoolValue
		default:
			found[a.Key] = a.Value.String()
		}
	}
	return found
}

// Spans returns the spans that have come, by the time of their start.
func (r *Receiver) Spans() []Spanned {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := slices.Clone(r.spans)
	slices.SortStableFunc(spans, func(a, b Spanned) int { return a.Start.Compare(b.Start) })
	return spans
}

// Batches returns the requests that have come, whose content was read.
func (r *Receiver) Batches() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// Await waits until a number of spans have come, and returns all that have.
func (r *Receiver) Await(t testing.TB, n int) []Spanned {
	t.Helper()
	WaitFor(t, fmt.Sprintf("%d spans", n), func() bool { return len(r.Spans()) >= n })
	return r.Spans()
}
