package callers_test

import (
	"fmt"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/internal/strictyaml"
)

// withIssuer returns a configuration with an issuer, called ci, and a caller deploy that its token
// with the sub "job" proves.
func withIssuer(i *issuertest.Issuer) callers.Config {
	return callers.Config{
		Issuers: []issuers.Config{{Name: "ci", Issuer: i.URL, Audiences: []string{issuertest.Audience}, Algorithms: []string{"RS256"}}},
		List: []callers.Entry{{Name: "deploy", Identities: []callers.Identity{
			{Issuer: "ci", Claims: map[string]strictyaml.Texts{"sub": {"job"}}},
		}}},
	}
}

// A token that was verified is remembered until it expires, its key is taken back, or its keys
// can't be had any more. What is remembered is bounded.
func TestRemembered(t *testing.T) {
	i, clock, m := issuertest.Start(t), newClock(), callers.NewMemory()
	t.Cleanup(m.Close)
	config := withIssuer(i)
	config.Issuers[0].Refresh = time.Second
	a := reload(t, m, config, callers.Options{Now: clock.now})
	token := field{"Bearer " + i.Token(t, "job", nil)}
	check := func(what string, want callers.Reason) {
		t.Helper()
		if got := reason(a, token); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	check("new", "")
	check("again", "")
	clock.pass(2 * time.Hour)
	check("late", callers.TokenExpired)
	clock.pass(-3 * time.Hour)
	check("early", callers.TokenNotYetValid)
	clock.pass(time.Hour)
	check("in time", "")
	for n := range callers.MaxVerified + 10 {
		a.Remember(fmt.Sprint(n))
	}
	if n := a.RememberedTokens(); n > callers.MaxVerified {
		t.Errorf("%d tokens are remembered", n)
	}
	check("forgotten", "")
	i.Publish(issuertest.NewKey(t, "second", "RS256"))
	for deadline := time.Now().Add(10 * time.Second); reason(a, token) == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a key that was taken back is good for ever")
		}
	}
	check("taken back", callers.UnknownKey)
}

func TestJWT(t *testing.T) {
	i := issuertest.Start(t)
	m := callers.NewMemory()
	t.Cleanup(m.Close)
	server := serve(t, reload(t, m, withIssuer(i), callers.Options{}))
	for subject, want := range map[string]answer{
		"job":   {200, "deploy jwt", ""},
		"other": {401, "no_caller", "Bearer"},
	} {
		if got, _ := do(t, server, "GET", target, field{"Bearer " + i.Token(t, subject, nil)}); got != want {
			t.Errorf("%s: %+v, want %+v", subject, got, want)
		}
	}
	if n := i.Fetches(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}
