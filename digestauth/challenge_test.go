package digestauth_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"

	"github.com/google/go-cmp/cmp"
)

func TestChallengeString(t *testing.T) {
	const nonce = "0123456789abcdef0123456789abcdef"
	for _, tt := range []struct {
		c    digestauth.Challenge
		want string
	}{
		// This one is recorded from Atlas.
		{
			digestauth.Challenge{Realm: realm, Nonce: nonce},
			`Digest realm="MMS Public API", domain="", nonce="` + nonce + `", algorithm=MD5, qop="auth", stale=false`,
		},
		{
			digestauth.Challenge{Realm: `a"b\c`, Domain: "/", Nonce: nonce, Opaque: "o", Algorithm: digestauth.SHA256, QOP: "auth,auth-int", Stale: true, Extra: "charset=UTF-8"},
			`Digest realm="a\"b\\c", domain="/", nonce="` + nonce + `", opaque="o", algorithm=SHA-256, qop="auth,auth-int", stale=true, charset=UTF-8`,
		},
	} {
		if got := tt.c.String(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestChooseChallenge(t *testing.T) {
	type C = digestauth.Challenge
	for _, tt := range []struct {
		name   string
		lines  []string
		realm  string
		want   C
		reason string // a part of the error; empty if none is wanted
	}{
		{name: "Atlas", lines: []string{`Digest realm="MMS Public API", domain="", nonce="n", algorithm=MD5, qop="auth", stale=false`}, realm: realm,
			want: C{Realm: realm, Nonce: "n", Algorithm: "MD5", QOP: "auth"}},
		{name: "strongest in one line", lines: []string{`Digest realm="r", nonce="1", algorithm=MD5, qop="auth", Digest realm="r", nonce="2", algorithm=SHA-256, qop="auth"`},
			want: C{Realm: "r", Nonce: "2", Algorithm: "SHA-256", QOP: "auth"}},
		{name: "strongest in several lines", lines: []string{`Digest realm="r", nonce="1", algorithm=SHA-256, qop="auth"`, `Digest realm="r", nonce="2", algorithm=SHA-512-256, qop="auth"`, `Digest realm="r", nonce="3", qop="auth"`},
			want: C{Realm: "r", Nonce: "2", Algorithm: "SHA-512-256", QOP: "auth"}},
		{name: "first of equals", lines: []string{`Digest realm="r", nonce="1", qop="auth"`, `Digest realm="r", nonce="2", algorithm=MD5, qop="auth"`},
			want: C{Realm: "r", Nonce: "1", QOP: "auth"}},
		{name: "strongest is unusable", lines: []string{`Digest realm="r", nonce="1", algorithm=SHA-256-sess, qop="auth", Digest realm="r", nonce="2", algorithm=MD5, qop="auth"`},
			want: C{Realm: "r", Nonce: "2", Algorithm: "MD5", QOP: "auth"}},
		{name: "beside Basic and Bearer", lines: []string{`Basic realm="a, Digest realm=\"x\"", Digest realm="r", nonce="n", qop="auth", Bearer`, `Negotiate YWJj==, NTLM`},
			want: C{Realm: "r", Nonce: "n", QOP: "auth"}},
		{name: "spaces, tabs, capitals, quotes", lines: []string{"\t, dIGEST  Realm = \"a, b=\\\"c\\\"\"\t,\tNONCE=\"n\",, Algorithm=\"sha-256\",qop=\"auth-int, auth\" ,STALE=TRUE, opaque=\"o/=\", "},
			want: C{Realm: `a, b="c"`, Nonce: "n", Opaque: "o/=", Algorithm: "sha-256", QOP: "auth-int, auth", Stale: true}},
		{name: "unquoted", lines: []string{`Digest realm=r, nonce=n_1, qop=auth`}, want: C{Realm: "r", Nonce: "n_1", QOP: "auth"}},
		{name: "unknown parameters", lines: []string{`Digest realm="r", nonce="n", qop="auth", charset=UTF-8, userhash=true, realm*=x, x!y="z"`},
			want: C{Realm: "r", Nonce: "n", QOP: "auth"}},
		{name: "malformed line beside a good one", lines: []string{`Digest realm="r`, `Digest realm="r", nonce="n", qop="auth"`},
			want: C{Realm: "r", Nonce: "n", QOP: "auth"}},

		{name: "none", reason: "no WWW-Authenticate"},
		{name: "Basic only", lines: []string{`Basic realm="r"`}, reason: `the scheme "basic" is not Digest`},
		{name: "no qop", lines: []string{`Digest realm="r", nonce="n"`}, reason: "no qop is offered"},
		{name: "empty qop", lines: []string{`Digest realm="r", nonce="n", qop=""`}, reason: "and auth is required"},
		{name: "auth-int only", lines: []string{`Digest realm="r", nonce="n", qop="auth-int"`}, reason: `the qop "auth-int" is offered`},
		{name: "session", lines: []string{`Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth"`}, reason: `the session algorithm "MD5-sess" is not supported`},
		{name: "unknown algorithm", lines: []string{`Digest realm="r", nonce="n", algorithm=SHA-512, qop="auth"`}, reason: `the algorithm "SHA-512" is not supported`},
		{name: "other realm", lines: []string{`Digest realm="evil", nonce="n", qop="auth"`}, realm: realm, reason: `the realm is "evil", not "MMS Public API"`},
		{name: "no nonce", lines: []string{`Digest realm="r", qop="auth"`}, reason: "the nonce is missing"},
		{name: "no realm", lines: []string{`Digest nonce="n", qop="auth"`}, reason: "the realm is missing"},
		{name: "long nonce", lines: []string{`Digest realm="r", nonce="` + strings.Repeat("n", 2000) + `", qop="auth"`}, reason: "longer than"},
		{name: "nonce twice", lines: []string{`Digest realm="r", nonce="n", nonce="m", qop="auth"`}, reason: `"nonce" occurs twice`},
		{name: "open quote", lines: []string{`Digest realm="r", nonce="n`}, reason: "not closed"},
		{name: "control character", lines: []string{"Digest realm=\"r\", nonce=\"n\x01\", qop=\"auth\""}, reason: "control"},
		{name: "not UTF-8", lines: []string{"Digest realm=\"r\", nonce=\"n\xff\", qop=\"auth\""}, reason: "not UTF-8"},
		{name: "no comma", lines: []string{`Digest realm="r" nonce="n", qop="auth"`}, reason: "comma"},
		{name: "parameter first", lines: []string{`realm="r", nonce="n", qop="auth"`}, reason: "before any scheme"},
		{name: "many parameters", lines: []string{`Digest realm="r"` + func() (s string) {
			for i := range 40 {
				s += ", p" + strings.Repeat("x", i) + "=1"
			}
			return
		}()}, reason: "more than 32 parameters"},
		{name: "escaped in the error", lines: []string{"Digest realm=\"r\", nonce=\"n\", algorithm=\"\u202e" + strings.Repeat("A", 99) + "\", qop=\"auth\""}, reason: `"\u202eAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" is not`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := digestauth.ChooseChallenge(http.Header{"Www-Authenticate": tt.lines}, tt.realm)
			if tt.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if ce := (*digestauth.ChallengeError)(nil); !errors.As(err, &ce) || !strings.Contains(err.Error(), tt.reason) {
				t.Fatalf("got %v, want a ChallengeError with %q", err, tt.reason)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// A chosen challenge can be answered, and means the same after it was written again.
func FuzzChallenge(f *testing.F) {
	for _, s := range []string{
		`Digest realm="MMS Public API", domain="", nonce="0123456789abcdef0123456789abcdef", algorithm=MD5, qop="auth", stale=false`,
		`Basic realm="a, b", Digest realm="r\"", nonce="1", algorithm="SHA-256", qop="auth, auth-int", opaque="\\"`,
		`Negotiate YWJj==, Digest realm=r,nonce=n,qop=auth,,stale=TRUE, Bearer`,
		"Digest realm=\"\xc3\xa9\", nonce=\"\t\", qop=\" auth \"",
		`Digest realm="r", nonce="n`, `=`, `"`, `Digest =`, `Digest a=\`, ``,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := digestauth.ChooseChallenge(http.Header{"Www-Authenticate": {line}}, "")
		if err != nil {
			if len(err.Error()) > 4096 || strings.ContainsAny(err.Error(), "\x00\r\n\x1b") {
				t.Fatalf("error %q", err)
			}
			return
		}
		if c.Nonce == "" || !strings.Contains(strings.ToLower(c.QOP), "auth") {
			t.Fatalf("chose %+v", c)
		}
		again, err := digestauth.ChooseChallenge(http.Header{"Www-Authenticate": {c.String()}}, c.Realm)
		if c.Algorithm == "" {
			c.Algorithm = digestauth.MD5
		}
		if d := cmp.Diff(c, again); err != nil || d != "" {
			t.Fatalf("written as %s\n%v\n%s", c, err, d)
		}
	})
}
