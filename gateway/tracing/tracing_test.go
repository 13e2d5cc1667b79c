package tracing_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"

	"atlas-export-gateway/gateway/tracing"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
)

// No test leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// tracer is a Tracer with its log.
type tracer struct {
	*tracing.Tracer
	log gatewaytest.Buffer
}

func start(url string) *tracer {
	t := &tracer{}
	t.Tracer = tracing.New(tracing.Config{
		Receiver: tracing.Receiver{Endpoint: url + "/v1/traces", Header: map[string]secret.Secret{"Api-Key": secret.New("c4na7y")}, Timeout: 10 * time.Second},
		Sampler:  sdktrace.AlwaysSample(),
		Service:  "test",
	}, slog.New(slog.NewJSONHandler(&t.log, nil)))
	return t
}

// spans makes a number of spans.
func (t *tracer) spans(n int) {
	for i := range n {
		t.Start(time.Now(), nil).End(time.Now(), "test", false, nil, attribute.Int("i", i))
	}
}

// close closes the Tracer, which has some time for the spans that wait.
func (t *tracer) close(patience time.Duration) {
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t.Close(limit)
}

// A batch that the receiver can't take now is sent again.
func TestRepeats(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 502, 503, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			receiver := gatewaytest.StartReceiver(t, nil)
			var refused atomic.Bool
			receiver.Refuse = func(w http.ResponseWriter, _ *http.Request) bool {
				first := refused.CompareAndSwap(false, true)
				if first {
					w.WriteHeader(status)
				}
				return first
			}
			tracer := start(receiver.URL)
			tracer.spans(3)
			tracer.close(10 * time.Second)
			if n := len(receiver.Spans()); n != 3 || tracer.Dropped() != 0 || len(receiver.Batches()) != 2 || tracer.log.String() != "" {
				t.Errorf("%d spans came, %d were dropped: %s", n, tracer.Dropped(), &tracer.log)
			}
		})
	}
}

// What a receiver rejects of a batch is dropped, and so is a batch that it refuses.
func TestRejected(t *testing.T) {
	t.Parallel()
	partial := protowire.AppendString(protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 2), 2, protowire.BytesType), "c4na7y")
	for _, test := range []struct {
		status  int
		answer  string
		dropped uint64
		cause   string
	}{
		{200, string(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)), 2, "the receiver rejected spans of a batch"},
		{200, string(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial[:2])), 2, "the receiver rejected spans of a batch"},
		{200, "\x0a\xff", 0, ""}, // cut
		{200, "c4na7y", 0, ""},
		{400, "c4na7y", 3, "the receiver answered 400"},
		{500, "c4na7y", 3, "the receiver answered 500"},
	} {
		receiver := gatewaytest.StartReceiver(t, nil)
		receiver.Refuse = func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.answer)
			return true
		}
		tracer := start(receiver.URL)
		tracer.spans(3)
		tracer.close(10 * time.Second)
		log := tracer.log.String()
		if tracer.Dropped() != test.dropped || len(receiver.Batches()) != 1 || !strings.Contains(log, test.cause) || (log == "") != (test.cause == "") || strings.Contains(log, "c4na7y") {
			t.Errorf("%d %q: %d spans were dropped: %s", test.status, test.answer, tracer.Dropped(), log)
		}
	}
}

// Spans that find no room are dropped at once. Those that the receiver has not taken at the end
// are dropped then, and each is counted once.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	hangs := gatewaytest.Serve(t, func(conn net.Conn) { conn.Read(make([]byte, 1<<20)); <-t.Context().Done() })
	tracer := start("http://" + hangs.Addr().String())
	const sent, room = 5000, 2048
	tracer.spans(sent)
	if dropped := tracer.Dropped(); dropped != sent-room {
		t.Errorf("%d spans were dropped while the receiver hangs, want %d", dropped, sent-room)
	}
	tracer.close(10 * time.Millisecond)
	if dropped := tracer.Dropped(); dropped != sent {
		t.Errorf("%d spans were dropped in all, want %d", dropped, sent)
	}
	if log := tracer.log.String(); !strings.Contains(log, "the receiver did not answer in time") {
		t.Errorf("the log: %s", log)
	}
}

// A path shows ids and names of clusters, and no other text.
func TestPath(t *testing.T) {
	t.Parallel()
	const id = "64f0c1a2b3d4e5f607182930"
	const template = "/api/atlas/v2/groups/{groupId}/clusters/{clusterName}/backup/exports"
	for path, want := range map[string]string{
		"/api/atlas/v2/groups/" + id + "/clusters/orders-1/backup/exports":                        "/api/atlas/v2/groups/" + id + "/clusters/orders-1/backup/exports",
		"/api/atlas/v2/groups/c4na7y/clusters/orders/backup/exports":                              "/api/atlas/v2/groups/{groupId}/clusters/orders/backup/exports",
		"/api/atlas/v2/groups/" + id + "/clusters/c4na7y%20/backup/exports":                       "/api/atlas/v2/groups/" + id + "/clusters/{clusterName}/backup/exports",
		"/api/atlas/v2/groups/" + id + "/clusters/" + strings.Repeat("a", 65) + "/backup/exports": "/api/atlas/v2/groups/" + id + "/clusters/{clusterName}/backup/exports",
		"/api/atlas/v2/groups/" + id + "/clusters/-/backup/exports":                               "/api/atlas/v2/groups/" + id + "/clusters/{clusterName}/backup/exports",
		"/api/atlas/v2/groups/" + id + "/clusters//backup/exports":                                "/api/atlas/v2/groups/" + id + "/clusters/{clusterName}/backup/exports",
		"/api/atlas/v2/groups/" + id:                                                              template,
		"c4na7y":                                                                                  template,
	} {
		if got := tracing.Path(template, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
