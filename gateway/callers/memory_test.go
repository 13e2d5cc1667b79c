package callers_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"

	"github.com/google/go-cmp/cmp"
)

// When a key pair is added or removed, the counts that others used stay known. When a removed key
// pair comes back, the counts that it used before are not good again.
func TestCountsOverReload(t *testing.T) {
	clock, users, config := issueUsers(t, "stays", "leaves", "comes")
	stays, leaves, comes := users["stays"], users["leaves"], users["comes"]
	memory := callers.NewMemory()
	with := func(list ...callers.Entry) *callers.Authenticator {
		t.Helper()
		config.List = list
		return reload(t, memory, config, callers.Options{Now: clock.now})
	}
	a := with(stays.pair.Entry, leaves.pair.Entry)
	a.Bound(60, 0)
	unused := issueNonce(t, a)
	leaves.spend(a, 10)
	stays.spend(a, 100)
	check := func(nc, left int, want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for name, u := range users {
			got[name] = u.remembered(a, nc)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if nonces, _ := a.Remembered(); nonces != left {
			t.Errorf("%d nonces are remembered, want %d", nonces, left)
		}
	}
	a = with(comes.pair.Entry, stays.pair.Entry)
	if nonces, _ := a.Remembered(); nonces != 50 {
		t.Errorf("%d nonces are remembered of who stays", nonces)
	}
	if r := reason(a, leaves.used[9]); r != callers.WrongCredential {
		t.Error(r)
	}
	comes.spend(a, 10)
	a = with(leaves.pair.Entry, comes.pair.Entry, stays.pair.Entry)
	check(2, 60, map[string]int{"stays": 50, "leaves": 0, "comes": 10})
	if r := reason(a, field{sign(t, unused, leaves.pair.ID, leaves.pair.Secret, 1)}); r != callers.NonceUnknown {
		t.Error(r)
	}
	leaves.spend(a, 100)
	check(3, 60, map[string]int{"stays": 25, "leaves": 25, "comes": 10})
}

// A new configuration serves the next request. What was remembered stays, and no request in
// between is refused.
func TestReload(t *testing.T) {
	k, config := issue(t)
	var current atomic.Pointer[callers.Authenticator]
	memory := callers.NewMemory()
	apply := func(c callers.Config) { current.Store(reload(t, memory, c, callers.Options{})) }
	apply(config)
	server := httptest.NewServer(handler(current.Load))
	defer server.Close()
	c := challenge(t, server)
	used := field{sign(t, c, k.pair.ID, k.pair.Secret, 1)}
	do(t, server, "GET", target, used)
	token := field{"Bearer " + accessToken(t, server, k.account)}
	revoked := accessToken(t, server, k.account)
	oauth(t, server, "revoke", basic(k.account.ID, k.account.Secret), "token="+revoked)

	more := config
	more.List = append(more.List[:1:1], callers.NewToken("another").Entry)
	more.NonceLifetime = time.Hour
	apply(more)
	for _, tt := range []struct {
		name string
		f    field
		want answer
	}{
		{"replayed", used, refused(callers.Replayed)},
		{"second use", field{sign(t, c, k.pair.ID, k.pair.Secret, 2)}, in(callers.Digest)},
		{"token", token, in(callers.AccessToken)},
		{"revoked", field{"Bearer " + revoked}, refusedBearer(callers.TokenRevoked)},
	} {
		if got, _ := do(t, server, "GET", target, tt.f); got != tt.want {
			t.Error(tt.name, got)
		}
	}
	less := config
	less.List = more.List[1:]
	apply(less)
	for _, f := range []field{token, {"Bearer " + k.token.Secret.Reveal()}} {
		if got, _ := do(t, server, "GET", target, f); got != refusedBearer(callers.WrongCredential) {
			t.Error(got)
		}
	}
	if got, _ := do(t, server, "GET", target, field{basic(k.pair.ID, k.pair.Secret)}); got != refused(callers.WrongCredential) {
		t.Error(got)
	}
}

// post sends a form to an endpoint for service accounts past the network.
func post(endpoint func(http.ResponseWriter, *http.Request, netip.Addr) (callers.Caller, error), authorization, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/api/oauth/any", strings.NewReader(form))
	r.RemoteAddr = "127.0.0.1:1"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	endpoint(w, r, from(r))
	return w
}

// try asks for tokens until the answer is 429, and returns how many answers had the status.
func try(t *testing.T, a *callers.Authenticator, id string, private secret.Secret, status int) int {
	t.Helper()
	for n := range 100 {
		switch w := post(a.ServeToken, basic(id, private), grant); w.Code {
		case status:
		case 429:
			return n
		default:
			t.Fatal(w.Code, w.Body)
		}
	}
	t.Fatal("there is no limit")
	return 0
}

// A new configuration gives nobody new attempts, except where it changes the number of attempts.
func TestAttemptsOverReload(t *testing.T) {
	k, config := issue(t)
	config.Attempts = callers.Attempts{PerClient: 3, Overall: 100}
	memory, clock, wrong := callers.NewMemory(), newClock(), secret.New("wrong")
	with := func(attempts int, more ...callers.Entry) *callers.Authenticator {
		t.Helper()
		c := config
		c.Attempts.PerClient, c.List = attempts, append(c.List[:1:1], more...)
		return reload(t, memory, c, callers.Options{Now: clock.now})
	}
	check := func(a *callers.Authenticator, id string, private secret.Secret, want int) {
		t.Helper()
		if right, wrong := try(t, a, id, private, 200), try(t, a, id, wrong, 401); right != want || wrong != want {
			t.Errorf("%d right and %d wrong attempts were answered, want %d", right, wrong, want)
		}
	}
	check(with(3), k.account.ID, k.account.Secret, 3)
	check(with(3), k.account.ID, k.account.Secret, 0)
	other := callers.NewServiceAccount("other")
	a := with(3, other.Entry)
	check(a, k.account.ID, k.account.Secret, 0)
	if n := try(t, a, other.ID, other.Secret, 200); n != 3 {
		t.Errorf("%d attempts of a new client were answered", n)
	}
	check(with(4, other.Entry), k.account.ID, k.account.Secret, 4)
}

// A configuration that is not kept changes nothing for the one in force.
func TestDroppedConfiguration(t *testing.T) {
	k, config := issue(t)
	config.Attempts = callers.Attempts{PerClient: 3, Overall: 100}
	memory, clock := callers.NewMemory(), newClock()
	a := reload(t, memory, config, callers.Options{Now: clock.now})
	c := issueNonce(t, a)
	first := field{sign(t, c, k.pair.ID, k.pair.Secret, 1)}
	if r := reason(a, first); r != "" {
		t.Fatal(r)
	}
	if n := try(t, a, k.account.ID, k.account.Secret, 200); n != 3 {
		t.Fatal(n)
	}
	dropped := config
	dropped.List = []callers.Entry{callers.NewServiceAccount("other").Entry}
	dropped.Attempts.PerClient = 7
	callers.New(compile(t, dropped), memory, callers.Options{Now: clock.now})
	for range 2 {
		if r := reason(a, first); r != callers.Replayed {
			t.Errorf("the first use again: %q", r)
		}
		if nonces, _ := a.Remembered(); nonces != 1 {
			t.Errorf("%d nonces are remembered", nonces)
		}
		if n := try(t, a, k.account.ID, k.account.Secret, 200); n != 0 {
			t.Errorf("%d more attempts were answered", n)
		}
		a = reload(t, memory, config, callers.Options{Now: clock.now})
	}
	if r := reason(a, field{sign(t, c, k.pair.ID, k.pair.Secret, 2)}); r != "" {
		t.Errorf("the second use: %q", r)
	}
}

// Requests go on with the configuration that they began with while another comes into force.
func TestKeepDuringRequests(t *testing.T) {
	k, config := issue(t)
	memory := callers.NewMemory()
	var current atomic.Pointer[callers.Authenticator]
	apply := func(attempts int, more ...callers.Entry) {
		c := config
		c.List = append(c.List[:1:1], more...)
		c.Attempts = callers.Attempts{PerClient: attempts, Overall: attempts} // that never run out
		current.Store(reload(t, memory, c, callers.Options{}))
	}
	apply(9e5)
	client := basic(k.account.ID, k.account.Secret)
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				a := current.Load()
				if r := reason(a, field{sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, 1)}); r != "" {
					t.Error(r)
				}
				var issued struct {
					Token string `json:"access_token"`
				}
				w := post(a.ServeToken, client, grant)
				if err := json.Unmarshal(w.Body.Bytes(), &issued); err != nil || w.Code != 200 {
					t.Error(w.Code, err)
				}
				if w := post(a.ServeRevoke, client, "token="+issued.Token); w.Code != 200 {
					t.Error(w.Code)
				}
				if r := reason(current.Load(), field{"Bearer " + issued.Token}); r != callers.TokenRevoked {
					t.Errorf("a revoked token: %q", r)
				}
			}
		})
	}
	more := callers.NewKeyPair("more", "", filepath.Join(t.TempDir(), "more"))
	write(t, more.Entry.KeyPairs[0].HA1File, more.HA1File.Reveal())
	for i := range 25 {
		apply(9e5+i/10, more.Entry)
		apply(9e5 + i/10)
	}
	close(done)
	group.Wait()
}
