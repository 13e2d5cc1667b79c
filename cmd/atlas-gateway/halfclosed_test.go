package main

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// halfCloser is a connection of which one side can be ended.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// sendHalfClosed sends bytes on a connection, ends this side of it, and returns the responses as
// send does.
func sendHalfClosed(t *testing.T, conn halfCloser, bytes string) []gatewaytest.Response {
	t.Helper()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Error(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Error(err)
	}
	return receive(t, conn, bytes)
}

// dial connects to the program's listener for callers.
func (p *process) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	_, address, _ := strings.Cut(p.Listener, "://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// A caller that ends its own side of the connection once it has sent a create gets the create's
// answer, and Atlas makes what it was told was made.
func TestHalfClosedCreates(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
	p := serveFor(t, atlas.URL(), "")
	const callers, creates = 16, 20 // of each
	create := strings.Replace(aPost, "Connection: close\r\n", "", 1)
	var answered atomic.Int64
	var group sync.WaitGroup
	for range callers {
		conns := make([]*net.TCPConn, creates)
		for i := range conns {
			conns[i] = p.dial(t)
		}
		group.Go(func() {
			for _, conn := range conns {
				got := sendHalfClosed(t, conn, create)
				if len(got) == 1 && got[0].Status == 200 {
					answered.Add(1)
				} else {
					t.Logf("%v", got)
				}
			}
		})
	}
	group.Wait()
	if made := atlas.Counts().ByStatus[200]; answered.Load() != callers*creates || made != callers*creates {
		t.Errorf("of %d creates %d were answered, and %d were made", callers*creates, answered.Load(), made)
	}
	p.stop(t)
	if log := p.stderr.String(); strings.Contains(log, "caller_gone") || strings.Count(log, `"outcome":"answered"`) != callers*creates {
		t.Errorf("%d records of a create that was answered", strings.Count(log, `"outcome":"answered"`))
	}
}

// So does a caller whose connection has TLS, and one that sent several requests at once. A create
// that ends within its content is not sent.
func TestHalfClosedCallers(t *testing.T) {
	t.Parallel()
	atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultLatency, Latency: sim.Duration(50 * time.Millisecond), BeforeAuthentication: true}}})
	p := serveFor(t, atlas.URL(), "")
	open := func(bytes string) string { return strings.Replace(bytes, "Connection: close\r\n", "", 1) }
	for name, bytes := range map[string]string{
		"a list":                    open(aGet),
		"a create":                  open(aPost),
		"one that closes":           aPost,
		"two lists and a create":    open(aGet) + open(aGet) + open(aPost),
		"a create behind a refusal": open(request("GET /nothing", "")) + open(aPost),
	} {
		got := sendHalfClosed(t, p.dial(t), bytes)
		if want := strings.Count(bytes, "HTTP/1.1"); len(got) != want || got[want-1].Status != 200 {
			t.Errorf("%s: %v", name, got)
		}
	}
	before := atlas.Counts().Requests
	got := sendHalfClosed(t, p.dial(t), strings.TrimSuffix(aPost, "}"))
	if len(got) != 1 || got[0].Status != 499 || got[0].Header.Get("Gateway-Outcome") != "not_sent" || !strings.Contains(got[0].Body, "The request was not carried out.") {
		t.Errorf("half a create: %v", got)
	}
	if n := atlas.Counts().Requests - before; n > 0 {
		t.Errorf("half a create: Atlas received %d requests", n)
	}
	p.stop(t)

	authority := gatewaytest.NewAuthority(t)
	cert, key := authority.Loopback(t).WriteFiles(t)
	secure := serveFor(t, atlas.URL(), "", "ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE="+cert, "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE="+key)
	conn := tls.Client(secure.dial(t), &tls.Config{RootCAs: authority.Pool, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}})
	if got := sendHalfClosed(t, conn, open(aPost)); len(got) != 1 || got[0].Status != 200 {
		t.Errorf("over TLS: %v", got)
	}
	secure.stop(t)
}
