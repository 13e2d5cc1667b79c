package atlas_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// A rotating is a Pool that tells the states of its credential.
type rotating struct {
	*testing.T
	pool   *atlas.Pool
	states chan atlas.CredentialState
}

func rotate(t *testing.T) *rotating {
	r := &rotating{T: t, states: make(chan atlas.CredentialState, 100)}
	r.pool = atlas.NewPool(func(string, int, time.Duration) {}, func(s atlas.CredentialState) { r.states <- s })
	t.Cleanup(r.pool.CloseIdleConnections)
	return r
}

// configured puts a configuration in force, and returns it with the state that the Pool tells.
func (r *rotating) configured(origin string, credentials ...atlas.Credential) (*atlas.Upstream, atlas.CredentialState) {
	r.Helper()
	u := use(r, r.pool, configure(origin, credentials...))
	return u, r.told()
}

// told returns the next state that the Pool tells.
func (r *rotating) told() atlas.CredentialState {
	r.Helper()
	select {
	case s := <-r.states:
		return s
	case <-time.After(20 * time.Second):
		r.Fatal("the Pool tells nothing")
		return atlas.CredentialState{}
	}
}

// seedOf is the simulation's seed with more keys and accounts, which have the same rights.
func seedOf(keys, accounts map[string]string) *sim.Seed {
	seed := sim.DefaultSeed()
	for id, half := range keys {
		k := seed.Keys[0]
		k.PublicKey, k.PrivateKey = id, secret.New(half)
		seed.Keys = append(seed.Keys, k)
	}
	for id, half := range accounts {
		a := seed.ServiceAccounts[0]
		a.ClientID, a.ClientSecret = id, secret.New(half)
		seed.ServiceAccounts = append(seed.ServiceAccounts, a)
	}
	return seed
}

const (
	privateA, privateB = "c4na7y-private-a", "c4na7y-private-b"
	clientA, clientB   = "mdb_sa_id_aaaa", "mdb_sa_id_bbbb"
)

// A pair that takes the place of another is tried, and signs once Atlas has accepted it. Until
// then, and for half a pair and a wrong one, the pair before it signs, and no request fails.
func TestPairsAreTried(t *testing.T) {
	key := func(id, half string) atlas.Credential { return apiKey(id, half) }
	service := func(id, half string) atlas.Credential { return account(id, half) }
	elsewhere := func(c atlas.Credential) atlas.Credential {
		c.Place = "other files"
		return c
	}
	forOthers := func(c atlas.Credential) atlas.Credential {
		c.Place, c.Groups = "other files", []string{group}
		return c
	}
	const none, half, refused = atlas.WaitingNot, atlas.WaitingHalf, atlas.WaitingRefused
	for _, test := range []struct {
		name      string
		then, now atlas.Credential
		signs     string // the id of the pair that signs at last
		waiting   atlas.Waiting
		awaited   string
	}{
		{"another key", key("aaaaaaaa", privateA), key("bbbbbbbb", privateB), "bbbbbbbb", none, ""},
		{"a new public key", key("aaaaaaaa", privateA), key("bbbbbbbb", privateA), "aaaaaaaa", half, "private key"},
		{"a new private key", key("aaaaaaaa", privateA), key("aaaaaaaa", privateB), "aaaaaaaa", half, "public key"},
		{"a wrong key", key("aaaaaaaa", privateA), key("bbbbbbbb", "c4na7y-wrong"), "aaaaaaaa", refused, ""},
		{"another key in another place", key("aaaaaaaa", privateA), elsewhere(key("bbbbbbbb", privateB)), "bbbbbbbb", none, ""},
		{"a wrong key in another place", key("aaaaaaaa", privateA), elsewhere(key("bbbbbbbb", "c4na7y-wrong")), "aaaaaaaa", refused, ""},
		{"another key for other groups", key("aaaaaaaa", privateA), forOthers(key("bbbbbbbb", privateB)), "bbbbbbbb", none, ""},
		{"an account in the place of a key", key("aaaaaaaa", privateA), service(clientA, privateA), clientA, none, ""},
		{"a wrong account in the place of a key", key("aaaaaaaa", privateA), service(clientA, "c4na7y-wrong"), "aaaaaaaa", refused, ""},
		{"a new client secret", service(clientA, privateA), service(clientA, privateB), clientA, refused, ""},
		{"another account", service(clientA, privateA), service(clientB, privateB), clientB, none, ""},
		{"a new client id", service(clientA, privateA), service(clientB, privateA), clientA, half, "client secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := sim.Start(t, sim.Config{Seed: seedOf(map[string]string{"aaaaaaaa": privateA, "bbbbbbbb": privateB}, map[string]string{clientA: privateA, clientB: privateB})})
			r := rotate(t)
			u, first := r.configured(server.URL(), test.then)
			if first.ID != test.then.ID || first.Waiting != none || first.Since.IsZero() {
				t.Errorf("at first: %+v", first)
			}
			must(t, u, read(t))
			u, state := r.configured(server.URL(), test.now)
			want := atlas.CredentialState{Name: "upstream.credentials[0]", ID: test.signs, Waiting: test.waiting, Awaited: test.awaited}
			if test.waiting != none {
				want.Offered = test.now.ID
			}
			if (state.Cause != nil) != (test.waiting == refused) || strings.Contains(fmt.Sprint(state.Cause), "c4na7y") || (state.Retry > 0) != (test.waiting == refused) {
				t.Errorf("the cause is %v, the pause %s", state.Cause, state.Retry)
			}
			if since := state.Since; since.IsZero() || since.Equal(first.Since) != (test.signs == test.then.ID) {
				t.Errorf("since %s, before since %s", since, first.Since)
			}
			state.Since, state.Cause, state.Retry = time.Time{}, nil, 0
			if diff := cmp.Diff(want, state); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			must(t, u, read(t))
			requests := server.Requests(0)
			if by := requests[len(requests)-1].Caller; by != test.signs {
				t.Errorf("%s signs, want %s", by, test.signs)
			}
			if state := r.pool.Credentials()[0]; state.ID != test.signs || state.Waiting != test.waiting {
				t.Errorf("afterwards: %+v", state)
			}
		})
	}
}

