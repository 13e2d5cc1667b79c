package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
)

// Row 20: content that callers begin and don't end takes bounded memory, however many callers
// there are. Callers whose content is short are served meanwhile.
func TestUnfinishedContent(t *testing.T) {
	t.Parallel() // it waits most of the time
	measured(t)
	const callers, inFlight = 1000, 16
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	p := serveFor(t, atlas.URL(), fmt.Sprintf("limits: {in_flight: %d}\n", inFlight), "ATLAS_GATEWAY_TIMEOUTS_REQUEST=5s")
	before := p.peak(t)
	content := strings.Repeat(" ", requestBody-1)
	var refused atomic.Int64
	var group sync.WaitGroup
	for i := range callers {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		group.Go(func() {
			if i%2 == 0 {
				io.WriteString(conn, request("POST "+exports, "", accept, isJSON, fmt.Sprintf("Content-Length: %d", requestBody))+content)
			} else {
				io.WriteString(conn, request("POST "+exports, "", accept, isJSON, "Transfer-Encoding: chunked")+fmt.Sprintf("%x\r\n%s", requestBody, content))
			}
			// 503 at once, or 408 in the end. Content that is not read may reset the connection.
			if answer, _ := io.ReadAll(conn); strings.HasPrefix(string(answer), "HTTP/1.1 503 ") {
				refused.Add(1)
			} else if len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
				t.Errorf("%.200s", answer)
			}
		})
	}
	for range 10 {
		inChunks := request("POST "+buckets, "", accept, isJSON, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(bucket), bucket)
		for _, bytes := range []string{aGet, aPost, inChunks} {
			if got := p.send(t, bytes); len(got) != 1 || got[0].Status != 200 {
				t.Errorf("an honest caller: %.500v", got)
			}
		}
	}
	group.Wait()
	if refused.Load() == 0 {
		t.Error("nobody was refused")
	}
	for range 2 * inFlight { // their places are free
		if got := p.send(t, request("POST "+exports, strings.Repeat(" ", requestBody), accept, isJSON)); len(got) != 1 || got[0].Status != 400 {
			t.Errorf("%.500v", got)
		}
	}
	p.stays(t, before, 12*requestBody*inFlight+callers*64<<10)
	p.stop(t)
}

// Row 20: responses that callers don't take need bounded memory. Callers whose response is short
// are served meanwhile, and requests that change something are always answered.
func TestUnreadResponses(t *testing.T) {
	measured(t)
	const connections, inFlight, limit = 30, 16, 1 << 20
	long := `{"results":[],"pad":"` + strings.Repeat("x", limit-100) + `"}`
	h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if r.URL.Path == exports {
			return gatewaytest.JSON(200, long)
		}
		return gatewaytest.JSON(200, `{"results":[]}`)
	}))
	authority := gatewaytest.NewAuthority(t)
	p := serveFor(t, h.URL, fmt.Sprintf("limits: {response_body: %d, in_flight: %d}\n", limit, inFlight), authority.Loopback(t).Environ(t)...)
	dial := func() *gatewaytest.HTTP2 {
		return gatewaytest.DialHTTP2(t, strings.TrimPrefix(p.Listener, "https://"), authority.Pool, 0)
	}
	send := func(c *gatewaytest.HTTP2, method, path, content string) string {
		return c.Status(t, c.Send(t, method, path, content, "accept", "application/vnd.atlas.2025-03-12+json", "content-type", "application/json"))
	}
	before := p.peak(t)
	got := map[string]int{}
	for range connections {
		c := dial()
		for range 16 { // streams
			got[send(c, "GET", exports, "")]++
		}
	}
	if want := map[string]int{"200": inFlight, "503": 16*connections - inFlight}; !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	c := dial()
	if status := send(c, "GET", buckets, ""); status != "200" {
		t.Errorf("a short response: %s", status)
	}
	if status := send(c, "POST", exports, export); status != "200" {
		t.Errorf("a create: %s", status)
	}
	p.stays(t, before, 4*limit*inFlight+connections*64<<10)
}

