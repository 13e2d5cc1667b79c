// Package compat_test compares this project with other clients and libraries. It is a module of
// its own, so that the product does not depend on them.
package compat_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"

	icholy "github.com/icholy/digest"
	mongodb "github.com/mongodb-forks/digest"
)

// upstream challenges unsigned requests and answers signed ones, without a network. What remains
// is the cost of the transport.
type upstream struct{ requests int }

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.requests++
	if r.Body != nil {
		io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	response := &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}
	if r.Header.Get("Authorization") == "" {
		response.StatusCode = http.StatusUnauthorized
		response.Header["Www-Authenticate"] = []string{`Digest realm="MMS Public API", domain="", nonce="abcdefghijklmnopqrstuvwxyz012345", algorithm=MD5, qop="auth", stale=false`}
	}
	return response, nil
}

// BenchmarkSigned measures a POST in each of the transports, over an upstream that costs almost
// nothing. It also reports the upstream requests of a call, each of which takes a round trip of
// the network.
func BenchmarkSigned(b *testing.B) {
	for _, library := range []struct {
		name string
		make func(http.RoundTripper) (http.RoundTripper, error)
	}{
		{"digestauth", func(base http.RoundTripper) (http.RoundTripper, error) {
			return digestauth.NewTransport(digestauth.Config{Origin: "http://127.0.0.1", Base: base, Credential: func(context.Context) (digestauth.Credential, error) {
				return digestauth.Credential{Username: "public", Password: secret.New("private")}, nil
			}})
		}},
		{"icholy", func(base http.RoundTripper) (http.RoundTripper, error) {
			return &icholy.Transport{Username: "public", Password: "private", Transport: base}, nil
		}},
		{"mongodb-forks", func(base http.RoundTripper) (http.RoundTripper, error) {
			return mongodb.NewTransportWithHTTPRoundTripper("public", "private", base), nil
		}},
	} {
		b.Run(library.name, func(b *testing.B) {
			base := &upstream{}
			transport, err := library.make(base)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				request, err := http.NewRequest(http.MethodPost, "http://127.0.0.1/api/atlas/v2/groups", strings.NewReader(`{"snapshotId":"6a01e0b45be2d84417c09f10"}`))
				if err != nil {
					b.Fatal(err)
				}
				response, err := transport.RoundTrip(request)
				if err != nil || response.StatusCode != http.StatusOK {
					b.Fatal(response, err)
				}
			}
			b.ReportMetric(float64(base.requests)/float64(b.N), "upstream/op")
		})
	}
}
