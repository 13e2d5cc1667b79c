package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// startTLS serves a gateway over TLS and returns its authority's pool.
func startTLS(t testing.TB, atlas *sim.Server, settings string, list ...issued) (*running, *x509.CertPool) {
	t.Helper()
	certFile, keyFile, roots := selfIssued(t, t.TempDir())
	return startFor(t, atlas, "listener: {tls_cert_file: "+certFile+", tls_key_file: "+keyFile+"}\n"+settings, list...), roots
}

// selfIssued makes a certificate for loopback, its key, and the authority to trust.
func selfIssued(t testing.TB, dir string) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca, caKey := certificate(t, nil, nil, time.Hour)
	leaf, key := certificate(t, ca, caKey, time.Hour, net.IPv4(127, 0, 0, 1))
	replace(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))
	replace(t, keyFile, pemKey(t, key))
	roots = x509.NewCertPool()
	roots.AddCert(ca)
	return certFile, keyFile, roots
}

// Over HTTP/2 a request is what it is over HTTP/1.1: authenticated, checked in its raw
// target, forwarded once.
func TestHTTP2(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := issue(t, "nightly", everything)
	g, roots := startTLS(t, atlas, "", nightly)
	connections := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(connections.CloseIdleConnections)
	client := &http.Client{Transport: connections, Timeout: 20 * time.Second}
	do := func(method, target, token, body string) (int, string) {
		var content io.Reader
		if body != "" {
			content = strings.NewReader(body)
		}
		request, err := http.NewRequest(method, "https://"+g.address, content)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		path, query, _ := strings.Cut(target, "?")
		request.URL = &url.URL{Scheme: "https", Host: g.address, Opaque: path, RawQuery: query} // as it is
		request.Header.Set("Accept", latest)
		request.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			request.Header.Set("Content-Type", "application/json")
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
	token := nightly.token.Secret.Reveal()
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
		{"GET", "/nothing", token, "", 404},
	} {
		before := atlas.Counts().ByStatus[200]
		status, body := do(test.method, test.target, test.token, test.body)
		if n := atlas.Counts().ByStatus[200] - before; status != test.status || (n == 1) != (status == 200) {
			t.Errorf("%s %.120s: %d %.300s, and %d requests at Atlas; want %d", test.method, test.target, status, body, n, test.status)
		}
	}
	var group sync.WaitGroup
	for range 200 { // more than one connection's streams
		group.Go(func() {
			if status, body := do("GET", v2Exports, token, ""); status != 200 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	group.Wait()
}

// What one connection over HTTP/2 may hold is bounded, and a peer that stops reading is let
// go: nothing else ends it.
func TestHTTP2PeerThatDoesNotRead(t *testing.T) {
	upstream := startRaw(t, answering(jsonAnswer(200, `{"results":[],"x":"`+strings.Repeat("x", 4<<20)+`"}`)))
	nightly := issue(t, "nightly", everything)
	dir := t.TempDir()
	certFile, keyFile, roots := selfIssued(t, dir)
	g := startWith(t, fmt.Sprintf(`
listener: {tls_cert_file: %s, tls_key_file: %s}
timeouts: {request: 1s, upstream: 60s}
responses: {check: "off"}
upstream: {base_url: %q, credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]}
callers:
  list:
%s`, certFile, keyFile, upstream.url, nightly.yaml), "PUBLIC=public", "PRIVATE="+privateKey)
	conn, err := tls.Dial("tcp", g.address, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	conn.SetDeadline(time.Now().Add(30 * time.Second)) // the watchdog
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}); err != nil {
		t.Fatal(err)
	}
	frame, err := framer.ReadFrame()
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
	framer.WriteWindowUpdate(0, 1<<30)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", g.address}, {":path", v2Exports}, {"accept", latest}, {"authorization", "Bearer " + nightly.token.Secret.Reveal()}} {
		encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	// Nothing is read from here on: what is written fails once the connection is closed.
	for err == nil {
		time.Sleep(50 * time.Millisecond)
		err = framer.WritePing(false, [8]byte{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was kept")
	}
}

// A create that its caller left goes on, also while the gateway stops, so that its outcome is
// in the log. Over HTTP/2 its connection is none the wiser.
func TestHTTP2CreateGoesOn(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	upstream := startRaw(t, func(conn net.Conn, _ *http.Request) {
		close(arrived)
		<-proceed
		io.WriteString(conn, jsonAnswer(200, job))
	})
	certFile, keyFile, roots := selfIssued(t, t.TempDir())
	g := start(t, upstream.url, "public", privateKey, "listener: {tls_cert_file: "+certFile+", tls_key_file: "+keyFile+"}")
	connections := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer connections.CloseIdleConnections()
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "POST", "https://"+g.address+v2Exports, strings.NewReader(export))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", latest)
	request.Header.Set("Content-Type", "application/json")
	left := make(chan error)
	go func() {
		_, err := connections.RoundTrip(request)
		left <- err
	}()
	<-arrived
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	g.stop()
	select {
	case err := <-g.stopped:
		g.stopped <- err
		t.Error("the gateway stopped before Atlas answered")
	case <-time.After(2500 * time.Millisecond): // Shutdown gives the connection a second, and looks every 500 ms
	}
	close(proceed)
	err = <-g.stopped
	g.stopped <- nil
	if logs := g.logs.String(); err != nil || !strings.Contains(logs, `"upstream_status":200`) {
		t.Errorf("%v: %s", err, logs)
	}
}

// A refusal that its caller has no window for is given up soon, and with it its stream.
func TestHTTP2RefusalIsNotTaken(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g, roots := startTLS(t, atlas, "", issue(t, "nightly", everything))
	conn, err := tls.Dial("tcp", g.address, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second)) // the watchdog
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	open := map[uint32]string{1: v2Exports, 3: "/api/oauth/token", 5: "/nothing"}
	for id := uint32(1); id <= 5; id += 2 {
		block.Reset()
		for _, field := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", g.address}, {":path", open[id]}, {"accept", latest}} {
			encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
	}
	for len(open) > 0 {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("%v; open: %v", err, open)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok {
			delete(open, reset.StreamID)
		}
	}
}
