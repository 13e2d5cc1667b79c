package issuers_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/issuertest"
)

// tokens makes the tokens of TestVerify.
type tokens struct {
	t           testing.TB
	issuer      *issuertest.Issuer
	first, weak issuertest.Key
	all         map[string]issuertest.Key // by algorithm
	now         int64
	parts       []string // of a good token
}

func newTokens(t testing.TB) *tokens {
	t.Helper()
	k := &tokens{t: t, issuer: issuertest.Start(t), weak: weakKey(t), all: map[string]issuertest.Key{}, now: time.Now().Unix()}
	k.first = k.issuer.Key()
	published := []issuertest.Key{k.first, k.weak}
	for _, algorithm := range []string{"PS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"} {
		k.all[algorithm] = issuertest.NewKey(t, algorithm, algorithm)
		published = append(published, k.all[algorithm])
	}
	k.issuer.Publish(published...)
	k.parts = strings.Split(k.with(nil), ".")
	return k
}

// claims are those of a good token, with changes.
func (k *tokens) claims(changes map[string]any) map[string]any {
	claims := map[string]any{"azp": "runner"}
	maps.Copy(claims, changes)
	return k.issuer.Claims("c4na7y", claims)
}

// with and header return a token with changes of its claims, or of its header.
func (k *tokens) with(changes map[string]any) string {
	return k.first.Sign(k.t, nil, k.claims(changes))
}

func (k *tokens) header(changes map[string]any) string {
	return k.first.Sign(k.t, changes, k.claims(nil))
}

type tokenCase struct {
	name, token string
	want        issuers.Reason
}

