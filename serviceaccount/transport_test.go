package serviceaccount_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/serviceaccount"
	"atlas-export-gateway/sim"
)

// If Atlas refuses a token, the request is sent once more with a new one. A create is carried out
// once.
func TestRefusedTokenIsReplaced(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{})
	status, body, err := do(client, "POST", atlas.URL()+buckets, `{"cloudProvider":"AWS","bucketName":"acme-snapshots","iamRoleId":"`+sim.AWSRole+`"}`)
	if err != nil || status != 200 {
		t.Fatal(status, body, err)
	}
	_, id, _ := strings.Cut(body, `"_id":"`)
	revoke(t, atlas)
	status, body, err = do(client, "POST", atlas.URL()+exports, `{"snapshotId":"`+sim.OrdersSnapshot+`","exportBucketId":"`+id[:24]+`"}`)
	if err != nil || status != 200 {
		t.Errorf("after a revocation: %d %s %v", status, body, err)
	}
	if n := atlas.Counts(); n.JobsCreated != 1 || n.ByOperation["token"] != 2 || n.ByOperation["createBackupExport"] != 2 {
		t.Errorf("%+v", n)
	}
}

// A wrong secret is tried once in a while. The right one is tried at once.
func TestWrongSecret(t *testing.T) {
	atlas, client, a, c := setup(t, sim.Config{})
	a.set("c4na7y-wrong-secret")
	for range 10 {
		var group sync.WaitGroup
		for range 64 {
			group.Go(func() {
				_, _, err := do(client, "GET", atlas.URL()+buckets, "")
				var credential *serviceaccount.CredentialError
				if !errors.As(err, &credential) {
					t.Errorf("got %v, want a CredentialError", err)
				}
				if strings.Contains(fmt.Sprint(err), "c4na7y") {
					t.Errorf("the error holds the secret: %v", err)
				}
			})
		}
		group.Wait()
		c.advance(time.Second)
	}
	if n := atlas.Counts().Requests; n != 1 {
		t.Errorf("%d requests in 10 s with a wrong secret", n)
	}
	a.set(sim.ClientSecret)
	expect(t, client, atlas.URL()+buckets, 200)
}

// If a fresh token is refused too, the credential counts as bad, and the 401 is returned with its
// content.
func TestFreshTokensAreRefused(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{Faults: []sim.Fault{{Kind: sim.FaultNoChallenge, Operation: "listExportBuckets"}}})
	status, body, err := do(client, "GET", atlas.URL()+buckets, "")
	if err != nil || status != 401 || body == "" {
		t.Errorf("got %d %q %v", status, body, err)
	}
	for range 20 {
		do(client, "GET", atlas.URL()+buckets, "")
	}
	if n := tokenCalls(atlas); n != 2 {
		t.Errorf("%d tokens were fetched", n)
	}
}

// Nothing is sent to another origin. An error about an answer of the token endpoint does not
// quote it.
func TestRefusals(t *testing.T) {
	atlas, client, _, _ := setup(t, sim.Config{})
	other := sim.Start(t, sim.Config{})
	var origin *outbound.OriginError
	if _, _, err := do(client, "GET", other.URL()+buckets, ""); !errors.As(err, &origin) {
		t.Errorf("another port: %v", err)
	}
	if n := other.Counts().Connections; n != 0 {
		t.Errorf("another port: %d connections", n)
	}
	atlas.SetFaults([]sim.Fault{{Kind: sim.FaultTruncate, Operation: "token"}})
	var token *serviceaccount.TokenError
	if _, _, err := do(client, "GET", atlas.URL()+buckets, ""); !errors.As(err, &token) || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("half a token: %v", err)
	}
	for _, config := range []serviceaccount.Config{
		{},
		{Origin: atlas.URL()},
		{Origin: "https://user:c4na7y@cloud.mongodb.com", Base: http.DefaultTransport, Credential: (&account{}).read},
		{Origin: atlas.URL(), Base: http.DefaultTransport, Credential: (&account{}).read, MaxBody: -1},
	} {
		if _, err := serviceaccount.NewTransport(config); err == nil || strings.Contains(err.Error(), "c4na7y") {
			t.Errorf("%+v: %v", config.Origin, err)
		}
	}
}

// RoundTripThrough sends the request through the transport that it gets, and asks for the token
// through Base.
func TestRoundTripThrough(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"access_token":"a","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(server.Close)
	var sent []string
	note := func(name string) http.RoundTripper {
		return outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, name+" "+r.URL.Path)
			return server.Client().Transport.RoundTrip(r)
		})
	}
	a := &account{}
	a.set("secret")
	transport, err := serviceaccount.NewTransport(serviceaccount.Config{Origin: server.URL, Base: note("Base"), Credential: a.read})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		request, err := http.NewRequest("POST", server.URL+"/x", strings.NewReader("content"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTripThrough(note("other"), request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	if got, want := strings.Join(sent, ", "), "Base /api/oauth/token, other /x, other /x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
