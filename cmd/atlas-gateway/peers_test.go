package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	peers  = 200
	places = 64 // limits.connections
)

// longestWait is how long an honest caller may wait for its answer. Without evictions it would
// wait for as long as a connection may be idle, or may take for its header.
const longestWait = 4 * time.Second

// peer begins to hold a connection that it has opened.
type peer func(conn net.Conn) error

// saying writes a text, and no more.
func saying(text string) peer {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, text)
		return err
	}
}

// secure shakes hands before it goes on.
func secure(protocol string, then peer) peer {
	return func(conn net.Conn) error {
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err := c.Handshake(); err != nil {
			return err
		}
		return then(c)
	}
}

// frames sends a request over HTTP/2 that needs no key.
func frames(conn net.Conn) error {
	var out, block bytes.Buffer
	out.WriteString(http2.ClientPreface)
	encoder, framer := hpack.NewEncoder(&block), http2.NewFramer(&out, nil)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", "/"}} {
		encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	framer.WriteSettings()
	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	_, err := conn.Write(out.Bytes())
	return err
}

// attack is peers that hold connections to a gateway.
type attack struct {
	begin   peer
	many    bool // each peer has an address of its own; without it, all have the honest caller's
	again   bool // peers come back about a second after they were evicted
	address string

	opening, holding sync.WaitGroup
	done             chan struct{}
}

// start returns once each peer has opened a connection and begun.
func (a *attack) start(t *testing.T) {
	t.Helper()
	for i := range peers {
		a.opening.Add(1)
		a.holding.Go(func() {
			from := net.IPv4(127, 0, 0, 1)
			if a.many {
				from = net.IPv4(127, 0, byte(1+i/250), byte(1+i%250))
			}
			began := sync.OnceFunc(a.opening.Done)
			defer began()
			for {
				dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 10 * time.Second}
				conn, err := dialer.Dial("tcp", a.address)
				if err != nil {
					t.Error(err)
					return
				}
				// A handshake that is not answered is no reason to go, and so is one that is cut
				// off.
				conn.SetDeadline(time.Now().Add(time.Second))
				a.begin(conn)
				began()
				conn.SetDeadline(time.Time{})
				stop := make(chan struct{})
				go func() {
					select {
					case <-a.done:
					case <-stop:
					}
					conn.Close()
				}()
				io.Copy(io.Discard, conn)
				close(stop)
				select {
				case <-a.done:
					return
				case <-time.After(500*time.Millisecond + time.Duration(i)*time.Millisecond):
				}
				if !a.again {
					return
				}
			}
		})
	}
	a.opening.Wait()
}

// stop ends all connections.
func (a *attack) stop() {
	close(a.done)
	a.holding.Wait()
}

// Row 47: peers without a key, whatever they hold their connections with, keep nobody out.
func TestPeers(t *testing.T) {
	t.Parallel() // it waits most of the time
	const (
		get   = "GET / HTTP/1.1\r\nHost: localhost\r\n"
		guess = "GET " + buckets + " HTTP/1.1\r\nHost: localhost\r\n" + accept + "\r\nAuthorization: Bearer agw_st_guess\r\n\r\n"
	)
	for name, test := range map[string]struct {
		begin peer
		many  bool // each from an address of its own
		tls   bool
		again bool
	}{
		"idle after a request":                {begin: saying(get + "\r\n")},
		"idle after a request, many":          {begin: saying(get + "\r\n"), many: true},
		"idle after a guess":                  {begin: saying(guess)},
		"silent":                              {begin: saying("")},
		"half a header":                       {begin: saying(get)},
		"half a header, many":                 {begin: saying(get), many: true},
		"without their content":               {begin: saying("POST " + get[4:] + "Content-Length: 100\r\n\r\n{")},
		"that come back":                      {begin: saying(get + "\r\n"), again: true},
		"with half a header, come back, many": {begin: saying(get), many: true, again: true},
		"no handshake":                        {begin: saying(""), tls: true},
		"half a handshake, many":              {begin: saying("\x16\x03\x01\x02\x00\x01"), many: true, tls: true},
		"silent after a handshake":            {begin: secure("http/1.1", saying("")), tls: true},
		"idle after a request in TLS, many":   {begin: secure("http/1.1", saying(get+"\r\n")), many: true, tls: true},
		"idle after a request over HTTP/2":    {begin: secure("h2", frames), tls: true},
		"silent over HTTP/2, many":            {begin: secure("h2", saying(http2.ClientPreface)), many: true, tls: true},
	} {
		t.Run(name, func(t *testing.T) {
			var environ []string
			authority := gatewaytest.NewAuthority(t)
			if test.tls {
				cert, key := authority.Loopback(t).WriteFiles(t)
				environ = []string{"ATLAS_GATEWAY_LISTENER_TLS_CERT_FILE=" + cert, "ATLAS_GATEWAY_LISTENER_TLS_KEY_FILE=" + key}
			}
			token := callers.NewToken("nightly").Secret.Reveal()
			atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}})
			p := serveFor(t, atlas.URL(), forToken(token)+fmt.Sprintf("limits: {connections: %d}\n", places), environ...)
			client := func() *http.Client {
				return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool}, ForceAttemptHTTP2: test.tls}, Timeout: 5 * time.Second}
			}
			caller := func() *honest {
				return &honest{client: client(), url: p.Listener + buckets, token: token, again: test.again}
			}
			kept := caller()
			kept.get(t)
			_, address, _ := strings.Cut(p.Listener, "://")
			attack := attack{begin: test.begin, many: test.many, again: test.again, address: address, done: make(chan struct{})}
			began := time.Now()
			attack.start(t)
			attack.beside(t, p, kept, caller)
			attack.stop()
			last := caller()
			last.get(t) // is accepted behind all peers, so that no more are evicted
			kept.get(t)
			evicted := metric(t, p, "atlas_gateway_connection_evictions_total")
			if evicted < peers-places-20 {
				t.Errorf("%d evictions", evicted)
			}
			if kept.connections != 1 {
				t.Errorf("the connection of a caller with a key was lost: it had %d", kept.connections)
			}
			last.client.CloseIdleConnections()
			kept.client.CloseIdleConnections()
			p.stop(t)
			checkEvictionRecords(t, p.stderr.String(), evicted, 2+int(time.Since(began)/(5*time.Second)))
		})
	}
}

