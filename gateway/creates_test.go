package gateway_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A create is sent once, whatever the upstream does to the connection and however the caller marks
// the request as repeatable.
func TestCreateIsNeverReplayed(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.Reset)
	g := gatewaytest.StartFor(t, upstream.URL, "")
	header := map[string]string{"Accept": latest, "Content-Type": plain, "Idempotency-Key": "1", "X-Idempotency-Key": "1"}
	v1 := map[string]string{"Accept": plain, "Content-Type": plain, "Idempotency-Key": "1", "X-Idempotency-Key": "1"}
	for _, create := range []struct {
		target string
		header map[string]string
		body   string
	}{
		{v2Exports, header, export}, {v2Buckets, header, awsBucket}, {v2Snapshots, header, `{"retentionInDays":1}`},
		{v1Exports, v1, export}, {v1Buckets, v1, awsBucket}, {strings.Replace(v2Snapshots, "v2", "v1.0", 1), v1, `{}`},
	} {
		before := upstream.Signed.Load()
		got := g.Send(t, "POST", create.target, create.header, create.body)
		if got.Status != 502 || !strings.Contains(got.Body, "not known whether the request was carried out") || got.Header.Get("Gateway-Outcome") != "unknown" {
			t.Errorf("%s: %d %v %s", create.target, got.Status, got.Header, got.Body)
		}
		if n := upstream.Signed.Load() - before; n != 1 {
			t.Errorf("%s: the upstream got %d signed requests, want 1", create.target, n)
		}
	}
}

// sendCreate sends a create and leaves the connection open.
func sendCreate(t *testing.T, g *gatewaytest.Gateway) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", v2Exports, latest, len(export), export)
	return conn
}

// A create goes on when its caller hangs up, and the record says how it ended.
func TestCreateOutlivesItsCaller(t *testing.T) {
	upstream, arrived, proceed := holdingUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, "")
	conn := sendCreate(t, g)
	gatewaytest.Receive(t, "the create at Atlas", arrived)
	conn.Close()
	time.Sleep(50 * time.Millisecond) // for the gateway to notice
	close(proceed)
	g.Await(t, 0, `"operation":"createBackupExport","status":200`)
}

// reset ends a connection so that no answer can come through.
func reset(conn net.Conn) {
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// A create goes on when its caller resets the connection, once it was sent.
func TestCreateOutlivesItsConnection(t *testing.T) {
	upstream, arrived, proceed := holdingUpstream(t)
	g := gatewaytest.StartFor(t, upstream.URL, "")
	conn := sendCreate(t, g)
	gatewaytest.Receive(t, "the create at Atlas", arrived)
	reset(conn)
	time.Sleep(50 * time.Millisecond) // for the gateway to notice
	close(proceed)
	g.Await(t, 0, `"operation":"createBackupExport","status":200`)
}

// A create is not sent if its caller resets the connection before that.
func TestCreateIsNotSentForACallerWhoIsGone(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), BeforeAuthentication: true}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	conn := sendCreate(t, g)
	time.Sleep(50 * time.Millisecond)
	reset(conn)
	g.Await(t, 0, `"error":"caller_gone"`)
	time.Sleep(400 * time.Millisecond)
	for _, r := range atlas.Requests(0) {
		if r.Body != "" {
			t.Errorf("Atlas received %s", r.Body)
		}
	}
}

// A create that waits for a challenge of Atlas's ends when its caller resets the connection.
func TestCreateWaitsNoLongerThanItsCaller(t *testing.T) {
	l := gatewaytest.Listen(t)
	defer l.Close()
	g := gatewaytest.StartFor(t, "http://"+l.Addr().String(), "")
	conn := sendCreate(t, g)
	probe, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	probe.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := probe.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	reset(conn)
	if _, err := io.Copy(io.Discard, probe); err != nil { // to the end of the connection
		t.Errorf("the gateway still waits: %v", err)
	}
	g.Await(t, 0, `"error":"caller_gone"`)
}

// A caller whose create failed is told the truth about whether the create may have been carried
// out.
func TestOutcomeOfACreate(t *testing.T) {
	const unknown, not = "It is not known whether the request was carried out", "The request was not carried out"
	says := func(bytes string) string { return gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(bytes)).URL }
	faulty := func(fault sim.Fault) string {
		fault.BeforeAuthentication = true
		return sim.Start(t, sim.Config{Faults: []sim.Fault{fault}}).URL()
	}
	for name, test := range map[string]struct{ url, want string }{
		"no connection":    {"http://" + gatewaytest.Refused(t), not},
		"status 099":       {says("HTTP/1.1 099 What\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"), unknown},
		"status 999":       {says("HTTP/1.1 999 What\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"), unknown},
		"303":              {says("HTTP/1.1 303 See Other\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), unknown},
		"408 as HTML":      {says("HTTP/1.1 408 Request Timeout\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"), unknown},
		"no response":      {says(""), unknown},
		"no challenge":     {faulty(sim.Fault{Kind: sim.FaultReset}), not},
		"a slow challenge": {faulty(sim.Fault{Kind: sim.FaultLatency, Latency: sim.Duration(time.Second)}), not},
	} {
		timeout := "20s"
		if name == "a slow challenge" {
			timeout = "100ms"
		}
		g := gatewaytest.StartFor(t, test.url, "timeouts: {upstream: "+timeout+"}")
		got := g.Send(t, "POST", v2Exports, createHeader, export)
		if got.Status < 502 || !strings.Contains(got.Body, test.want) {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
		if got := g.Send(t, "GET", v2Exports, createHeader, ""); strings.Contains(got.Body, "carried out") && name != "no connection" {
			t.Errorf("%s: of a GET: %s", name, got.Body)
		}
	}
}

// A create was not carried out if it met no listener, also with a nonce at hand.
func TestOutcomeOfACreateWithoutConnection(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	if got := g.Send(t, "GET", v2Exports+"/"+jobID, createHeader, ""); got.Status != 200 {
		t.Fatal(got)
	}
	upstream.Close()
	got := g.Send(t, "POST", v2Exports, createHeader, export)
	if got.Status != 502 || !strings.Contains(got.Body, "The request was not carried out.") {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}
