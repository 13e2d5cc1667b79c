package sim_test

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// exchange sends bytes on one connection. It returns the statuses of the answers once it has
// as many as wanted or the connection ends.
func exchange(t testing.TB, atlas *sim.Server, want int, parts ...string) []int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(atlas.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		for _, part := range parts {
			io.WriteString(conn, part)
			time.Sleep(2 * time.Millisecond) // so that each arrives on its own
		}
	}()
	reader := bufio.NewReader(conn)
	var statuses []int
	for len(statuses) < want {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			break
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		statuses = append(statuses, response.StatusCode)
	}
	return statuses
}

// waitFor waits until the log has n requests: malformed ones are logged when their connection
// ends.
func waitFor(t testing.TB, atlas *sim.Server, n int) []sim.Request {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		requests := atlas.Requests(0)
		if len(requests) >= n {
			return requests
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests were logged, want %d", len(requests), n)
		}
	}
}

// The log holds each request byte for byte, however it arrives.
func TestRawRequests(t *testing.T) {
	const (
		get     = "GET /a HTTP/1.1\r\nHost: x\r\nX-Odd:  two  blanks\t\r\nx-odd: again\r\n\r\n"
		post    = "POST /b?q=%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{\"a\":\n\r\n1} "
		chunked = "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;ext=\"1\"\r\nhello\r\nA\r\n\r\n\r\n\r\n 0\r\n\r\n0\r\nX-T: end\r\n\r\n"
		empty   = "PUT /d HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"
		bare    = "GET /e HTTP/1.1\nHost: x\n\n"
		crlf    = "\r\n" + get // some clients send an extra line end after a POST
	)
	all := []string{get, post, chunked, empty, bare, post, crlf, get}
	bodies := []string{"", "{\"a\":\n\r\n1} ", "hello\r\n\r\n\r\n 0\r\n", "", "", "{\"a\":\n\r\n1} ", "", ""}
	if len(bodies[2]) != 5+10 {
		t.Fatal("the chunks don't add up")
	}
	for name, parts := range map[string][]string{
		"one by one":   all,
		"all at once":  {strings.Join(all, "")},
		"byte by byte": strings.Split(strings.Join(all[:3], ""), ""),
	} {
		t.Run(name, func(t *testing.T) {
			atlas := start(t, sim.Config{})
			want := all
			if len(parts) > len(all) {
				want = all[:3]
			}
			for _, status := range exchange(t, atlas, len(want), parts...) {
				check(t, "status", status, 401)
			}
			requests := waitFor(t, atlas, len(want))
			for i, request := range requests {
				check(t, "raw", string(request.Raw), want[i])
				check(t, "body", request.Body, bodies[i])
				line, _, _ := strings.Cut(strings.TrimLeft(want[i], "\r\n"), "\n")
				check(t, "request line", request.Method+" "+request.Target, strings.Join(strings.Fields(line)[:2], " "))
				check(t, "connection", request.Connection, int64(1))
				check(t, "seq", request.Seq, int64(i+1))
			}
			check(t, "fields", requests[0].Header, []sim.Field{{Name: "Host", Value: "x"}, {Name: "X-Odd", Value: "two  blanks"}, {Name: "x-odd", Value: "again"}})
		})
	}
}

