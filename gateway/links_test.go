package gateway_test

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/internal/gatewaytest"
)

// Links to the upstream's origin become links to the gateway in all places where the contract has
// links. Every other byte stays.
func TestLinksAreRewritten(t *testing.T) {
	var answer atomic.Value
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		return gatewaytest.LastJSON(200, answer.Load().(string))
	}))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	host := strings.TrimPrefix(upstream.URL, "http://")
	replace := strings.NewReplacer("ESCAPED", `http:\/\/`+host, "ttpTAIL", "ttp://"+host, "UP", upstream.URL, "GW", g.URL)
	tests := []struct{ name, from, to string }{
		{"at the top", `{"results":[],"links":[{"href":"UP/a?pageNum=1","rel":"self"},{"rel":"next","href":"UP/b"}]}`, `{"results":[],"links":[{"href":"GW/a?pageNum=1","rel":"self"},{"rel":"next","href":"GW/b"}]}`},
		{"in results", `{"results":[{"id":"1","links":[{"href":"UP/a"}]},{"links":[{"href":"UP/b"}]}]}`, `{"results":[{"id":"1","links":[{"href":"GW/a"}]},{"links":[{"href":"GW/b"}]}]}`},
		{"in an envelope", `{"status":200,"content":{"links":[{"href":"UP/a"}]}}`, `{"status":200,"content":{"links":[{"href":"GW/a"}]}}`},
		{"in an envelope by its other name", `{"status":200,"envelope":{"links":[{"href":"UP/a"}]}}`, `{"status":200,"envelope":{"links":[{"href":"GW/a"}]}}`},
		{"with escapes and spaces", `{ "links" : [ { "href" : "UP/a\"\\\u0041" } ] }`, `{ "links" : [ { "href" : "GW/a\"\\\u0041" } ] }`},
		{"not with escapes in the origin", `{"results":[],"links":[{"href":"ESCAPED\/a"}]}`, `{"results":[],"links":[{"href":"ESCAPED\/a"}]}`},
		{"nor beside plain ones", `{"links":[{"href":"ESCAPED\/a"},{"href":"UP/b"},{"href":"ESCAPED/c"},{"href":"\u0068ttpTAIL/d"},{"href":"UP\/e"},{"href":"UP\u003ff"},{"href":"UP?g"}],"x":"UP"}`,
			`{"links":[{"href":"ESCAPED\/a"},{"href":"GW/b"},{"href":"ESCAPED/c"},{"href":"\u0068ttpTAIL/d"},{"href":"UP\/e"},{"href":"UP\u003ff"},{"href":"GW?g"}],"x":"UP"}`},
		{"nor in front of one that is no link", `{"links":[{"href":"ESCAPED\/a"}],"customData":[{"value":"UP"}]}`, `{"links":[{"href":"ESCAPED\/a"}],"customData":[{"value":"UP"}]}`},
		{"the origin without a path", `{"links":[{"href":"UP"}]}`, `{"links":[{"href":"GW"}]}`},
		{"not in custom data", `{"customData":[{"key":"UP/a","value":"UP/b"}],"links":[]}`, `{"customData":[{"key":"UP/a","value":"UP/b"}],"links":[]}`},
		{"not in other members", `{"links":[{"rel":"UP/a"}],"href":"UP/b","x":{"links":[{"href":"UP/c"}]}}`, `{"links":[{"rel":"UP/a"}],"href":"UP/b","x":{"links":[{"href":"UP/c"}]}}`},
		{"not in names", `{"links":[{"UP/href":"x","href":{"UP":1}}]}`, `{"links":[{"UP/href":"x","href":{"UP":1}}]}`},
		{"not in members with longer names", `{"contents":{"links":[{"href":"UP/a"}]},"contentX":{"links":[{"href":"UP/a"}]},"linksX":[{"href":"UP/b"}]}`, `{"contents":{"links":[{"href":"UP/a"}]},"contentX":{"links":[{"href":"UP/a"}]},"linksX":[{"href":"UP/b"}]}`},
		{"in the list of an envelope", `{"content":{"results":[{"links":[{"href":"UP/a"}]}],"links":[{"href":"UP/b"}]}}`, `{"content":{"results":[{"links":[{"href":"GW/a"}]}],"links":[{"href":"GW/b"}]}}`},
		{"not in values of other types", `{"links":{"href":"UP/a"},"results":{"links":[]},"content":["UP/b"],"x":"UP"}`, `{"links":{"href":"UP/a"},"results":{"links":[]},"content":["UP/b"],"x":"UP"}`},
		{"not where href is no text", `{"links":[{"href":7},{"href":["UP/a"]},"UP/b",{"href":"UP/c"}]}`, `{"links":[{"href":7},{"href":["UP/a"]},"UP/b",{"href":"GW/c"}]}`},
		{"not in the middle", `{"links":[{"href":"x?UP/a"}]}`, `{"links":[{"href":"x?UP/a"}]}`},
		{"not for a longer host", `{"links":[{"href":"UP0/a"},{"href":"UP.evil/a"},{"href":"UP@evil/a"}]}`, `{"links":[{"href":"UP0/a"},{"href":"UP.evil/a"},{"href":"UP@evil/a"}]}`},
	}
	for _, test := range tests {
		answer.Store(replace.Replace(test.from))
		got := g.Send(t, "GET", v2Exports, readHeader, "")
		if want := replace.Replace(test.to); got.Status != 200 || got.Body != want {
			t.Errorf("%s: %d\n got %s\nwant %s", test.name, got.Status, got.Body, want)
		}
	}
}

