package gateway_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// All requests that a service account signs share one token. A new client secret in the account's
// file is used without a restart.
func TestServiceAccountUpstream(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dir := t.TempDir()
	id := gatewaytest.WriteFile(t, filepath.Join(dir, "id"), sim.ClientID)
	secret := gatewaytest.WriteFile(t, filepath.Join(dir, "secret"), "c4na7y-wrong-secret")
	g := gatewaytest.Start(t, "callers: {anonymous: true}\nupstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{client_id_file: "+id+", client_secret_file: "+secret+"}]\n")
	for range 3 {
		got := g.Send(t, "GET", v2Exports, readHeader, "")
		if got.Status != 502 || got.Header.Get("Gateway-Error") != "upstream_credential" {
			t.Errorf("with a wrong secret: %d %s", got.Status, got.Body)
		}
	}
	gatewaytest.WriteFile(t, secret, sim.ClientSecret+"\n")
	for range 3 {
		if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
			t.Errorf("with the right secret: %d %s", got.Status, got.Body)
		}
	}
	// Besides, the new secret is tried with one harmless read.
	if n := atlas.Counts(); n.ByOperation["token"] != 2 || n.Requests != 6 {
		t.Errorf("Atlas received %+v", n)
	}
	if strings.Contains(g.Log.String(), "c4na7y") || strings.Contains(g.Log.String(), sim.ClientSecret) {
		t.Error("the client secret is in the log")
	}
}

// With a wrong key, 64 callers cause few requests to Atlas. The log names the credential, and the
// answers do not. Once the file holds the right key, the next request is served.
func TestWrongKeyIsReplacedInItsFile(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	dir := t.TempDir()
	public := gatewaytest.WriteFile(t, filepath.Join(dir, "public"), sim.PublicKey)
	private := gatewaytest.WriteFile(t, filepath.Join(dir, "private"), "c4na7y-wrong-key")
	g := gatewaytest.Start(t, "callers: {anonymous: true}\nupstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{groups: ["+sim.EmptyGroupID+"], public_key_file: "+public+", private_key_file: "+private+"}, {public_key_file: "+public+", private_key_file: "+private+"}]\n")
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for range 5 {
				got := g.Send(t, "GET", v2Exports, readHeader, "")
				if got.Status != 502 || got.Header.Get("Gateway-Error") != "upstream_credential" || strings.Contains(got.Body, sim.PublicKey) {
					t.Errorf("with a wrong key: %d %s", got.Status, got.Body)
				}
			}
		})
	}
	group.Wait()
	if n := atlas.Counts().Requests; n > 10 {
		t.Errorf("Atlas received %d requests with a wrong key", n)
	}
	gatewaytest.WriteFile(t, private, sim.PrivateKey)
	if got := g.Send(t, "GET", v2Exports, readHeader, ""); got.Status != 200 {
		t.Errorf("with the right key: %d %s", got.Status, got.Body)
	}
	logs := g.Log.String()
	if !strings.Contains(logs, `"cause":"upstream.credentials[1]: digestauth: the server refuses the credential (`) || strings.Contains(logs, "c4na7y") || strings.Contains(logs, sim.PrivateKey) {
		t.Errorf("logs: %.2000s", logs)
	}
}

// A 401 for a group that the key may not use does not make the key bad for other groups, even
// where Atlas names the reason only in the body.
func TestNotInGroupCondemnsNoKey(t *testing.T) {
	const other = "64f0c1a2b3d4e5f6071829ff"
	upstream := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if strings.Contains(r.URL.Path, other) {
			return gatewaytest.LastJSON(401, `{"error":401,"errorCode":"NOT_IN_GROUP"}`, "WWW-Authenticate: "+gatewaytest.Challenge)
		}
		return gatewaytest.LastJSON(200, job)
	}))
	g := gatewaytest.StartFor(t, upstream.URL, "")
	for range 5 {
		if got := g.Send(t, "GET", strings.Replace(v2Exports, group, other, 1), readHeader, ""); got.Status != 502 {
			t.Errorf("another group: %d %s", got.Status, got.Body)
		}
	}
	if n := upstream.Signed.Load(); n != 5 {
		t.Errorf("%d signed requests for 5", n)
	}
	if got := g.Send(t, "GET", v2Exports+"/"+jobID, readHeader, ""); got.Status != 200 {
		t.Errorf("the group: %d %s", got.Status, got.Body)
	}
}

// A create is not sent if Atlas answers the request for a challenge with an error. For a rate
// limit, the caller is told how long to wait.
func TestAtlasDoesNotAskForACredential(t *testing.T) {
	for _, test := range []struct {
		fault  sim.Fault
		status int
		kind   string
		after  string
	}{
		{sim.Fault{Kind: sim.FaultRateLimit, RetryAfter: 7, BeforeAuthentication: true}, 429, "rate_limited", "7"},
		{sim.Fault{Kind: sim.FaultUnavailable, RetryAfter: 9, BeforeAuthentication: true}, 502, "upstream_unsigned", "9"},
	} {
		atlas := sim.Start(t, sim.Config{Faults: []sim.Fault{test.fault}})
		g := gatewaytest.StartFor(t, atlas.URL(), "")
		got := g.Send(t, "POST", v2Exports, createHeader, export)
		if got.Status != test.status || got.Header.Get("Gateway-Error") != test.kind || got.Header.Get("Retry-After") != test.after || !strings.Contains(got.Body, "It was not carried out.") {
			t.Errorf("%s: %d %v %s", test.fault.Kind, got.Status, got.Header, got.Body)
		}
		for _, r := range atlas.Requests(0) {
			if r.Body != "" {
				t.Errorf("%s: Atlas received %q", test.fault.Kind, r.Body)
			}
		}
	}
}