// claimCases are about what a token says.
func (k *tokens) claimCases() []tokenCase {
	return []tokenCase{
		{"good", k.with(nil), ""},
		{"several audiences", k.with(map[string]any{"aud": []string{"a", issuertest.Audience}}), ""},
		{"type in another case", k.header(map[string]any{"typ": "AT+JWT"}), ""},
		{"no iat, no nbf, fractions", k.with(map[string]any{"iat": nil, "nbf": nil, "exp": float64(k.now) + 60.5}), ""},
		{"within the leeway", k.with(map[string]any{"iat": k.now - 900, "nbf": k.now + 20, "exp": k.now - 20}), ""},
		{"keys in the header are not read", k.header(map[string]any{"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "x5c": []string{"a"}, "jwk": map[string]any{"kty": "oct", "k": "AA"}}), ""},

		{"expired", k.with(map[string]any{"iat": k.now - 900, "nbf": k.now - 900, "exp": k.now - 60}), issuers.Expired},
		{"not yet valid", k.with(map[string]any{"nbf": k.now + 60}), issuers.NotYetValid},
		{"issued in the future", k.with(map[string]any{"iat": k.now + 60}), issuers.NotYetValid},
		{"no exp", k.with(map[string]any{"exp": nil}), issuers.WrongLifetime},
		{"good for too long", k.with(map[string]any{"exp": k.now + 7210}), issuers.WrongLifetime},
		{"no iat, good for too long", k.with(map[string]any{"iat": nil, "exp": k.now + 7300}), issuers.WrongLifetime},
		{"times that are none", k.with(map[string]any{"exp": "soon"}), issuers.Malformed},
		{"a time that no clock has", k.with(map[string]any{"exp": 1e300}), issuers.Malformed},
		{"a negative time", k.with(map[string]any{"nbf": -1}), issuers.Malformed},
		{"another issuer", k.with(map[string]any{"iss": k.issuer.URL + "/"}), issuers.WrongIssuer},
		{"no issuer", k.with(map[string]any{"iss": nil}), issuers.WrongIssuer},
		{"a list of issuers", k.with(map[string]any{"iss": []string{k.issuer.URL}}), issuers.WrongIssuer},
		{"another audience", k.with(map[string]any{"aud": issuertest.Audience + "/"}), issuers.WrongAudience},
		{"no audience", k.with(map[string]any{"aud": nil}), issuers.WrongAudience},
		{"an audience within another", k.with(map[string]any{"aud": []any{[]string{issuertest.Audience}}}), issuers.WrongAudience},
		{"another type", k.header(map[string]any{"typ": "dpop+jwt"}), issuers.WrongType},
		{"no type", k.header(map[string]any{"typ": nil}), issuers.WrongType},
		{"another party", k.with(map[string]any{"azp": "c4na7y"}), issuers.WrongParty},
		{"no party", k.with(map[string]any{"azp": nil}), issuers.WrongParty},
	}
}

// keyCases are about algorithms and keys.
func (k *tokens) keyCases() []tokenCase {
	return []tokenCase{
		{"none", k.parts[0] + "." + k.parts[1] + ".", issuers.WrongSignature},
		{"alg none", encode(`{"alg":"none","typ":"JWT","kid":"first"}`) + "." + k.parts[1] + ".", issuers.WrongAlgorithm},
		{"alg None", encode(`{"alg":"None","typ":"JWT","kid":"first"}`) + "." + k.parts[1] + ".", issuers.WrongAlgorithm},
		{"no alg", encode(`{"typ":"JWT","kid":"first"}`) + "." + k.parts[1] + "." + k.parts[2], issuers.WrongAlgorithm},
		{"HS256 with the public key", hmacToken(k.t, k.first, k.claims(nil)), issuers.WrongAlgorithm},
		{"an algorithm that is not configured", issuertest.Key{ID: "first", Algorithm: "RS384", Private: k.first.Private}.Sign(k.t, nil, k.claims(nil)), issuers.WrongAlgorithm},
		{"an algorithm of another kind than the key", issuertest.Key{ID: "first", Algorithm: "ES256", Private: k.all["ES256"].Private}.Sign(k.t, nil, k.claims(nil)), issuers.WrongKey},
		{"an algorithm that the key is not for", issuertest.Key{ID: "first", Algorithm: "RS512", Private: k.first.Private}.Sign(k.t, nil, k.claims(nil)), issuers.WrongKey},
		{"a curve of another algorithm", k.all["ES256"].Sign(k.t, map[string]any{"alg": "ES384"}, k.claims(nil)), issuers.WrongKey},
		{"a weak key", k.weak.Sign(k.t, nil, k.claims(nil)), issuers.WrongKey},
		{"another key's signature", issuertest.NewKey(k.t, "first", "RS256").Sign(k.t, map[string]any{"kid": "RS512", "alg": "RS256"}, k.claims(nil)), issuers.WrongKey},
		{"signed by nobody", k.parts[0] + "." + k.parts[1] + "." + encode("c4na7y"), issuers.WrongSignature},
		{"other claims", k.parts[0] + "." + encode(marshal(k.t, k.claims(map[string]any{"x": 1}))) + "." + k.parts[2], issuers.WrongSignature},
		{"an unknown key", k.first.Sign(k.t, map[string]any{"kid": "c4na7y"}, k.claims(nil)), issuers.UnknownKey},
		{"no key named, and one fits", k.first.Sign(k.t, map[string]any{"kid": nil}, k.claims(nil)), ""},
		{"a key that is no text", k.header(map[string]any{"kid": 1}), issuers.Malformed},
	}
}

// formCases are about the form of a token.
func (k *tokens) formCases() []tokenCase {
	return []tokenCase{
		{"crit", k.header(map[string]any{"crit": []string{"exp"}}), issuers.Malformed},
		{"crit that is empty", k.header(map[string]any{"crit": []string{}}), issuers.Malformed},
		{"b64", k.header(map[string]any{"crit": []string{"b64"}, "b64": false}), issuers.Malformed},
		{"a member twice in the header", k.first.SignRaw(k.t, `{"alg":"none","alg":"RS256","kid":"first","typ":"JWT"}`, marshal(k.t, k.claims(nil))), issuers.Malformed},
		{"a member twice in the claims", k.first.SignRaw(k.t, `{"alg":"RS256","kid":"first","typ":"JWT"}`, `{"sub":"c4na7y",`+marshal(k.t, k.claims(nil))[1:]), issuers.Malformed},
		{"a member twice within a claim", k.first.SignRaw(k.t, `{"alg":"RS256","kid":"first","typ":"JWT"}`, `{"k":{"a":1,"a":2},`+marshal(k.t, k.claims(nil))[1:]), issuers.Malformed},
		{"something behind the claims", k.first.SignRaw(k.t, `{"alg":"RS256","kid":"first","typ":"JWT"}`, marshal(k.t, k.claims(nil))+"{}"), issuers.Malformed},
		{"claims that are a list", k.first.SignRaw(k.t, `{"alg":"RS256","kid":"first","typ":"JWT"}`, `[]`), issuers.Malformed},
		{"bad UTF-8", k.first.SignRaw(k.t, `{"alg":"RS256","kid":"first","typ":"JWT"}`, "{\"a\":\"\xff\","+marshal(k.t, k.claims(nil))[1:]), issuers.Malformed},
		{"padding", k.parts[0] + "." + k.parts[1] + "=." + k.parts[2], issuers.Malformed},
		{"bits that are not used", k.parts[0] + "." + k.parts[1] + "." + k.parts[2][:len(k.parts[2])-1] + string(k.parts[2][len(k.parts[2])-1]+1), issuers.Malformed},
		{"two parts", k.parts[0] + "." + k.parts[1], issuers.Malformed},
		{"five parts", strings.Join(append(slices.Clone(k.parts), "a", "b"), "."), issuers.Malformed},
		{"the JSON form", `{"payload":"` + k.parts[1] + `"}`, issuers.Malformed},
		{"large", k.with(map[string]any{"pad": strings.Repeat("a", 9000)}), ""},
		{"too large", k.with(map[string]any{"pad": strings.Repeat("a", 12<<10)}), issuers.Malformed},
		{"empty", "", issuers.Malformed},
	}
}

// Every check of a token, each with a token that only this check refuses.
func TestVerify(t *testing.T) {
	t.Parallel()
	k := newTokens(t)
	c := config(k.issuer)
	c.Algorithms = []string{"RS256", "RS512", "PS384", "ES256", "ES384", "ES512", "EdDSA"}
	c.Types, c.AuthorizedParties = []string{"JWT", "at+jwt"}, []string{"runner"}
	c.MaxLifetime = 2 * time.Hour
	v := start(t, c)
	for _, test := range slices.Concat(k.claimCases(), k.keyCases(), k.formCases()) {
		if got := reason(t, v, test.token); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	for algorithm, key := range k.all {
		if got := reason(t, v, key.Sign(t, nil, k.claims(nil))); got != "" {
			t.Errorf("%s: %s", algorithm, got)
		}
	}
	if n := k.issuer.Fetches(); n > 2 { // the first, and one for the unknown key
		t.Errorf("the keys were fetched %d times", n)
	}
}
