package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"

	"atlas-export-gateway/digestauth"
)

// firstLeg reports whether a request may be the first leg of a client that authenticates by
// Digest and waits with its content for the challenge, as curl --digest does: it announces
// no content where there should be some, and bears no credential.
func firstLeg(r *http.Request) bool {
	return (r.Method == http.MethodPost || r.Method == http.MethodPatch) && r.ContentLength == 0 && r.Header["Authorization"] == nil
}

// challenge refuses a request with Atlas's challenge, so that such a client goes on to its
// second leg. What it answers is of no interest while callers are anonymous.
func challenge() error {
	var nonce [16]byte
	rand.Read(nonce[:])
	r := refuse(kindUnauthorized, nil, "You are not authorized for this resource. The request has no content: a client that authenticates by Digest sends it in answer to this challenge, any other with its first request.")
	r.header = map[string]string{"WWW-Authenticate": digestauth.Challenge{Realm: "MMS Public API", Nonce: hex.EncodeToString(nonce[:]), Algorithm: digestauth.MD5, QOP: "auth"}.String()}
	return r
}