// The public URL and the upstream's URL may be written in any way that names the same origin.
func TestLinksOfAnOriginInOtherWords(t *testing.T) {
	var answer atomic.Value
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		return gatewaytest.LastJSON(200, answer.Load().(string))
	}))
	answer.Store(`{"results":[],"links":[{"href":"` + strings.Replace(upstream.URL, "127.0.0.1", "localhost", 1) + `/a"}]}`)
	g := gatewaytest.StartFor(t, strings.Replace(upstream.URL, "127.0.0.1", "LocalHost", 1)+"/", "listener: {public_url: 'HTTP://GW.Internal:80/'}")
	got := g.Send(t, "GET", v2Exports, readHeader, "")
	if want := `{"results":[],"links":[{"href":"http://gw.internal/a"}]}`; got.Body != want {
		t.Errorf("got %d %s, want %s", got.Status, got.Body, want)
	}
}

// A response that is made to be slow to rewrite is not slow: the gateway skips what holds no
// links.
func TestLinksAreRewrittenInTime(t *testing.T) {
	var hostile atomic.Value
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		return gatewaytest.LastJSON(200, hostile.Load().(string))
	}))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	name := strings.Repeat("n", 4000)
	const names = 100 // so many that a walk through all of them took longer than Send waits
	body := `{"results":[],"x":` + strings.Repeat(`{"`+name+`":`, names) + `["` + upstream.URL + `"` + strings.Repeat(`,"`+upstream.URL+`"`, 20_000) + `]` + strings.Repeat("}", names+1)
	hostile.Store(body)
	got := g.Send(t, "GET", v2Exports, readHeader, "")
	if got.Status != 200 || got.Body != body {
		t.Errorf("%d, %d bytes", got.Status, len(got.Body))
	}
}

// However many dots a text has, and wherever, an origin is found where it first is.
func TestOccurrence(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const letters = "..ab"
	for range 100_000 {
		text, origin := make([]byte, random.IntN(80)), make([]byte, 1+random.IntN(4))
		for _, some := range [][]byte{text, origin} {
			for i := range some {
				some[i] = letters[random.IntN(len(letters))]
			}
		}
		if got, want := gateway.Occurrence(text, string(origin)), bytes.Index(text, origin); got != want {
			t.Fatalf("%s in %s: %d, want %d", origin, text, got, want)
		}
	}
}
