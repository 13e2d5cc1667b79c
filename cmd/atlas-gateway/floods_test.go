package main

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// measured skips a test of memory where the race detector takes most of it.
func measured(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector takes more memory than the program")
	}
}

// peak returns the most memory that a process has held so far, in bytes: VmHWM, on Linux. On
// other systems it is 0.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatalf("%v: %s", err, status)
	}
	return kib << 10
}

// heap is what the collector lets a gateway's heap be, however little lives in it
// (tuneCollector).
const heap = 256 << 20

// stays fails the test where a process, whose peak was before, ever held more than most bytes
// beside its heap, and logs what it took.
func (p *process) stays(t *testing.T, before, most int64) {
	t.Helper()
	after := p.peak(t)
	t.Logf("%s: VmHWM %.0f MiB before, %.0f MiB after, at most %.0f", t.Name(), mib(before), mib(after), mib(heap+most))
	if after > heap+most {
		t.Errorf("the gateway took %.0f MiB, more than %.0f", mib(after), mib(heap+most))
	}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

const (
	atOnce      = 64
	requestBody = 256 << 10 // limits.request_body, by default
	// What a request in the works may cost, as a multiple of limits.request_body, for each of
	// those at once.
	most = 12 * requestBody * atOnce
)

// crowd calls f for 0 to n-1, atOnce at a time.
func crowd(n int, f func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	group.Wait()
}

// Rows 20 and 36: a flood of what is as costly as may be takes bounded memory.
func TestFloods(t *testing.T) {
	measured(t)
	post := "POST " + exports
	create := func(body string) string { return request(post, body, accept, isJSON) }
	open := export[:len(export)-1]
	var names strings.Builder
	for i := 0; names.Len() < 200_000; i++ {
		fmt.Fprintf(&names, `,"m%d":1`, i)
	}
	for name, test := range map[string]struct {
		bytes  func(i int) string
		status int
	}{
		"depth":  {func(int) string { return create(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)) }, 400},
		"number": {func(int) string { return create(`{"snapshotId":` + strings.Repeat("1", 1<<20) + "}") }, 413},
		"fields": {func(int) string {
			return request("GET "+exports, "", slices.Repeat([]string{"X-Of-A-Thousand: fields"}, 1000)...)
		}, 431},
		"parameters":          {func(int) string { return request("GET "+exports+"?"+strings.Repeat("&a=1", 10_000)[1:], "", accept) }, 431},
		"parameters that fit": {func(int) string { return request("GET "+exports+"?"+strings.Repeat("&a=1", 4000)[1:], "", accept) }, 400},
		"customData":          {func(int) string { return create(open + `,"customData":[` + strings.Repeat("{},", 49_999) + "{}]}") }, 400},
		"members":             {func(int) string { return create(open + names.String() + "}") }, 400},
		"a text":              {func(int) string { return create(`{"snapshotId":"` + strings.Repeat(`\u2028`, 40_000) + `"}`) }, 400},
		"keys": {func(i int) string {
			return request("GET "+buckets, "", accept, fmt.Sprintf("Authorization: Bearer agw_st_%0300d", i))
		}, 401},
		"nonces": {func(i int) string {
			return request("GET "+buckets, "", accept, fmt.Sprintf(`Authorization: Digest username="agwnobody", realm="MMS Public API", nonce="%0100d", uri="%s", response="%032x", qop=auth, nc=00000001, cnonce="a"`, i, buckets, i))
		}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{})
			settings, n := "", 4*atOnce
			if test.status == 401 {
				n *= 10 // each another
				settings = forToken(callers.NewToken("nightly").Secret.Reveal())
			}
			p := serveFor(t, atlas.URL(), settings)
			before := p.peak(t)
			crowd(n, func(i int) {
				if got := p.send(t, test.bytes(i)); len(got) != 1 || got[0].status != test.status {
					t.Errorf("%.500v", got)
				}
			})
			p.stays(t, before, most)
			untouched(t, atlas, name)
			p.stop(t)
		})
	}
}

// Row 20: content without end is read no further than the limit.
func TestEndlessContent(t *testing.T) {
	measured(t)
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "")
	before := p.peak(t)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
	crowd(atOnce, func(int) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, request("POST "+exports, "", accept, isJSON, "Transfer-Encoding: chunked"))
		sent := 0
		for ; sent < 1<<30; sent += 64 << 10 {
			if _, err := io.WriteString(conn, chunk); err != nil {
				break
			}
		}
		// Besides what was read, this counts what the kernels on both ends hold.
		if sent > 32<<20 {
			t.Errorf("%d MiB were taken", sent>>20)
		}
	})
	p.stays(t, before, most)
	untouched(t, atlas, "content without end")
	if got := p.send(t, request("POST "+exports, "", accept, isJSON, "Content-Length: 1073741824")); len(got) != 1 || got[0].status != 413 {
		t.Errorf("announced: %v", got)
	}
	p.stop(t)
}