// Half a pair waits through further reloads, also when the connections are made anew, and the
// second half completes it. The pair that is configured again ends the wait.
func TestHalfAPairWaits(t *testing.T) {
	server := sim.Start(t, sim.Config{Seed: seedOf(map[string]string{"aaaaaaaa": privateA, "bbbbbbbb": privateB}, nil)})
	r := rotate(t)
	for i, step := range []struct {
		id, half, signs string
		waiting         atlas.Waiting
		connections     int
	}{
		{"aaaaaaaa", privateA, "aaaaaaaa", atlas.WaitingNot, 4},
		{"bbbbbbbb", privateA, "aaaaaaaa", atlas.WaitingHalf, 4},
		{"bbbbbbbb", privateA, "aaaaaaaa", atlas.WaitingHalf, 4},
		{"bbbbbbbb", privateA, "aaaaaaaa", atlas.WaitingHalf, 5},
		{"aaaaaaaa", privateA, "aaaaaaaa", atlas.WaitingNot, 5},
		{"aaaaaaaa", privateB, "aaaaaaaa", atlas.WaitingHalf, 5},
		{"bbbbbbbb", privateB, "bbbbbbbb", atlas.WaitingNot, 5},
	} {
		before := server.Counts().Requests
		c := configure(server.URL(), apiKey(step.id, step.half))
		c.MaxConnections = step.connections
		u := use(t, r.pool, c)
		if state := r.told(); state.ID != step.signs || state.Waiting != step.waiting {
			t.Errorf("step %d: %+v", i, state)
		}
		must(t, u, read(t))
		requests := server.Requests(0)
		if by := requests[len(requests)-1].Caller; by != step.signs {
			t.Errorf("step %d: %s signs, want %s", i, by, step.signs)
		}
		// Half a pair is not tried: over new connections, the read needs a challenge.
		if n := server.Counts().Requests - before; step.waiting == atlas.WaitingHalf && n > 2 {
			t.Errorf("step %d: %d requests", i, n)
		}
	}
}

