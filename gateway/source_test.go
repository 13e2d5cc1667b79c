package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
)

// Whether nobody can listen is a matter of the connection: a proxy may be anywhere, whatever its
// client's address is, and a client may be anywhere behind a proxy on this machine.
func TestPrivateIsOfTheConnection(t *testing.T) {
	t.Parallel()
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, job)))
	nightly := gatewaytest.Issue(t, "nightly", everything)
	basic := gatewaytest.Basic(nightly.Pair.ID, nightly.Pair.Secret.Reveal())
	var embedded *gateway.Gateway
	gatewaytest.StartConfig(t, gatewaytest.Config{
		YAML:    gatewaytest.YAML(upstream.URL, "listener: {client_address: x_forwarded_for, trusted_proxies: [192.0.2.0/24, 127.0.0.1/32]}\n"+eachSent, nightly),
		Prepare: func(g *gateway.Gateway) { embedded = g },
	})
	for _, test := range []struct {
		peer, client string
		status       int
	}{
		{"127.0.0.1:1", "203.0.113.7", 200},
		{"192.0.2.1:1", "203.0.113.7", 401},
		{"192.0.2.1:1", "127.0.0.1", 401},
		{"192.0.2.1:1", "127.0.0.1, 192.0.2.2", 401},
	} {
		r := httptest.NewRequest("GET", v2Exports+"/"+jobID, nil)
		r.RequestURI, r.RemoteAddr = v2Exports+"/"+jobID, test.peer
		r.Header = http.Header{"Accept": {latest}, "Authorization": {basic}, "X-Forwarded-For": {test.client}}
		w := httptest.NewRecorder()
		embedded.ServeHTTP(w, r)
		if w.Code != test.status {
			t.Errorf("%s for %s: %d %s", test.peer, test.client, w.Code, w.Body)
		}
	}
	// So it is behind a preamble.
	g := gatewaytest.StartFor(t, upstream.URL, "listener: {client_address: proxy_protocol, trusted_proxies: [127.0.0.1/32]}\n"+eachSent, nightly)
	conn := dial(t, g.Address)
	fmt.Fprint(conn, "PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n"+request("GET "+v2Exports+"/"+jobID, "", "Accept: "+latest, "Authorization: "+basic))
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("%s, %v", answer, err)
	}
}

// Other proxies may be trusted while the gateway runs, and how they name clients stays as it is.
func TestTrustedProxiesAreReloaded(t *testing.T) {
	t.Parallel()
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, job)))
	nightly := gatewaytest.Issue(t, "nightly", everything).Change(t, callers.Validity{}, func(e *callers.Entry) {
		e.SourceNetworks = []string{"203.0.113.0/24"}
	})
	yaml := func(how, network string) string {
		return gatewaytest.YAML(upstream.URL, "listener: {client_address: "+how+", trusted_proxies: ["+network+"]}\n"+eachSent, nightly)
	}
	for how, claim := range map[string]struct{ preamble, field string }{
		"proxy_protocol":  {preamble: "PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n"},
		"forwarded":       {field: "Forwarded: for=203.0.113.7"},
		"x_forwarded_for": {field: "X-Forwarded-For: 203.0.113.7"},
	} {
		g := gatewaytest.Start(t, yaml(how, "192.0.2.0/24"))
		ask := func() string {
			conn := dial(t, g.Address)
			fmt.Fprint(conn, claim.preamble+request("GET "+v2Exports+"/"+jobID, "", "Accept: "+latest, "Authorization: "+nightly.Bearer(), claim.field+"\r\nX: y"))
			answer, _ := io.ReadAll(conn)
			return string(answer)
		}
		if answer := ask(); strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Errorf("%s: %s", how, answer)
		}
		reloaded(t, g.Rewrite(t, yaml(how, "127.0.0.1/32")))
		if answer := ask(); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Errorf("%s, trusted: %s", how, answer)
		}
	}
}

// A proxy that is no longer trusted is not believed any more, on the connections that it has, too.
func TestTrustEnds(t *testing.T) {
	t.Parallel()
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(gatewaytest.JSON(200, job)))
	nightly := gatewaytest.Issue(t, "nightly", everything).Change(t, callers.Validity{}, func(e *callers.Entry) {
		e.SourceNetworks = []string{"203.0.113.0/24"}
	})
	yaml := func(network string) string {
		return gatewaytest.YAML(upstream.URL, "listener: {client_address: proxy_protocol, trusted_proxies: ["+network+"]}\n"+eachSent, nightly)
	}
	g := gatewaytest.Start(t, yaml("127.0.0.1/32"))
	conn := dial(t, g.Address)
	fmt.Fprint(conn, "PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n")
	answers := bufio.NewReader(conn)
	for _, want := range []int{200, 401} {
		fmt.Fprint(conn, "GET "+v2Exports+"/"+jobID+" HTTP/1.1\r\nHost: x\r\nAccept: "+latest+"\r\nAuthorization: "+nightly.Bearer()+"\r\n\r\n")
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		if answer.StatusCode != want {
			t.Errorf("%d, want %d", answer.StatusCode, want)
		}
		reloaded(t, g.Rewrite(t, yaml("192.0.2.0/24")))
	}
}
