package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// More requests than limits.in_flight are answered 503 at once.
func TestOverload(t *testing.T) {
	upstream, arrived, proceed := holdingUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, "limits: {in_flight: 1}")
	first := make(chan gatewaytest.Response, 1)
	go func() { first <- g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, "") }()
	gatewaytest.Receive(t, "the request at Atlas", arrived)
	got := g.Send(t, "GET", v2Exports, readHeader, "")
	if got.Status != 503 || got.Header.Get("Retry-After") != "1" || got.Header.Get("Gateway-Error") != "overloaded" {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
	close(proceed)
	if got := gatewaytest.Receive(t, "the first answer", first); got.Status != 200 {
		t.Errorf("the first: %d %s", got.Status, got.Body)
	}
}

// Callers who are slow to send or to receive take no place from others.
func TestSlowCallersTakeNoPlace(t *testing.T) {
	long := `{"results":[],"pad":"` + strings.Repeat("x", 7<<20) + `"}`
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if strings.HasSuffix(r.URL.Path, jobID) {
			return gatewaytest.LastJSON(200, job)
		}
		return gatewaytest.LastJSON(200, long)
	}))
	g := gatewaytest.StartFor(t, upstream.URL, "limits: {in_flight: 2}\ntimeouts: {request: 5s, upstream: 5s}")
	for range 50 { // a header without its content
		conn, err := net.Dial("tcp", g.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n", v2Exports, latest)
	}
	for range 8 { // a long response that the caller does not read
		conn, err := net.Dial("tcp", g.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", v2Exports, latest)
		if _, err := bufio.NewReaderSize(conn, 16).ReadByte(); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, ""); got.Status != 200 {
		t.Errorf("an honest caller: %d %s", got.Status, got.Body)
	}
}

// More connections than limits.connections wait for one to end, if a request on each of these was
// authenticated.
func TestConnectionsAreBounded(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "limits: {connections: 1}")
	first, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(first, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", v2Exports, latest) // of an anonymous caller
	if _, err := bufio.NewReader(first).ReadByte(); err != nil {
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	fmt.Fprintf(second, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	second.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("the second connection was served %d bytes beside the first", n)
	}
	first.Close()
	second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := second.Read(make([]byte, 1)); err != nil {
		t.Errorf("the second connection was not served after the first: %v", err)
	}
}

// Too many values, or values that are too long, are refused with a short error.
func TestManyValues(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	for name, body := range map[string]string{
		"50,000 custom data": export[:len(export)-1] + `,"customData":[` + strings.Repeat("{},", 50_000) + `{}]}`,
		"a long name":        `{"` + strings.Repeat("\u2028", 80_000) + `":{`,
		"a long number":      `{"snapshotId":1` + strings.Repeat("0", 250_000) + `}`,
		"20 long texts":      `{"snapshotId":"` + strings.Repeat("\u2028", 80_000) + `"}`,
	} {
		got := g.Send(t, "POST", v2Exports, createHeader, body)
		if got.Status != 400 || len(got.Body) > 16<<10 {
			t.Errorf("%s: %d, %d bytes: %.200s", name, got.Status, len(got.Body), got.Body)
		}
	}
	if n := upstream.Total.Load(); n != 0 {
		t.Errorf("the upstream got %d requests", n)
	}
}

// A request that does not arrive in time is a 408.
func TestSlowBody(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "timeouts: {request: 100ms, header: 50ms}")
	conn, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", v2Exports, latest)
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || upstream.Total.Load() != 0 {
		t.Errorf("%s, upstream %d", answer, upstream.Total.Load())
	}
}