// Whoever has no key that works does not wait for the other half: half a change may mend a pair.
func TestHalfAPairIsTried(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	r := rotate(t)
	r.configured(server.URL(), apiKey(sim.PublicKey, "c4na7y-wrong"))
	u, state := r.configured(server.URL(), apiKey(sim.PublicKey, sim.PrivateKey))
	if state.Waiting != atlas.WaitingNot || state.ID != sim.PublicKey {
		t.Errorf("%+v", state)
	}
	must(t, u, read(t))
}

// A doorkeeper is an Atlas that accepts some API keys, without a look at their private halves.
type doorkeeper struct {
	*gatewaytest.Upstream
	mu       sync.Mutex
	accepted map[string]bool
	down     bool
}

func startDoorkeeper(t *testing.T, accepted ...string) *doorkeeper {
	d := &doorkeeper{accepted: map[string]bool{}}
	for _, id := range accepted {
		d.accepted[id] = true
	}
	d.Upstream = gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		d.mu.Lock()
		defer d.mu.Unlock()
		_, user, _ := strings.Cut(r.Header.Get("Authorization"), `username="`)
		user, _, _ = strings.Cut(user, `"`)
		switch {
		case d.down:
			return gatewaytest.JSON(503, "{}")
		case !d.accepted[user]:
			return gatewaytest.Refusing("WWW-Authenticate: " + gatewaytest.Challenge)
		}
		return gatewaytest.JSON(200, list)
	}))
	return d
}

// accept has a key accepted, or refused.
func (d *doorkeeper) accept(id string, accepts bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepted[id] = accepts
}

// setDown has every request answered 503, or as before.
func (d *doorkeeper) setDown(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
	if down {
		d.Challenge(gatewaytest.JSON(503, "{}"))
	} else {
		d.Challenge(gatewaytest.Refusing("WWW-Authenticate: " + gatewaytest.Challenge))
	}
}

// signs fails the test unless a key has signed the last request.
func (d *doorkeeper) signs(t *testing.T, id string) {
	t.Helper()
	if last := d.Last(); !strings.Contains(last, `username="`+id+`"`) {
		t.Errorf("signed by %s, want %s", last, id)
	}
}

// A pair that Atlas refuses at first is tried again with a growing pause, and signs once Atlas
// accepts it. A reload does not wait for the pause.
func TestRefusedPairIsTriedAgain(t *testing.T) {
	t.Parallel() // it waits most of the time
	server := startDoorkeeper(t, "aaaaaaaa")
	r := rotate(t)
	u, _ := r.configured(server.URL, apiKey("aaaaaaaa", privateA))
	must(t, u, read(t))
	_, state := r.configured(server.URL, apiKey("bbbbbbbb", privateB))
	first := state.Retry
	if state.Waiting != atlas.WaitingRefused || state.ID != "aaaaaaaa" || first <= 0 || first > time.Second {
		t.Errorf("%+v", state)
	}
	r.pool.Retry() // too early
	u, state = r.configured(server.URL, apiKey("bbbbbbbb", privateB))
	if state.Waiting != atlas.WaitingRefused || state.Retry <= first || state.Retry > 2*time.Second {
		t.Errorf("after a reload: %+v", state)
	}
	must(t, u, read(t))
	server.signs(t, "aaaaaaaa")
	server.accept("bbbbbbbb", true)
	before := server.Total.Load()
	r.pool.Retry() // too early
	if n := server.Total.Load() - before; n != 0 {
		t.Errorf("%d requests before the pause was over", n)
	}
	time.Sleep(state.Retry)
	r.pool.Retry()
	if state = r.told(); state.Waiting != atlas.WaitingNot || state.ID != "bbbbbbbb" {
		t.Errorf("at last: %+v", state)
	}
	server.accept("aaaaaaaa", false)
	must(t, u, read(t))
	server.signs(t, "bbbbbbbb")
}

