package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/inbound"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A connection is for its caller once a request on it was authenticated, and goes before that when
// another needs its place.
func TestWhoKeepsAConnection(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	a := gatewaytest.Issue(t, "nightly", everything)
	field := func(authorization string) string { return "Authorization: " + authorization }
	post := func(target, content string, fields ...string) string {
		return request("POST "+target, content, append(fields, "Content-Type: application/x-www-form-urlencoded")...)
	}
	get := func(target string, fields ...string) string {
		return request("GET "+target, "", append(fields, "Accept: "+latest)...)
	}
	right, wrong := field(gatewaytest.Basic(a.Account.ID, a.Account.Secret.Reveal())), field(gatewaytest.Basic(a.Account.ID, "guess"))
	for name, test := range map[string]struct {
		bytes     string
		status    int
		kept      bool
		anonymous bool
	}{
		"a token":                          {bytes: get(v2Exports, field(a.Bearer())), status: 200, kept: true},
		"a key pair by Basic":              {bytes: get(v2Exports, field(gatewaytest.Basic(a.Pair.ID, a.Pair.Secret.Reveal()))), status: 200, kept: true},
		"a token, and a mistake":           {bytes: get(v2Exports+"?a=1", field(a.Bearer())), status: 400, kept: true},
		"a secret at the token endpoint":   {bytes: post("/api/oauth/token", "grant_type=client_credentials", right), status: 200, kept: true},
		"a secret, and a mistake":          {bytes: post("/api/oauth/token", "grant_type=password", right), status: 400, kept: true},
		"a secret at the revoke endpoint":  {bytes: post("/api/oauth/revoke", "token=x", right), status: 200, kept: true},
		"an anonymous caller":              {bytes: get(v2Exports), status: 200, kept: true, anonymous: true},
		"no key":                           {bytes: get(v2Exports), status: 401},
		"a guess":                          {bytes: get(v2Exports, field("Bearer agw_st_guess")), status: 401},
		"a guess at the token endpoint":    {bytes: post("/api/oauth/token", "grant_type=client_credentials", wrong), status: 401},
		"a guess at the revoke endpoint":   {bytes: post("/api/oauth/revoke", "token=x", wrong), status: 401},
		"a key, and another path":          {bytes: get("/", field(a.Bearer())), status: 403, kept: true},
		"no key, and another path":         {bytes: get("/"), status: 401},
		"a page of another site":           {bytes: get(v2Exports, "Origin: http://evil.example"), status: 403, anonymous: true},
		"the first leg of a Digest client": {bytes: request("POST "+v2Exports, "", "Accept: "+latest, "Content-Length: 0"), status: 401, anonymous: true},
	} {
		t.Run(name, func(t *testing.T) {
			settings := "limits: {connections: 1}\n"
			g := gatewaytest.StartFor(t, atlas.URL(), settings, a)
			if test.anonymous {
				g = gatewaytest.StartFor(t, atlas.URL(), settings)
			}
			first := dial(t, g.Address)
			fmt.Fprint(first, strings.Replace(test.bytes, "Connection: close\r\n", "", 1))
			reader := bufio.NewReader(first)
			response, err := http.ReadResponse(reader, nil)
			if err != nil || response.StatusCode != test.status {
				t.Fatalf("%v %v", response, err)
			}
			reader.Discard(int(response.ContentLength))
			second := dial(t, g.Address)
			fmt.Fprint(second, get(v2Exports))
			second.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if !test.kept {
				second.SetReadDeadline(time.Now().Add(10 * time.Second))
			}
			if _, err := second.Read(make([]byte, 1)); (err != nil) != test.kept {
				t.Errorf("the next connection: %v", err)
			}
			evictions := "atlas_gateway_connection_evictions_total 1"
			if test.kept {
				evictions = "atlas_gateway_connection_evictions_total 0"
			} else if _, err := reader.ReadByte(); err == nil {
				t.Error("the connection was not closed")
			}
			if !strings.Contains(g.Metrics(t), "\n"+evictions+"\n") {
				t.Errorf("not %s", evictions)
			}
		})
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// A create is answered, however many peers come meanwhile: its connection is authenticated before
// its content is read and before anything is sent to Atlas.
func TestCreateIsNotEvicted(t *testing.T) {
	t.Parallel() // it waits most of the time
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			upstream, arrived, proceed := holdingUpstream(t)
			caller := gatewaytest.Issue(t, "nightly", everything)
			g, roots := startTLS(t, upstream.URL, "limits: {connections: 4}\n", caller)
			client := newHTTP2(t, roots)
			client.ForceAttemptHTTP2 = protocol == "HTTP/2"
			statuses := make(chan int, 2)
			content, rest := io.Pipe()
			for _, body := range []io.Reader{strings.NewReader(export), content} {
				r, err := http.NewRequest("POST", g.URL+v2Exports, body)
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{"Accept": {latest}, "Content-Type": {plain}, "Authorization": {caller.Bearer()}}
				go func() {
					response, err := client.RoundTrip(r)
					if err != nil {
						t.Error(err)
						statuses <- 0
						return
					}
					io.Copy(io.Discard, response.Body)
					response.Body.Close()
					if response.Proto != protocol && response.Proto != protocol+".0" {
						t.Error(response.Proto)
					}
					statuses <- response.StatusCode
				}()
				if body == content {
					io.WriteString(rest, export[:10])
				} else {
					gatewaytest.Receive(t, "the first create at Atlas", arrived)
				}
			}
			connections := "2"
			if protocol == "HTTP/2" {
				connections = "1"
			}
			awaitMetric(t, g, `atlas_gateway_connections{authenticated="true"}`, connections)
			for range 40 {
				fmt.Fprint(dial(t, g.Address), "\x16\x03\x01") // half a handshake
			}
			awaitMetric(t, g, "atlas_gateway_connection_evictions_total", "38") // the origin may have two
			io.WriteString(rest, export[10:])
			rest.Close()
			gatewaytest.Receive(t, "the second create at Atlas", arrived)
			close(proceed)
			for range 2 {
				if status := gatewaytest.Receive(t, "an answer", statuses); status != 200 {
					t.Errorf("a create: %d", status)
				}
			}
			if n := upstream.Creates.Load(); n != 2 {
				t.Errorf("Atlas got %d creates", n)
			}
		})
	}
}

