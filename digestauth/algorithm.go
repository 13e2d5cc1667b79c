package digestauth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"

	"atlas-export-gateway/secret"
)

// The algorithms of RFC 7616, section 6.1, as a challenge spells them. Their -sess variants are
// not supported.
const (
	MD5       = "MD5"
	SHA256    = "SHA-256"
	SHA512256 = "SHA-512-256"
)

// algorithm is a supported hash. A stronger one is greater. The zero algorithm is none.
type algorithm uint8

const (
	algMD5 algorithm = iota + 1
	algSHA256
	algSHA512256
)

// algorithmOf returns the algorithm of a name. A missing name means MD5 (RFC 7616, section 3.3).
func algorithmOf(name string) (algorithm, bool) {
	switch {
	case name == "", strings.EqualFold(name, MD5):
		return algMD5, true
	case strings.EqualFold(name, SHA256):
		return algSHA256, true
	case strings.EqualFold(name, SHA512256):
		return algSHA512256, true
	}
	return 0, false
}

// appendHash appends the hash of data to dst, in lower-case hexadecimal digits.
func (a algorithm) appendHash(dst, data []byte) []byte {
	switch a {
	case algSHA256:
		h := sha256.Sum256(data)
		return hex.AppendEncode(dst, h[:])
	case algSHA512256:
		h := sha512.Sum512_256(data)
		return hex.AppendEncode(dst, h[:])
	default:
		h := md5.Sum(data)
		return hex.AppendEncode(dst, h[:])
	}
}

// hexLen returns the number of digits that appendHash appends.
func (a algorithm) hexLen() int {
	if a == algMD5 {
		return 2 * md5.Size
	}
	return 2 * sha256.Size
}

// HA1 returns H(username:realm:password) in lower-case hexadecimal digits (RFC 7616, section
// 3.4.2). Client and server need no more than that of a password. Within its realm it is as good
// as the password, and therefore a secret.Secret. The algorithm is [MD5], which is also what an
// empty one means, [SHA256] or [SHA512256]; any other is an error.
func HA1(algorithm, username, realm string, password secret.Secret) (secret.Secret, error) {
	alg, ok := algorithmOf(algorithm)
	if !ok {
		return secret.Secret{}, fmt.Errorf("digestauth: algorithm %.32q is not supported", algorithm)
	}
	return alg.ha1(username, realm, password), nil
}

func (a algorithm) ha1(username, realm string, password secret.Secret) secret.Secret {
	return secret.New(string(a.appendHash(nil, []byte(username+":"+realm+":"+password.Reveal()))))
}

// appendResponse appends the response of RFC 7616, section 3.4.1, for qop=auth:
// KD(HA1, nonce:nc:cnonce:auth:HA2). The hash is of nc as it is sent.
func (a algorithm) appendResponse(dst []byte, ha1 secret.Secret, nonce, nc, cnonce, method, uri string) []byte {
	var space [512]byte
	b := append(space[:0], method...)
	b = append(b, ':')
	b = append(b, uri...)
	var space2 [2 * sha256.Size]byte
	ha2 := a.appendHash(space2[:0], b)

	b = append(b[:0], ha1.Reveal()...)
	for _, part := range [...]string{nonce, nc, cnonce, "auth"} {
		b = append(b, ':')
		b = append(b, part...)
	}
	b = append(b, ':')
	b = append(b, ha2...)
	return a.appendHash(dst, b)
}
