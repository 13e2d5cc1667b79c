package callers

import (
	"net/http"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// basicWay is HTTP Basic (RFC 7617) with a key pair, where nobody can listen.
type basicWay struct {
	*challenger
	directory *Directory
	allow     func(*http.Request) bool
}

func (b *basicWay) prove(r *http.Request, _ string) (Caller, *Refusal) {
	publicKey, privateKey, ok := r.BasicAuth()
	if !b.allow(r) {
		return b.refuseID(publicKey, NotPrivate, "Basic is accepted only over TLS or from a loopback address")
	}
	if !ok {
		return b.refuse(Malformed, "the Authorization field is not a Basic credential")
	}
	p, known := b.directory.pair(publicKey)
	settings := &b.directory.settings
	ha1, err := digestauth.HA1(settings.DigestAlgorithm, publicKey, settings.Realm, secret.New(privateKey))
	// There is no error: Compile checked the algorithm.
	if !ha1.Equal(p.ha1) || !known || err != nil {
		return b.refuseID(publicKey, WrongCredential, "the public key is unknown or the private key is wrong")
	}
	caller := p.caller
	caller.Form = Basic
	return caller, nil
}