// Rows 21 and 32: responses that are large, or would be, take bounded memory and are not
// relayed.
func TestLargeResponses(t *testing.T) {
	measured(t)
	var bomb bytes.Buffer
	writer := gzip.NewWriter(&bomb)
	for range 256 {
		writer.Write(make([]byte, 1<<20))
	}
	writer.Close()
	const limit = 1 << 20 // limits.response_body
	long := `{"results":[],"pad":"` + strings.Repeat("x", 8*limit) + `"}`
	for name, text := range map[string]string{
		"a bomb":                  answering(200, bomb.String(), "Content-Encoding: gzip", "Connection: close"),
		"a bomb that is not told": answering(200, bomb.String(), "Connection: close"),
		"a large one":             answering(200, long, "Connection: close"),
		"a large one in chunks":   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(long), long),
		"a large one without end": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + long,
		"a large error":           answering(404, long, "Connection: close"),
		"a large 401":             answering(401, long, challenge, "Connection: close"),
	} {
		t.Run(name, func(t *testing.T) {
			h := startUpstream(t, func(*http.Request) string { return text })
			p := serveFor(t, h.url, fmt.Sprintf("limits: {response_body: %d}\n", limit))
			before := p.peak(t)
			crowd(4*atOnce, func(int) {
				if got := p.send(t, aGet); len(got) != 1 || got[0].status != 502 {
					t.Errorf("%.500v", got)
				}
			})
			p.stays(t, before, 4*limit*atOnce)
			p.stop(t)
		})
	}
}

// Row 20: content that callers begin and don't end is bounded, however many they are, and keeps
// no one from being served whose content is short.
func TestUnfinishedContent(t *testing.T) {
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
			if got := p.send(t, bytes); len(got) != 1 || got[0].status != 200 {
				t.Errorf("an honest caller: %.500v", got)
			}
		}
	}
	group.Wait()
	if refused.Load() == 0 {
		t.Error("no one was refused")
	}
	for range 2 * inFlight { // they left their places to others
		if got := p.send(t, request("POST "+exports, strings.Repeat(" ", requestBody), accept, isJSON)); len(got) != 1 || got[0].status != 400 {
			t.Errorf("%.500v", got)
		}
	}
	p.stays(t, before, 12*requestBody*inFlight+callers*64<<10)
	p.stop(t)
}

// Row 20: so are responses that callers don't take, and they keep no one from being served
// whose response is short. What changed something is answered all the same.
func TestUnreadResponses(t *testing.T) {
	measured(t)
	const connections, inFlight, limit = 30, 16, 1 << 20
	long := `{"results":[],"pad":"` + strings.Repeat("x", limit-100) + `"}`
	h := startUpstream(t, func(r *http.Request) string {
		if r.URL.Path == exports {
			return answering(200, long)
		}
		return answering(200, `{"results":[]}`)
	})
	cert, key, roots := selfSigned(t)
	dir := t.TempDir()
	p := serveFor(t, h.url, fmt.Sprintf("limits: {response_body: %d, in_flight: %d}\n", limit, inFlight),
		"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE="+write(t, filepath.Join(dir, "cert"), cert), "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE="+write(t, filepath.Join(dir, "key"), key))
	before := p.peak(t)
	got := map[string]int{}
	for range connections {
		c := connectWithoutWindow(t, strings.TrimPrefix(p.Listener, "https://"), roots)
		for range 16 { // streams
			got[c.send(t, "GET", exports, "")]++
		}
	}
	if want := map[string]int{"200": inFlight, "503": 16*connections - inFlight}; !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	c := connectWithoutWindow(t, strings.TrimPrefix(p.Listener, "https://"), roots)
	if status := c.send(t, "GET", buckets, ""); status != "200" {
		t.Errorf("a short response: %s", status)
	}
	if status := c.send(t, "POST", exports, export); status != "200" {
		t.Errorf("a create: %s", status)
	}
	p.stays(t, before, 4*limit*inFlight+connections*64<<10)
}

// withoutWindow is a connection over HTTP/2 whose caller has room for headers alone.
type withoutWindow struct {
	address string
	framer  *http2.Framer
	last    uint32 // stream
	encoder *hpack.Encoder
	block   bytes.Buffer
	decoder *hpack.Decoder
}

func connectWithoutWindow(t *testing.T, address string, roots *x509.CertPool) *withoutWindow {
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
	c := &withoutWindow{address: address, framer: http2.NewFramer(conn, conn), decoder: hpack.NewDecoder(4096, nil)}
	c.encoder = hpack.NewEncoder(&c.block)
	if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	return c
}

