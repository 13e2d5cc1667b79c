package gateway_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// An upstream that repeats a credential where the log names a response's type, encoding or code
// finds nothing of it in the log. The signature alone has the form of a media type's name.
func TestLogOfAnEcho(t *testing.T) {
	signature := regexp.MustCompile(`response="([0-9a-f]{32})"`)
	echo := map[string]func(field, hash string) string{
		"a type":        func(field, hash string) string { return gatewaytest.Message(503, "x", "Content-Type: "+field) },
		"a type's name": func(field, hash string) string { return gatewaytest.Message(503, "x", "Content-Type: text/"+hash) },
		"a parameter": func(field, hash string) string {
			return gatewaytest.Message(503, "x", "Content-Type: text/html;charset="+hash)
		},
		"an encoding":             func(field, hash string) string { return gatewaytest.JSON(200, "{}", "Content-Encoding: "+hash) },
		"an encoding and a field": func(field, hash string) string { return gatewaytest.JSON(200, "{}", "Content-Encoding: gzip, "+field) },
		"a code":                  func(field, hash string) string { return gatewaytest.JSON(401, "{}", "X-Error-Code: "+hash) },
		"a code in capitals": func(field, hash string) string {
			return gatewaytest.JSON(401, "{}", "X-Error-Code: A"+strings.ToUpper(hash))
		},
		"a realm": func(field, hash string) string {
			return gatewaytest.Refusing(`WWW-Authenticate: Digest realm="` + hash + `", nonce="n", qop="auth"`)
		},
		"an algorithm": func(field, hash string) string {
			return gatewaytest.Refusing(`WWW-Authenticate: Digest realm="MMS Public API", nonce="n", qop="auth", algorithm=` + hash)
		},
	}
	for name, answer := range echo {
		t.Run(name, func(t *testing.T) {
			upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
				field := r.Header.Get("Authorization")
				hash := signature.FindStringSubmatch(field)[1]
				for secret, value := range map[string]string{"the field": field, "the signature": hash, "its beginning": hash[:16], "its capitals": strings.ToUpper(hash)} {
					gatewaytest.KeepSecret(t, secret, value)
				}
				return answer(field, hash)
			}))
			g := gatewaytest.StartConfig(t, gatewaytest.Config{
				YAML:    gatewaytest.YAML(upstream.URL, ""),
				Environ: []string{"ATLAS_GATEWAY_UPSTREAM_REALM=MMS Public API"},
			})
			if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 502 {
				t.Errorf("got %d %s", got.Status, got.Body)
			}
		})
	}
}

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
