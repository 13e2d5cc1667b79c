package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/postgrestest"
	"atlas-export-gateway/sim"
	"atlas-export-gateway/store"

	icholy "github.com/icholy/digest"
)

// A fleet is gateways with the same configuration.
type fleet struct {
	t        *testing.T
	yaml     string
	caller   *gatewaytest.Caller
	replicas []*gatewaytest.Gateway
	look     time.Duration // between two looks at the uses of keys; 0 is the default
}

func newFleet(t *testing.T) *fleet {
	caller := gatewaytest.Issue(t, "nightly", everything)
	signing := gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "signing.key"), callers.NewSigningKey().Reveal())
	yaml := gatewaytest.YAML(sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}}).URL(), "", caller)
	return &fleet{t: t, caller: caller, yaml: strings.Replace(yaml, "callers:\n", "callers:\n  signing_key_file: "+signing+"\n", 1)}
}

// add starts a replica, with a journal unless open is nil.
func (f *fleet) add(open func(context.Context) (*store.Store, error)) *gatewaytest.Gateway {
	f.t.Helper()
	c := gatewaytest.Config{YAML: f.yaml}
	if open != nil {
		journal, err := open(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { journal.Close() })
		c.Prepare = func(g *gateway.Gateway) {
			g.UseJournal(journal)
			if f.look > 0 {
				g.LookEvery(f.look)
			}
		}
	}
	g := gatewaytest.StartConfig(f.t, c)
	f.replicas = append(f.replicas, g)
	return g
}

// accepts reports whether a replica accepts an access token.
func (f *fleet) accepts(g *gatewaytest.Gateway, token string) bool {
	f.t.Helper()
	got := g.Send(f.t, "GET", v2Exports, as("Bearer "+token), "")
	if got.Status != 200 && got.Status != 401 {
		f.t.Errorf("%d %s", got.Status, got.Body)
	}
	return got.Status != 401
}

func (f *fleet) revoke(g *gatewaytest.Gateway, token string) int {
	f.t.Helper()
	return g.Send(f.t, "POST", "/api/oauth/revoke", map[string]string{
		"Authorization": gatewaytest.Basic(f.caller.Account.ID, f.caller.Account.Secret.Reveal()), "Content-Type": "application/x-www-form-urlencoded",
	}, url.Values{"token": {token}}.Encode()).Status
}

// A token that one replica revokes is soon refused by all that share its journal, by those that
// start later too. While the journal is away, the replica says that it may still be accepted
// elsewhere.
func TestReplicasShareRevocations(t *testing.T) {
	if os.Getenv("CI") == "" {
		t.Skip("it starts PostgreSQL twice, which takes seconds: CI=true runs it")
	}
	server := postgrestest.Start(t)
	database := server.Database(t)
	open := func(ctx context.Context) (*store.Store, error) { return store.OpenPostgres(ctx, database) }
	f := newFleet(t)
	first, second := f.add(open), f.add(open)
	token, other := first.AccessToken(t, f.caller), second.AccessToken(t, f.caller)
	if !f.accepts(first, token) || !f.accepts(second, token) {
		t.Fatal("the token is not accepted")
	}
	if status := f.revoke(first, token); status != 200 {
		t.Fatal(status)
	}
	began := time.Now()
	gatewaytest.WaitFor(t, "the other replica to refuse the token", func() bool { return !f.accepts(second, token) })
	t.Logf("revoked everywhere after %s", time.Since(began).Round(time.Millisecond))
	if f.accepts(f.add(open), token) || f.accepts(first, token) || !f.accepts(first, other) {
		t.Error("a token has not the same state everywhere")
	}
	server.Kill()
	if status := f.revoke(first, other); status != 503 {
		t.Errorf("a token was revoked without a journal: %d", status)
	}
	gatewaytest.WaitFor(t, "the log to say that the journal is away", func() bool {
		return strings.Contains(second.Log.String(), "tokens that other gateways revoke stay good here")
	})
	server.Restart(t)
	gatewaytest.WaitFor(t, "the log to say that the journal is back", func() bool {
		return strings.Contains(second.Log.String(), "what other gateways have revoked is known again")
	})
	if status := f.revoke(first, other); status != 200 {
		t.Errorf("the second try: %d", status)
	}
	gatewaytest.WaitFor(t, "all replicas to refuse the other token", func() bool {
		return !f.accepts(second, other) && !f.accepts(f.replicas[2], other)
	})
}

// With a journal in a file, a token stays revoked after a restart. Without one, it is good again.
func TestRevocationsAfterARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "creates.db")
	for name, open := range map[string]func(context.Context) (*store.Store, error){
		"off":  nil,
		"file": func(ctx context.Context) (*store.Store, error) { return store.OpenFile(ctx, file) },
	} {
		f := newFleet(t)
		g := f.add(open)
		token := g.AccessToken(t, f.caller)
		if status := f.revoke(g, token); status != 200 || f.accepts(g, token) {
			t.Errorf("%s: %d", name, status)
		}
		g.Stop()
		g.Wait(t)
		g.Restart(t) // with the same journal
		if f.accepts(g, token) != (open == nil) {
			t.Errorf("%s: accepted after a restart: %t", name, open != nil)
		}
	}
}

// A Digest request can be replayed once at each replica that has not seen it, and at no other.
func TestDigestReplaysAmongReplicas(t *testing.T) {
	f := newFleet(t)
	for range 3 {
		f.add(nil)
	}
	var captured string
	client := &http.Client{Transport: &icholy.Transport{Username: f.caller.Pair.ID, Password: f.caller.Pair.Secret.Reveal(), Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if field := r.Header.Get("Authorization"); field != "" {
			captured = field
		}
		return http.DefaultTransport.RoundTrip(r)
	})}}
	request, err := http.NewRequest("GET", f.replicas[0].URL+v2Exports, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", latest)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Fatal(response.Status)
	}
	got := ""
	for range 2 {
		for _, g := range f.replicas {
			got += fmt.Sprint(g.Send(t, "GET", v2Exports, as(captured), "").Status, " ")
		}
	}
	if want := "401 200 200 401 401 401 "; got != want {
		t.Errorf("replays are answered %s, want %s", got, want)
	}
}

// roundTripper is a function that sends a request.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