// An Atlas that does not answer does not stop a rotation: the pair before signs until Atlas
// answers. Where that pair was revoked meanwhile, the request that finds this out is carried out
// all the same, once.
func TestRotationDuringAnOutage(t *testing.T) {
	for name, revoked := range map[string]bool{"both pairs are good": false, "the pair before was revoked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startDoorkeeper(t, "aaaaaaaa", "bbbbbbbb")
			r := rotate(t)
			u, _ := r.configured(server.URL, apiKey("aaaaaaaa", privateA))
			must(t, u, read(t))
			server.setDown(true)
			u, state := r.configured(server.URL, apiKey("bbbbbbbb", privateB))
			if state.Waiting != atlas.WaitingUntried || state.ID != "aaaaaaaa" || state.Cause == nil || !strings.Contains(state.Cause.Error(), "503") {
				t.Errorf("while Atlas is down: %+v", state)
			}
			server.setDown(false)
			if revoked {
				server.accept("aaaaaaaa", false)
			}
			time.Sleep(state.Retry)
			if revoked {
				must(t, u, read(t))
				server.signs(t, "bbbbbbbb")
			} else {
				r.pool.Retry()
			}
			if state = r.told(); state.Waiting != atlas.WaitingNot || state.ID != "bbbbbbbb" {
				t.Errorf("afterwards: %+v", state)
			}
		})
	}
}

// Where Atlas refuses the pair that signs, the pair that is in the files then is tried at once,
// and the request is signed with it: also a create, which is handed to the network once.
func TestRefusedPairIsReplaced(t *testing.T) {
	server := sim.Start(t, sim.Config{})
	for name, credential := range map[string]atlas.Credential{"an API key": apiKey(sim.PublicKey, "c4na7y-wrong"), "a service account": account(sim.ClientID, "c4na7y-wrong")} {
		right, reads := secret.New(sim.PrivateKey), 0
		if credential.Account {
			right = secret.New(sim.ClientSecret)
		}
		wrong, id := credential.Secret, credential.ID
		current, problem := wrong, error(nil)
		credential.Read = func() (string, secret.Secret, error) {
			reads++
			return id, current, problem
		}
		u := start(t, configure(server.URL(), credential))
		checkError(t, &atlas.Error{Kind: atlas.CredentialRefused, Outcome: atlas.NotSent}, fail(t, t.Context(), u, read(t)))
		problem = errors.New("the file is gone")
		if e := fail(t, t.Context(), u, read(t)); e.Kind != atlas.CredentialRefused || !strings.HasPrefix(e.Error(), "upstream.credentials[0]: ") || !strings.HasSuffix(e.Error(), "; reading it again failed: the file is gone") {
			t.Errorf("%s: %+v", name, e)
		}
		if reads != 2 {
			t.Errorf("%s was read %d times for 2 refusals", name, reads)
		}
		current, problem = right, nil
		handed := 0
		must(t, u, create(t, func() error { handed++; return nil }))
		if handed != 1 {
			t.Errorf("%s: the create was handed over %d times", name, handed)
		}
	}
}

// A request of one caller that Atlas refuses gives up no pair, although half of another one is in
// the files.
func TestOneCallerGivesUpNoPair(t *testing.T) {
	server := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
		if strings.HasSuffix(r.URL.Path, "/refused") || !strings.Contains(r.Header.Get("Authorization"), `"aaaaaaaa"`) {
			return gatewaytest.Refusing("WWW-Authenticate: " + gatewaytest.Challenge)
		}
		return gatewaytest.JSON(200, list)
	}))
	c := apiKey("aaaaaaaa", privateA)
	c.Read = func() (string, secret.Secret, error) { return "bbbbbbbb", secret.New(privateA), nil }
	u := start(t, configure(server.URL, c))
	must(t, u, read(t))
	refused := read(t)
	refused.Path += "/refused"
	for range 5 {
		if e := fail(t, t.Context(), u, refused); e.Kind != atlas.CredentialRefused {
			t.Errorf("%+v", e)
		}
		must(t, u, read(t))
	}
}

// A pair in the files that Atlas refuses is not tried with each request that Atlas refuses.
func TestWrongPairIsTriedSeldom(t *testing.T) {
	server := startDoorkeeper(t, "aaaaaaaa")
	r := rotate(t)
	c := apiKey("aaaaaaaa", privateA)
	c.Read = func() (string, secret.Secret, error) { return "bbbbbbbb", secret.New(privateA), nil }
	u, _ := r.configured(server.URL, c)
	must(t, u, read(t))
	server.accept("aaaaaaaa", false)
	before := server.Total.Load()
	for range 20 {
		if e := fail(t, t.Context(), u, read(t)); e.Kind != atlas.CredentialRefused || e.Outcome != atlas.NotSent {
			t.Errorf("%+v", e)
		}
	}
	if n := server.Total.Load() - before; n > 25 {
		t.Errorf("%d requests for 20 with a refused key", n)
	}
	if state := r.told(); state.Waiting != atlas.WaitingHalf || state.ID != "aaaaaaaa" {
		t.Errorf("%+v", state)
	}
}

