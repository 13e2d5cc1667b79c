package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/sim"
)

// A listed caller called anonymous may do what its grants say and no more, also beside callers
// without a key, who may do everything. The log tells them apart.
func TestCallerCalledAnonymous(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	named := issue(t, "anonymous", `[{operations: [read], groups: ["`+sim.GroupID+`"]}]`)
	header := func(authorization string) map[string]string {
		h := map[string]string{"Accept": latest, "Content-Type": "application/json"}
		if authorization != "" {
			h["Authorization"] = authorization
		}
		return h
	}
	for name, everyone := range map[string]string{"listed only": "", "beside everyone": "  anonymous: true\n"} {
		g := startWith(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n"+everyone+"  list:\n"+named.yaml, "PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
		forms := map[string]string{"token": "Bearer " + named.token.Secret.Reveal(), "account": "Bearer " + g.newToken(t, named)}
		for form, authorization := range forms {
			if got := send(t, "GET", g.url+v2Exports, header(authorization), ""); got.status != 200 {
				t.Errorf("%s by %s: %d %s", name, form, got.status, got.body)
			}
			creates := len(bodies(atlas))
			if got := send(t, "POST", g.url+v2Exports, header(authorization), export); got.status != 403 || len(bodies(atlas)) != creates {
				t.Errorf("%s by %s: a create is answered %d %s", name, form, got.status, got.body)
			}
		}
		if strings.Contains(g.logs.String(), `"form":"anonymous"`) {
			t.Errorf("%s: the log takes a caller with a key for one without: %s", name, g.logs.String())
		}
		if everyone == "" {
			continue
		}
		if got := send(t, "POST", g.url+v2Exports, header(""), export); got.header.Get("Gateway-Outcome") != "answered" {
			t.Errorf("%s, without a key: %d %s", name, got.status, got.body)
		}
		waitFor(t, "the record", func() bool { return strings.Contains(g.logs.String(), `"caller":"anonymous","form":"anonymous"`) })
	}
}

// newToken returns an access token of a caller's service account.
func (r *running) newToken(t testing.TB, i issued) string {
	t.Helper()
	request := &http.Request{Header: http.Header{}}
	request.SetBasicAuth(i.account.ID, i.account.Secret.Reveal())
	got := send(t, "POST", r.url+"/api/oauth/token", map[string]string{
		"Authorization": request.Header.Get("Authorization"),
		"Content-Type":  "application/x-www-form-urlencoded",
	}, "grant_type=client_credentials")
	return accessToken(t, got.body)
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
