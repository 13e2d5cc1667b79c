package callers_test

import (
	"net/netip"
	"strings"
	"testing"

	"atlas-export-gateway/gateway/callers"
)

// Nothing that a configuration or a request holds makes a caller anonymous, whatever its name.
func TestAnonymous(t *testing.T) {
	k, config := issue(t)
	config.List[0].Name = "anonymous"
	a := build(t, config, callers.Options{})
	access := accessToken(t, serve(t, a), k.account)
	anonymous := callers.Anonymous()
	if !anonymous.IsAnonymous() || anonymous.Name != "anonymous" || anonymous.Form != callers.AnonymousForm || anonymous.Key != "" {
		t.Errorf("got %+v", anonymous)
	}
	for _, f := range []string{
		sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, 1),
		basic(k.pair.ID, k.pair.Secret),
		"Bearer " + k.token.Secret.Reveal(),
		"Bearer " + access,
	} {
		caller, err := a.Authenticate(newRequest(field{f}), netip.Addr{})
		if err != nil || caller.Name != "anonymous" || caller.IsAnonymous() || caller == anonymous {
			t.Errorf("%.8s: %+v, %v", f, caller, err)
		}
	}
	if refused, err := a.Authenticate(newRequest(nil), netip.Addr{}); err == nil || refused.IsAnonymous() {
		t.Errorf("without a credential: %+v, %v", refused, err)
	}
	named := callers.Caller{Name: anonymous.Name, Form: anonymous.Form}
	if named.IsAnonymous() || named == anonymous || (callers.Caller{}).IsAnonymous() {
		t.Error("a name makes a caller anonymous")
	}
}

func TestCheckName(t *testing.T) {
	const wrong = "expected up to 64 letters, digits, dots, hyphens and underscores, the first a letter or digit"
	for name, want := range map[string]string{
		"a":                     "",
		"anonymous":             "",
		"7.of_nine-":            "",
		strings.Repeat("a", 64): "",
		"":                      "is required",
		strings.Repeat("a", 65): wrong,
		"-a":                    wrong,
		"a b":                   wrong,
		"a\n":                   wrong,
		"ü":                     wrong,
	} {
		got := ""
		if err := callers.CheckName(name); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
