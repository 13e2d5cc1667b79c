package digestauth_test

import (
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/icholy/digest"
)

const response = "8ca523f5e9506fed4657c9700eebdbec"

// authorization returns a well-formed Authorization with some parameters replaced or added. An
// empty one is left out.
func authorization(change map[string]string) string {
	values := map[string]string{
		"username": `"u"`, "realm": `"r"`, "nonce": `"n"`, "uri": `"/x"`, "response": `"` + response + `"`,
		"algorithm": "MD5", "cnonce": `"c"`, "qop": "auth", "nc": "00000001",
	}
	names := []string{"username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc"}
	for name, v := range change {
		if _, ok := values[name]; !ok {
			names = append(names, name)
		}
		values[name] = v
	}
	var params []string
	for _, name := range names {
		if values[name] != "" {
			params = append(params, name+"="+values[name])
		}
	}
	return "Digest " + strings.Join(params, ", ")
}

func TestParseAuthorization(t *testing.T) {
	type p = map[string]string
	plain := digestauth.Authorization{
		Username: "u", Realm: "r", Nonce: "n", URI: "/x", Response: response, Algorithm: "MD5", CNonce: "c", NC: 1,
	}
	with := func(f func(*digestauth.Authorization)) digestauth.Authorization {
		a := plain
		f(&a)
		return a
	}
	for _, tt := range []struct {
		name, field string
		want        digestauth.Authorization
		reason      string
	}{
		{name: "plain", field: authorization(nil), want: plain},
		{name: "lower-case scheme", field: "d" + authorization(nil)[1:], want: plain},
		// The form of the Atlas SDK, the CLI and Terraform.
		{name: "quoted algorithm", field: authorization(p{"algorithm": `"MD5"`}), want: plain},
		{name: "quoted nc and qop", field: authorization(p{"nc": `"00000001"`, "qop": `"auth"`}), want: plain},
		// The form of digest-fetch.
		{name: "no algorithm", field: authorization(p{"algorithm": ""}), want: with(func(a *digestauth.Authorization) { a.Algorithm = "" })},
		{name: "later nc", field: authorization(p{"nc": "0000000A"}), want: with(func(a *digestauth.Authorization) { a.NC = 10 })},
		{name: "escapes and commas", field: authorization(p{"username": `"a, \"b\\"`, "uri": `"/x?a=1,2"`}),
			want: with(func(a *digestauth.Authorization) { a.Username, a.URI = `a, "b\`, "/x?a=1,2" })},
		{name: "opaque", field: authorization(p{"opaque": `"o"`}), want: with(func(a *digestauth.Authorization) { a.Opaque = "o" })},
		{name: "empty realm", field: authorization(p{"realm": `""`}), want: with(func(a *digestauth.Authorization) { a.Realm = "" })},
		{name: "unknown parameter", field: authorization(p{"auth-param": `"x"`, "userhash": "false"}), want: plain},
		{name: "no spaces", field: strings.ReplaceAll(authorization(nil), ", ", ","), want: plain},

		{name: "empty", field: "", reason: "not Digest"},
		{name: "Basic", field: "Basic YTpi", reason: "not Digest"},
		{name: "space first", field: " " + authorization(nil), reason: "not Digest"},
		{name: "no parameters", field: "Digest", reason: "no parameter"},
		{name: "nonce twice", field: authorization(nil) + `, nonce="n"`, reason: `"nonce" occurs twice`},
		{name: "twice in capitals", field: authorization(nil) + `, NC=00000002`, reason: `"nc" occurs twice`},
		{name: "two credentials", field: authorization(nil) + `, Basic YTpi`, reason: "is not a parameter"},
		{name: "no username", field: authorization(p{"username": ""}), reason: `"username" is missing`},
		{name: "empty username", field: authorization(p{"username": `""`}), reason: `"username" is missing`},
		{name: "no realm", field: authorization(p{"realm": ""}), reason: `"realm" is missing`},
		{name: "no nonce", field: authorization(p{"nonce": ""}), reason: `"nonce" is missing`},
		{name: "no uri", field: authorization(p{"uri": ""}), reason: `"uri" is missing`},
		{name: "no response", field: authorization(p{"response": ""}), reason: `"response" is missing`},
		{name: "no cnonce", field: authorization(p{"cnonce": ""}), reason: `"cnonce" is missing`},
		{name: "no nc", field: authorization(p{"nc": ""}), reason: `"nc" is missing`},
		{name: "no qop", field: authorization(p{"qop": ""}), reason: `"qop" is missing`},
		{name: "auth-int", field: authorization(p{"qop": "auth-int"}), reason: `"qop" is not auth`},
		{name: "session", field: authorization(p{"algorithm": "MD5-sess"}), reason: `"algorithm"`},
		{name: "short nc", field: authorization(p{"nc": "1"}), reason: `"nc" is not`},
		{name: "long nc", field: authorization(p{"nc": "000000001"}), reason: `"nc" is not`},
		{name: "nc 0", field: authorization(p{"nc": "00000000"}), reason: `"nc" is not`},
		{name: "signed nc", field: authorization(p{"nc": "+0000001"}), reason: `"nc" is not`},
		{name: "nc with prefix", field: authorization(p{"nc": "0x000001"}), reason: `"nc" is not`},
		{name: "short response", field: authorization(p{"response": `"abc"`}), reason: `"response" is not`},
		{name: "response of another algorithm", field: authorization(p{"algorithm": "SHA-256"}), reason: `"response" is not`},
		{name: "response in capitals", field: authorization(p{"response": `"` + strings.ToUpper(response) + `"`}), reason: `"response" is not`},
		{name: "extended username", field: authorization(p{"username*": "UTF-8''u"}), reason: `"username*" is not supported`},
		{name: "hashed username", field: authorization(p{"userhash": "true"}), reason: `"userhash" is not supported`},
		{name: "open quote", field: authorization(p{"opaque": `"o`}), reason: "not closed"},
		{name: "control character", field: authorization(p{"username": "\"u\x00\""}), reason: "control"},
		{name: "semicolon", field: authorization(nil) + `; x=y`, reason: "comma"},
	} {
		t.Run(tt.name, func(t *testing.T) { checkParse(t, tt.field, tt.want, tt.reason) })
	}
}

// checkParse compares what ParseAuthorization returns. An empty reason means no error.
func checkParse(t *testing.T, field string, want digestauth.Authorization, reason string) {
	got, err := digestauth.ParseAuthorization(field)
	switch {
	case reason == "" && err != nil:
		t.Fatal(err)
	case reason != "" && (err == nil || !strings.Contains(err.Error(), reason)):
		t.Fatalf("got error %v, want one with %q", err, reason)
	}
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(got)); d != "" {
		t.Error(d)
	}
}

// An accepted field means the same after it was written again. It also means the same to
// github.com/icholy/digest, as far as that can read it.
func FuzzAuthorization(f *testing.F) {
	f.Add(authorization(nil))
	f.Add(authorization(map[string]string{"username": `"a, \"b\\"`, "algorithm": `"MD5"`, "nc": `"0000000a"`, "opaque": `"="`}))
	f.Add(authorization(map[string]string{"algorithm": "", "x": "y"}))
	f.Add(authorization(nil) + `, nonce="m"`)
	f.Add(`Digest username="`)
	f.Add(`Digest ,,,=`)
	f.Add("digest\t")
	f.Fuzz(func(t *testing.T, field string) {
		a, err := digestauth.ParseAuthorization(field)
		if err != nil {
			return
		}
		quote := func(s string) string {
			return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(s) + `"`
		}
		change := map[string]string{
			"username": quote(a.Username), "realm": quote(a.Realm), "nonce": quote(a.Nonce), "uri": quote(a.URI),
			"response": a.Response, "algorithm": a.Algorithm, "cnonce": quote(a.CNonce),
		}
		if a.Opaque != "" {
			change["opaque"] = quote(a.Opaque)
		}
		change["nc"] = strings.ToLower(hex(a.NC))
		again, err := digestauth.ParseAuthorization(authorization(change))
		if d := cmp.Diff(a, again, cmpopts.IgnoreUnexported(a)); err != nil || d != "" {
			t.Fatalf("written as %s\n%v\n%s", authorization(change), err, d)
		}
		if d, err := digest.ParseCredentials(field); err == nil && d.Nonce != "" && d.Username != "" &&
			(d.Nonce != a.Nonce || d.Username != a.Username) {
			t.Fatalf("read as %+v, by icholy/digest as %+v", a, d)
		}
	})
}

func hex(n uint32) string {
	const digits = "0123456789abcdef"
	var b [8]byte
	for i := range b {
		b[i] = digits[n>>(28-4*i)&15]
	}
	return string(b[:])
}
