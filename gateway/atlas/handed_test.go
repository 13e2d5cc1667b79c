package atlas_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"
)

// upstream returns an Upstream that sends to an origin with the simulation's API key.
func upstream(t *testing.T, origin string) *atlas.Upstream {
	t.Helper()
	pool := atlas.NewPool(func(int) {})
	u, err := pool.Upstream(atlas.Config{
		Origin:         origin,
		MaxConnections: 4,
		MaxResponse:    1 << 20,
		Timeout:        10 * time.Second,
		Credentials:    []atlas.Credential{{Name: "key", Groups: []string{"*"}, ID: sim.PublicKey, Secret: secret.New(sim.PrivateKey)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	pool.Keep(u)
	t.Cleanup(pool.CloseIdleConnections)
	return u
}

// request returns a request for the path of the group's export buckets.
func request(t *testing.T, method, body string) *atlas.Request {
	t.Helper()
	rules, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	match, err := rules.Match(method, "/api/atlas/v2/groups/"+sim.GroupID+"/backup/exportBuckets")
	if err != nil {
		t.Fatal(err)
	}
	versions := match.Operation.Versions
	r := &atlas.Request{Operation: match.Operation, Group: sim.GroupID, Path: match.Path, MediaType: versions[len(versions)-1].MediaType}
	if body != "" {
		r.Body = []byte(body)
	}
	return r
}

const bucket = `{"cloudProvider": "AWS", "bucketName": "acme-handed", "iamRoleId": "65a9d2f4f20b4c7788990001"}`

// sent counts the requests with content that Atlas received.
func sent(server *sim.Server) (n int) {
	for _, r := range server.Requests(0) {
		if r.Body != "" {
			n++
		}
	}
	return n
}

// content returns the content of a response, if there is one.
func content(r *atlas.Response) []byte {
	if r == nil {
		return nil
	}
	return r.Body
}

// Handed is called once for a create: after the challenge, before the content, and not again when
// Atlas refuses the nonce and the create is signed anew.
func TestHandedOnce(t *testing.T) {
	server := sim.Start(t, sim.Config{Settings: sim.Settings{Nonces: sim.Nonces{Uses: 1}}})
	u := upstream(t, server.URL())
	if _, err := u.Send(t.Context(), request(t, "GET", "")); err != nil {
		t.Fatal(err) // leaves a nonce that Atlas refuses the next time
	}
	calls, seen := 0, -1
	create := request(t, "POST", bucket)
	create.Handed = func() error {
		calls++
		seen = sent(server)
		return nil
	}
	response, err := u.Send(t.Context(), create)
	if err != nil || response.Status != http.StatusOK {
		t.Fatalf("%v, %s", err, content(response))
	}
	if calls != 1 || seen != 0 {
		t.Errorf("Handed is called %d times, when Atlas had the content %d times", calls, seen)
	}
	if n := sent(server); n != 2 {
		t.Errorf("Atlas had the content %d times; want 2, with a nonce that it refuses and with another", n)
	}
}

// An error of Handed stops the create. Its content does not leave, and the Upstream goes on.
func TestHandedFails(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	u := upstream(t, server.URL())
	full := errors.New("the journal is full")
	create := request(t, "POST", bucket)
	create.Handed = func() error { return full }
	_, err := u.Send(t.Context(), create)
	failed, ok := errors.AsType[*atlas.Error](err)
	if !ok || failed.Kind != atlas.HandedFailed || failed.Outcome != atlas.NotSent || !errors.Is(err, full) || err.Error() != full.Error() {
		t.Errorf("got %#v", err)
	}
	if n := sent(server); n != 0 {
		t.Errorf("Atlas had the content %d times", n)
	}
	create.Handed = nil
	if response, err := u.Send(t.Context(), create); err != nil || response.Status != http.StatusOK {
		t.Errorf("the next create: %v, %s", err, content(response))
	}
}

// Handed is not called for a create that can't be signed, for one whose context has ended, and for
// a request that is no create.
func TestHandedNotCalled(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + listener.Addr().String()
	listener.Close()
	server := sim.Start(t, sim.Config{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx    context.Context
		origin string
		method string
		body   string
		want   atlas.Kind // 0 for an answer
	}{
		"no connection": {t.Context(), nobody, "POST", bucket, atlas.Unreachable},
		"context ended": {ended, server.URL(), "POST", bucket, atlas.Canceled},
		"a read":        {t.Context(), server.URL(), "GET", "", 0},
	} {
		r := request(t, test.method, test.body)
		r.Handed = func() error {
			t.Errorf("%s: Handed is called", name)
			return nil
		}
		_, err := upstream(t, test.origin).Send(test.ctx, r)
		var got atlas.Kind
		if failed, ok := errors.AsType[*atlas.Error](err); ok {
			got = failed.Kind
			if failed.Outcome != atlas.NotSent {
				t.Errorf("%s: the outcome is %s", name, failed.Outcome)
			}
		}
		if got != test.want {
			t.Errorf("%s: got kind %d: %v", name, got, err)
		}
	}
}

// After Handed, the create goes on without its context, so that its outcome is known.
func TestGoesOnAfterHanded(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	create := request(t, "POST", bucket)
	create.Handed = func() error {
		cancel()
		return nil
	}
	response, err := upstream(t, server.URL()).Send(ctx, create)
	if err != nil || response.Status != http.StatusOK {
		t.Errorf("%v, %s", err, content(response))
	}
}
