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

// The examples of RFC 7616, section 3.9.1: one request, signed with each of two algorithms.
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
			// The form of the RFC.
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

// github.com/icholy/digest makes and reads the same credentials, also with SHA-512-256, unusual
// characters and other counts.
func TestSignAsOthersDo(t *testing.T) {
	for _, algorithm := range []string{"", digestauth.MD5, "sha-256", digestauth.SHA512256} {
		c := digestauth.Challenge{Realm: `r"e\alm`, Nonce: "n,=", Opaque: `o"`, Algorithm: algorithm, QOP: "auth"}
		cred := digestauth.Credential{Username: `J"s\ D`, Password: secret.New("p:w")}
		signed := digestauth.Sign(cred, c, 0xabcdef01, "cn", "PATCH", `/x?a="b"&c=d:e`)
		// ParseCredentials reads an nc of 31 bits.
		got, err := digest.ParseCredentials(strings.Replace(signed, "nc=abcdef01", "nc=00000001", 1))
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

// Another client, which keeps one challenge and raises nc.
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

// goodHA1 knows goodKey.
func goodHA1(username, algorithm string) (secret.Secret, bool) {
	s, err := digestauth.HA1(algorithm, username, realm, goodKey.Password)
	return s, err == nil && username == goodKey.Username
}

func TestVerify(t *testing.T) {
	nonces := digestauth.NewNonces(digestauth.NoncePolicy{Uses: 1}, nil)
	v := digestauth.Verifier{Realm: realm, HA1: goodHA1, CheckNonce: nonces.Check}
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
		// The requests above have not used up the nonce, which may be used once.
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
			checkRefused(t, a, err, tt.reason, tt.nonce)
		})
	}
}

// checkRefused checks the results of Verify for a request that is not admitted.
func checkRefused(t *testing.T, a digestauth.Authorization, err error, reason digestauth.Reason, nonce digestauth.NonceVerdict) {
	t.Helper()
	var e *digestauth.VerifyError
	if !errors.As(err, &e) || e.Reason != reason || e.Nonce != nonce || e.Stale() != (reason == digestauth.BadNonce) {
		t.Fatalf("got %#v, want reason %d", err, reason)
	}
	if a != (digestauth.Authorization{}) {
		t.Errorf("got %+v with an error", a)
	}
}
