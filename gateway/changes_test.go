package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// changed are the requests that change something.
var changed = map[string]struct{ target, content string }{
	"POST":   {v2Exports, export},
	"PATCH":  {v2Buckets + "/" + bucketID, `{"requirePrivateNetworking":true}`},
	"DELETE": {v2Buckets + "/" + bucketID, ""},
}

// A change that Atlas has carried out is never answered as if it had failed, however strictly
// Atlas's responses are held to the contract: whoever reads of a failure repeats the change.
func TestChangesThatWereCarriedOut(t *testing.T) {
	for name, test := range map[string]struct {
		answer, method string
		status         int
		body           string
	}{
		"a create in another form":             {gatewaytest.LastJSON(200, `{"id":7}`), "POST", 200, `{"id":7}`},
		"a create with 201":                    {gatewaytest.LastJSON(201, `{"id":"`+jobID+`"}`), "POST", 201, `{"id":"` + jobID + `"}`},
		"an update in another form":            {gatewaytest.LastJSON(200, `[]`), "PATCH", 200, `[]`},
		"a deletion with an object":            {gatewaytest.LastJSON(200, `{}`), "DELETE", 200, `{}`},
		"a deletion with 202":                  {gatewaytest.LastJSON(202, `{"id":7}`), "DELETE", 202, `{"id":7}`},
		"a deletion in v1.0 with an object":    {gatewaytest.LastJSON(200, `{}`), "DELETE v1.0", 200, `{}`},
		"a deletion in v1.0 with 202":          {gatewaytest.LastJSON(202, `{"id":7}`), "DELETE v1.0", 202, `{"id":7}`},
		"a deletion in v1.0, and nothing":      {"HTTP/1.1 204 No Content\r\n\r\n", "DELETE v1.0", 204, ""},
		"a deletion in v1.0 with 200, no JSON": {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "DELETE v1.0", 200, ""},
		"a deletion, and nothing":              {"HTTP/1.1 204 No Content\r\n\r\n", "DELETE", 204, ""},
		"a deletion with 200, no JSON":         {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "DELETE", 200, ""},
	} {
		upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(test.answer))
		g := gatewaytest.StartFor(t, upstream.URL, "responses: {check: enforce}")
		method, generation, _ := strings.Cut(test.method, " ")
		request := changed[method]
		if generation != "" {
			request.target = strings.Replace(request.target, "/v2/", "/"+generation+"/", 1)
		}
		header := createHeader
		if request.content == "" {
			header = readHeader
		}
		got := g.Send(t, method, request.target, header, request.content)
		if got.Status != test.status || got.Body != test.body || got.Header.Get("Gateway-Error") != "" || got.Header.Get("Gateway-Outcome") != "answered" {
			t.Errorf("%s: %d %v %s", name, got.Status, got.Header, got.Body)
		}
		if broken := test.status != 204 && test.body != ""; broken && !strings.Contains(g.Log.String(), `"msg":"response breaks the contract"`) {
			t.Errorf("%s: not in the log: %s", name, g.Log)
		}
	}
}

// Of a change whose answer can't be relayed it is not known whether it was carried out, and of one
// that was not sent it is known that it was not. The answer says so, as does the record.
func TestOutcomesOfChanges(t *testing.T) {
	for name, test := range map[string]struct{ answer, outcome, says string }{
		"no JSON":       {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok", "unknown", "It is not known whether the request was carried out"},
		"broken JSON":   {gatewaytest.LastJSON(200, `{"id":`), "unknown", "It is not known whether the request was carried out"},
		"cut short":     {"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}", "unknown", "It is not known whether the request was carried out"},
		"no answer":     {"", "unknown", "It is not known whether the request was carried out"},
		"no connection": {"-", "not_sent", "The request was not carried out"},
		"a refused key": {gatewaytest.LastJSON(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+gatewaytest.Challenge), "not_sent", "does not accept the gateway's credential"},
	} {
		url := "http://" + gatewaytest.Refused(t)
		if test.answer != "-" {
			url = gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(test.answer)).URL
		}
		g := gatewaytest.StartFor(t, url, "")
		n := 0
		for method, request := range changed {
			header := createHeader
			if request.content == "" {
				header = readHeader
			}
			got := g.Send(t, method, request.target, header, request.content)
			if got.Status != 502 || got.Header.Get("Gateway-Outcome") != test.outcome || !strings.Contains(got.Body, test.says) {
				t.Errorf("%s, to %s: %d %q %s", name, method, got.Status, got.Header.Get("Gateway-Outcome"), got.Body)
			}
			if record := g.Record(t, n); !strings.Contains(record, fmt.Sprintf(`"method":"%s"`, method)) || !strings.Contains(record, `"outcome":"`+test.outcome+`"`) {
				t.Errorf("%s, to %s: %s", name, method, record)
			}
			n++
		}
	}
}

// A 404 is relayed if Atlas says it. One that has no errorCode is of something else, such as a
// load balancer, and no news of what the caller asked for. Nor has the answer the digits in its
// text, which Terraform's provider would look for.
func TestNotFoundIsOfAtlas(t *testing.T) {
	const missing = `{"error":404,"errorCode":"EXPORT_BUCKET_NOT_FOUND","parameters":[1]}`
	for answer, ours := range map[string]bool{
		gatewaytest.LastJSON(404, missing):                                                                false,
		gatewaytest.LastJSON(404, `{"status":404,"content":`+missing+`}`):                                 false,
		gatewaytest.LastJSON(404, `{"status":404,"envelope":`+missing+`}`):                                false,
		gatewaytest.LastJSON(404, `{"message":"no Route matched with those values"}`):                     true,
		gatewaytest.LastJSON(404, `{"error":404,"errorCode":""}`):                                         true,
		gatewaytest.LastJSON(404, `{"error":404,"errorCode":404}`):                                        true,
		gatewaytest.LastJSON(404, `[]`):                                                                   true,
		gatewaytest.LastJSON(404, `{"error":404,`):                                                        true,
		"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n404":               true,
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                                             true,
		"HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\n\r\n{}": true,
	} {
		g := gatewaytest.StartFor(t, gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(answer)).URL, "")
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			got := g.Send(t, method, v2Buckets+"/"+bucketID, readHeader, "")
			if refused := got.Status == 502 && got.Header.Get("Gateway-Error") == "upstream_response"; refused != ours || !ours && got.Status != 404 {
				t.Errorf("%s: %q: %d %s", method, answer, got.Status, got.Body)
			}
			if ours && strings.Contains(got.Body, "404") {
				t.Errorf("%s: %q: %s", method, answer, got.Body)
			}
		}
	}
}
