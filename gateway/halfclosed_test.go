package gateway_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// halfClosed sends bytes on a connection, ends its own side, and reads one answer.
func halfClosed(conn interface {
	net.Conn
	CloseWrite() error
}, bytes, method string) (gatewaytest.Response, error) {
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		return gatewaytest.Response{}, err
	}
	if err := conn.CloseWrite(); err != nil {
		return gatewaytest.Response{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return gatewaytest.Response{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return gatewaytest.Response{Status: response.StatusCode, Header: response.Header, Body: string(body)}, err
}

// createBytes is a create as a caller sends it.
func createBytes() string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", v2Buckets, of2024, len(awsBucket), awsBucket)
}

// A caller that ends its own side once it has sent a create gets the create's answer.
func TestHalfClosedCreates(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	const creates = 1000
	var made, gone, other atomic.Int64
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range creates / 20 {
				conn, err := net.Dial("tcp", g.Address)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := halfClosed(conn.(*net.TCPConn), createBytes(), "POST")
				conn.Close()
				switch outcome := got.Header.Get("Gateway-Outcome"); {
				case err != nil:
					t.Error(err)
				case got.Status == 200 && outcome == "answered":
					made.Add(1)
				case strings.Contains(got.Body, "The caller is gone."):
					gone.Add(1)
				default:
					other.Add(1)
					t.Logf("%d %s %s", got.Status, outcome, got.Body)
				}
			}
		})
	}
	group.Wait()
	carriedOut := atlas.Counts().ByStatus[200]
	if made.Load() != creates || carriedOut != made.Load() {
		t.Errorf("of %d creates %d were answered, %d were told that the caller is gone, %d had another answer; Atlas carried out %d", creates, made.Load(), gone.Load(), other.Load(), carriedOut)
	}
	if log := g.Log.String(); strings.Count(log, `"status":200`) != creates || strings.Contains(log, "caller_gone") {
		t.Errorf("%d records of a create that was answered", strings.Count(log, `"status":200`))
	}
}

// Reads, requests behind others on the connection, and requests over TLS are answered as well.
func TestHalfClosed(t *testing.T) {
	read := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", v2Buckets, of2024)
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(100 * time.Millisecond), BeforeAuthentication: true}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	conn, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := halfClosed(conn.(*net.TCPConn), read, "GET"); got.Status != 200 || err != nil {
		t.Errorf("a read: %d %s %v", got.Status, got.Body, err)
	}
	closing := strings.Replace(createBytes(), "Host:", "Connection: close\r\nHost:", 1)
	piped, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer piped.Close()
	io.WriteString(piped, read+read+closing)
	piped.(*net.TCPConn).CloseWrite()
	piped.SetDeadline(time.Now().Add(20 * time.Second))
	if got, err := io.ReadAll(piped); strings.Count(string(got), "HTTP/1.1 200 OK\r\n") != 3 || err != nil {
		t.Errorf("three requests at once: %v %s", err, got)
	}

	authority := gatewaytest.NewAuthority(t)
	cert, key := authority.Loopback(t).WriteFiles(t)
	secure := gatewaytest.StartFor(t, atlas.URL(), "listener: {tls_cert_file: "+cert+", tls_key_file: "+key+"}")
	encrypted, err := tls.Dial("tcp", secure.Address, &tls.Config{RootCAs: authority.Pool, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer encrypted.Close()
	if got, err := halfClosed(encrypted, createBytes(), "POST"); got.Status != 200 || err != nil {
		t.Errorf("over TLS: %d %s %v", got.Status, got.Body, err)
	}
}

// A caller that closes its connection looks the same until the answer is sent. Its create is sent,
// and the record says what became of it. Its read is sent once.
func TestClosedCallers(t *testing.T) {
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(300 * time.Millisecond), BeforeAuthentication: true}}})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	send := func(bytes string) {
		conn, err := net.Dial("tcp", g.Address)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, bytes)
		time.Sleep(50 * time.Millisecond) // it waits for a challenge
		conn.Close()
	}
	send(createBytes())
	create := g.Record(t, 0)
	send(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", v2Buckets, of2024))
	read := g.Record(t, 1)
	if !strings.Contains(create, `"status":200`) || !strings.Contains(create, `"outcome":"answered"`) || !strings.Contains(read, `"status":200`) {
		t.Errorf("%s%s", create, read)
	}
	if counts := atlas.Counts(); counts.ByStatus[200] != 2 || counts.ByStatus[401] != 1 {
		t.Errorf("Atlas answered %v", counts.ByStatus)
	}
}

// A request that ends within its content is told that it was not carried out.
func TestHalfClosedWithinTheContent(t *testing.T) {
	upstream, reached := gatewaytest.Tap(t)
	g := gatewaytest.StartFor(t, "http://"+upstream, "")
	conn, err := net.Dial("tcp", g.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := halfClosed(conn.(*net.TCPConn), strings.TrimSuffix(createBytes(), "}"), "POST")
	if err != nil || got.Status != 499 || got.Header.Get("Gateway-Outcome") != "not_sent" || !strings.Contains(got.Body, "The request ended early. The request was not carried out.") {
		t.Errorf("%d %s %v", got.Status, got.Body, err)
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections to Atlas", n)
	}
}
