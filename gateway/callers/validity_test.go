package callers_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/strictyaml"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What limits a key or a caller reads from YAML, and shows in the list with the keys' names.
func TestValidityInYAML(t *testing.T) {
	const text = `
signing_key_file: ""
list:
- name: reporting
  disabled: true
  source_networks: [10.1.0.0/16, "::ffff:192.0.2.0/120", 2001:db8::/32, 0.0.0.0/0]
  tokens:
  - sha256: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    not_after: 2027-01-31T18:00:00+01:00
  - sha256: "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
    disabled: true
  service_accounts:
  - client_id: agw_id_abc
    secret_sha256: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
    not_after: "2027-01-31T18:00:00.5Z"
`
	var config callers.Config
	if _, err := strictyaml.Decode("c.yaml", []byte(text), &config); err != nil {
		t.Fatal(err)
	}
	name := func(form callers.Form, key string) callers.KeyName {
		return callers.KeyName{Caller: "reporting", Form: form, Key: key}
	}
	end := time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC)
	want := []callers.Listed{{
		Name: "reporting", Disabled: true,
		SourceNetworks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("0.0.0.0/0")},
		Keys: []callers.KeyState{
			{KeyName: name(callers.StaticToken, "00010203"), Path: "list[0].tokens[0]", NotAfter: end.Add(-time.Hour)},
			{KeyName: name(callers.StaticToken, "01020304"), Path: "list[0].tokens[1]", Disabled: true},
			{KeyName: name(callers.AccessToken, "agw_id_abc"), Path: "list[0].service_accounts[0]", NotAfter: end.Add(500 * time.Millisecond)},
		},
	}}
	if diff := cmp.Diff(want, compile(t, config).List(), cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whatever could be read in two ways, or would let nobody or everybody in by mistake, is refused.
func TestValidityRefused(t *testing.T) {
	account := func(notAfter string) callers.ServiceAccount {
		a := callers.NewServiceAccount("a").Entry.ServiceAccounts[0]
		a.NotAfter = notAfter
		return a
	}
	var accounts []callers.ServiceAccount
	for _, text := range []string{"2027-01-31", "2027-01-31T18:00:00", "2027-01-31 18:00:00Z", "31.1.2027", "c4na7y", "0001-01-01T00:00:00Z", "2027-02-30T00:00:00Z", "2026-01-01T00:00:00Z"} {
		accounts = append(accounts, account(text))
	}
	got := reports(t, callers.Config{List: []callers.Entry{
		{Name: "a", SourceNetworks: []string{}, ServiceAccounts: accounts},
		{Name: "b", Tokens: callers.NewToken("b").Entry.Tokens, SourceNetworks: []string{"10.1.2.3", "10.1.2.3/16", "2001:db8::1", "2001:db8::1/64", "::ffff:10.0.0.0/90", "::ffff:10.0.0.1/120", "10.0.0.0/33", "10.0.0.0/08", "fe80::%eth0/64", "localhost", "c4na7y", ""}},
	}}, true)
	const (
		wrongTime    = "expected a time as in RFC 3339, such as 2027-01-31T18:00:00Z"
		wrongNetwork = "expected a network, such as 10.1.0.0/16 or 2001:db8::/48"
	)
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprintf("list[0].service_accounts[%d].not_after: %s", i, wrongTime))
	}
	want = append(want, "list[0].source_networks: is empty, so that the caller could call from nowhere: leave it out, or disable the caller")
	for i, text := range []string{
		"is an address: for this one alone, write 10.1.2.3/32",
		"has bits behind its first 16: did you mean 10.1.0.0/16?",
		"is an address: for this one alone, write 2001:db8::1/128",
		"has bits behind its first 64: did you mean 2001:db8::/64?",
		"has bits behind its first 90: did you mean ::ffc0:0:0/90?",
		"has bits behind its first 120: did you mean ::ffff:10.0.0.0/120?",
		wrongNetwork, wrongNetwork, wrongNetwork, wrongNetwork, wrongNetwork, wrongNetwork,
	} {
		want = append(want, fmt.Sprintf("list[1].source_networks[%d]: %s", i, text))
	}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A key is good until its not_after and no longer, in each form; and a token that a service
