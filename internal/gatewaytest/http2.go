package gatewaytest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HTTP2 is a connection over HTTP/2 of which a test writes and reads the frames. It ends with the
// test, and after a minute at the latest.
type HTTP2 struct {
	Conn   *tls.Conn
	Framer *http2.Framer

	next    uint32 // stream: a client's have odd ids
	block   bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder
}

// DialHTTP2 connects to a server whose certificate the roots trust. The server may send so many
// bytes of content on each stream as the window has.
func DialHTTP2(t testing.TB, address string, roots *x509.CertPool, window uint32) *HTTP2 {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &HTTP2{Conn: conn, Framer: http2.NewFramer(conn, conn), next: 1, decoder: hpack.NewDecoder(4096, nil)}
	c.encoder = hpack.NewEncoder(&c.block)
	if err := c.Framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		t.Fatal(err)
	}
	return c
}

// Send sends a request on the next stream, and returns the id of the stream. The fields are names
// and values by turns.
func (c *HTTP2) Send(t testing.TB, method, path, content string, fields ...string) (stream uint32) {
	t.Helper()
	stream, c.next = c.next, c.next+2
	c.block.Reset()
	fields = append([]string{":method", method, ":scheme", "https", ":authority", c.Conn.RemoteAddr().String(), ":path", path}, fields...)
	for i := 0; i < len(fields); i += 2 {
		c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := c.Framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndStream: content == "", EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if content != "" {
		if err := c.Framer.WriteData(stream, true, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	return stream
}

// Status reads frames until the response on a stream begins, and returns its status. All header
// blocks of the connection must be read by Status.
func (c *HTTP2) Status(t testing.TB, stream uint32) string {
	t.Helper()
	for {
		frame, err := c.Framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		headers, ok := frame.(*http2.HeadersFrame)
		if !ok {
			continue
		}
		fields, err := c.decoder.DecodeFull(headers.HeaderBlockFragment())
		if err != nil {
			t.Fatal(err)
		}
		if headers.StreamID == stream {
			return fields[0].Value // :status comes first
		}
	}
}
