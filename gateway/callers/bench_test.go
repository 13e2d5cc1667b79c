package callers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"testing"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/internal/issuertest"
	"atlas-export-gateway/secret"
)

// The cost of one request, for each way to prove who calls.
func BenchmarkAuthenticate(b *testing.B) {
	k, config := issue(b)
	i, m := issuertest.Start(b), callers.NewMemory()
	b.Cleanup(m.Close)
	identified := withIssuer(i)
	config.Issuers, config.List = identified.Issuers, append(config.List, identified.List...)
	a := reload(b, m, config, callers.Options{})
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
		{"jwt", once("Bearer " + i.Token(b, "job", nil)), false},
		{"jwt, new each time", func(n int) []string {
			fields := make([]string, n)
			for at := range fields {
				fields[at] = "Bearer " + i.Token(b, "job", map[string]any{"jti": at})
			}
			return fields
		}, false},
		{"jwt, of no caller", once("Bearer " + i.Token(b, "other", nil)), true},
		{"jwt, unknown key", once("Bearer " + i.Key().Sign(b, map[string]any{"kid": "other"}, i.Claims("job", nil))), true},
		{"unknown token", once("Bearer " + access + "A"), true},
		{"unknown scheme", once("Negotiate abc"), true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			fields, r := bench.fields(b.N), newRequest(nil)
			b.ResetTimer()
			for i := range b.N {
				r.Header["Authorization"] = fields[i : i+1]
				if _, err := a.Authenticate(r, netip.Addr{}); (err != nil) != bench.refused {
					b.Fatal(err)
				}
			}
		})
	}
}

// The cost of a request on a connection with a certificate, which is verified once.
func BenchmarkCertificate(b *testing.B) {
	authority := gatewaytest.NewAuthority(b)
	c := callers.Config{List: []callers.Entry{{Name: "a", Certificates: []callers.CertificateName{{URI: "spiffe://prod/**"}}}}}
	a := build(b, c, callers.Options{ClientCAs: authority.Pool})
	r := newRequest(nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{authority.Workload(b, "spiffe://prod/a").Leaf}}
	for name, ctx := range map[string]context.Context{"once": callers.WithConnection(b.Context()), "each time": b.Context()} {
		b.Run(name, func(b *testing.B) {
			r := r.WithContext(ctx)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r, netip.Addr{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
