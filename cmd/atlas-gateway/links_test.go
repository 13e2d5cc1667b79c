package main

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// A link whose address is written with JSON's escapes stays, whatever stands elsewhere in the
// response. A link that is written as Atlas writes it points at the gateway.
func TestLinks(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(*http.Request) string {
		return gatewaytest.JSON(200, answer.Load().(string))
	}))
	p := serveFor(t, h.URL, "")
	replace := strings.NewReplacer("ESCAPED", strings.ReplaceAll(h.URL, "/", `\/`), "PLAIN", h.URL, "GATEWAY", p.Listener)
	for name, test := range map[string]struct{ from, to string }{
		"plain":                       {`{"results":[],"links":[{"href":"PLAIN/a"}]}`, `{"results":[],"links":[{"href":"GATEWAY/a"}]}`},
		"escaped":                     {`{"results":[],"links":[{"href":"ESCAPED\/a"}]}`, `{"results":[],"links":[{"href":"ESCAPED\/a"}]}`},
		"escaped, in front of plain":  {`{"results":[],"links":[{"href":"ESCAPED\/a"},{"href":"PLAIN/b"}]}`, `{"results":[],"links":[{"href":"ESCAPED\/a"},{"href":"GATEWAY/b"}]}`},
		"escaped, behind plain":       {`{"results":[],"links":[{"href":"PLAIN/b"},{"href":"ESCAPED\/a"}],"x":"PLAIN"}`, `{"results":[],"links":[{"href":"GATEWAY/b"},{"href":"ESCAPED\/a"}],"x":"PLAIN"}`},
		"escaped, plain in no link":   {`{"results":[],"links":[{"href":"ESCAPED\/a"}],"x":"PLAIN"}`, `{"results":[],"links":[{"href":"ESCAPED\/a"}],"x":"PLAIN"}`},
		"escaped, plain in a result":  {`{"links":[{"href":"ESCAPED/a"}],"results":[{"links":[{"href":"PLAIN/b"}]}]}`, `{"links":[{"href":"ESCAPED/a"}],"results":[{"links":[{"href":"GATEWAY/b"}]}]}`},
		"escaped, plain in an object": {`{"content":{"links":[{"href":"ESCAPED\/a"}],"customData":[{"value":"PLAIN"}]}}`, `{"content":{"links":[{"href":"ESCAPED\/a"}],"customData":[{"value":"PLAIN"}]}}`},
	} {
		answer.Store(replace.Replace(test.from))
		got := p.send(t, aGet)
		if want := replace.Replace(test.to); len(got) != 1 || got[0].Status != 200 || got[0].Body != want {
			t.Errorf("%s: got %v\nwant %s", name, got, want)
		}
	}
	p.stop(t)
}