// Requests that net/http refuses or that break off reach no handler, but the log has them.
func TestMalformedRequests(t *testing.T) {
	for name, raw := range map[string]string{
		"no HTTP":         "hello\r\n\r\n",
		"two lengths":     "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"space in a name": "GET /a HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
		"breaks off":      "GET /a HTT",
	} {
		t.Run(name, func(t *testing.T) {
			atlas := start(t, sim.Config{})
			conn, err := net.Dial("tcp", strings.TrimPrefix(atlas.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, raw)
			conn.(*net.TCPConn).CloseWrite()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			io.Copy(io.Discard, conn)
			conn.Close()
			request := waitFor(t, atlas, 1)[0]
			check(t, "raw", string(request.Raw), raw)
			check(t, "malformed", request.Malformed, true)
			check(t, "status", request.Status, 0)
			counts := atlas.Counts()
			check(t, "counts", []int64{counts.Malformed, counts.Requests, counts.Connections}, []int64{1, 0, 1})
		})
	}
}

func TestTooLargeContent(t *testing.T) {
	atlas := start(t, sim.Config{LogBytes: 1 << 30})
	a := plainly(t, "POST", atlas.URL()+v2+orders, strings.Repeat(" ", 16<<20+1))
	check(t, "status", a.status, 401)
	request := waitFor(t, atlas, 1)[0]
	if len(request.Raw) < 16<<20 {
		t.Errorf("%d bytes were kept", len(request.Raw))
	}
}

func TestLogIsBounded(t *testing.T) {
	atlas := start(t, sim.Config{LogRequests: 3})
	for _, path := range []string{"/1", "/2", "/3", "/4", "/5"} {
		plainly(t, "GET", atlas.URL()+path, "")
	}
	var targets []string
	for _, request := range atlas.Requests(0) {
		targets = append(targets, request.Target)
	}
	check(t, "kept", targets, []string{"/3", "/4", "/5"})
	check(t, "since", len(atlas.Requests(4)), 1)
	check(t, "counted", atlas.Counts().Requests, int64(5))

	small := start(t, sim.Config{LogRequests: math.MaxInt, LogBytes: 10_000})
	for range 10 {
		plainly(t, "POST", small.URL()+"/", strings.Repeat("x", 1000)) // counts twice: as Raw and as Body
	}
	if n := len(small.Requests(0)); n < 2 || n > 5 {
		t.Errorf("10,000 bytes hold %d requests of 2,000", n)
	}
	plainly(t, "POST", small.URL()+"/large", strings.Repeat("x", 20_000))
	check(t, "a large one drops all others", len(small.Requests(0)), 1)
}

func TestCountsOnlyAndReset(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{CountsOnly: true}})
	c := newCaller(t, atlas.URL(), sim.PublicKey)
	bucket := c.bucket()
	c.job(orders, sim.OrdersSnapshot, bucket)
	check(t, "logged", len(atlas.Requests(0)), 0)
	check(t, "counts", atlas.Counts(), sim.Counts{Connections: 1, Requests: 3, Challenges: 1, ByStatus: map[int]int64{200: 2, 401: 1},
		ByOperation: map[string]int64{"createExportBucket": 2, "createBackupExport": 1}, JobsCreated: 1})
	settings := atlas.Settings()
	settings.CountsOnly = false
	if err := atlas.SetSettings(settings); err != nil {
		t.Fatal(err)
	}
	c.do("GET", v2+buckets, "") // on the same connection: logging begins in its middle
	c.do("GET", v2+orders, "")
	requests := atlas.Requests(0)
	check(t, "logged", len(requests), 2)
	for _, request := range requests {
		if !bytes.HasPrefix(request.Raw, []byte("GET "+request.Target)) || !bytes.HasSuffix(request.Raw, []byte("\r\n\r\n")) {
			t.Errorf("raw: %q", request.Raw)
		}
	}
	atlas.Reset()
	check(t, "after the reset", atlas.Counts(), sim.Counts{ByStatus: map[int]int64{}, ByOperation: map[string]int64{}})
	check(t, "after the reset", len(atlas.Requests(0)), 0)
	c.do("GET", v2+orders, "")
	check(t, "seq goes on", atlas.Requests(0)[0].Seq, int64(3))
}

// If logging begins in the middle of a request, that request is logged without its bytes.
func TestLoggingBeginsInTheMiddle(t *testing.T) {
	atlas := start(t, sim.Config{Settings: sim.Settings{CountsOnly: true}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(atlas.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
	reader := bufio.NewReader(conn)
	if line, err := reader.ReadString('\n'); !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	reader.ReadString('\n')
	if err := atlas.SetSettings(sim.Settings{}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "one\r\n\r\n23"+"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
	for range 2 {
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
	}
	requests := waitFor(t, atlas, 2)
	check(t, "the first", []string{requests[0].Target, requests[0].Body, string(requests[0].Raw)}, []string{"/a", "one\r\n\r\n23", ""})
	// If the second came in the same packet, the log can't know where it begins.
	check(t, "the second", requests[1].Target, "/b")
	if raw := string(requests[1].Raw); raw != "" && raw != "GET /b HTTP/1.1\r\nHost: x\r\n\r\n" {
		t.Errorf("raw: %q", raw)
	}
}

// Another server may serve the API. The log then has no bytes of the requests.
func TestForeignListener(t *testing.T) {
	atlas, err := sim.New(sim.Config{Now: stopped})
	if err != nil {
		t.Fatal(err)
	}
	defer atlas.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: atlas.API()}
	defer server.Close()
	go server.Serve(listener)
	base := "http://" + listener.Addr().String()
	c := newCaller(t, base, sim.PublicKey)
	list := c.value(c.do("GET", v1+buckets, ""))
	check(t, "links", list["links"].([]any)[0].(map[string]any)["href"], any(base+v1+buckets+"?pageNum=1&itemsPerPage=100"))
	requests := atlas.Requests(0)
	check(t, "logged", len(requests), 2)
	check(t, "target", requests[1].Target, v1+buckets)
	check(t, "connection", requests[1].Connection, int64(0))
}
