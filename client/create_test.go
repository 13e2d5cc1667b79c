package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/sim"
)

// A create is sent once, and was not carried out unless the error says that it may have been.
func TestCreatesAreSentOnce(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
	bucket := createBucket(t, c)
	since := atlas.Now()
	for _, fault := range []sim.FaultKind{sim.FaultReset, sim.FaultRateLimit, sim.FaultUnavailable, sim.FaultTruncate} {
		atlas.Reset()
		setFaults(t, atlas, sim.Fault{Kind: fault, Count: 1})
		if _, err := c.CreateExport(t.Context(), group, cluster, export(bucket.ID)); err == nil {
			t.Errorf("%s: success", fault)
		}
		if sent := signed(atlas, "createBackupExport"); len(sent) != 1 {
			t.Errorf("%s: it was sent %d times", fault, len(sent))
		}
	}
	// The last was carried out, and can be found.
	job, err := c.FindExport(t.Context(), group, cluster, sim.OrdersSnapshot2, since)
	if err != nil || job.State != client.Queued {
		t.Errorf("%+v %v", job, err)
	}
}

// FindExport finds the newest of several jobs of a snapshot.
func TestFindNewest(t *testing.T) {
	ways(t, sim.Config{}, "", func(t *testing.T, atlas *sim.Server, way client.Config) {
		c := newClient(t, way)
		var last *client.ExportJob
		for range 3 {
			last = createExport(t, c, cluster, sim.OrdersSnapshot)
			createExport(t, c, cluster, sim.OrdersSnapshot2)
			atlas.Advance(20 * time.Minute)
		}
		for name, find := range map[string]func(context.Context, string, string, string, time.Time) (*client.ExportJob, error){"v2": c.FindExport, "v1.0": c.V1().FindExport} {
			if got, err := find(t.Context(), group, cluster, sim.OrdersSnapshot, time.Time{}); err != nil || got.ID != last.ID {
				t.Errorf("%s: %+v %v, not %s", name, got, err, last.ID)
			}
		}
	})
}

// A create that was not sent, for each reason that the client can know.
func TestNotSent(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	stop := errors.New("dry run")
	for name, test := range map[string]struct {
		ctx    context.Context
		config client.Config
		cause  error // which errors.Is finds
	}{
		"nobody listens":          {t.Context(), client.Config{BaseURL: "http://" + dead.Addr().String()}, syscall.ECONNREFUSED},
		"nobody listens, digest":  {t.Context(), client.Config{BaseURL: "http://" + dead.Addr().String(), Credential: key}, syscall.ECONNREFUSED},
		"nobody listens, account": {t.Context(), client.Config{BaseURL: "http://" + dead.Addr().String(), Credential: client.ServiceAccount("a", "b")}, syscall.ECONNREFUSED},
		"a context that is over":  {over, client.Config{BaseURL: atlas.URL()}, context.Canceled},
		"the same, digest":        {over, client.Config{BaseURL: atlas.URL(), Credential: key}, context.Canceled},
		"an untrusted server":     {t.Context(), client.Config{BaseURL: untrusted.URL}, nil},
		"BeforeSend":              {t.Context(), client.Config{BaseURL: atlas.URL(), BeforeSend: func(*http.Request) error { return stop }}, stop},
	} {
		c := newClient(t, test.config)
		for _, m := range methods {
			if !m.create {
				continue
			}
			err := m.call(test.ctx, c, group, nobody, nobody)
			if errors.Is(err, client.ErrUnknownOutcome) || err == nil || test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("%s: %s: %v", name, m.name, err)
			}
		}
	}
	if n := atlas.Counts().Requests; n != 0 {
		t.Errorf("Atlas received %d requests", n)
	}
}

