package callers_test

import (
	"testing"

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
