package callers

import (
	"crypto/sha256"
	"crypto/subtle"

	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/secret"
)

// A Directory holds the callers of one configuration, by the hashes of what they send. It does not
// change. See [Compile].
type Directory struct {
	settings Settings // with their defaults
	owners   []*owner // in the order of the list
	all      []*key   // of all owners
	pairs    map[hash]keyPair
	tokens   map[hash]staticToken
	accounts map[hash]serviceAccount
	// exchanges says that there is a service account that a token of an issuer proves.
	exchanges bool
	issuers   *issuers.Set
	known     map[string][]identity // by the name of their issuer, in the order of the list
	// certificates are names in client certificates, in the order in which they are tried.
	certificates []certificateName
	keys         []signingKey // of the signing_key_file: the first signs; empty without a file
	nobody       keyPair      // takes the place of a pair that does not exist
}

type keyPair struct {
	caller Caller
	id     hash // of the public key
	ha1    secret.Secret
}

type staticToken struct {
	caller Caller
	token  hash
}

type serviceAccount struct {
	caller Caller
	id     hash // of the client id
	secret hash
	// byJWT says that no secret proves the account, but a token that proves its owner.
	byJWT bool
	bound bool // its tokens are bound to a certificate
}

// HasServiceAccounts reports whether there are service accounts, for whom the token endpoint is.
func (d *Directory) HasServiceAccounts() bool { return len(d.accounts) > 0 }

// pair returns the key pair of a public key. For a key that nobody has, it returns a pair that no
// private key fits, so that the work that follows is the same.
func (d *Directory) pair(publicKey string) (keyPair, bool) {
	id := hashOf(publicKey)
	p, ok := d.pairs[id]
	if !ok {
		p = d.nobody
	}
	return p, equal(p.id, id) && ok
}

// account returns the service account of a client id.
func (d *Directory) account(clientID string) (serviceAccount, bool) {
	account, ok := d.accounts[hashOf(clientID)]
	return account, ok
}

// shown returns a public key or client id that a client showed as it may be logged: as it is if
// it is one of a caller or in the form of one, and otherwise "other". It may be a secret, or any
// text.
func (d *Directory) shown(id string) string {
	h := hashOf(id)
	_, pair := d.pairs[h]
	_, account := d.accounts[h]
	switch {
	case id == "", pair, account:
		return id
	}
	return secret.ShowID(id)
}

// hash is a SHA-256 hash of a public key, a client id, or a secret of at least 128 bits.
type hash = [sha256.Size]byte

func hashOf(s string) hash {
	// Most tokens fit into a buffer on the stack, and leave nothing to collect.
	var buffer [2 << 10]byte
	if len(s) <= len(buffer) {
		return sha256.Sum256(buffer[:copy(buffer[:], s)])
	}
	return sha256.Sum256([]byte(s))
}

func equal(a, b hash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
