package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
)

// Pages of other sites can't use a gateway that lets everyone on this machine in.
func TestPagesOfOtherSites(t *testing.T) {
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.LastJSON(200, job)))
	g := gatewaytest.StartFor(t, upstream.URL, "listener: {public_url: 'https://exports.internal.example/below', hosts: [exports, gw.cluster.local]}\n"+eachSent)
	// The second gateway lets other machines in as well.
	open := gatewaytest.StartFor(t, upstream.URL, "listener: {address: ':8080', allow_plain_http: true, public_url: 'https://exports.internal.example', hosts: [gw.cluster.local, exports]}\n"+eachSent+"\ncallers: {anonymous: true, allow_anonymous_off_loopback: true}")
	line := "GET " + v2Exports + "/" + jobID + " HTTP/1.1\r\nConnection: close\r\nAccept: " + latest + "\r\n"
	for fields, status := range map[string]int{
		"Host: localhost:1":              200,
		"Host: 127.0.0.1:1":              200,
		"Host: [::1]:1":                  200,
		"Host: exports.internal.example": 200,
		"Host: exports":                  200,
		"Host: GW.cluster.local:8080":    200,
		"Host: gw.cluster.local:81\r\nOrigin: http://gw.cluster.local:81": 200,
		"Host: gw.cluster.local:81\r\nOrigin: http://gw.cluster.local:82": 403,
		"Host: localhost\r\nOrigin: http://gw.cluster.local":              403,
		"Host: evil.gw.cluster.local":                                     403,
		"Host: exports.\r\nOrigin: http://exports.":                       403,
		"Host: localhost\r\nOrigin: http://localhost:3000":                200,
		"Host: localhost\r\nSec-Fetch-Site: same-origin":                  200,
		"Host: localhost\r\nSec-Fetch-Site: none":                         200,
		"Host: evil.example:8080":                                         403,
		"Host: 127.0.0.1.evil.example":                                    403,
		"Host: localhost\r\nOrigin: http://evil.example":                  403,
		"Host: localhost\r\nOrigin: null":                                 403,
		"Host: localhost\r\nSec-Fetch-Site: cross-site":                   403,
		"Host: localhost\r\nSec-Fetch-Site: same-site":                    403,
		"Host: evil.example\r\nX-Forwarded-Host: localhost":               403,
		"Host: evil.example\r\nOrigin: https://exports.internal.example":  403,
	} {
		for _, g := range []*gatewaytest.Gateway{g, open} {
			before := upstream.Signed.Load()
			answer := g.Raw(t, line+fields+"\r\n\r\n")
			if !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", status)) || (upstream.Signed.Load() != before) != (status == 200) {
				t.Errorf("%q: %.200s", fields, answer)
			}
			if status == 403 && !strings.Contains(answer, "Gateway-Error: foreign_site") {
				t.Errorf("%q: %.300s", fields, answer)
			}
		}
	}
	// A gateway for other machines may be known only by its names, which change while it runs.
	named := gatewaytest.StartFor(t, upstream.URL, "listener: {address: ':8080', allow_plain_http: true, hosts: [one]}\ncallers: {anonymous: true, allow_anonymous_off_loopback: true}")
	if answer := named.Raw(t, line+"Host: one\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("by name: %.200s", answer)
	}
	named.Rewrite(t, gatewaytest.YAML(upstream.URL, "listener: {address: ':8080', allow_plain_http: true, hosts: [two]}\ncallers: {anonymous: true, allow_anonymous_off_loopback: true}"))
	if one, two := named.Raw(t, line+"Host: one\r\n\r\n"), named.Raw(t, line+"Host: two\r\n\r\n"); !strings.HasPrefix(one, "HTTP/1.1 403 ") || !strings.HasPrefix(two, "HTTP/1.1 200 ") {
		t.Errorf("by another name: %.200s %.200s", one, two)
	}
	management := strings.TrimPrefix(g.Management, "http://")
	for _, fields := range []string{"Host: localhost\r\nOrigin: null", "Host: :27090", "Host: evil.example"} {
		if answer := gatewaytest.Raw(t, management, "GET /metrics HTTP/1.1\r\nConnection: close\r\n"+fields+"\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 403 ") {
			t.Errorf("management: %q: %.200s", fields, answer)
		}
	}
}

// The callers' listener does not serve the operators' pages, nor the operators' listener the API.
// Neither answers 404, which clients of Atlas take for the news that something was deleted.
func TestManagementIsSeparate(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "")
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/"} {
		if got := g.Send(t, "GET", path, nil, ""); got.Status != 403 || got.Header.Get("Gateway-Error") != "not_served" {
			t.Errorf("the callers' listener answers %s with %d", path, got.Status)
		}
	}
	for _, path := range []string{v2Exports, "/debug/pprof/", "/", "/metrics/x"} {
		if got := gatewaytest.Send(t, "GET", g.Management+path, nil, ""); got.Status != 403 || got.Header.Get("Gateway-Error") != "not_served" || !strings.Contains(got.Body, "for operators") {
			t.Errorf("the management listener answers %s with %d", path, got.Status)
		}
	}
}

// Whoever reaches the operators' listener holds a bounded number of connections, and keeps no probe
// from being answered.
func TestOperatorConnectionsAreBounded(t *testing.T) {
	g := gatewaytest.StartFor(t, "http://127.0.0.1:9", "timeouts: {header: 60s, request: 60s}")
	address := strings.TrimPrefix(g.Management, "http://")
	var all []net.Conn
	for range 400 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /healthz HTTP/1.1\r\n")
		all = append(all, conn)
	}
	began := time.Now()
	if got := gatewaytest.Send(t, "GET", g.Management+"/healthz", nil, ""); got.Status != 200 || time.Since(began) > 5*time.Second {
		t.Errorf("%d after %s", got.Status, time.Since(began))
	}
	gatewaytest.WaitFor(t, "the ends of the others", func() bool {
		open := 0
		for _, conn := range all {
			conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				open++
			}
		}
		return open <= 256
	})
}
