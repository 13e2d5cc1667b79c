package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"

	"github.com/icholy/digest"
)

// A clockTest is a program with a caller that has a key of each kind, and the program's clock.
type clockTest struct {
	*testing.T
	*clock
	p      *process
	caller *gatewaytest.Caller
}

// newClockTest starts a program in front of the simulation, with more settings of the callers.
func newClockTest(t *testing.T, settings string) *clockTest {
	t.Helper()
	return newClockTestOf(t, gatewaytest.Issue(t, "nightly", `[{operations: [manage], groups: ["*"]}]`), settings)
}

// newClockTestOf is newClockTest for a caller.
func newClockTestOf(t *testing.T, caller *gatewaytest.Caller, settings string) *clockTest {
	t.Helper()
	atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}}})
	p, c := serveWithClock(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\ncallers:\n  "+settings+"\n  list:\n"+caller.YAML,
		"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
	return &clockTest{t, c, p, caller}
}

// lists fails the test unless a list with a credential is answered as said.
func (c *clockTest) lists(when, authorization string, want int) {
	c.Helper()
	header := map[string]string{"Accept": "application/vnd.atlas.2025-03-12+json", "Authorization": authorization}
	if got := gatewaytest.Send(c, "GET", c.p.Listener+buckets, header, ""); got.Status != want {
		c.Errorf("%s: %d %s, want %d", when, got.Status, got.Body, want)
	}
}

// challenge returns a new challenge, with a nonce.
func (c *clockTest) challenge() *digest.Challenge {
	c.Helper()
	got := gatewaytest.Send(c, "GET", c.p.Listener+buckets, map[string]string{"Accept": "application/vnd.atlas.2025-03-12+json"}, "")
	challenge, err := digest.ParseChallenge(got.Header.Get("WWW-Authenticate"))
	if err != nil {
		c.Fatal(err)
	}
	return challenge
}

// uses fails the test unless a use of a nonce, by its count, is answered as said.
func (c *clockTest) uses(when string, nonce *digest.Challenge, count, want int) {
	c.Helper()
	credentials, err := digest.Digest(nonce, digest.Options{Method: "GET", URI: buckets, Username: c.caller.Pair.ID, Password: c.caller.Pair.Secret.Reveal(), Count: count})
	if err != nil {
		c.Fatal(err)
	}
	c.lists(fmt.Sprintf("%s: use %d", when, count), credentials.String(), want)
}

// asks sends a form to an endpoint for service accounts.
func (c *clockTest) asks(endpoint, form string) gatewaytest.Response {
	c.Helper()
	return gatewaytest.Send(c, "POST", c.p.Listener+"/api/oauth/"+endpoint, map[string]string{
		"Authorization": gatewaytest.Basic(c.caller.Account.ID, c.caller.Account.Secret.Reveal()), "Content-Type": "application/x-www-form-urlencoded",
	}, form)
}

// token returns a new access token, as a credential.
func (c *clockTest) token() string {
	c.Helper()
	got := c.asks("token", grant)
	if got.Status != 200 {
		c.Fatalf("%d %s", got.Status, got.Body)
	}
	return "Bearer " + got.AccessToken()
}

// revoke revokes an access token.
func (c *clockTest) revoke(token string) {
	c.Helper()
	if got := c.asks("revoke", "token="+strings.TrimPrefix(token, "Bearer ")); got.Status != 200 {
		c.Fatalf("%d %s", got.Status, got.Body)
	}
}

// A clock that is set back makes no nonce bad. One that is set ahead costs a challenge. No use of a
// nonce is good twice, and no nonce is good for ever.
func TestSetClockOfNonces(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-time.Hour, -time.Minute, time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			c := newClockTest(t, "nonce_lifetime: 5m")
			before := c.challenge()
			c.uses("before", before, 1, 200)
			c.set(t, by)
			c.uses("afterwards", before, 1, 401)
			if by < 0 {
				c.uses("afterwards", before, 2, 200)
			} else {
				c.uses("afterwards", before, 2, 401)
			}
			during := c.challenge()
			c.uses("a new nonce", during, 1, 200)
			c.uses("a new nonce", during, 1, 401)
			c.set(t, -by)
			c.uses("put right", before, 1, 401)
			c.uses("put right", before, 3, 200)
			c.uses("the new nonce, the clock put right", during, 1, 401)
			c.uses("the new nonce, the clock put right", during, 2, 200)
			after := c.challenge()
			c.uses("one of the clock that was put right", after, 1, 200)
			c.pass(t, 3*time.Hour)
			for _, nonce := range []*digest.Challenge{before, during, after} {
				c.uses("in the end", nonce, 4, 401)
			}
			c.p.stop(t)
		})
	}
}