// A create that was sent, and whose context or Timeout ends before the answer.
func TestEndsWhileSending(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(time.Minute)}}})
	c := newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key})
	ctx, cancel := context.WithCancel(t.Context())
	written := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
		if written++; written == 2 { // the first asks for a challenge
			cancel()
		}
	}})
	_, err := c.CreateExport(ctx, group, cluster, export(nobody))
	if !errors.Is(err, client.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	// The create is refused for its nonce, and not sent with another one.
	ctx, cancel = context.WithCancel(t.Context())
	c = newClient(t, client.Config{BaseURL: atlas.URL(), Credential: key, Transport: outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "" {
			cancel()
		}
		challenge := answer(r, 401, "{}")
		challenge.Header.Set("WWW-Authenticate", `Digest realm="MMS Public API", nonce="`+rand.Text()+`", algorithm=MD5, qop="auth"`)
		return challenge, nil
	})})
	_, err = c.CreateExport(ctx, group, cluster, export(nobody))
	if errors.Is(err, client.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("refused, and cancelled: %v", err)
	}

	// A transport that does not say whether it has a connection may have had one.
	silent := outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	c = newClient(t, client.Config{BaseURL: atlas.URL(), Transport: silent, Timeout: time.Millisecond, MaxRetries: -1})
	_, err = c.CreateExport(t.Context(), group, cluster, export(nobody))
	if !errors.Is(err, client.ErrUnknownOutcome) || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("timed out: %v", err)
	}
	_, err = c.GetExport(t.Context(), group, cluster, nobody)
	if kindOf(t, err) != "" || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("timed out: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	c = newClient(t, client.Config{BaseURL: atlas.URL(), Transport: silent})
	if _, err = c.GetExport(ctx, group, cluster, nobody); !errors.Is(err, context.DeadlineExceeded) || err.Error() != "client: getBackupExport: context deadline exceeded" {
		t.Errorf("over: %v", err)
	}
	because := errors.New("a cause")
	caused, stop := context.WithCancelCause(t.Context())
	stop(because)
	if _, err = c.GetExport(caused, group, cluster, nobody); !errors.Is(err, context.Canceled) || !errors.Is(err, because) || err.Error() != "client: getBackupExport: context canceled: a cause" {
		t.Errorf("over with a cause: %v", err)
	}
}

// Of several creates at the same time, the client knows for each whether it was sent.
func TestCreatesAtOnce(t *testing.T) {
	const arrives, fails = "65a9d3e1f20b4c7788990011", "65a9d3e1f20b4c7788990022" // the buckets
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/token"):
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"access_token":"a","token_type":"Bearer","expires_in":3600}`)
		case r.ContentLength == 0: // a request for a challenge
			w.Header().Set("WWW-Authenticate", `Digest realm="MMS Public API", nonce="`+rand.Text()+`", algorithm=MD5, qop="auth"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}
	}))
	t.Cleanup(server.Close)
	live, dead := &http.Transport{}, &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }}
	t.Cleanup(live.CloseIdleConnections)
	transport := outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		if r.Body == nil {
			return live.RoundTrip(r)
		}
		content, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(content))
		if bytes.Contains(content, []byte(fails)) {
			return dead.RoundTrip(r)
		}
		return live.RoundTrip(r)
	})
	for _, credential := range []client.Credential{{}, key, client.ServiceAccount("a", "b"), client.BearerToken("a")} {
		c := newClient(t, client.Config{BaseURL: server.URL, Credential: credential, Transport: transport})
		var creates sync.WaitGroup
		for i := range 64 {
			bucket, create := arrives, c.CreateExport
			if i%2 == 0 {
				bucket = fails
			}
			if i%4 < 2 {
				create = c.V1().CreateExport
			}
			creates.Go(func() {
				if _, err := create(t.Context(), group, cluster, export(bucket)); err == nil || errors.Is(err, client.ErrUnknownOutcome) != (bucket == arrives) {
					t.Errorf("%s: bucket %s: %v", credential, bucket, err)
				}
			})
		}
		creates.Wait()
	}
}
