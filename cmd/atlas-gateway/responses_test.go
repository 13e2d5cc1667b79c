package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// Row 32: a response that can't be relayed whole is answered with the gateway's own 502, which
// shows no word of it.
func TestBrokenResponses(t *testing.T) {
	t.Parallel()
	const word = `"c4na7y of the upstream"`
	half := `{"results":[` + word
	var text atomic.Value
	h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return text.Load().(string) }))
	p := serveFor(t, h.URL, "limits: {response_body: 4096}\n")
	for name, test := range map[string]struct{ bytes, kind string }{
		"HTML":                           {"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 24\r\n\r\n" + word, "upstream_response"},
		"HTML that calls itself JSON":    {gatewaytest.JSON(200, "<html>"+word), "upstream_response"},
		"a text":                         {strings.Replace(gatewaytest.JSON(200, list), "application/json", "text/plain; c4na7y", 1), "upstream_response"},
		"a problem":                      {strings.Replace(gatewaytest.JSON(400, `{"title":`+word+`}`), "application/json", "application/problem+json", 1), "upstream_response"},
		"no type":                        {"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + list, "upstream_response"},
		"no content":                     {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n", "upstream_response"},
		"broken JSON":                    {gatewaytest.JSON(200, half), "upstream_response"},
		"a repeated member":              {gatewaytest.JSON(200, `{"results":[],"results":[`+word+`]}`), "upstream_response"},
		"bad UTF-8":                      {gatewaytest.JSON(200, "{\"results\":[\"\xff\"]}"), "upstream_response"},
		"two values":                     {gatewaytest.JSON(200, list+list), "upstream_response"},
		"a truncated body":               {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\nConnection: close\r\n\r\n" + half, "upstream_response"},
		"truncated chunks":               {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(half), half), "upstream_response"},
		"a broken chunk":                 {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc4na7y\r\n", "upstream_response"},
		"whole JSON, cut short":          {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n" + list, "upstream_response"},
		"a size beyond the limit":        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n" + half, "upstream_response"},
		"chunks beyond the limit":        {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n" + strings.Repeat(" ", 0x2000-len(half)) + half + "\r\n", "upstream_response"},
		"without end":                    {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + half + strings.Repeat(" ", 0x2000), "upstream_response"},
		"a compressed body":              {gatewaytest.JSON(200, "\x1f\x8b\x08\x00c4na7y", "Content-Encoding: gzip"), "upstream_response"},
		"JSON that is called compressed": {gatewaytest.JSON(200, list, "Content-Encoding: gzip"), "upstream_response"},
		"a status below 200":             {strings.Replace(gatewaytest.JSON(200, list), "200", "099", 1), "upstream_response"},
		"a status above 599":             {strings.Replace(gatewaytest.JSON(200, list), "200", "999", 1), "upstream_response"},
		"another protocol":               {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: c4na7y\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", "upstream_response"},
		"huge fields":                    {gatewaytest.JSON(200, list, "X: "+strings.Repeat("c4na7y ", 20_000)), "upstream_unreachable"},
		"many fields":                    {gatewaytest.JSON(200, list, slices.Repeat([]string{"X: c4na7y"}, 10_000)...), "upstream_unreachable"},
		"a broken field":                 {"HTTP/1.1 200 OK\r\nc4na7y\r\nContent-Length: 0\r\n\r\n", "upstream_unreachable"},
		"two lengths":                    {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\nContent-Length: 15\r\n\r\n" + list, "upstream_unreachable"},
		"a negative length":              {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n" + list, "upstream_unreachable"},
		"endless interim responses":      {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: c4na7y\r\n\r\n", 5000), "upstream_unreachable"},
		"a status in words":              {"HTTP/1.1 OK c4na7y\r\nContent-Length: 0\r\n\r\n", "upstream_unreachable"},
		"not HTTP":                       {"SSH-2.0-c4na7y\r\n", "upstream_unreachable"},
		"half a status line":             {"HTTP/1.1 2", "upstream_unreachable"},
		"nothing":                        {" ", "upstream_unreachable"},
		"a reset":                        {"", "upstream_unreachable"},
	} {
		text.Store(test.bytes)
		creates := h.Creates.Load()
		refuses(t, name, p.send(t, aGet), test.kind)
		got := p.send(t, aPost)
		refuses(t, name+", to a create", got, test.kind)
		if len(got) == 1 && !strings.Contains(got[0].Body, "It is not known whether the request was carried out") || h.Creates.Load() != creates+1 {
			t.Errorf("%s, to a create, of which %d arrived: %v", name, h.Creates.Load()-creates, got)
		}
	}
	p.stop(t)
}

// Row 33: a create is sent once, also on a connection that was used before, and however its
// caller marks it as repeatable.
func TestReplays(t *testing.T) {
	h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if r.Method == "POST" || r.Header.Get("Idempotency-Key")+r.Header.Get("X-Idempotency-Key") != "" {
			return "" // a reset
		}
		return gatewaytest.JSON(200, list)
	}))
	p := serveFor(t, h.URL, "")
	for i, fields := range [][]string{nil, {"Idempotency-Key: 1"}, {"X-Idempotency-Key: 1"}, {"idempotency-key: 1", "x-idempotency-key: 1"}} {
		for range 2 { // the second time on a connection that was used before, with the same nonce
			if got := p.send(t, request("GET "+buckets, "", append(fields, accept)...)); len(got) != 1 || got[0].Status != 200 {
				t.Errorf("%q: %v", fields, got)
			}
		}
		refuses(t, fmt.Sprintf("%q", fields), p.send(t, request("POST "+buckets, bucket, append(fields, accept, isJSON)...)), "upstream_unreachable")
		if n := h.Creates.Load(); n != int64(i+1) {
			t.Fatalf("%q: %d creates arrived for %d", fields, n, i+1)
		}
	}
	p.stop(t)
}