// A nonce of a process whose clock is right is good in another one, whose clock was ahead and was put
// right.
func TestSetClockOfOneProcess(t *testing.T) {
	t.Parallel()
	key := "signing_key_file: " + gatewaytest.WriteFile(t, filepath.Join(t.TempDir(), "signing.key"), callers.NewSigningKey().Reveal())
	c := newClockTest(t, key)
	other := newClockTestOf(t, c.caller, key)
	c.uses("before", other.challenge(), 1, 200)
	c.set(t, time.Hour)
	c.uses("ahead", c.challenge(), 1, 200)
	c.set(t, -time.Hour)
	for range 6 {
		c.uses("put right", other.challenge(), 1, 200)
		c.pass(t, 10*time.Minute)
		other.pass(t, 10*time.Minute)
	}
	c.p.stop(t)
	other.p.stop(t)
}

// An access token is good for its lifetime while the clock is set, and never without end.
func TestSetClockOfTokens(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-time.Hour, time.Hour, 10 * 365 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			c := newClockTest(t, "token_lifetime: 1h")
			before := c.token()
			c.lists("before", before, 200)
			c.set(t, by)
			during := c.token()
			c.lists("a token of the set clock", during, 200)
			if by < 0 {
				c.lists("a token of before", before, 200)
			} else {
				c.lists("a token of before", before, 401)
			}
			c.set(t, -by)
			after := c.token()
			c.lists("a token of the clock that was put right", after, 200)
			c.lists("a token of before, the clock put right", before, 200)
			c.pass(t, 3*time.Hour)
			for name, token := range map[string]string{"before": before, "during": during, "after": after} {
				c.lists("after three hours: "+name, token, 401)
			}
			c.p.stop(t)
		})
	}
}

// A revoked token is not good again: neither when the clock was ahead by more than the token's life
// and is put right, nor when the clock is set back.
func TestSetClockOfRevocations(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-time.Hour, 2 * time.Hour, 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			c := newClockTest(t, "attempts: {per_client: 100}")
			token := c.token()
			c.lists("before", token, 200)
			c.revoke(token)
			c.lists("revoked", token, 401)
			c.set(t, by)
			c.lists("the clock set", token, 401)
			c.revoke(c.token()) // has the program forget what it may forget
			c.set(t, -by)
			c.revoke(c.token())
			c.lists("the clock put right", token, 401)
			for range 6 {
				c.pass(t, 10*time.Minute)
				c.revoke(c.token())
				c.lists("later", token, 401)
			}
			c.p.stop(t)
		})
	}
}

// A clock that is set gives nobody more attempts at the token endpoint, and lets nobody wait for
// longer.
func TestSetClockOfAttempts(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			c := newClockTest(t, "attempts: {per_client: 3}")
			attempts := func(when string, want int) {
				t.Helper()
				n := 0
				for c.asks("token", grant).Status == 200 && n < 10 {
					n++
				}
				if n != want {
					t.Errorf("%s: %d attempts, want %d", when, n, want)
				}
			}
			attempts("before", 3)
			c.set(t, by)
			attempts("afterwards", 0)
			c.pass(t, time.Minute)
			attempts("a minute later", 3)
			c.p.stop(t)
		})
	}
}

