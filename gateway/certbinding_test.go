package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
)

// token asks the token endpoint for a token of a service account, and returns the answer.
func (c *certClient) token(t testing.TB, account *gatewaytest.Caller) (status int, token, content string) {
	t.Helper()
	request, err := http.NewRequest("POST", c.url+"/api/oauth/token", strings.NewReader("grant_type=client_credentials"))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(account.Account.ID, account.Account.Secret.Reveal())
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := gatewaytest.Response{Status: response.StatusCode, Header: response.Header, Body: string(text)}
	gatewaytest.KeepSecret(t, "an access token", got.AccessToken())
	return got.Status, got.AccessToken(), got.Body
}

// A token of a service account with bind_certificate is good only on connections with the
// certificate with which it was issued (RFC 8705).
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	free, tied := gatewaytest.Issue(t, "free", everything), gatewaytest.Issue(t, "tied", everything)
	unbound := tied.YAML
	tied.YAML = strings.Replace(tied.YAML, "- client_id:", "- bind_certificate: true\n      client_id:", 1)
	if tied.YAML == unbound {
		t.Fatal(tied.YAML)
	}
	g := startCertificates(t, "", free, tied)
	loose := &gatewaytest.Caller{Name: tied.Name, YAML: unbound}
	right, other := g.clients.Client(t, nil), g.clients.Client(t, nil) // which no caller has
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			none := g.client(t, nil, protocol)
			good, bad := g.client(t, right, protocol), g.client(t, other, protocol)
			try := func(when string, client *certClient, token string, status int, reason string) {
				t.Helper()
				sent, offset := g.upstream.Signed.Load(), g.Log.Len()
				got, err := client.get("Bearer " + token)
				if record := g.Await(t, offset, `"msg":"request"`); err != nil || got.status != status || status == 401 && !strings.Contains(record, `"reason":"`+reason+`","tried":"`+tied.Account.ID+`"`) {
					t.Errorf("%s: %+v %v, %s", when, got, err, record)
				}
				if n := g.upstream.Signed.Load() - sent; (n > 0) != (status == 200) {
					t.Errorf("%s: %d requests at Atlas", when, n)
				}
			}
			status, token, content := none.token(t, tied)
			if status != 400 || token != "" || !strings.Contains(content, `"invalid_request"`) {
				t.Errorf("without a certificate: %d %s", status, content)
			}
			if status, token, content = good.token(t, tied); status != 200 || token == "" {
				t.Fatalf("%d %s", status, content)
			}
			_, ordinary, _ := good.token(t, free)
			try("with the certificate", good, token, 200, "")
			try("with another certificate", bad, token, 401, "certificate_mismatch")
			try("without a certificate", none, token, 401, "certificate_mismatch")
			try("a token that is bound to nothing", none, ordinary, 200, "")
			reloaded(t, g.Reload(t))
			good.CloseIdleConnections()
			try("after a reload, on a new connection", good, token, 200, "")
			try("after a reload, with another certificate", bad, token, 401, "certificate_mismatch")

			// A token stays bound, whatever becomes of the setting.
			reloaded(t, g.Rewrite(t, g.yaml("", free, loose)))
			_, early, _ := none.token(t, tied)
			try("a token that was issued before the setting", none, early, 200, "")
			try("without the setting, with another certificate", bad, token, 401, "certificate_mismatch")
			try("without the setting, with the certificate", good, token, 200, "")
			reloaded(t, g.Rewrite(t, g.yaml("", free, tied)))
			try("a token that was issued before the setting, with a certificate", good, early, 401, "certificate_mismatch")
			try("a token that was issued before the setting, without one", none, early, 401, "certificate_mismatch")

			// The right certificate, after its authority was removed, on connections that are open.
			spare := g.client(t, right, protocol)
			try("on another connection", spare, token, 200, "")
			gatewaytest.ReplaceFile(t, g.caFile, gatewaytest.NewAuthority(t).PEM)
			reloaded(t, g.Reload(t))
			try("after the authority was removed", good, token, 401, "certificate_untrusted")
			if status, token, content := spare.token(t, tied); status != 400 || token != "" {
				t.Errorf("after the authority was removed: %d %s", status, content)
			}
			gatewaytest.ReplaceFile(t, g.caFile, g.clients.PEM)
			reloaded(t, g.Reload(t))
		})
	}
}
