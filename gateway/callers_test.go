package gateway_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// Whoever shows no key, or a wrong one, is refused, and Atlas hears nothing of it.
func TestCallersAreRefused(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly, other := gatewaytest.Issue(t, "nightly", everything), gatewaytest.Issue(t, "other", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 401 || !strings.HasPrefix(got.Header.Get("WWW-Authenticate"), `Digest realm="MMS Public API", domain="", nonce="`) ||
		len(got.Header["Www-Authenticate"]) != 1 || got.Header.Get("Gateway-Error") != "unauthorized" || !strings.Contains(got.Body, `"errorCode":"UNEXPECTED_ERROR"`) {
		t.Errorf("without a key: %d %v %s", got.Status, got.Header, got.Body)
	}
	for name, authorization := range map[string]string{
		"a wrong private key":  gatewaytest.Basic(nightly.Pair.ID, "wrong"),
		"another's key pair":   gatewaytest.Basic(other.Pair.ID, other.Pair.Secret.Reveal()),
		"an unknown token":     other.Bearer(),
		"a token as Basic":     gatewaytest.Basic(nightly.Pair.ID, nightly.Token.Secret.Reveal()),
		"a secret as a token":  "Bearer " + nightly.Account.Secret.Reveal(),
		"no scheme":            nightly.Token.Secret.Reveal(),
		"Atlas's own key":      gatewaytest.Basic(sim.PublicKey, sim.PrivateKey),
		"an unsigned JWT":      "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
		"an empty credential":  "Digest",
		"someone else's realm": `Digest username="x", realm="y", nonce="z", uri="/", response="0", qop=auth, nc=00000001, cnonce="a"`,
	} {
		if got := g.Send(t, "GET", v2Exports, as(authorization), ""); got.Status != 401 || got.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if n := atlas.Counts(); n.Requests != 0 || n.Connections != 0 {
		t.Errorf("Atlas received %d requests", n.Requests)
	}
	if logs := g.Log.String(); !strings.Contains(logs, `"reason":"wrong_credential"`) {
		t.Errorf("logs: %.1000s", logs)
	}
}

// A caller is let in by its key pair over Digest and Basic, and by its token. Atlas sees none of
// them.
func TestCallers(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	for name, authorization := range map[string]string{
		"Basic":  gatewaytest.Basic(nightly.Pair.ID, nightly.Pair.Secret.Reveal()),
		"Bearer": nightly.Bearer(),
	} {
		if got := g.Send(t, "GET", v2Exports, as(authorization), ""); got.Status != 200 {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	client := &http.Client{Transport: &icholy.Transport{Username: nightly.Pair.ID, Password: nightly.Pair.Secret.Reveal(), Transport: &http.Transport{DisableKeepAlives: true}}}
	for i := range 3 {
		request, err := http.NewRequest("POST", g.URL+v2Buckets, strings.NewReader(awsBucket))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", latest)
		request.Header.Set("Content-Type", plain)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("Digest, request %d: %d", i, response.StatusCode)
		}
	}
	checkAtlasSees(t, atlas, nightly)
	if logs := g.Log.String(); !strings.Contains(logs, `"caller":"nightly"`) {
		t.Errorf("logs: %.1000s", logs)
	}
}

// A service account's access token lets its caller in until the token is revoked.
func TestAccessTokens(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	form := func(secret string) map[string]string {
		return map[string]string{"Authorization": gatewaytest.Basic(nightly.Account.ID, secret), "Content-Type": "application/x-www-form-urlencoded"}
	}
	if got := g.Send(t, "POST", "/api/oauth/token", form("wrong"), "grant_type=client_credentials"); got.Status != 401 || !strings.Contains(got.Body, `"invalid_client"`) {
		t.Errorf("a wrong client secret: %d %s", got.Status, got.Body)
	}
	if n := atlas.Counts(); n.Requests != 0 || n.Connections != 0 {
		t.Errorf("Atlas received %d requests", n.Requests)
	}
	access := g.AccessToken(t, nightly)
	if got := g.Send(t, "GET", v2Exports, as("Bearer "+access), ""); got.Status != 200 {
		t.Errorf("an access token: %d %s", got.Status, got.Body)
	}
	revoke := g.Send(t, "POST", "/api/oauth/revoke", form(nightly.Account.Secret.Reveal()), url.Values{"token": {access}}.Encode())
	if revoke.Status != 200 {
		t.Errorf("the revoke endpoint: %d %s", revoke.Status, revoke.Body)
	}
	if got := g.Send(t, "GET", v2Exports, as("Bearer "+access), ""); got.Status != 401 || got.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("a revoked token: %d %s", got.Status, got.Header.Get("WWW-Authenticate"))
	}
	if got := g.Send(t, "GET", "/api/oauth/token", nil, ""); got.Status != 405 || got.Header.Get("Allow") != "POST" {
		t.Errorf("GET of the token endpoint: %d", got.Status)
	}
	checkAtlasSees(t, atlas, nightly)
}

// checkAtlasSees fails the test where Atlas received a caller's credential, or a request for the
// gateway's own endpoints.
func checkAtlasSees(t *testing.T, atlas *sim.Server, caller *gatewaytest.Caller) {
	t.Helper()
	for _, r := range atlas.Requests(0) {
		for _, field := range r.Header {
			if strings.Contains(field.Value, caller.Pair.ID) || strings.HasPrefix(field.Value, "Bearer ") || strings.HasPrefix(field.Value, "Basic ") {
				t.Errorf("a caller's credential reached Atlas: %s", field.Value)
			}
		}
		if strings.HasPrefix(r.Target, "/api/oauth") {
			t.Errorf("Atlas received %s", r.Target)
		}
	}
}

// A bad key is refused before the content is asked for, and so is a signed request that is
// replayed.
func TestCallersBeforeTheContent(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	answer := g.Raw(t, "POST "+v2Exports+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\nAuthorization: Bearer wrong\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 401 ") {
		t.Errorf("a bad key: %s", answer)
	}
	first := g.Send(t, "POST", v1Buckets, map[string]string{"Accept": plain, "Content-Type": plain}, "")
	challenged, err := icholy.ParseChallenge(first.Header.Get("WWW-Authenticate"))
	if err != nil || first.Status != 401 {
		t.Fatal(first, err)
	}
	credentials, err := icholy.Digest(challenged, icholy.Options{Method: "GET", URI: v1Buckets, Username: nightly.Pair.ID, Password: nightly.Pair.Secret.Reveal(), Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 401} {
		if got := g.Send(t, "GET", v1Buckets, map[string]string{"Accept": plain, "Authorization": credentials.String()}, ""); got.Status != want {
			t.Errorf("the signed request, time %d: %d %s", i+1, got.Status, got.Body)
		}
	}
}

// The connection ends with a token request that is too large: nothing behind it is read as a
// request.
func TestTokenRequestTooLarge(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "", nightly)
	head := " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + gatewaytest.Basic(nightly.Account.ID, nightly.Account.Secret.Reveal()) + "\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	next := "GET " + v2Exports + " HTTP/1.1\r\nHost: localhost\r\nAccept: " + latest + "\r\nAuthorization: " + nightly.Bearer() + "\r\n\r\n"
	const maxForm = issuers.MaxToken + 4<<10
	form := "grant_type=client_credentials&token=x"
	large := form + strings.Repeat("&", maxForm+1-len(form))
	for _, endpoint := range []string{"token", "revoke"} {
		for name, content := range map[string]string{
			"a length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large),
			// The part of this content that is left unread is a request, for a server that goes
			// on reading.
			"a request within": fmt.Sprintf("Content-Length: %d\r\n\r\n%s%s", len(large)+len(next), large, next),
			"chunks":           fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large),
		} {
			before := atlas.Counts().Requests
			answer := g.Raw(t, "POST /api/oauth/"+endpoint+head+content+next)
			if !strings.HasPrefix(answer, "HTTP/1.1 413 ") || strings.Count(answer, "HTTP/1.1 ") != 1 || !strings.Contains(answer, "\r\nConnection: close\r\n") || atlas.Counts().Requests != before {
				t.Errorf("%s, %s: %s", endpoint, name, answer)
			}
		}
		// The connection goes on behind a token request that is not too large.
		answer := g.Raw(t, "POST /api/oauth/"+endpoint+head+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(form), form)+strings.Replace(next, "\r\n", "\r\nConnection: close\r\n", 1))
		if strings.Count(answer, "HTTP/1.1 200 ") != 2 {
			t.Errorf("%s, followed by a request: %s", endpoint, answer)
		}
	}
}