// A credential for Atlas that was refused, and a token endpoint that failed, are tried again no later
// when the clock is set back. A token of Atlas's is used for its lifetime, and no longer.
func TestSetClockOfCredentials(t *testing.T) {
	t.Parallel()
	const key, account = "{public_key_env: PUBLIC, private_key_env: PRIVATE}", "{client_id_env: CLIENT, client_secret_env: SECRET}"
	for name, test := range map[string]struct{ credential, failing string }{
		"a key that is refused":              {key, gatewaytest.Refusing("WWW-Authenticate: " + gatewaytest.Challenge)},
		"an account that is refused":         {account, gatewaytest.JSON(401, "{}")},
		"a token endpoint that asks to wait": {account, gatewaytest.JSON(429, "{}", "Retry-After: 60")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var works atomic.Bool
			var tokens atomic.Int64
			h := gatewaytest.StartUpstream(t, gatewaytest.AnswerBy(func(r *http.Request) string {
				switch {
				case !works.Load():
					return test.failing
				case r.URL.Path == "/api/oauth/token":
					tokens.Add(1)
					return gatewaytest.JSON(200, `{"access_token":"c4na7y-token","expires_in":3600,"token_type":"Bearer"}`)
				}
				return gatewaytest.JSON(200, list)
			}))
			p, c := serveWithClock(t, "upstream:\n  base_url: "+h.URL+"\n  credentials: ["+test.credential+"]\n",
				"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "CLIENT="+sim.ClientID, "SECRET="+sim.ClientSecret)
			answers := func(when string, succeeds bool) {
				t.Helper()
				if got := p.send(t, aGet); len(got) != 1 || (got[0].Status == 200) != succeeds {
					t.Errorf("%s: %v", when, got)
				}
			}
			failed := time.Now()
			answers("while it fails", false)
			before := h.Total.Load()
			answers("in the pause", false)
			if n := h.Total.Load() - before; n > 0 && time.Since(failed) < 5*time.Second {
				t.Errorf("%d requests in the pause", n)
			}
			works.Store(true)
			c.set(t, -time.Hour)
			c.pass(t, time.Minute)
			answers("after the pause", true)
			c.set(t, 2*time.Hour)
			answers("the clock set again", true)
			fetched := tokens.Load()
			if test.credential == account && fetched != 1 {
				t.Errorf("%d tokens were fetched", fetched)
			}
			c.pass(t, time.Hour)
			answers("an hour later", true)
			if n := tokens.Load() - fetched; test.credential == account && n != 1 {
				t.Errorf("%d tokens were fetched in the hour", n)
			}
			p.stop(t)
		})
	}
}

// While the clock is set to and fro by an hour under load, every request is answered and each create
// is counted once. No credential is refused, and none of what the program has of Atlas, its token and
// its nonces, is lost.
func TestSetClockUnderLoad(t *testing.T) {
	t.Parallel()
	const many = 16
	for credential, most := range map[string]int64{ // of challenges and tokens
		"{public_key_env: PUBLIC, private_key_env: PRIVATE}": 2 * many,
		"{client_id_env: CLIENT, client_secret_env: SECRET}": 1,
	} {
		t.Run(credential[1:7], func(t *testing.T) {
			t.Parallel()
			atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, CountsOnly: true}})
			p, c := serveWithClock(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: ["+credential+"]\n",
				"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey, "CLIENT="+sim.ClientID, "SECRET="+sim.ClientSecret)
			s := &suspension{p: p, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: many}, Timeout: 10 * time.Second}}
			s.call(false)
			before := p.goroutines(t)
			stop := make(chan struct{})
			group := s.load(many, stop)
			for range 10 {
				for _, by := range []time.Duration{-time.Hour, time.Hour, time.Hour, -time.Hour} {
					time.Sleep(10 * time.Millisecond)
					c.set(t, by)
				}
			}
			close(stop)
			group.Wait()
			s.checkUnderWay(t, 0)
			made := s.checkCreates(t)
			n := atlas.Counts()
			t.Logf("%d answers, %d creates, %d buckets, %d challenges, %d tokens", s.answered.Load(), s.created.Load(), made, n.Challenges, n.ByOperation["token"])
			if n.Challenges+n.ByOperation["token"] > most {
				t.Errorf("%d challenges and %d tokens", n.Challenges, n.ByOperation["token"])
			}
			s.client.CloseIdleConnections()
			p.settles(t, before)
			p.stop(t)
		})
	}
}
