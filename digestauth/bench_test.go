package digestauth_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"

	"github.com/icholy/digest"
)

const target = "/api/atlas/v2/groups/0123456789abcdef01234567/clusters/C0/backup/exports?pageNum=1"

var benchChallenge = digestauth.Challenge{Realm: realm, Nonce: strings.Repeat("0123456789abcdef", 2), Algorithm: digestauth.MD5, QOP: "auth"}

// BenchmarkSign makes one Authorization field, with this package and with
// github.com/icholy/digest.
func BenchmarkSign(b *testing.B) {
	for _, algorithm := range []string{digestauth.MD5, digestauth.SHA256} {
		c := benchChallenge
		c.Algorithm = algorithm
		b.Run(algorithm, func(b *testing.B) {
			sign := digestauth.SignerOf(goodKey, c)
			b.ReportAllocs()
			for i := range b.N {
				sign(uint32(i)+1, "", "GET", target)
			}
		})
		b.Run(algorithm+"/icholy", func(b *testing.B) {
			chal, err := digest.ParseChallenge(c.String())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := range b.N {
				cred, err := digest.Digest(chal, digest.Options{
					Method: "GET", URI: target, Count: i + 1, Username: goodKey.Username, Password: goodKey.Password.Reveal(),
				})
				if err != nil {
					b.Fatal(err)
				}
				_ = cred.String()
			}
		})
	}
}

// answer is the response of a server that admits each signed request.
func answer(r *http.Request) *http.Response {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	if r.Header.Get("Authorization") == "" {
		resp.StatusCode = 401
		resp.Header.Set("WWW-Authenticate", benchChallenge.String())
	}
	return resp
}

// BenchmarkRoundTrip measures what a Transport adds to a request. Its Base answers at once.
func BenchmarkRoundTrip(b *testing.B) {
	for _, body := range []string{"", `{"snapshotId":"0123456789abcdef01234567"}`} {
		b.Run(fmt.Sprintf("content=%d", len(body)), func(b *testing.B) {
			tr, err := digestauth.NewTransport(digestauth.Config{
				Origin:     "https://cloud.mongodb.com",
				Credential: source(goodKey),
				Base:       outbound.TransportFunc(func(r *http.Request) (*http.Response, error) { return answer(r), nil }),
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				req, _ := http.NewRequest("POST", "https://cloud.mongodb.com"+target, nil)
				req.Header.Set("Accept", "application/vnd.atlas.2024-05-30+json")
				req.Header.Set("User-Agent", "atlas-export-gateway")
				for pb.Next() {
					if body != "" {
						req.Body = io.NopCloser(strings.NewReader(body))
					}
					if _, err := tr.RoundTrip(req); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkVerify measures the check of a request that is admitted.
func BenchmarkVerify(b *testing.B) {
	ha1, err := digestauth.HA1(digestauth.MD5, goodKey.Username, realm, goodKey.Password)
	if err != nil {
		b.Fatal(err)
	}
	nonces := digestauth.NewNonces(digestauth.NoncePolicy{Rising: true}, nil)
	c := benchChallenge
	c.Nonce = nonces.Issue()
	v := digestauth.Verifier{
		Realm:      realm,
		HA1:        func(username, _ string) (secret.Secret, bool) { return ha1, username == goodKey.Username },
		CheckNonce: nonces.Check,
	}
	sign := digestauth.SignerOf(goodKey, c)
	r := &http.Request{Method: "GET", RequestURI: target, Header: http.Header{}}
	b.ReportAllocs()
	for i := range b.N {
		b.StopTimer()
		r.Header.Set("Authorization", sign(uint32(i)+1, "", "GET", target))
		b.StartTimer()
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}
