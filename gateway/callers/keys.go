package callers

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// signingKey holds the keys that are derived from one key of the signing_key_file. There is one
// for each purpose, so that a signature for one purpose is worth nothing for the other.
type signingKey struct {
	id            string // the kid in tokens; it does not depend on the line of the file
	nonces, token secret.Secret
}

func newSigningKey(key []byte) signingKey {
	derive := func(purpose string) []byte { return mac(key, []byte("atlas-export-gateway "+purpose)) }
	return signingKey{
		id:     hex.EncodeToString(derive("id")[:8]),
		nonces: secret.New(string(derive("nonces"))),
		token:  secret.New(string(derive("tokens"))),
	}
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// Issued is a new key. The secret is shown once, to whoever hands it to the caller. The gateway
// keeps the rest.
type Issued struct {
	// ID is the public key or client id; empty for a token.
	ID string
	// Secret is the private key, client secret or token, of 130 random bits.
	Secret secret.Secret
	// HA1File is the content of the file that Entry names, for a key pair. It is a secret too.
	HA1File secret.Secret
	// Entry is the entry to add to the configuration.
	Entry Entry
}

// NewKeyPair makes a key pair for a caller and a realm ([DefaultRealm] when empty). Its HA1File is
// to be stored in the file ha1File.
func NewKeyPair(caller, realm, ha1File string) Issued {
	realm = cmp.Or(realm, DefaultRealm)
	i := Issued{ID: "agw" + strings.ToLower(rand.Text()[:12]), Secret: secret.New(rand.Text())}
	var content strings.Builder
	for _, algorithm := range []string{digestauth.MD5, digestauth.SHA256} {
		ha1, err := digestauth.HA1(algorithm, i.ID, realm, i.Secret)
		if err != nil {
			panic(err) // both are supported
		}
		content.WriteString(i.ID + ":" + realm + ":" + ha1.Reveal() + "\n")
	}
	i.HA1File = secret.New(content.String())
	i.Entry = Entry{Name: caller, KeyPairs: []KeyPair{{PublicKey: i.ID, HA1File: ha1File}}}
	return i
}

// NewServiceAccount makes a service account for a caller.
func NewServiceAccount(caller string) Issued {
	i := Issued{ID: "agw_id_" + strings.ToLower(rand.Text()[:20]), Secret: secret.New("agw_sk_" + rand.Text())}
	i.Entry = Entry{Name: caller, ServiceAccounts: []ServiceAccount{{ClientID: i.ID, SecretSHA256: hexHash(i.Secret)}}}
	return i
}

// NewToken makes a static bearer token for a caller.
func NewToken(caller string) Issued {
	i := Issued{Secret: secret.New("agw_st_" + rand.Text())}
	i.Entry = Entry{Name: caller, Tokens: []Token{{SHA256: hexHash(i.Secret)}}}
	return i
}

// NewSigningKey makes a line for a signing_key_file.
func NewSigningKey() secret.Secret {
	key := make([]byte, minKey)
	rand.Read(key) // never fails
	return secret.New(base64.StdEncoding.EncodeToString(key) + "\n")
}

func hexHash(s secret.Secret) string {
	h := hashOf(s.Reveal())
	return hex.EncodeToString(h[:])
}
