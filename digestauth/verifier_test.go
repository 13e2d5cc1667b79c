package digestauth_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/icholy/digest"
)

// The examples of RFC 7616, section 3.9.1: one request, answered with either algorithm.
const (
	rfcNonce  = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
	rfcCNonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
	rfcOpaque = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"
	rfcRealm  = "http-auth@example.org"
)

var (
	rfcKey     = digestauth.Credential{Username: "Mufasa", Password: secret.New("Circle of Life")}
	rfcVectors = []struct{ algorithm, response string }{
		{digestauth.MD5, "8ca523f5e9506fed4657c9700eebdbec"},
		{digestauth.SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
	}
)

func TestRFC7616Vectors(t *testing.T) {
	for _, tt := range rfcVectors {
		t.Run(tt.algorithm, func(t *testing.T) {
			signed := digestauth.Sign(rfcKey,
				digestauth.Challenge{Realm: rfcRealm, Nonce: rfcNonce, Opaque: rfcOpaque, Algorithm: tt.algorithm},
				1, rfcCNonce, "GET", "/dir/index.html")
			// As the RFC writes it.
			written := `Digest username="Mufasa", realm="` + rfcRealm + `", uri="/dir/index.html", algorithm=` + tt.algorithm +
				`, nonce="` + rfcNonce + `", nc=00000001, cnonce="` + rfcCNonce + `", qop=auth, response="` + tt.response +
				`", opaque="` + rfcOpaque + `"`
			ours, err1 := digestauth.ParseAuthorization(signed)
			theirs, err2 := digestauth.ParseAuthorization(written)
			if d := cmp.Diff(theirs, ours, cmpopts.IgnoreUnexported(ours)); d != "" || err1 != nil || err2 != nil {
				t.Error(err1, err2, d)
			}
			v := digestauth.Verifier{
				Realm:      rfcRealm,
				Algorithms: []string{digestauth.MD5, digestauth.SHA256},
				HA1: func(username, algorithm string) (secret.Secret, bool) {
					s, err := digestauth.HA1(algorithm, username, rfcRealm, rfcKey.Password)
					return s, err == nil
				},
				CheckNonce: func(nonce string, nc uint32) digestauth.NonceVerdict { return digestauth.NonceGood },
			}
			r := &http.Request{Method: "GET", RequestURI: "/dir/index.html", Header: http.Header{"Authorization": {written}}}
			if _, err := v.Verify(r); err != nil {
				t.Error(err)
			}
		})
	}
}

// SHA-512-256, odd characters and other counts: as github.com/icholy/digest signs and reads them.
func TestSignAsOthersDo(t *testing.T) {
	for _, algorithm := range []string{"", digestauth.MD5, "sha-256", digestauth.SHA512256} {
		c := digestauth.Challenge{Realm: `r"e\alm`, Nonce: "n,=", Opaque: `o"`, Algorithm: algorithm, QOP: "auth"}
		cred := digestauth.Credential{Username: `J"s\ D`, Password: secret.New("p:w")}
		signed := digestauth.Sign(cred, c, 0xabcdef01, "cn", "PATCH", `/x?a="b"&c=d:e`)
		got, err := digest.ParseCredentials(strings.Replace(signed, "nc=abcdef01", "nc=00000001", 1)) // it reads 31 bits
		if err != nil {
			t.Fatal(err)
		}
		got.Nc = 0xabcdef01
		want, err := digest.Digest(
			&digest.Challenge{Realm: c.Realm, Nonce: c.Nonce, Opaque: c.Opaque, Algorithm: algorithm, QOP: []string{"auth"}},
			digest.Options{Method: "PATCH", URI: `/x?a="b"&c=d:e`, Count: 0xabcdef01, Username: cred.Username, Password: "p:w", Cnonce: "cn"})
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", algorithm, err, d)
		}
	}
}

// A client that keeps one challenge and raises nc, over TCP.
func TestOtherClient(t *testing.T) {
	for _, algorithm := range []string{digestauth.MD5, digestauth.SHA256, digestauth.SHA512256} {
		u := newUpstream(t, digestauth.NoncePolicy{Rising: true})
		u.algorithm = algorithm
		tr := &digest.Transport{Username: goodKey.Username, Password: goodKey.Password.Reveal(), Transport: &http.Transport{}}
		c := &http.Client{Transport: tr}
		for range 3 {
			if status, body := get(t, c, u.URL+"/a?b=%22c%22"); status != 200 || body != "done" {
				t.Errorf("%s: got %d %q", algorithm, status, body)
			}
		}
		if u.requests.Load() != 4 {
			t.Errorf("%s: %d requests for 3 calls", algorithm, u.requests.Load())
		}
		tr.Transport.(*http.Transport).CloseIdleConnections()
	}
}

func TestHA1Algorithms(t *testing.T) {
	for _, algorithm := range []string{"MD5-sess", "SHA-512", "SHA1", "auth"} {
		if _, err := digestauth.HA1(algorithm, "u", "r", secret.New("p")); err == nil {
			t.Errorf("%s was accepted", algorithm)
		}
	}
}

