package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
)

// After the drain nothing is accepted any more, and what was accepted before is answered: requests
// of which nothing has arrived yet, the beginning of the header, or the header. Idle connections
// end at once.
func TestStopAnswersWhatWasAccepted(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "timeouts: {header: 30s, request: 30s}")
	whole := strings.Replace(request("POST "+v2Buckets, `{"cloudProvider":"AWS","bucketName":"acme","iamRoleId":"`+role+`"}`, "Accept: "+latest, "Content-Type: "+plain), "Connection: close\r\n", "", 1)
	type half struct {
		*net.TCPConn
		*bufio.Reader
		rest string
	}
	dial := func(sent int) half {
		conn, err := net.Dial("tcp", g.Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, whole[:sent])
		return half{conn.(*net.TCPConn), bufio.NewReader(conn), whole[sent:]}
	}
	answer := func(h half) *http.Response {
		t.Helper()
		io.WriteString(h.TCPConn, h.rest)
		response, err := http.ReadResponse(h.Reader, nil)
		if err != nil {
			t.Error(err)
			return nil
		}
		content, err := io.ReadAll(response.Body)
		if response.StatusCode != 200 || err != nil {
			t.Errorf("%d %s, %v", response.StatusCode, content, err)
		}
		return response
	}
	halves := []half{dial(0), dial(10), dial(strings.Index(whole, "\r\n\r\n") + 4), dial(len(whole) - 1)}
	idle := dial(0) // accepted behind the others, which have been accepted once it is answered
	if response := answer(idle); response != nil && response.Close {
		t.Error("asked to close the connection before the gateway was told to stop")
	}
	g.Stop()
	if _, err := idle.ReadByte(); err != io.EOF {
		t.Errorf("an idle connection: %v", err)
	}
	if conn, err := net.Dial("tcp", g.Address); err == nil {
		conn.Close()
		t.Error("another connection was accepted")
	}
	for _, h := range halves {
		if response := answer(h); response != nil && !response.Close {
			t.Error("not asked to close the connection")
		}
	}
	g.Wait(t)
}

// Callers over HTTP/2 are told to send nothing more before their connections end, idle ones too. A
// request that is under way is answered.
func TestStopTellsCallersOverHTTP2(t *testing.T) {
	upstream, arrived, proceed := holdingUpstream(t)
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g, roots := startTLS(t, upstream.URL, "", nightly)
	fields := []string{"accept", latest, "authorization", nightly.Bearer()}
	dial := func(path string) (c *gatewaytest.HTTP2, stream uint32) {
		c = gatewaytest.DialHTTP2(t, g.Address, roots, 1<<16)
		return c, c.Send(t, "GET", path, "", fields...)
	}
	// told reads frames until GOAWAY, and returns the last stream that it names.
	told := func(c *gatewaytest.HTTP2) uint32 {
		t.Helper()
		for {
			frame, err := c.Framer.ReadFrame()
			if err != nil {
				t.Fatalf("the connection ended without a word: %v", err)
			}
			if away, ok := frame.(*http2.GoAwayFrame); ok && away.ErrCode == http2.ErrCodeNo {
				return away.LastStreamID
			}
		}
	}
	idle, refused := dial("/")
	if status := idle.Status(t, refused); status != "403" {
		t.Fatal(status)
	}
	silent := gatewaytest.DialHTTP2(t, g.Address, roots, 1<<16)
	if err := silent.Framer.WritePing(false, [8]byte{}); err != nil {
		t.Fatal(err)
	}
	for acknowledged := false; !acknowledged; {
		frame, err := silent.Framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		ping, ok := frame.(*http2.PingFrame)
		acknowledged = ok && ping.IsAck()
	}
	busy, stream := dial(v2Exports + "/" + jobID)
	gatewaytest.Receive(t, "the request at Atlas", arrived)
	g.Stop()
	if last := told(idle); last != refused {
		t.Errorf("GOAWAY names stream %d", last)
	}
	if last := told(silent); last != 0 {
		t.Errorf("GOAWAY names stream %d", last)
	}
	if last := told(busy); last != stream {
		t.Errorf("GOAWAY names stream %d", last)
	}
	close(proceed)
	if status := busy.Status(t, stream); status != "200" {
		t.Errorf("the request under way: %s", status)
	}
	g.Wait(t)
}
