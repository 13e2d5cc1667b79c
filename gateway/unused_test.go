package gateway_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
)

// A connection over HTTP/2 that goes on with empty CONTINUATION frames, or other frames that bring
// no request, ends: after some megabytes, and after timeouts.idle and a second.
func TestFramesWithoutRequests(t *testing.T) {
	g, roots := startTLS(t, sim.Start(t, sim.Config{}).URL(), "callers: {anonymous: true}\nlimits: {request_body: 16384}\ntimeouts: {idle: 2s}\n")
	const unused = 1<<20 + 64*(16<<10+16<<10)
	for name, write := range map[string]func(f *http2.Framer){
		"CONTINUATION": func(f *http2.Framer) { f.WriteContinuation(1, false, nil) },
		"PING":         func(f *http2.Framer) { f.WritePing(true, [8]byte{}) },
		"unknown":      func(f *http2.Framer) { f.WriteRawFrame(0xfe, 0, 0, nil) },
	} {
		begin := func() *gatewaytest.HTTP2 {
			c := gatewaytest.DialHTTP2(t, g.Address, roots, 1<<16)
			if name == "CONTINUATION" {
				if err := c.Framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1}); err != nil {
					t.Fatal(err)
				}
			}
			return c
		}
		t.Run(name+", fast", func(t *testing.T) {
			c := begin()
			var frames bytes.Buffer
			for framer := http2.NewFramer(&frames, nil); frames.Len() < 16<<10; {
				write(framer)
			}
			go io.Copy(io.Discard, c.Conn)
			sent := 0
			for err := error(nil); err == nil && sent < 100<<20; sent += frames.Len() {
				_, err = c.Conn.Write(frames.Bytes())
			}
			// The buffers of the sockets hold some of it.
			if sent > unused+16<<20 {
				t.Errorf("%d bytes were sent", sent)
			}
		})
		t.Run(name+", slow", func(t *testing.T) {
			t.Parallel()
			c := begin()
			go io.Copy(io.Discard, c.Conn)
			began := time.Now()
			for err := error(nil); err == nil && time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
				var frame bytes.Buffer
				write(http2.NewFramer(&frame, nil))
				_, err = c.Conn.Write(frame.Bytes())
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("the connection is open after %v", took)
			}
		})
	}
}

// A connection that brings requests may read any amount, and content may come in frames of a byte.
func TestManyRequestsOnOneConnection(t *testing.T) {
	g, roots := startTLS(t, sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}}).URL(), "callers: {anonymous: true}\nlimits: {request_body: 16384}\n")
	client := &http.Client{Transport: newHTTP2(t, roots), Timeout: 20 * time.Second}
	body := `{"x":"` + strings.Repeat("x", 16_000) + `"}`
	for range 300 { // of 16 KB, where 3 MB may come without a request
		if status, _ := overHTTP2(t, client, g, "POST", v2Exports, "", body); status != 400 {
			t.Fatalf("%d", status)
		}
	}
	request, err := http.NewRequest("POST", g.URL+v2Exports, iotest.OneByteReader(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Accept": {latest}, "Content-Type": {plain}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 400 || response.ProtoMajor != 2 {
		t.Errorf("content in frames of a byte: %s", response.Status)
	}
}
