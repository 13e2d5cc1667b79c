// Package issuertest is an issuer of tokens for tests: it signs JWTs, and serves its keys and its
// discovery document over TCP. Only tests import it.
package issuertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Audience is the audience of the tokens that [Issuer.Claims] are for.
const Audience = "https://gateway.example.com"

// An Issuer signs tokens and publishes its keys. It may be used from several goroutines.
type Issuer struct {
	// URL is its iss. The discovery document is below it, and the keys are at URL + "/keys".
	URL string
	// CA is the certificate that TLS with the issuer is checked with, in PEM; empty for http.
	CA string

	server *httptest.Server
	mu     sync.Mutex
	keys   []Key
	serve  http.HandlerFunc // instead of the keys; nil for the keys
	counts map[string]int   // of requests, by path
}

// Key is a key pair of an issuer.
type Key struct {
	// ID is its kid, and Algorithm the one that it signs with.
	ID, Algorithm string
	// Private signs.
	Private crypto.Signer
}

// Start starts an issuer that speaks http, with one key for RS256 that is called "first".
func Start(t testing.TB) *Issuer {
	t.Helper()
	return start(t, httptest.NewServer)
}

// StartTLS starts an issuer that speaks https.
func StartTLS(t testing.TB) *Issuer {
	t.Helper()
	return start(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients may not trust it
		s.StartTLS()
		return s
	})
}

func start(t testing.TB, serve func(http.Handler) *httptest.Server) *Issuer {
	t.Helper()
	i := &Issuer{counts: map[string]int{}, keys: []Key{NewKey(t, "first", "RS256")}}
	i.server = serve(i)
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL
	if c := i.server.Certificate(); c != nil {
		i.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return i
}

// rsaKeys are made once: to make one takes long.
var rsaKeys = sync.OnceValue(func() []*rsa.PrivateKey {
	keys := make([]*rsa.PrivateKey, 2)
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

// NewKey makes a key. All keys for RSA that are called "first" are the same one, and all others
// another one.
func NewKey(t testing.TB, id, algorithm string) Key {
	t.Helper()
	k := Key{ID: id, Algorithm: algorithm}
	var err error
	switch algorithm {
	case "ES256":
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		k.Private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	default:
		k.Private = rsaKeys()[1]
		if id == "first" {
			k.Private = rsaKeys()[0]
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ServeHTTP serves the discovery document and the keys.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.counts[r.URL.Path]++
	serve, keys := i.serve, i.keys
	i.mu.Unlock()
	switch {
	case serve != nil:
		serve(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	case r.URL.Path == "/keys" && !strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json"):
		w.WriteHeader(http.StatusNotAcceptable) // as Kubernetes does
	case r.URL.Path == "/keys":
		fmt.Fprint(w, JWKS(keys...))
	default:
		http.NotFound(w, r)
	}
}

// Publish has the issuer publish these keys and no others.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// Answer has a function answer each request; nil puts the issuer right.
func (i *Issuer) Answer(serve http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serve = serve
}

// Down has the issuer answer 503.
func (i *Issuer) Down() {
	i.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
}

// Fetches returns how often the keys were asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts["/keys"]
}

// Key returns the first key.
func (i *Issuer) Key() Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[0]
}

// Claims returns the claims of a good token for a subject, which expires in an hour. Changes are
// put over them; a nil removes a claim.
func (i *Issuer) Claims(subject string, changes map[string]any) map[string]any {
	now := time.Now().Unix()
	claims := map[string]any{"iss": i.URL, "sub": subject, "aud": Audience, "iat": now, "nbf": now, "exp": now + 3600}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// Token returns a token for a subject, signed with the first key.
func (i *Issuer) Token(t testing.TB, subject string, changes map[string]any) string {
	t.Helper()
	return i.Key().Sign(t, nil, i.Claims(subject, changes))
}

// Sign returns a token with these claims, and a header of alg, kid and typ. Changes are put over
// the header; a nil removes a member.
func (k Key) Sign(t testing.TB, changes, claims map[string]any) string {
	t.Helper()
	header := map[string]any{"alg": k.Algorithm, "kid": k.ID, "typ": "JWT"}
	maps.Copy(header, changes)
	maps.DeleteFunc(header, func(_ string, value any) bool { return value == nil })
	return k.SignRaw(t, marshal(t, header), marshal(t, claims))
}

// SignRaw returns a token whose header and claims are these texts.
func (k Key) SignRaw(t testing.TB, header, claims string) string {
	t.Helper()
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	signature, err := jwt.GetSigningMethod(k.Algorithm).Sign(signed, k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// JWKS returns a JWK Set with the public keys (RFC 7517, section 5).
func JWKS(keys ...Key) string {
	set := make([]string, len(keys))
	for n, k := range keys {
		var stated map[string]string
		switch public := k.Private.Public().(type) {
		case *rsa.PublicKey:
			stated = map[string]string{"kty": "RSA", "n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes())}
		case *ecdsa.PublicKey:
			size := (public.Curve.Params().BitSize + 7) / 8
			point, err := public.Bytes() // 4, x, y (SEC 1, section 2.3.3)
			if err != nil {
				panic(err)
			}
			stated = map[string]string{"kty": "EC", "crv": public.Curve.Params().Name, "x": encode(point[1 : 1+size]), "y": encode(point[1+size:])}
		case ed25519.PublicKey:
			stated = map[string]string{"kty": "OKP", "crv": "Ed25519", "x": encode(public)}
		}
		stated["kid"], stated["alg"], stated["use"] = k.ID, k.Algorithm, "sig"
		content, err := json.Marshal(stated)
		if err != nil {
			panic(err)
		}
		set[n] = string(content)
	}
	return `{"keys":[` + strings.Join(set, ",") + `]}`
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func encode(content []byte) string { return base64.RawURLEncoding.EncodeToString(content) }
