package issuers_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atlas-export-gateway/internal/issuertest"

	"github.com/golang-jwt/jwt/v5"
)

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func marshal(t testing.TB, v any) string {
	t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// weakKey returns a key of 1024 bits.
func weakKey(t testing.TB) issuertest.Key {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return issuertest.Key{ID: "weak", Algorithm: "RS256", Private: key}
}

// hmacToken returns a token that is signed with the text of a public key, as for a verifier that
// takes it for a secret.
func hmacToken(t testing.TB, k issuertest.Key, claims map[string]any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims))
	token.Header["kid"] = k.ID
	signed, err := token.SignedString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// jwks answers with a set of keys.
func jwks(i *issuertest.Issuer, set string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, i.URL+"/keys")
			return
		}
		io.WriteString(w, set)
	}
}

// endless answers without an end.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat("a", 64<<10)); err != nil {
			return
		}
	}
}

func newServer(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// hijack returns the connection of an answer, which ends with the test's server.
func hijack(w http.ResponseWriter) io.Writer {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	return closing{conn}
}

type closing struct{ io.WriteCloser }

func (c closing) Write(p []byte) (int, error) { return c.WriteCloser.Write(p) }
