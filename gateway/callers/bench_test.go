package callers_test

import (
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/secret"
)

// The cost of one request, for each way to prove who calls.
func BenchmarkAuthenticate(b *testing.B) {
	k, config := issue(b)
	a := build(b, config, callers.Options{})
	access := accessToken(b, serve(b, a), k.account)
	once := func(f string) func(n int) []string {
		return func(n int) []string {
			fields := make([]string, n)
			for i := range fields {
				fields[i] = f
			}
			return fields
		}
	}
	for _, bench := range []struct {
		name    string
		fields  func(n int) []string // the Authorization fields of n requests
		refused bool
	}{
		{"digest", func(n int) []string {
			c, fields := issueNonce(b, a), make([]string, n)
			for i := range fields {
				fields[i] = sign(b, c, k.pair.ID, k.pair.Secret, i+1)
			}
			return fields
		}, false},
		{"digest, wrong", once(sign(b, issueNonce(b, a), k.pair.ID, secret.New("wrong"), 1)), true},
		{"basic", once(basic(k.pair.ID, k.pair.Secret)), false},
		{"basic, wrong", once(basic(k.pair.ID, secret.New("wrong"))), true},
		{"token", once("Bearer " + k.token.Secret.Reveal()), false},
		{"access token", once("Bearer " + access), false},
		{"unknown token", once("Bearer " + access + "A"), true},
		{"unknown scheme", once("Negotiate abc"), true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			fields, r := bench.fields(b.N), newRequest(nil)
			b.ResetTimer()
			for i := range b.N {
				r.Header["Authorization"] = fields[i : i+1]
				if _, err := a.Authenticate(r); (err != nil) != bench.refused {
					b.Fatal(err)
				}
			}
		})
	}
}
