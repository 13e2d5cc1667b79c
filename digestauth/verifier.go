package digestauth

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"

	"atlas-export-gateway/secret"
)

// A Verifier checks the Digest credentials of requests that a server received. It has no state of
// its own, and may be built for a single request.
type Verifier struct {
	// Realm is the realm that the credential must be for.
	Realm string
	// Algorithms are the algorithms that were offered, of those that [HA1] accepts. Empty means
	// only MD5.
	Algorithms []string
	// HA1 returns what the function [HA1] returns for this user, this algorithm (spelled as in
	// Algorithms) and the realm, or false for an unknown user. Required.
	HA1 func(username, algorithm string) (secret.Secret, bool)
	// CheckNonce decides about the nonce and its count, such as [Nonces.Check]. It is called only
	// if the response was right. Required.
	CheckNonce func(nonce string, nc uint32) NonceVerdict
}

// A Reason is why a request was not admitted.
type Reason uint8

// The reasons.
const (
	// NoCredential: the request has no Authorization field.
	NoCredential Reason = iota + 1
	// Malformed: there are several fields, or one that [ParseAuthorization] refuses.
	Malformed
	// Mismatched: the credential is for another realm or request target, or its algorithm was not
	// offered.
	Mismatched
	// WrongCredential: the user is unknown, or the response is wrong. The error does not say which.
	WrongCredential
	// BadNonce: the credential is right, but its nonce or count is not.
	BadNonce
)

// A VerifyError says why a request was not admitted. The answer to such a request is a 401 with a
// new challenge. The text of the error repeats nothing from the request except names of
// parameters.
type VerifyError struct {
	Reason Reason
	// Nonce is the verdict on the nonce. It is set for BadNonce.
	Nonce NonceVerdict
	// Username is the user that the credential names, where it is well-formed. It is the client's
	// text, of any length, and may be of no user.
	Username string

	detail string
}

func (e *VerifyError) Error() string { return "digestauth: " + e.detail }

// Stale reports whether the new challenge may say stale=true: the client has the right key and
// only needs a new nonce (RFC 7616, section 3.3).
func (e *VerifyError) Stale() bool { return e.Reason == BadNonce }

// Verify returns the credential of r if the server accepts it for this request. Otherwise the
// error is a *[VerifyError]. Verify compares the credential's uri with r.RequestURI, byte by byte.
// It reads none of the content.
func (v Verifier) Verify(r *http.Request) (Authorization, error) {
	fields := r.Header["Authorization"]
	switch {
	case len(fields) == 0:
		return Authorization{}, &VerifyError{Reason: NoCredential, detail: "there is no Authorization field"}
	case len(fields) > 1:
		return Authorization{}, &VerifyError{Reason: Malformed, detail: "there is more than one Authorization field"}
	}
	a, err := ParseAuthorization(fields[0])
	if err != nil {
		return Authorization{}, &VerifyError{Reason: Malformed, detail: err.Error()}
	}
	algorithm, offered := v.offered(a.Algorithm)
	mismatch := ""
	switch {
	case !offered:
		mismatch = "the credential is of an algorithm that was not offered"
	case a.Realm != v.Realm:
		mismatch = "the credential is for another realm"
	case a.URI != r.RequestURI:
		mismatch = "the credential is for another request target"
	}
	if mismatch != "" {
		return Authorization{}, &VerifyError{Reason: Mismatched, Username: a.Username, detail: mismatch}
	}
	alg, _ := algorithmOf(algorithm)
	ha1, known := v.HA1(a.Username, algorithm)
	if !known {
		ha1 = noHA1[alg] // so that an unknown user takes as long as a known one
	}
	var space [64]byte
	response := alg.appendResponse(space[:0], ha1, a.Nonce, a.nc, a.CNonce, r.Method, a.URI)
	right := subtle.ConstantTimeCompare(response, []byte(a.Response)) == 1
	if !right || !known {
		return Authorization{}, &VerifyError{Reason: WrongCredential, Username: a.Username, detail: "the user is unknown or the response is wrong"}
	}
	if verdict := v.CheckNonce(a.Nonce, a.NC); verdict != NonceGood {
		return Authorization{}, &VerifyError{Reason: BadNonce, Nonce: verdict, Username: a.Username, detail: "the nonce is " + verdict.String()}
	}
	return a, nil
}

// offered returns the offered algorithm of that name, as it is spelled in v.
func (v Verifier) offered(name string) (string, bool) {
	if name == "" {
		name = MD5
	}
	if len(v.Algorithms) == 0 {
		return MD5, strings.EqualFold(name, MD5)
	}
	i := slices.IndexFunc(v.Algorithms, func(a string) bool { return strings.EqualFold(a, name) })
	if i < 0 {
		return "", false
	}
	return v.Algorithms[i], true
}

// noHA1 has values of the right length that are the HA1 of no password.
var noHA1 = [...]secret.Secret{
	algMD5:       secret.New(strings.Repeat("0", algMD5.hexLen())),
	algSHA256:    secret.New(strings.Repeat("0", algSHA256.hexLen())),
	algSHA512256: secret.New(strings.Repeat("0", algSHA512256.hexLen())),
}
