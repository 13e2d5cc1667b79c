package gatewaytest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// A recorder is a test whose errors are kept, and whose end is the call of end.
type recorder struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (r *recorder) Name() string      { return r.TB.Name() + " recorded" }
func (r *recorder) Cleanup(f func())  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Error(args ...any) { r.errors = append(r.errors, fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(f, args...))
}
func (r *recorder) end() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}

// fails fails the test unless the recorder has errors that begin with these texts, and no others.
func (r *recorder) fails(t *testing.T, want ...string) {
	t.Helper()
	ok := len(r.errors) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.HasPrefix(r.errors[i], want[i])
	}
	if !ok {
		t.Errorf("the errors are %q, want %q", r.errors, want)
	}
}

// A gateway without a leak passes. A test fails if the log holds a secret of the test's: of a
// caller, of the configuration, or one that was sent.
func TestLogIsSearched(t *testing.T) {
	const sent = "Bearer c4na7y-that-was-sent"
	for name, leak := range map[string]func(c *gatewaytest.Caller) string{
		"nothing":                 func(*gatewaytest.Caller) string { return "" },
		"a token":                 func(c *gatewaytest.Caller) string { return c.Token.Secret.Reveal() },
		"a private key in base64": func(c *gatewaytest.Caller) string { return gatewaytest.Basic(c.Pair.ID, c.Pair.Secret.Reveal()) },
		"the credential of Atlas": func(*gatewaytest.Caller) string { return sim.PrivateKey },
		"what was sent":           func(*gatewaytest.Caller) string { return sent },
	} {
		r := &recorder{TB: t}
		atlas := sim.Start(t, sim.Config{})
		caller := gatewaytest.Issue(r, "nightly", `[{operations: [manage], groups: ["*"]}]`)
		g := gatewaytest.StartFor(r, atlas.URL(), "", caller)
		for authorization, want := range map[string]int{sent: 401, caller.Bearer(): 200} {
			got := g.Send(r, "GET", "/api/atlas/v2/groups/"+sim.GroupID+"/backup/exportBuckets", map[string]string{"Accept": "application/vnd.atlas.2025-03-12+json", "Authorization": authorization}, "")
			if got.Status != want {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
		}
		io.WriteString(g.Log, leak(caller))
		r.end()
		if name == "nothing" {
			r.fails(t)
		} else if len(r.errors) == 0 || !strings.HasPrefix(r.errors[0], "a secret is in the log: ") {
			t.Errorf("%s: the errors are %q", name, r.errors)
		}
	}
}

// Answers are searched too, and hold Gateway-Outcome where it is promised.
func TestAnswersAreSearched(t *testing.T) {
	const secret = "c4na7y-in-an-answer"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		w.Header().Set("Gateway-Request-Id", "1")
		if query.Has("outcome") {
			w.Header().Set("Gateway-Outcome", query.Get("outcome"))
		}
		if query.Has("error") {
			w.Header().Set("Gateway-Error", "overloaded")
		}
		w.Header().Set("X-Leak", query.Get("header"))
		io.WriteString(w, query.Get("body"))
	}))
	defer server.Close()
	const outcome = ": the outcome "
	for _, test := range []struct {
		method, query string
		want          []string
	}{
		{"GET", "", nil},
		{"GET", "body=" + secret, []string{"a secret is in an answer: "}},
		{"GET", "header=" + secret, []string{"a secret is in an answer's header: "}},
		{"GET", "outcome=answered", []string{"GET URL?outcome=answered" + outcome + `["answered"] of what is no change`}},
		{"POST", "outcome=answered", nil},
		{"POST", "", []string{"POST URL?" + outcome + `[], want "answered"`}},
		{"POST", "outcome=not_sent&error=1", nil},
		{"POST", "outcome=answered&error=1", []string{"POST URL?outcome=answered&error=1" + outcome + `["answered"], want "not_sent"`}},
		{"POST", "outcome=unknown&error=1&body=It+is+not+known+whether+the+request+was+carried+out", nil},
	} {
		r := &recorder{TB: t}
		gatewaytest.KeepSecret(r, "a secret", secret)
		gatewaytest.KeepSecret(r, "a word", "answers") // too short to be a secret
		gatewaytest.Send(r, test.method, server.URL+"?"+test.query, nil, "")
		for i := range test.want {
			test.want[i] = strings.Replace(test.want[i], "URL", server.URL, 1)
		}
		r.fails(t, test.want...)
	}
}

// A gateway that was stopped starts again at its address, and knows nothing of before.
func TestRestart(t *testing.T) {
	atlas := sim.Start(t, sim.Config{})
	caller := gatewaytest.Issue(t, "nightly", "[]")
	g := gatewaytest.StartFor(t, atlas.URL(), "", caller)
	token, address := g.AccessToken(t, caller), g.Address
	status := func() int {
		return g.Send(t, "GET", "/api/atlas/v2/groups/"+sim.GroupID+"/clusters", map[string]string{"Accept": "application/vnd.atlas.2025-03-12+json", "Authorization": "Bearer " + token}, "").Status
	}
	if got := status(); got != 403 {
		t.Errorf("before: %d", got)
	}
	g.Stop()
	g.Wait(t)
	<-g.Ended()
	g.Restart(t)
	if got := status(); got != 401 || g.Address != address {
		t.Errorf("after: %d at %s, which was %s", got, g.Address, address)
	}
}