// send sends a request on the next stream, and returns the status of the response to it.
func (c *withoutWindow) send(t *testing.T, method, path, content string) string {
	t.Helper()
	c.last += 2
	id := c.last - 1
	c.block.Reset()
	for _, field := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", c.address}, {":path", path}, {"accept", "application/vnd.atlas.2025-03-12+json"}, {"content-type", "application/json"}} {
		c.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: content == "", EndHeaders: true})
	if content != "" {
		err = errors.Join(err, c.framer.WriteData(id, true, []byte(content)))
	}
	for err == nil {
		var frame http2.Frame
		if frame, err = c.framer.ReadFrame(); err != nil {
			break
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok {
			fields, err := c.decoder.DecodeFull(headers.HeaderBlockFragment())
			if err != nil {
				t.Fatal(err)
			}
			if headers.StreamID == id {
				return fields[0].Value // :status
			}
		}
	}
	t.Fatal(err)
	return ""
}

// Row 32: a response within its limit may hold more values than it costs to relay it.
func TestManyResponseValues(t *testing.T) {
	measured(t)
	const limit = 8 << 20 // limits.response_body, by default
	for name, element := range map[string]string{"that the contract doesn't know": `{"a":1},`, "of its own kind": `{"id":"6a01f3c95be2d84417c0aa01"},`} {
		t.Run(name, func(t *testing.T) {
			body := `{"results":[` + strings.Repeat(element, limit/len(element)-8) + element[:len(element)-1] + `]}`
			h := startUpstream(t, func(*http.Request) string { return answering(200, body) })
			p := serveFor(t, h.url, "responses: {check: report, sample: 1}\n")
			before := p.peak(t)
			if got := p.send(t, aGet); len(got) != 1 || got[0].status != 200 || len(got[0].body) != len(body) {
				t.Errorf("%.500v", got)
			}
			p.stays(t, before, 4*limit)
			p.stop(t)
		})
	}
}

// Row 20: what a connection of HTTP/2 may hold is bounded like that of HTTP/1.1.
func TestHTTP2Streams(t *testing.T) {
	measured(t)
	atlas := sim.Start(t, sim.Config{})
	cert, key, roots := selfSigned(t)
	dir := t.TempDir()
	p := serveFor(t, atlas.URL(), "", "ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE="+write(t, filepath.Join(dir, "cert"), cert), "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE="+write(t, filepath.Join(dir, "key"), key))
	settings := http2Settings(t, strings.TrimPrefix(p.Listener, "https://"), roots)
	if settings[3] != 16 || settings[4] != 64<<10 || settings[5] > 16<<10 {
		t.Errorf("%d streams with %d bytes each, in frames of up to %d", settings[3], settings[4], settings[5])
	}
	before := p.peak(t)
	body := strings.Repeat("[", requestBody)
	var group sync.WaitGroup
	for range 25 { // connections
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
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

// http2Settings returns the settings that a server begins with (RFC 9113, section 6.5).
func http2Settings(t *testing.T, address string, roots *x509.CertPool) map[uint16]uint32 {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil || head[3] != 4 {
		t.Fatalf("no settings: %v %x", err, head)
	}
	payload := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, payload); err != nil {
		t.Fatal(err)
	}
	settings := map[uint16]uint32{}
	for ; len(payload) >= 6; payload = payload[6:] {
		settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
	}
	return settings
}

// Row 23: 1,000 callers who are slow in each way don't keep honest ones waiting, cost little
// and are gone in the end.
func TestSlowCallers(t *testing.T) {
	measured(t)
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	// Fewer requests at a time than callers who are slow with their content.
	p := serveFor(t, atlas.URL(), "limits: {in_flight: 64}\n", "ATLAS_GATEWAY_TIMEOUTS_HEADER=5s", "ATLAS_GATEWAY_TIMEOUTS_REQUEST=5s", "ATLAS_GATEWAY_TIMEOUTS_IDLE=5s")
	before := p.peak(t)
	const slow = 1000
	var held [slow]net.Conn
	head := "POST " + exports + " HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\n" + isJSON + "\r\n"
	for i := range held {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Minute))
		held[i] = conn
		switch i % 4 {
		case 0: // slow with the header
			io.WriteString(conn, head)
		case 1: // slow with the content
			io.WriteString(conn, head+"Content-Length: 200000\r\n\r\n")
		case 2: // idle after a request
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		case 3: // half open: silent from the start
		}
	}
	p.holds(t, "all connections", func(files int) bool { return files >= slow })
	done := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() { // a byte for each, time and again
		for {
			for i := range held {
				if i%4 < 2 {
					io.WriteString(held[i], "x")
				}
			}
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	var honest sync.WaitGroup
	for range 8 {
		honest.Go(func() {
			for range 25 {
				for _, bytes := range []string{aGet, aPost} {
					if got := p.send(t, bytes); len(got) != 1 || got[0].status != 200 {
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

// holds waits until a process has as many files open as wanted, its connections among them.
// It looks on Linux alone.
func (p *process) holds(t *testing.T, what string, want func(files int) bool) {
	t.Helper()
	files := 0
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.command.Process.Pid))
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if files = len(entries); want(files) {
			return
		}
	}
	t.Fatalf("the gateway does not hold %s: %d files are open", what, files)
}