// A gateway may let in callers without a key beside those with keys. A key that is shown must be
// right.
func TestAnonymousBesideKeys(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	reader := gatewaytest.Issue(t, "reader", `[{operations: [read], groups: ["*"]}]`)
	g := gatewaytest.Start(t, strings.Replace(gatewaytest.YAML(atlas.URL(), "", reader), "callers:", "callers:\n  anonymous: true", 1))
	for authorization, want := range map[string]int{"": 200, "Bearer wrong": 401, reader.Bearer(): 403} {
		if got := g.Send(t, "POST", v2Buckets, as(authorization), awsBucket); got.Status != want {
			t.Errorf("%.10q: %d %s, want %d", authorization, got.Status, got.Body, want)
		}
	}
}

// A refusal does not wait for content that was announced and does not come. The record of a
// request names the key that was shown.
func TestRefusalDoesNotWaitForContent(t *testing.T) {
	t.Parallel() // it waits most of the time
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	g := gatewaytest.StartFor(t, atlas.URL(), "timeouts: {request: 30s}\n", nightly)
	for _, line := range []string{"POST " + v2Exports, "POST /nothing", "POST /api/oauth/token"} {
		answer := g.Raw(t, line+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+latest+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\nAuthorization: Bearer wrong\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 40") {
			t.Errorf("%s: %q", line, answer)
		}
	}
	if got := g.Send(t, "GET", v2Exports, as(nightly.Bearer()), ""); got.Status != 200 {
		t.Fatal(got)
	}
	if logs := g.Log.String(); !strings.Contains(logs, `"caller":"nightly","key":"`) {
		t.Errorf("logs: %s", logs)
	}
}