// awaitMetric waits until a series has a value that matches a pattern.
func awaitMetric(t *testing.T, g *gatewaytest.Gateway, series, value string) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (` + value + `)$`)
	for deadline := time.Now().Add(10 * time.Second); !line.MatchString(g.Metrics(t)); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become %s", series, value)
		}
	}
}

// A request whose connection was evicted before it was authenticated does not reach Atlas.
func TestEvictedIsNotSent(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	var built *gateway.Gateway
	g := gatewaytest.StartConfig(t, gatewaytest.Config{YAML: gatewaytest.YAML(upstream.URL, ""), Prepare: func(b *gateway.Gateway) { built = b }})
	listener := gatewaytest.Listen(t)
	defer listener.Close()
	table := inbound.NewTable(inbound.Config{Limit: 1, Counted: func(int, int) {}, Evicted: func(netip.Prefix) {}})
	accepting := table.Listener(listener)
	dial(t, listener.Addr().String())
	first, err := accepting.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	dial(t, listener.Addr().String())
	second, err := accepting.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for _, test := range []struct {
		conn    net.Conn
		outcome string
		sent    int64
	}{{first, "not_sent", 0}, {second, "answered", 1}} {
		r := httptest.NewRequest("POST", v2Exports, strings.NewReader(export)).WithContext(table.ConnContext(context.Background(), test.conn))
		r.Host = "localhost"
		r.Header = http.Header{"Accept": {latest}, "Content-Type": {plain}}
		answer := httptest.NewRecorder()
		built.ServeHTTP(answer, r)
		if got := answer.Header().Get("Gateway-Outcome"); got != test.outcome || upstream.Creates.Load() != test.sent {
			t.Errorf("%s, not %s: %s; %d creates", got, test.outcome, answer.Body, upstream.Creates.Load())
		}
	}
	g.Await(t, 0, `"error":"caller_gone"`)
}
