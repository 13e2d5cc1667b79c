package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
)

// Row 20: frames of HTTP/2 that bring no request, such as empty CONTINUATION frames, end their
// connection: soon after the bytes that a connection may read without a request, and when the
// connection's idle time is over. A caller beside them is answered.
func TestFramesWithoutRequests(t *testing.T) {
	t.Parallel()
	authority := gatewaytest.NewAuthority(t)
	cert, key := authority.Loopback(t).WriteFiles(t)
	atlas := sim.Start(t, sim.Config{})
	environ := []string{"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE=" + cert, "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE=" + key}
	p := serveFor(t, atlas.URL(), "limits: {request_header: 4096, request_body: 4096}\n", environ...)
	idle := serveFor(t, atlas.URL(), "", append(environ, "ATLAS_GATEWAY_TIMEOUTS_IDLE=1s")...)
	const unused = 1<<20 + 64*(4<<10+4<<10) // what a connection may read without a request
	var group sync.WaitGroup
	for name, write := range map[string]func(f *http2.Framer) error{
		"CONTINUATION": func(f *http2.Framer) error { return f.WriteContinuation(1, false, nil) },
		"PING":         func(f *http2.Framer) error { return f.WritePing(true, [8]byte{}) },
		"unknown":      func(f *http2.Framer) error { return f.WriteRawFrame(0xfe, 0, 0, nil) },
	} {
		begin := func(p *process) *gatewaytest.HTTP2 {
			c := gatewaytest.DialHTTP2(t, strings.TrimPrefix(p.Listener, "https://"), authority.Pool, 1<<16)
			if name == "CONTINUATION" {
				if err := c.Framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1}); err != nil {
					t.Fatal(err)
				}
			}
			go io.Copy(io.Discard, c.Conn)
			return c
		}
		fast, slow := begin(p), begin(idle)
		group.Go(func() {
			var frames bytes.Buffer
			for framer := http2.NewFramer(&frames, nil); frames.Len() < 16<<10; {
				write(framer)
			}
			sent := 0
			for err := error(nil); err == nil && sent < 64<<20; sent += frames.Len() {
				_, err = fast.Conn.Write(frames.Bytes())
			}
			// The buffers of the sockets hold some of it.
			if sent > unused+16<<20 {
				t.Errorf("%s: %d bytes were sent", name, sent)
			}
		})
		group.Go(func() {
			began := time.Now()
			for err := error(nil); err == nil && time.Since(began) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
				err = write(slow.Framer)
			}
			if took := time.Since(began); took >= 10*time.Second {
				t.Errorf("%s: the connection is open after %v", name, took)
			}
		})
	}
	client := gatewaytest.DialHTTP2(t, strings.TrimPrefix(p.Listener, "https://"), authority.Pool, 1<<16)
	if status := client.Status(t, client.Send(t, "GET", buckets, "", "accept", strings.TrimPrefix(accept, "Accept: "))); status != "200" {
		t.Errorf("a caller beside them: %s", status)
	}
	group.Wait()
	client.Conn.Close()
	p.stop(t)
	idle.stop(t)
}