const response = "8ca523f5e9506fed4657c9700eebdbec"

// authorization returns a well-formed Authorization with parameters replaced, added, or left out when empty.
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
		// As the Atlas SDK, the CLI and Terraform send it.
		{name: "quoted algorithm", field: authorization(p{"algorithm": `"MD5"`}), want: plain},
		{name: "quoted nc and qop", field: authorization(p{"nc": `"00000001"`, "qop": `"auth"`}), want: plain},
		// As digest-fetch sends it.
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
		t.Run(tt.name, func(t *testing.T) {
			got, err := digestauth.ParseAuthorization(tt.field)
			switch {
			case tt.reason == "" && err != nil:
				t.Fatal(err)
			case tt.reason != "" && (err == nil || !strings.Contains(err.Error(), tt.reason)):
				t.Fatalf("got error %v, want one with %q", err, tt.reason)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

// What is accepted means the same after it was written out again, and the same to github.com/icholy/digest as far as that can read it.
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

func TestVerify(t *testing.T) {
	nonces := digestauth.NewNonces(digestauth.NoncePolicy{Uses: 1}, nil)
	v := digestauth.Verifier{
		Realm: realm,
		HA1: func(username, algorithm string) (secret.Secret, bool) {
			s, err := digestauth.HA1(algorithm, username, realm, goodKey.Password)
			return s, err == nil && username == goodKey.Username
		},
		CheckNonce: nonces.Check,
	}
	both := v
	both.Algorithms = []string{"SHA-256", "MD5"}

	good := nonces.Issue()
	sign := func(change func(*digestauth.Credential, *digestauth.Challenge)) string {
		cred, c := goodKey, digestauth.Challenge{Realm: realm, Nonce: good}
		if change != nil {
			change(&cred, &c)
		}
		return digestauth.Sign(cred, c, 2, "cnonce", "GET", target)
	}
	type (
		K = *digestauth.Credential
		C = *digestauth.Challenge
	)
	for _, tt := range []struct {
		name   string
		v      digestauth.Verifier
		fields []string
		method string
		target string
		reason digestauth.Reason
		nonce  digestauth.NonceVerdict
	}{
		{name: "none", reason: digestauth.NoCredential},
		{name: "two", fields: []string{sign(nil), sign(nil)}, reason: digestauth.Malformed},
		{name: "Basic", fields: []string{"Basic YTpi"}, reason: digestauth.Malformed},
		{name: "other realm", fields: []string{sign(func(_ K, c C) { c.Realm = "x" })}, reason: digestauth.Mismatched},
		{name: "other target", fields: []string{sign(nil)}, target: target + "&x", reason: digestauth.Mismatched},
		{name: "not offered", fields: []string{sign(func(_ K, c C) { c.Algorithm = "SHA-256" })}, reason: digestauth.Mismatched},
		{name: "other method", fields: []string{sign(nil)}, method: "DELETE", reason: digestauth.WrongCredential},
		{name: "unknown user", fields: []string{sign(func(k K, _ C) { k.Username = "nobody" })}, reason: digestauth.WrongCredential},
		{name: "wrong password", fields: []string{sign(func(k K, _ C) { k.Password = secret.New("x") })}, reason: digestauth.WrongCredential},
		{name: "no password", fields: []string{sign(func(k K, _ C) { k.Password = secret.Secret{} })}, reason: digestauth.WrongCredential},
		{name: "made-up nonce", fields: []string{sign(func(_ K, c C) { c.Nonce = "x" })}, reason: digestauth.BadNonce, nonce: digestauth.NonceUnknown},
		// None of those has used up the single-use nonce.
		{name: "right", fields: []string{sign(nil)}},
		{name: "again", fields: []string{sign(nil)}, reason: digestauth.BadNonce, nonce: digestauth.NonceSpent},
		{name: "SHA-256", v: both, fields: []string{sign(func(_ K, c C) { c.Algorithm, c.Nonce = "SHA-256", nonces.Issue() })}},
		{name: "algorithm missing", v: both, fields: []string{sign(func(_ K, c C) { c.Nonce = nonces.Issue() })}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.v.HA1 == nil {
				tt.v = v
			}
			r := &http.Request{Method: "GET", RequestURI: target, Header: http.Header{"Authorization": tt.fields}}
			if tt.method != "" {
				r.Method = tt.method
			}
			if tt.target != "" {
				r.RequestURI = tt.target
			}
			a, err := tt.v.Verify(r)
			if tt.reason == 0 {
				if err != nil || a.Username != goodKey.Username || a.NC != 2 {
					t.Fatalf("got %+v, %v", a, err)
				}
				return
			}
			var e *digestauth.VerifyError
			if !errors.As(err, &e) || e.Reason != tt.reason || e.Nonce != tt.nonce || e.Stale() != (tt.reason == digestauth.BadNonce) {
				t.Fatalf("got %#v, want reason %d", err, tt.reason)
			}
			if a != (digestauth.Authorization{}) {
				t.Errorf("got %+v with an error", a)
			}
		})
	}
}
