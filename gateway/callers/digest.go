package callers

import (
	"errors"
	"net/http"
	"strings"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/secret"
)

// digestWay is HTTP Digest (RFC 7616) with a key pair.
type digestWay struct {
	*challenger
	directory *Directory
	nonces    *nonces
}

func (d *digestWay) prove(r *http.Request, _ string) (Caller, *Refusal) {
	var p keyPair
	_, err := digestauth.Verifier{
		Realm:      d.directory.settings.Realm,
		Algorithms: []string{d.directory.settings.DigestAlgorithm},
		HA1: func(username, _ string) (known secret.Secret, ok bool) {
			p, ok = d.directory.pair(username)
			return p.ha1, ok
		},
		// Called only when the response is right for the HA1 of p.
		CheckNonce: func(nonce string, nc uint32) digestauth.NonceVerdict { return d.nonces.check(p.id, nonce, nc) },
	}.Verify(r)
	var refused *digestauth.VerifyError
	switch {
	case errors.As(err, &refused) && refused.Reason == digestauth.Malformed:
		// Its text quotes names of parameters, where a secret may stand by mistake.
		return d.refuse(Malformed, "the Authorization field is not a Digest credential with qop=auth")
	case errors.As(err, &refused):
		return d.refuseID(refused.Username, reasonOf(refused), strings.TrimPrefix(refused.Error(), "digestauth: "))
	case err != nil:
		return d.refuse(Malformed, "the Digest credential can't be verified")
	}
	return p.caller, nil
}

// challenger refuses with a Digest challenge in the form of Atlas's challenges. A request without
// a credential gets this one challenge, whatever the caller could use: Atlas's clients read only
// the first, and a client of Basic sends its key without a challenge.
type challenger struct {
	directory        *Directory
	realm, algorithm string
	nonces           *nonces
}

// refuseID is refuse for a request that showed a public key.
func (c *challenger) refuseID(id string, reason Reason, detail string) (Caller, *Refusal) {
	caller, refusal := c.refuse(reason, detail)
	refusal.Tried = c.directory.shown(id)
	return caller, refusal
}

// refuse returns a refusal with a fresh challenge. The challenge says stale=false, as do all that
// were recorded of Atlas.
func (c *challenger) refuse(reason Reason, detail string) (Caller, *Refusal) {
	challenge := digestauth.Challenge{Realm: c.realm, Nonce: c.nonces.issue(), Algorithm: c.algorithm}
	return Caller{}, &Refusal{Challenge: []string{challenge.String()}, Reason: reason, detail: detail}
}

func reasonOf(e *digestauth.VerifyError) Reason {
	switch e.Reason {
	case digestauth.NoCredential:
		return NoCredential
	case digestauth.Malformed:
		return Malformed
	case digestauth.Mismatched:
		return Mismatched
	case digestauth.WrongCredential:
		return WrongCredential
	}
	switch e.Nonce {
	case digestauth.NonceExpired:
		return NonceExpired
	case digestauth.NonceReplayed:
		return Replayed
	}
	return NonceUnknown
}
