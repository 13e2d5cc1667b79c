package gateway_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
)

// startTLS serves a gateway over TLS, and returns the authority that its certificate is of.
func startTLS(t testing.TB, upstream, settings string, list ...*gatewaytest.Caller) (*gatewaytest.Gateway, *x509.CertPool) {
	t.Helper()
	authority := gatewaytest.NewAuthority(t)
	return gatewaytest.StartFor(t, upstream, authority.Loopback(t).TLS(t)+settings, list...), authority.Pool
}

// newHTTP2 returns a client of HTTP/2.
func newHTTP2(t testing.TB, roots *x509.CertPool) *http.Transport {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, ResponseHeaderTimeout: 20 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// overHTTP2 sends a request with a token and reads the answer.
func overHTTP2(t testing.TB, client *http.Client, g *gatewaytest.Gateway, method, target, token, body string) (status int, content string) {
	t.Helper()
	request, err := http.NewRequest(method, g.URL, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	path, query, _ := strings.Cut(target, "?")
	request.URL = &url.URL{Scheme: "https", Host: g.Address, Opaque: path, RawQuery: query} // unchanged
	request.Header.Set("Accept", latest)
	request.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		request.Header.Set("Content-Type", plain)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Errorf("%s %s: %v", method, target, err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.ProtoMajor != 2 {
		t.Errorf("%s %s: %s %v", method, target, response.Proto, err)
	}
	return response.StatusCode, string(text)
}

// A request over HTTP/2 is treated as one over HTTP/1.1: authenticated, checked in its raw
// target, and forwarded once.
func TestHTTP2(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g, roots := startTLS(t, atlas.URL(), "", nightly)
	client := &http.Client{Transport: newHTTP2(t, roots), Timeout: 20 * time.Second}
	do := func(method, target, token, body string) (int, string) {
		return overHTTP2(t, client, g, method, target, token, body)
	}
	token := nightly.Token.Secret.Reveal()
	_, made := do("POST", v1Buckets+"/", token, `{"cloudProvider":"AWS","bucketName":"acme-exports","iamRoleId":"`+role+`"}`)
	var bucket struct {
		ID string `json:"_id"`
	}
	if err := json.Unmarshal([]byte(made), &bucket); err != nil {
		t.Fatalf("%v: %s", err, made)
	}
	create := `{"snapshotId":"` + snapshot + `","exportBucketId":"` + bucket.ID + `"}`
	for _, test := range []struct {
		method, target, token, body string
		status                      int
	}{
		{"GET", v2Exports + "?pageNum=1", token, "", 200},
		{"HEAD", v2Exports, token, "", 200},
		{"POST", v2Exports, token, create, 200},
		{"DELETE", v2Buckets + "/" + bucketID, "wrong", "", 401},
		{"GET", v2Exports + "?pageNum=01", token, "", 400},
		{"GET", strings.Replace(v2Exports, "orders", "%6frders", 1), token, "", 400},
		{"GET", strings.Replace(v2Exports, "orders", "..", 1), token, "", 400},
		{"GET", strings.Replace(v2Exports, "/v2/", "/v2//", 1), token, "", 400},
		{"POST", v2Exports, token, create + "x", 400},
		{"POST", v2Exports, token, `{"snapshotId":"` + strings.Repeat("a", 300<<10) + `"}`, 413},
		{"TRACE", v2Exports, token, "", 405},
		{"GET", "/nothing", token, "", 403},
	} {
		before := atlas.Counts().ByStatus[200]
		status, body := do(test.method, test.target, test.token, test.body)
		if n := atlas.Counts().ByStatus[200] - before; status != test.status || (n == 1) != (status == 200) {
			t.Errorf("%s %.120s: %d %.300s, and %d requests at Atlas; want %d", test.method, test.target, status, body, n, test.status)
		}
	}
	var group sync.WaitGroup
	for range 200 { // more than one connection has streams for
		group.Go(func() {
			if status, body := do("GET", v2Exports, token, ""); status != 200 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	group.Wait()
}

// The number of streams on a connection over HTTP/2 is bounded. A connection whose peer stops
// reading is closed; nothing else would end it.
func TestHTTP2PeerThatDoesNotRead(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, `{"results":[],"x":"`+strings.Repeat("x", 4<<20)+`"}`)))
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g, roots := startTLS(t, upstream.URL, "timeouts: {request: 1s, upstream: 60s}\nresponses: {check: \"off\"}", nightly)
	peer := gatewaytest.DialHTTP2(t, g.Address, roots, 1<<31-1)
	peer.Conn.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	frame, err := peer.Framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("%T before the settings", frame)
	}
	if n, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || n > 16 {
		t.Errorf("%d streams at a time", n)
	}
	peer.Framer.WriteWindowUpdate(0, 1<<30)
	peer.Send(t, "GET", v2Exports, "", "accept", latest, "authorization", nightly.Bearer())
	// The peer reads nothing from here on. What it writes fails once the connection is closed.
	for err == nil {
		time.Sleep(50 * time.Millisecond)
		err = peer.Framer.WritePing(false, [8]byte{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was kept")
	}
}

// A create whose caller has gone goes on, also while the gateway stops, so that its outcome is in
// the log. Over HTTP/2 the caller's connection stays open meanwhile.
func TestHTTP2CreateGoesOn(t *testing.T) {
	t.Parallel() // it waits most of the time
	upstream, arrived, proceed := holdingUpstream(t)
	g, roots := startTLS(t, upstream.URL, "")
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "POST", g.URL+v2Exports, strings.NewReader(export))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", latest)
	request.Header.Set("Content-Type", plain)
	connections, left := newHTTP2(t, roots), make(chan error)
	go func() {
		_, err := connections.RoundTrip(request)
		left <- err
	}()
	gatewaytest.Receive(t, "the create at Atlas", arrived)
	leave()
	if err := gatewaytest.Receive(t, "the end of the call", left); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	g.Stop()
	select {
	case <-g.Ended():
		t.Error("the gateway stopped before Atlas answered")
	case <-time.After(2500 * time.Millisecond): // more than Shutdown needs
	}
	close(proceed)
	g.Wait(t)
	if logs := g.Log.String(); !strings.Contains(logs, `"upstream_status":200`) {
		t.Errorf("logs: %s", logs)
	}
}

// The gateway soon gives up an error whose caller has no window for it, and resets the stream.
func TestHTTP2RefusalIsNotTaken(t *testing.T) {
	t.Parallel() // it waits most of the time
	atlas := sim.Start(t, sim.Config{})
	g, roots := startTLS(t, atlas.URL(), "", gatewaytest.Issue(t, "nightly", everything))
	peer := gatewaytest.DialHTTP2(t, g.Address, roots, 0)
	open := map[uint32]string{}
	for _, target := range []string{v2Exports, "/api/oauth/token", "/nothing"} {
		open[peer.Send(t, "POST", target, "", "accept", latest)] = target
	}
	for len(open) > 0 {
		frame, err := peer.Framer.ReadFrame()
		if err != nil {
			t.Fatalf("%v; open: %v", err, open)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok {
			delete(open, reset.StreamID)
		}
	}
}
