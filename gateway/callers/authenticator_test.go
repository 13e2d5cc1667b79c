package callers_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
)

func refused(reason callers.Reason) answer { return answer{401, string(reason), "Digest"} }

func refusedBearer(reason callers.Reason) answer { return answer{401, string(reason), "Bearer"} }

func in(form callers.Form) answer { return answer{200, "reporting " + string(form), ""} }

// formTest makes Authorization fields, right and wrong, for the keys that its server knows.
type formTest struct {
	*testing.T
	keys
	clock   *clock
	server  *httptest.Server
	strange secret.Secret // that belongs to nobody
	token   string        // the static token
	access  string        // an access token
}

// A formCase is a request and its answer.
type formCase struct {
	name string
	send func() field
	want answer
}

// digest answers a new challenge. Unless it is nil, mend changes the challenge first.
func (f *formTest) digest(mend func(*digest.Challenge)) field {
	c := challenge(f, f.server)
	if mend != nil {
		mend(c)
	}
	return field{sign(f, c, f.pair.ID, f.pair.Secret, 1)}
}

// digestFor answers a new challenge with another key pair.
func (f *formTest) digestFor(id string, private secret.Secret) field {
	return field{sign(f, challenge(f, f.server), id, private, 1)}
}

func (f *formTest) replace(sent field, old, with string) field {
	if !strings.Contains(sent[0], old) {
		f.Fatalf("%q is not in %q", old, sent[0])
	}
	return field{strings.Replace(sent[0], old, with, 1)}
}

// expired returns a field after its nonce or token has expired.
func (f *formTest) expired(sent field) field {
	f.clock.pass(2 * time.Hour)
	return sent
}

// forged signs claims such as those of an access token with any key.
func (f *formTest) forged(key any, method jwt.SigningMethod) field {
	ours, _, err := jwt.NewParser().ParseUnverified(f.access, jwt.MapClaims{})
	if err != nil {
		f.Fatal(err)
	}
	unsigned := jwt.NewWithClaims(method, jwt.RegisteredClaims{
		ID: "1", Issuer: "atlas-export-gateway", Subject: f.account.ID, ExpiresAt: jwt.NewNumericDate(f.clock.now().Add(time.Hour)),
	})
	unsigned.Header["kid"] = ours.Header["kid"]
	token, err := unsigned.SignedString(key)
	if err != nil {
		f.Fatal(err)
	}
	return bearer(token)
}

func bearer(token string) field { return field{"Bearer " + token} }

