package gateway_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// What a response's type, encoding or code is as a rule stands in the log.
func TestLogOfWhatIsKnown(t *testing.T) {
	for answer, cause := range map[string]string{
		gatewaytest.LastJSON(200, "{}", "Content-Encoding: gzip"):                                             "Content-Encoding gzip",
		gatewaytest.Message(503, "x", "Content-Type: Text/HTML; charset=utf-8"):                               "status 503, Content-Type text/html",
		gatewaytest.Message(503, "x"):                                                                         "status 503, Content-Type missing",
		gatewaytest.Message(503, "x", "Content-Type: a/b"):                                                    "status 503, Content-Type of another kind",
		gatewaytest.JSON(401, "{}", "X-Error-Code: NOT_IN_GROUP", "WWW-Authenticate: "+gatewaytest.Challenge): "upstream.credentials[0]: answered 401 NOT_IN_GROUP",
	} {
		g := gatewaytest.StartFor(t, gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(answer)).URL, "")
		g.Send(t, "GET", v2Exports, readHeader, "")
		if record := g.Record(t, 0); !strings.Contains(record, `"cause":"`+cause+`"`) {
			t.Errorf("the cause is not %q: %s", cause, record)
		}
	}
}
