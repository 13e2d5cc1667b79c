package gateway_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	icholy "github.com/icholy/digest"
)

// publish starts a gateway, and a proxy that publishes it below a path. The proxy takes that path
// off, or passes it on.
func publish(t *testing.T, path string, strips bool, atlas *sim.Server, caller *gatewaytest.Caller) (published string, g *gatewaytest.Gateway) {
	t.Helper()
	var to *url.URL
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		if strips {
			r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, path)
		}
	}})
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the proxy's
		proxy.Close()
	})
	published = proxy.URL + path
	g = gatewaytest.StartFor(t, atlas.URL(), "listener: {public_url: '"+published+"/'}", caller)
	to, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	return published, g
}

// A proxy in front of the gateway publishes it below a path. Clients sign the path that they ask
// the proxy for, get links that lead there, and may also call the gateway itself.
func TestPublishedBelowAPath(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	for name, test := range map[string]struct {
		path   string
		strips bool
	}{
		"a proxy that takes the path off":             {"/exports", true},
		"a proxy that passes the path on":             {"/exports", false},
		"a proxy that takes off what is Atlas's, too": {"/api", true},
		"a proxy that passes on what is Atlas's, too": {"/api/atlas", false},
	} {
		published, g := publish(t, test.path, test.strips, atlas, nightly)
		for _, base := range []string{published, g.URL} {
			ways := map[string]http.RoundTripper{
				"Digest": signer(t, base, nightly),
				"Basic":  authorized(gatewaytest.Basic(nightly.Pair.ID, nightly.Pair.Secret.Reveal())),
				"Bearer": authorized(nightly.Bearer()),
			}
			token := g.Send(t, "POST", "/api/oauth/token", map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": gatewaytest.Basic(nightly.Account.ID, nightly.Account.Secret.Reveal())}, "grant_type=client_credentials")
			ways["a token"] = authorized("Bearer " + token.AccessToken())
			for way, transport := range ways {
				status, body := get(t, transport, base+v2Exports+"?pageNum=1&itemsPerPage=5")
				if want := `"href":"` + published + v2Exports + "?includeCount=true&pageNum=1&itemsPerPage=5\""; status != 200 || !strings.Contains(body, want) {
					t.Errorf("%s: %s at %s: %d %s, want %s", name, way, base, status, body, want)
				}
			}
		}
		if metrics := g.Metrics(t); strings.Contains(metrics, `reason="mismatched"`) {
			t.Errorf("%s: a signature was for another target", name)
		}
	}
}

// The token endpoint is published too.
func TestPublishedTokenEndpoint(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	for _, strips := range []bool{true, false} {
		published, _ := publish(t, "/exports", strips, atlas, nightly)
		got := gatewaytest.Send(t, "POST", published+"/api/oauth/token", map[string]string{"Content-Type": "application/x-www-form-urlencoded", "Authorization": gatewaytest.Basic(nightly.Account.ID, nightly.Account.Secret.Reveal())}, "grant_type=client_credentials")
		if got.Status != 200 || got.AccessToken() == "" {
			t.Errorf("%d %s", got.Status, got.Body)
		}
	}
}

// A signature is for the target of its request, with the published path in front or without, and
// for no other. Only that path is taken off, and only once.
func TestPublishedTargets(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	nightly := gatewaytest.Issue(t, "nightly", everything)
	_, g := publish(t, "/exports", true, atlas, nightly)
	for signed, want := range map[string]map[string]int{
		v2Exports:                       {v2Exports: 200, v2Buckets: 401, "/exports" + v2Exports: 401},
		"/exports" + v2Exports:          {v2Exports: 200, v2Buckets: 401, "/exports" + v2Exports: 200, "/exports" + v2Buckets: 401},
		"/exports/exports" + v2Exports:  {v2Exports: 401, "/exports/exports" + v2Exports: 403},
		"/other" + v2Exports:            {v2Exports: 401, "/other" + v2Exports: 403},
		"/exports/" + v2Exports:         {v2Exports: 401, "/exports/" + v2Exports: 400},
		"/exports" + v2Exports + "?a=1": {v2Exports: 401},
	} {
		for target, status := range want {
			challenge, err := icholy.ParseChallenge(g.Send(t, "GET", v2Exports, readHeader, "").Header.Get("Www-Authenticate"))
			if err != nil {
				t.Fatal(err)
			}
			credentials, err := icholy.Digest(challenge, icholy.Options{Method: "GET", URI: signed, Username: nightly.Pair.ID, Password: nightly.Pair.Secret.Reveal(), Count: 1})
			if err != nil {
				t.Fatal(err)
			}
			if got := g.Send(t, "GET", target, as(credentials.String()), ""); got.Status != status {
				t.Errorf("%s, signed for %s: %d %s, want %d", target, signed, got.Status, got.Body, status)
			}
		}
	}
}

// authorized is a client that sends the same Authorization field with each request.
type authorized string

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", string(a))
	return http.DefaultTransport.RoundTrip(r)
}

// signer returns a client of Digest with the key pair of a caller.
func signer(t *testing.T, base string, caller *gatewaytest.Caller) http.RoundTripper {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	connections := &http.Transport{}
	t.Cleanup(connections.CloseIdleConnections)
	signing, err := digestauth.NewTransport(digestauth.Config{Origin: u.Scheme + "://" + u.Host, Base: connections, Credential: func(context.Context) (digestauth.Credential, error) {
		return digestauth.Credential{Username: caller.Pair.ID, Password: caller.Pair.Secret}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return signing
}

// get asks for a URL.
func get(t *testing.T, transport http.RoundTripper, target string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", latest)
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}