// Row 20: what a connection over HTTP/2 holds is bounded as it is over HTTP/1.1.
func TestHTTP2Streams(t *testing.T) {
	measured(t)
	atlas := sim.Start(t, sim.Config{})
	authority := gatewaytest.NewAuthority(t)
	p := serveFor(t, atlas.URL(), "", authority.Loopback(t).Environ(t)...)
	frame, err := gatewaytest.DialHTTP2(t, strings.TrimPrefix(p.Listener, "https://"), authority.Pool, 0).Framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("%T before the settings", frame)
	}
	streams, _ := settings.Value(http2.SettingMaxConcurrentStreams)
	window, _ := settings.Value(http2.SettingInitialWindowSize)
	size, _ := settings.Value(http2.SettingMaxFrameSize)
	if streams != 16 || window != 64<<10 || size > 16<<10 {
		t.Errorf("%d streams with %d bytes each, in frames of up to %d", streams, window, size)
	}
	before := p.peak(t)
	body := strings.Repeat("[", requestBody)
	var group sync.WaitGroup
	for range 25 { // connections
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		for range 16 { // streams
			group.Go(func() {
				for range 3 {
					r, err := http.NewRequest("POST", p.Listener+exports, strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					r.Header = http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "Content-Type": {"application/json"}}
					response, err := transport.RoundTrip(r)
					if err != nil {
						t.Error(err)
						return
					}
					text, err := io.ReadAll(response.Body)
					response.Body.Close()
					if err != nil || response.ProtoMajor != 2 || response.StatusCode != 400 || len(text) > 16<<10 {
						t.Errorf("%s %s, %d bytes, %v", response.Proto, response.Status, len(text), err)
					}
				}
			})
		}
	}
	group.Wait()
	p.stays(t, before, 4*requestBody*400)
	untouched(t, atlas, "HTTP/2")
	p.stop(t)
}

// slowCallers opens connections to the gateway, whose callers are slow by turns with the header
// of a create, slow with its content, idle after a request, and silent from the start.
func slowCallers(t *testing.T, p *process, n int) (held []net.Conn) {
	t.Helper()
	head := "POST " + exports + " HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\n" + isJSON + "\r\n"
	for i := range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, []string{head, head + "Content-Length: 200000\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""}[i%4])
		held = append(held, conn)
	}
	return held
}

// drip sends a byte on each connection whose caller is slow with header or content, again and
// again until done is closed.
func drip(held []net.Conn, done <-chan struct{}) {
	for {
		for i, conn := range held {
			if i%4 < 2 {
				io.WriteString(conn, "x")
			}
		}
		select {
		case <-done:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// holdSlow starts a gateway with timeouts, and n slow callers. It returns what was held before as
// well, or no gateway if the connections were not all there at the same time.
func holdSlow(t *testing.T, upstream string, n int, timeout time.Duration) (p *process, before int64, held []net.Conn) {
	t.Helper()
	// There are more callers who are slow with their content than requests allowed at a time.
	p = serveFor(t, upstream, "limits: {in_flight: 64}\n", fmt.Sprint("ATLAS_GATEWAY_TIMEOUTS_HEADER=", timeout),
		fmt.Sprint("ATLAS_GATEWAY_TIMEOUTS_REQUEST=", timeout), fmt.Sprint("ATLAS_GATEWAY_TIMEOUTS_IDLE=", timeout))
	before = p.peak(t)
	held = slowCallers(t, p, n)
	if _, ok := p.holdsIn(t, timeout, func(files int) bool { return files >= n }); !ok {
		for _, conn := range held {
			conn.Close()
		}
		p.stop(t)
		return nil, 0, nil
	}
	return p, before, held
}

// Row 23: 1,000 callers who are slow in each way don't keep honest ones waiting. They cost
// little, and their connections end.
func TestSlowCallers(t *testing.T) {
	t.Parallel() // it waits most of the time
	measured(t)
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	const slow = 1000
	p, before, held := holdSlow(t, atlas.URL(), slow, 5*time.Second)
	if p == nil { // on a busy machine the first were gone before the last ones came
		p, before, held = holdSlow(t, atlas.URL(), slow, 25*time.Second)
	}
	if p == nil {
		t.Fatal("the gateway does not hold all connections")
	}
	done := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() { drip(held, done) })
	var honest sync.WaitGroup
	for range 8 {
		honest.Go(func() {
			for range 25 {
				for _, bytes := range []string{aGet, aPost} {
					if got := p.send(t, bytes); len(got) != 1 || got[0].Status != 200 {
						t.Errorf("an honest caller: %.500v", got)
					}
				}
			}
		})
	}
	honest.Wait()
	for i, conn := range held {
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("slow caller %d is still there", i)
		}
	}
	close(done)
	dripping.Wait()
	p.holds(t, "no connection of theirs", func(files int) bool { return files < 200 })
	p.stays(t, before, slow*64<<10)
	if n := atlas.Counts(); n.ByOperation["createBackupExport"] > 0 {
		t.Errorf("Atlas received %d creates of slow callers", n.ByOperation["createBackupExport"])
	}
	p.stop(t)
}
