package digestauth

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"

	"atlas-export-gateway/secret"
)

// A Credential is what a [Transport] signs with. For Atlas, the user name is the public key and
// the password is the private key.
type Credential struct {
	Username string
	Password secret.Secret
}

// Equal reports whether c and d are the same credential.
func (c Credential) Equal(d Credential) bool {
	return c.Username == d.Username && c.Password.Equal(d.Password)
}

// A nonce is a challenge that was received, and how often its nonce was used. The request that
// took it out of the pool owns it.
type nonce struct {
	Challenge
	alg  algorithm
	nc   uint32    // of the latest request
	used time.Time // when it was put into the pool
}

func newNonce(c Challenge) *nonce {
	alg, _ := algorithmOf(c.Algorithm)
	return &nonce{Challenge: c, alg: alg}
}

// A key is a credential in use.
type key struct {
	Credential
	latest atomic.Pointer[signingKey]
}

// A signingKey is an HA1, and what it was computed for.
type signingKey struct {
	realm string
	alg   algorithm
	ha1   secret.Secret
}

func (k *key) ha1(realm string, alg algorithm) secret.Secret {
	s := k.latest.Load()
	if s == nil || s.realm != realm || s.alg != alg {
		s = &signingKey{realm, alg, alg.ha1(k.Username, realm, k.Password)}
		k.latest.Store(s)
	}
	return s.ha1
}

// sign counts one more use of n and returns the value of the Authorization field for it.
func (k *key) sign(n *nonce, method, uri string) string {
	var random [8]byte
	rand.Read(random[:]) // never fails
	var space [2 * len(random)]byte
	cnonce := hex.AppendEncode(space[:0], random[:])
	n.nc++
	return k.authorization(n, string(cnonce), method, uri)
}

// authorization returns the credential of RFC 7616, section 3.4: algorithm, nc and qop without
// quotes, all else with quotes. digest.Digest and its String cost several times as much (see
// BenchmarkSign).
func (k *key) authorization(n *nonce, cnonce, method, uri string) string {
	var space [512]byte
	nc := hex8(n.nc)
	b := append(space[:0], "Digest username="...)
	b = appendQuoted(b, k.Username)
	b = append(b, ", realm="...)
	b = appendQuoted(b, n.Realm)
	b = append(b, ", nonce="...)
	b = appendQuoted(b, n.Nonce)
	b = append(b, ", uri="...)
	b = appendQuoted(b, uri)
	b = append(b, `, response="`...)
	b = n.alg.appendResponse(b, k.ha1(n.Realm, n.alg), n.Nonce, nc, cnonce, method, uri)
	b = append(b, '"')
	if n.Algorithm != "" {
		b = append(b, ", algorithm="...)
		b = append(b, n.Algorithm...)
	}
	if n.Opaque != "" {
		b = append(b, ", opaque="...)
		b = appendQuoted(b, n.Opaque)
	}
	b = append(b, ", cnonce="...)
	b = appendQuoted(b, cnonce)
	b = append(b, ", qop=auth, nc="...)
	b = append(b, nc...)
	return string(b)
}

// hex8 returns n as eight hexadecimal digits.
func hex8(n uint32) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return hex.EncodeToString(b[:])
}