// Each way to prove who calls, with everything that can be right or wrong about it.
func TestForms(t *testing.T) {
	k, config := issue(t)
	clock := newClock()
	server := serve(t, build(t, config, callers.Options{Now: clock.now}))
	f := &formTest{t, k, clock, server, secret.New("another secret"), k.token.Secret.Reveal(), accessToken(t, server, k.account)}
	for _, tt := range slices.Concat(f.others(), f.digests(), f.digestMismatches(), f.basics(), f.tokens(), f.accessTokens()) {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := do(t, server, "GET", target, tt.send())
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func (f *formTest) others() []formCase {
	return []formCase{
		{"nothing", func() field { return nil }, refused(callers.NoCredential)},
		{"empty", func() field { return field{""} }, refused(callers.Malformed)},
		{"a letter that folds to one of Basic", func() field {
			return field{"Ba\u017fic " + strings.TrimPrefix(basic(f.pair.ID, f.pair.Secret), "Basic ")}
		}, refused(callers.Malformed)},
		{"no scheme that we know", func() field { return field{"Negotiate abc"} }, refused(callers.Malformed)},
	}
}

func (f *formTest) digests() []formCase {
	return []formCase{
		{"digest", func() field { return f.digest(nil) }, in(callers.Digest)},
		{"digest, scheme in lower case", func() field { return f.replace(f.digest(nil), "Digest", "digest") }, in(callers.Digest)},
		{"digest, the algorithm quoted", func() field {
			return f.replace(f.digest(nil), "algorithm=MD5", `algorithm="MD5"`)
		}, in(callers.Digest)},
		{"digest, the algorithm missing", func() field {
			return f.digest(func(c *digest.Challenge) { c.Algorithm = "" })
		}, in(callers.Digest)},
		{"digest, wrong secret", func() field { return f.digestFor(f.pair.ID, f.strange) }, refused(callers.WrongCredential)},
		{"digest, unknown caller", func() field { return f.digestFor("agwnobody", f.pair.Secret) }, refused(callers.WrongCredential)},
		{"digest, garbage", func() field { return field{"Digest username"} }, refused(callers.Malformed)},
		{"digest, two fields", func() field { return append(f.digest(nil), f.digest(nil)...) }, refused(callers.Malformed)},
		{"digest, expired", func() field { return f.expired(f.digest(nil)) }, refused(callers.NonceExpired)},
		{"digest, replayed", func() field {
			sent := f.digest(nil)
			do(f, f.server, "GET", target, sent)
			return sent
		}, refused(callers.Replayed)},
	}
}

func (f *formTest) digestMismatches() []formCase {
	return []formCase{
		{"digest, a nonce of somebody else's", func() field {
			return f.digest(func(c *digest.Challenge) { c.Nonce = strings.Repeat("A", 32) })
		}, refused(callers.NonceUnknown)},
		{"digest, a nonce of another length", func() field {
			return f.digest(func(c *digest.Challenge) { c.Nonce = "abc" })
		}, refused(callers.NonceUnknown)},
		{"digest, a younger nonce by hand", func() field {
			return f.digest(func(c *digest.Challenge) {
				first := "A"
				if c.Nonce[0] == 'A' {
					first = "B"
				}
				c.Nonce = first + c.Nonce[1:]
			})
		}, refused(callers.NonceUnknown)},
		{"digest, other realm", func() field {
			return f.digest(func(c *digest.Challenge) { c.Realm = "another" })
		}, refused(callers.Mismatched)},
		{"digest, other algorithm", func() field {
			return f.digest(func(c *digest.Challenge) { c.Algorithm = "SHA-256" })
		}, refused(callers.Mismatched)},
		{"digest, other target", func() field {
			return f.replace(f.digest(nil), "exportBuckets", "exportbuckets")
		}, refused(callers.Mismatched)},
	}
}

func (f *formTest) basics() []formCase {
	good := basic(f.pair.ID, f.pair.Secret)
	return []formCase{
		{"basic", func() field { return field{good} }, in(callers.Basic)},
		{"basic, wrong secret", func() field { return field{basic(f.pair.ID, f.strange)} }, refused(callers.WrongCredential)},
		{"basic, unknown caller", func() field { return field{basic("agwnobody", f.pair.Secret)} }, refused(callers.WrongCredential)},
		{"basic, empty", func() field { return field{basic("", secret.Secret{})} }, refused(callers.WrongCredential)},
		{"basic, HA1 as the secret", func() field { return field{basic(f.pair.ID, f.pair.HA1File)} }, refused(callers.WrongCredential)},
		{"basic, a service account", func() field { return field{basic(f.account.ID, f.account.Secret)} }, refused(callers.WrongCredential)},
		{"basic, garbage", func() field { return field{"Basic !"} }, refused(callers.Malformed)},
		{"basic, two fields", func() field { return field{good, good} }, refused(callers.Malformed)},
	}
}

func (f *formTest) tokens() []formCase {
	return []formCase{
		{"static token", func() field { return bearer(f.token) }, in(callers.StaticToken)},
		{"static token, scheme in lower case", func() field { return field{"bearer " + f.token} }, in(callers.StaticToken)},
		{"static token, wrong", func() field { return bearer(f.token + "A") }, refusedBearer(callers.WrongCredential)},
		{"static token, its hash", func() field { return bearer(f.keys.token.Entry.Tokens[0].SHA256) }, refusedBearer(callers.WrongCredential)},
		{"bearer, garbage", func() field { return bearer("a b") }, refusedBearer(callers.Malformed)},
		{"bearer, two in a field", func() field { return bearer(f.token + ", Bearer " + f.token) }, refusedBearer(callers.Malformed)},
		{"bearer, none", func() field { return field{"Bearer"} }, refusedBearer(callers.Malformed)},
		{"bearer, two fields", func() field { return append(bearer(f.token), bearer(f.token)...) }, refused(callers.Malformed)},
		{"bearer and digest", func() field { return append(f.digest(nil), "Bearer "+f.token) }, refused(callers.Malformed)},
	}
}

func (f *formTest) accessTokens() []formCase {
	fresh := func() field { return bearer(accessToken(f, f.server, f.account)) }
	return []formCase{
		{"access token, of another key", func() field { return f.forged([]byte("k"), jwt.SigningMethodHS256) }, refusedBearer(callers.WrongCredential)},
		{"access token, unsigned", func() field {
			return f.forged(jwt.UnsafeAllowNoneSignatureType, jwt.SigningMethodNone)
		}, refusedBearer(callers.WrongCredential)},
		{"access token, signature cut", func() field {
			return bearer(f.access[:strings.LastIndex(f.access, ".")+1])
		}, refusedBearer(callers.WrongCredential)},
		{"access token, fresh", fresh, in(callers.AccessToken)},
		{"access token, two fields", func() field { return append(fresh(), "Bearer "+f.token) }, refused(callers.Malformed)},
		{"access token, expired", func() field { return f.expired(fresh()) }, refusedBearer(callers.TokenExpired)},
	}
}

// There is one challenge, in the form that was recorded of Atlas.
func TestChallenge(t *testing.T) {
	k, config := issue(t)
	for algorithm, want := range map[string]string{
		"":        `^Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9_-]{32}", algorithm=MD5, qop="auth", stale=false$`,
		"SHA-256": `^Digest realm="MMS Public API", domain="", nonce="[A-Za-z0-9_-]{32}", algorithm=SHA-256, qop="auth", stale=false$`,
	} {
		config.DigestAlgorithm = algorithm
		server := serve(t, build(t, config, callers.Options{}))
		for _, f := range []field{nil, {"Digest garbage"}, {basic("nobody", secret.Secret{})}} {
			_, resp := do(t, server, "GET", target, f)
			if got := resp.Header["Www-Authenticate"]; len(got) != 1 || !regexp.MustCompile(want).MatchString(got[0]) {
				t.Errorf("%q", got)
			}
		}
		if got, _ := do(t, server, "GET", target, field{sign(t, challenge(t, server), k.pair.ID, k.pair.Secret, 1)}); got != in(callers.Digest) {
			t.Error(got)
		}
		if got, _ := do(t, server, "GET", target, field{basic(k.pair.ID, k.pair.Secret)}); got != in(callers.Basic) {
			t.Error(got)
		}
		if _, resp := do(t, server, "GET", target, field{"Bearer x"}); cmp.Diff(resp.Header["Www-Authenticate"], []string{`Bearer error="invalid_token"`}) != "" {
			t.Error(resp.Header)
		}
	}
}

// A secret in the clear is accepted only where nobody can listen.
func TestPrivate(t *testing.T) {
	k, config := issue(t)
	public := serve(t, build(t, config, callers.Options{AllowBasic: func(*http.Request) bool { return false }}))
	if got, _ := do(t, public, "GET", target, field{basic(k.pair.ID, k.pair.Secret)}); got != refused(callers.NotPrivate) {
		t.Error(got)
	}
	if got, _ := oauth(t, public, "token", basic(k.account.ID, k.account.Secret), grant); got.Status != 401 {
		t.Error(got)
	}
	for _, tt := range []struct {
		r    http.Request
		want bool
	}{
		{http.Request{RemoteAddr: "127.0.0.1:5"}, true},
		{http.Request{RemoteAddr: "[::1]:5"}, true},
		{http.Request{RemoteAddr: "[::ffff:127.0.0.1]:5"}, true},
		{http.Request{RemoteAddr: "192.0.2.1:5"}, false},
		{http.Request{RemoteAddr: "@"}, false},
		{http.Request{}, false},
		{http.Request{RemoteAddr: "192.0.2.1:5", TLS: &tls.ConnectionState{}}, true},
	} {
		if got := callers.Private(&tt.r); got != tt.want {
			t.Errorf("%q: %t", tt.r.RemoteAddr, got)
		}
	}
}