// account got ends with the account, whether not_after was set before or afterwards.
func TestNotAfterOfEachForm(t *testing.T) {
	k, config := issue(t)
	c, memory := newClock(), callers.NewMemory()
	options := callers.Options{Now: c.now}
	a := reload(t, memory, config, options)
	server := serve(t, a)
	before := accessToken(t, server, k.account) // good for an hour
	end := c.now().Add(10 * time.Minute)
	validity := callers.Validity{NotAfter: end.Format(time.RFC3339Nano)}
	entry := &config.List[0]
	entry.KeyPairs[0].Validity, entry.Tokens[0].Validity, entry.ServiceAccounts[0].Validity = validity, validity, validity
	a = reload(t, memory, config, options)
	server = serve(t, a)
	after := accessToken(t, server, k.account)
	claims := jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(after, &claims); err != nil || !claims.ExpiresAt.Equal(end.Truncate(time.Second)) {
		t.Errorf("the token ends at %s, the account at %s: %v", claims.ExpiresAt, end, err)
	}
	nc := 0
	check := func(want string, issuedAfter string) {
		t.Helper()
		nc++
		for name, f := range map[string]string{
			"digest":        sign(t, issueNonce(t, a), k.pair.ID, k.pair.Secret, nc),
			"basic":         basic(k.pair.ID, k.pair.Secret),
			"token":         "Bearer " + k.token.Secret.Reveal(),
			"earlier token": "Bearer " + before,
		} {
			if got := reason(a, field{f}); string(got) != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if got := reason(a, field{"Bearer " + after}); string(got) != issuedAfter {
			t.Errorf("a token that was issued with an end: %q, want %q", got, issuedAfter)
		}
	}
	check("", "")
	c.pass(10*time.Minute - time.Second)
	check("", "")
	c.pass(time.Second + time.Nanosecond)
	check("key_expired", "token_expired")
	if got, _ := oauth(t, server, "token", basic(k.account.ID, k.account.Secret), grant); got.Status != 401 || got.Content != `{"error":"invalid_client","error_description":"Invalid credentials provided."}` {
		t.Errorf("the token endpoint: %+v", got)
	}
	c.pass(-time.Minute) // a clock that was set back
	check("", "")
}

// The use of a key is known across reloads, and is forgotten with the key. A refused request is
// none.
func TestLastUse(t *testing.T) {
	k, config := issue(t)
	c, memory := newClock(), callers.NewMemory()
	options := callers.Options{Now: c.now}
	a := reload(t, memory, config, options)
	began := c.now().Unix()
	uses := func() string {
		text := ""
		for _, key := range a.List()[0].Keys {
			if key.LastUsed.IsZero() {
				text += fmt.Sprintf("%s never, since %d; ", key.Form, key.Since.Unix()-began)
				continue
			}
			text += fmt.Sprintf("%s %d, since %d; ", key.Form, key.LastUsed.Unix()-began, key.Since.Unix()-began)
		}
		return text
	}
	c.pass(10 * time.Second)
	reason(a, field{basic(k.pair.ID, k.token.Secret)})
	reason(a, field{"Bearer wrong"})
	if got := uses(); got != "digest never, since 0; static_token never, since 0; access_token never, since 0; " {
		t.Error(got)
	}
	reason(a, field{basic(k.pair.ID, k.pair.Secret)})
	reason(a, field{"Bearer " + k.token.Secret.Reveal()})
	access := accessToken(t, serve(t, a), k.account)
	c.pass(10 * time.Second)
	reason(a, field{"Bearer " + access})
	config.List[0].KeyPairs[0].Disabled = true
	tokens := config.List[0].Tokens
	config.List[0].Tokens = nil
	a = reload(t, memory, config, options)
	c.pass(10 * time.Second)
	reason(a, field{basic(k.pair.ID, k.pair.Secret)})
	if got := uses(); got != "digest 10, since 0; access_token 20, since 0; " {
		t.Error(got)
	}
	config.List[0].Tokens = tokens
	a = reload(t, memory, config, options)
	at := func(seconds int64) time.Time { return time.Unix(began+seconds, 0) }
	memory.Learn(a.List()[0].Keys[1].KeyName, time.Time{}, at(-50))
	memory.Learn(a.List()[0].Keys[1].KeyName, time.Time{}, at(-40))
	memory.Learn(a.List()[0].Keys[2].KeyName, at(5), at(50))
	memory.Learn(a.List()[0].Keys[0].KeyName, at(15), at(-5))
	memory.Learn(callers.KeyName{Caller: "another"}, at(15), at(-5))
	if got := uses(); got != "digest 15, since -5; static_token never, since -50; access_token 20, since 0; " {
		t.Error(got)
	}
}

// The address that is compared with source_networks is the one that the gateway says, in whatever
// form. No address is in no network.
func TestSourceAddresses(t *testing.T) {
	k, config := issue(t)
	config.List[0].SourceNetworks = []string{"10.1.0.0/16", "::ffff:192.0.2.0/120", "fe80::/64", "2001:db8::7/128"}
	a := build(t, config, callers.Options{AllowBasic: func(*http.Request) bool { return true }})
	for address, want := range map[string]callers.Reason{
		"10.1.2.3":           "",
		"::ffff:10.1.2.3":    "",
		"192.0.2.255":        "",
		"::ffff:192.0.2.255": "",
		"fe80::1%eth0":       "",
		"fe80::1":            "",
		"2001:db8::7":        "",
		"10.2.0.0":           callers.SourceNetwork,
		"::10.1.2.3":         callers.SourceNetwork,
		"2001:db8::8":        callers.SourceNetwork,
		"127.0.0.1":          callers.SourceNetwork,
		"::1":                callers.SourceNetwork,
		"":                   callers.SourceNetwork,
	} {
		r := newRequest(field{basic(k.pair.ID, k.pair.Secret)})
		r.RemoteAddr = "10.1.2.3:1" // of the connection
		r.Header.Set("X-Forwarded-For", "10.1.2.3")
		from, _ := netip.ParseAddr(address)
		var refused *callers.Refusal
		_, err := a.Authenticate(r, from)
		if errors.As(err, &refused); refused == nil && want != "" || refused != nil && (refused.Reason != want || refused.Tried != k.pair.ID) {
			t.Errorf("%s: %+v, want %q", address, refused, want)
		}
	}
}