// beside has callers with a key send requests during an attack: on a connection that one has kept,
// and on new ones. It looks at what operators see, too.
func (a *attack) beside(t *testing.T, p *process, kept *honest, caller func() *honest) {
	t.Helper()
	rounds := 10
	if a.again {
		rounds = 70 // so that they come back twice
	}
	var longest time.Duration
	for range rounds {
		newcomer := caller()
		longest = max(longest, newcomer.get(t), kept.get(t))
		if t.Failed() {
			break
		}
		newcomer.client.CloseIdleConnections()
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("an honest caller waited for %s at most", longest)
	if longest >= longestWait {
		t.Errorf("an honest caller waited for %s", longest)
	}
	if status, body := page(t, p.Management+"/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
	authenticated, others := metric(t, p, `atlas_gateway_connections{authenticated="true"}`), metric(t, p, `atlas_gateway_connections{authenticated="false"}`)
	if authenticated < 1 || authenticated > 3 || authenticated+others > places || !a.many && others > places/2 {
		t.Errorf("%d and %d connections", authenticated, others)
	}
}

// honest is a caller with a key.
type honest struct {
	client      *http.Client
	url, token  string
	connections int  // that it opened
	again       bool // tries again if it loses the connection
}

// get sends a request, which must be answered, and returns how long that took.
func (h *honest) get(t *testing.T) time.Duration {
	t.Helper()
	request, err := http.NewRequest("GET", h.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "Authorization": {"Bearer " + h.token}}
	request = request.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		if !got.Reused {
			h.connections++
		}
	}}))
	start := time.Now()
	response, err := h.client.Do(request)
	for err != nil && h.again && time.Since(start) < longestWait {
		t.Logf("an honest caller tries again: %v", err)
		response, err = h.client.Do(request)
	}
	if err != nil {
		t.Errorf("an honest caller, after %s: %v", time.Since(start), err)
		return time.Since(start)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("an honest caller: %d %s, %v", response.StatusCode, body, err)
	}
	return time.Since(start)
}

// metric returns the value of a series.
func metric(t *testing.T, p *process, series string) int {
	t.Helper()
	_, metrics := page(t, p.Management+"/metrics")
	value := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.+)$`).FindStringSubmatch(metrics)
	if value == nil {
		t.Fatalf("no series %s", series)
	}
	n, err := strconv.ParseFloat(value[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// page returns a page for operators.
func page(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// checkEvictionRecords holds a log to what was evicted: few records tell of all of them, and
// net/http's own log of none.
func checkEvictionRecords(t *testing.T, log string, evicted, most int) {
	t.Helper()
	records, sum := 0, 0
	for line := range strings.Lines(log) {
		var record struct {
			Level, Msg, Message string
			Count               int
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if strings.Contains(record.Msg, "to make room") {
			records, sum = records+1, sum+record.Count
			if record.Level != "WARN" {
				t.Errorf("%s", line)
			}
		}
		if strings.Contains(record.Message, "evicted") || strings.Contains(record.Message, "closed network connection") {
			t.Errorf("%s", line)
		}
	}
	if records == 0 || records > most || sum != evicted {
		t.Errorf("%d records, at most %d, tell of %d evictions, not %d", records, most, sum, evicted)
	}
}