// A listed caller with the name anonymous may do what its grants say and no more, also beside
// callers without a key, who may do everything. The log tells one from the other.
func TestCallerCalledAnonymous(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	named := gatewaytest.Issue(t, "anonymous", `[{operations: [read], groups: ["`+sim.GroupID+`"]}]`)
	for name, everyone := range map[string]string{"listed only": "", "beside everyone": "\n  anonymous: true"} {
		g := gatewaytest.Start(t, strings.Replace(gatewaytest.YAML(atlas.URL(), "", named), "callers:", "callers:"+everyone, 1))
		forms := map[string]string{"token": named.Bearer(), "account": "Bearer " + g.AccessToken(t, named)}
		for form, authorization := range forms {
			if got := g.Send(t, "GET", v2Exports, as(authorization), ""); got.Status != 200 {
				t.Errorf("%s by %s: %d %s", name, form, got.Status, got.Body)
			}
			creates := len(bodies(atlas))
			if got := g.Send(t, "POST", v2Exports, as(authorization), export); got.Status != 403 || len(bodies(atlas)) != creates {
				t.Errorf("%s by %s: a create is answered %d %s", name, form, got.Status, got.Body)
			}
		}
		if strings.Contains(g.Log.String(), `"form":"anonymous"`) {
			t.Errorf("%s: the log takes a caller with a key for one without: %s", name, g.Log.String())
		}
		if everyone == "" {
			continue
		}
		if got := g.Send(t, "POST", v2Exports, as(""), export); got.Header.Get("Gateway-Outcome") != "answered" {
			t.Errorf("%s, without a key: %d %s", name, got.Status, got.Body)
		}
		g.Await(t, 0, `"caller":"anonymous","form":"anonymous"`)
	}
}

// bodies are the contents that Atlas received.
func bodies(atlas *sim.Server) (all []string) {
	for _, r := range atlas.Requests(0) {
		if r.Body != "" {
			all = append(all, r.Body)
		}
	}
	return all
}
