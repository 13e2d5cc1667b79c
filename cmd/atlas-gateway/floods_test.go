package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// Row 20: a flood of requests that are as costly as possible takes bounded memory.
func TestFloods(t *testing.T) {
	measured(t)
	post := "POST " + exports
	open := export[:len(export)-1]
	var names strings.Builder
	for i := 0; names.Len() < 200_000; i++ {
		fmt.Fprintf(&names, `,"m%d":1`, i)
	}
	same := func(bytes string) func(int) string { return func(int) string { return bytes } }
	create := func(body string) func(int) string { return same(request(post, body, accept, isJSON)) }
	for name, test := range map[string]struct {
		bytes  func(i int) string
		status int
	}{
		"depth":               {create(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), 400},
		"number":              {create(`{"snapshotId":` + strings.Repeat("1", 1<<20) + "}"), 413},
		"fields":              {same(request("GET "+exports, "", slices.Repeat([]string{"X-Of-A-Thousand: fields"}, 1000)...)), 431},
		"parameters":          {same(request("GET "+exports+"?"+strings.Repeat("&a=1", 10_000)[1:], "", accept)), 431},
		"parameters that fit": {same(request("GET "+exports+"?"+strings.Repeat("&a=1", 4000)[1:], "", accept)), 400},
		"customData":          {create(open + `,"customData":[` + strings.Repeat("{},", 49_999) + "{}]}"), 400},
		"members":             {create(open + names.String() + "}"), 400},
		"a text":              {create(`{"snapshotId":"` + strings.Repeat(`\u2028`, 40_000) + `"}`), 400},
		"keys": {func(i int) string {
			return request("GET "+buckets, "", accept, fmt.Sprintf("Authorization: Bearer agw_st_%0300d", i))
		}, 401},
		"nonces": {func(i int) string {
			return request("GET "+buckets, "", accept, fmt.Sprintf(`Authorization: Digest username="agwnobody", realm="MMS Public API", nonce="%0100d", uri="%s", response="%032x", qop=auth, nc=00000001, cnonce="a"`, i, buckets, i))
		}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			atlas := sim.Start(t, sim.Config{})
			settings, n := "", 2*atOnce
			if test.status == 401 {
				n *= 5 // each with another key or nonce
				settings = forToken(callers.NewToken("nightly").Secret.Reveal())
			}
			p := serveFor(t, atlas.URL(), settings)
			before := p.peak(t)
			crowd(n, func(i int) {
				if got := p.send(t, test.bytes(i)); len(got) != 1 || got[0].Status != test.status {
					t.Errorf("%.500v", got)
				}
			})
			p.stays(t, before, most)
			untouched(t, atlas, name)
			p.stop(t)
		})
	}
}

// Row 20: content without an end is read up to the limit only.
func TestEndlessContent(t *testing.T) {
	measured(t)
	atlas := sim.Start(t, sim.Config{})
	p := serveFor(t, atlas.URL(), "")
	before := p.peak(t)
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
	crowd(atOnce, func(int) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.Listener, "http://"))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, request("POST "+exports, "", accept, isJSON, "Transfer-Encoding: chunked"))
		sent := 0
		for ; sent < 1<<30; sent += 64 << 10 {
			if _, err := io.WriteString(conn, chunk); err != nil {
				break
			}
		}
		// This counts what the gateway has read, and what the kernel holds on both ends.
		if sent > 32<<20 {
			t.Errorf("%d MiB were taken", sent>>20)
		}
	})
	p.stays(t, before, most)
	untouched(t, atlas, "content without end")
	if got := p.send(t, request("POST "+exports, "", accept, isJSON, "Content-Length: 1073741824")); len(got) != 1 || got[0].Status != 413 {
		t.Errorf("announced: %v", got)
	}
	p.stop(t)
}

// Rows 21 and 32: responses that are large, or large once decompressed, take bounded memory and
// are not relayed.
func TestLargeResponses(t *testing.T) {
	measured(t)
	var mebibyte bytes.Buffer
	writer := gzip.NewWriter(&mebibyte)
	writer.Write(make([]byte, 1<<20))
	writer.Close()
	bomb := strings.Repeat(mebibyte.String(), 256) // one member behind the other (RFC 1952, section 2.2)
	const limit = 1 << 20                          // limits.response_body
	long := `{"results":[],"pad":"` + strings.Repeat("x", 8*limit) + `"}`
	for name, text := range map[string]string{
		"a bomb":                          gatewaytest.JSON(200, bomb, "Content-Encoding: gzip", "Connection: close"),
		"a bomb without Content-Encoding": gatewaytest.JSON(200, bomb, "Connection: close"),
		"a large one":                     gatewaytest.JSON(200, long, "Connection: close"),
		"a large one in chunks":           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(long), long),
		"a large one of no stated length": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + long,
		"a large error":                   gatewaytest.JSON(404, long, "Connection: close"),
		"a large 401":                     gatewaytest.JSON(401, long, "WWW-Authenticate: "+gatewaytest.Challenge, "Connection: close"),
	} {
		t.Run(name, func(t *testing.T) {
			h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return text }))
			p := serveFor(t, h.URL, fmt.Sprintf("limits: {response_body: %d}\n", limit))
			before := p.peak(t)
			crowd(4*atOnce, func(int) {
				if got := p.send(t, aGet); len(got) != 1 || got[0].Status != 502 {
					t.Errorf("%.500v", got)
				}
			})
			p.stays(t, before, 4*limit*atOnce)
			p.stop(t)
		})
	}
}

// Row 32: relaying a response within its limit takes bounded memory, however many values the
// response holds.
func TestManyResponseValues(t *testing.T) {
	measured(t)
	const limit = 8 << 20 // limits.response_body, by default
	for name, element := range map[string]string{"that the contract does not know": `{"a":1},`, "of its own kind": `{"id":"6a01f3c95be2d84417c0aa01"},`} {
		t.Run(name, func(t *testing.T) {
			body := `{"results":[` + strings.Repeat(element, limit/len(element)-8) + element[:len(element)-1] + `]}`
			h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string { return gatewaytest.JSON(200, body) }))
			p := serveFor(t, h.URL, "responses: {check: report, sample: 1}\n")
			before := p.peak(t)
			if got := p.send(t, aGet); len(got) != 1 || got[0].Status != 200 || len(got[0].Body) != len(body) {
				t.Errorf("%.500v", got)
			}
			p.stays(t, before, 4*limit)
			p.stop(t)
		})
	}
}
