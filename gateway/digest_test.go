package gateway_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// curl --digest sends no content until it is challenged, and then all of it, whatever the
// key; clients that send everything at once are not challenged.
func TestDigestClientsOfAnAnonymousGateway(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	g := gatewaytest.StartFor(t, atlas.URL(), "")
	const body = `{"iamRoleId":"` + role + `","bucketName":"example-bucket","cloudProvider":"AWS"}`
	first := g.Raw(t, request("POST "+v1Buckets+"?pretty=true", "", "User-Agent: curl/7.88.1", "Accept: application/json", "Content-Type: application/json", "Content-Length: 0"))
	_, rest, ok := strings.Cut(first, "\r\nWww-Authenticate: ")
	field, _, _ := strings.Cut(rest, "\r\n")
	challenged, err := icholy.ParseChallenge(field)
	if !strings.HasPrefix(first, "HTTP/1.1 401 ") || !ok || err != nil || len(challenged.Nonce) != 32 ||
		!strings.HasPrefix(field, `Digest realm="MMS Public API", domain="", nonce="`) || !strings.HasSuffix(field, `", algorithm=MD5, qop="auth", stale=false`) {
		t.Fatalf("first leg: %s", first)
	}
	credentials, err := icholy.Digest(challenged, icholy.Options{Method: "POST", URI: v1Buckets + "?pretty=true", Username: "any", Password: "key", Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	second := g.Raw(t, request("POST "+v1Buckets+"?pretty=true", body, "User-Agent: curl/7.88.1", "Accept: application/json", "Content-Type: application/json", "Authorization: "+credentials.String()))
	if !strings.HasPrefix(second, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("second leg: %s", second)
	}
	for _, r := range atlas.Requests(0) {
		for _, field := range r.Header {
			if strings.Contains(field.Value, `username="any"`) {
				t.Errorf("the caller's credential reached Atlas: %s", field.Value)
			}
		}
	}
}