// What Atlas answers to a harmless read tells whether it accepts the credential.
func TestTry(t *testing.T) {
	challenge := "WWW-Authenticate: " + gatewaytest.Challenge
	for _, test := range []struct {
		name, unsigned, signed string
		want                   atlas.Verdict
		cause                  string
	}{
		{"a list", "", gatewaytest.JSON(200, list), atlas.Accepted, ""},
		{"no such path", "", gatewaytest.JSON(404, "{}"), atlas.Accepted, ""},
		{"not allowed", "", gatewaytest.JSON(403, `{"errorCode":"USER_UNAUTHORIZED"}`), atlas.Accepted, ""},
		{"a group of others", "", gatewaytest.JSON(401, `{"errorCode":"NOT_IN_GROUP"}`, challenge), atlas.Accepted, ""},
		{"another address", "", gatewaytest.JSON(403, `{"errorCode":"IP_ADDRESS_NOT_ON_ACCESS_LIST"}`), atlas.Refused, "Atlas answered 403 IP_ADDRESS_NOT_ON_ACCESS_LIST: the gateway's address is not on the access list"},
		{"another address, in the header", "", gatewaytest.JSON(403, "{}", "X-Error-Code: ORG_REQUIRES_ACCESS_LIST"), atlas.Refused, "Atlas answered 403 ORG_REQUIRES_ACCESS_LIST: "},
		{"a refusal", "", gatewaytest.Refusing(challenge), atlas.Refused, "digestauth: the server refuses the credential"},
		{"no challenge", gatewaytest.Refusing("WWW-Authenticate: Basic"), "", atlas.Undecided, "digestauth: "},
		{"nobody who asks", gatewaytest.JSON(200, list), "", atlas.Undecided, "asked for no credential"},
		{"a redirect", "", gatewaytest.JSON(302, "", "Location: http://127.0.0.1:1"), atlas.Undecided, "Atlas answered 302"},
		{"an outage", "", gatewaytest.JSON(503, "<html>"+base64.StdEncoding.EncodeToString([]byte(privateA))), atlas.Undecided, "Atlas answered 503"},
		{"a rate limit", "", gatewaytest.JSON(429, "{}", "Retry-After: 7"), atlas.Undecided, "Atlas answered 429"},
		{"a long code", "", gatewaytest.JSON(429, `{"errorCode":"`+strings.Repeat("A", 31)+`"}`), atlas.Undecided, "Atlas answered 429 without an errorCode"},
		{"an echo", "", gatewaytest.JSON(429, `{"errorCode":"`+privateA+`"}`), atlas.Undecided, "Atlas answered 429"},
	} {
		server := gatewaytest.StartUpstream(t, gatewaytest.AnswerWith(test.signed))
		if test.unsigned != "" {
			server.Challenge(test.unsigned)
		}
		answers := start(t, configure(server.URL, apiKey("aaaaaaaa", privateA))).Try(t.Context())
		if len(answers) != 1 {
			t.Fatal(answers)
		}
		a := answers[0]
		if a.Name != "upstream.credentials[0]" || a.ID != "aaaaaaaa" || a.Verdict != test.want || (a.Err == nil) != (test.cause == "") || a.Err != nil && !strings.HasPrefix(a.Err.Error(), test.cause) && !strings.HasSuffix(a.Err.Error(), test.cause) {
			t.Errorf("%s: %+v", test.name, a)
		}
		if strings.Contains(fmt.Sprint(a.Err), "c4na7y") || (a.RetryAfter != 0) != (test.name == "a rate limit") {
			t.Errorf("%s: %v, after %s", test.name, a.Err, a.RetryAfter)
		}
	}
	if a := start(t, configure("http://127.0.0.1:1")).Try(t.Context())[0]; a.Verdict != atlas.Undecided || !strings.Contains(a.Err.Error(), "connection refused") {
		t.Errorf("%+v", a)
	}
}
