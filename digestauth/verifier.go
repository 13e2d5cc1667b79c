package digestauth

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"

	"atlas-export-gateway/secret"
)

// A Verifier checks the Digest credentials of requests that a server received. It has no state of its own and may be
// built for a single request.
type Verifier struct {
	// Realm that the credential must be for.
	Realm string
	// Algorithms that were offered, of those that [HA1] accepts. Empty means MD5 alone.
	Algorithms []string
	// HA1 returns what the function [HA1] gives for this user, this algorithm (spelled as in Algorithms) and the realm; false for
	// a user that nobody knows. Required.
	HA1 func(username, algorithm string) (secret.Secret, bool)
	// CheckNonce judges the nonce and its count; called only when the response was right. Required. See [Nonces.Check].
	CheckNonce func(nonce string, nc uint32) NonceVerdict
}

// A Reason is why a request was not let in.
type Reason uint8

// The reasons.
const (
	// NoCredential: the request has no Authorization field.
	NoCredential Reason = iota + 1
	// Malformed: there are several fields, or one that [ParseAuthorization] refuses.
	Malformed
	// Mismatched: the credential is for another realm or request target, or of an algorithm that was not offered.
	Mismatched
	// WrongCredential: nobody knows the user, or the response is wrong. Which of the two is not told.
	WrongCredential
	// BadNonce: the credential is right, its nonce or count is not.
	BadNonce
)

// A VerifyError says why a request was not let in. The answer to each of them is a 401 with a new challenge.
// Of what the client sent, its text holds names of parameters at most.
type VerifyError struct {
	Reason Reason
	// Nonce is the verdict on the nonce, for BadNonce.
	Nonce NonceVerdict

	detail string
}

func (e *VerifyError) Error() string { return "digestauth: " + e.detail }

// Stale reports whether the challenge that answers may say stale=true: the client knows the key and only needs a new nonce
// (RFC 7616, section 3.3).
func (e *VerifyError) Stale() bool { return e.Reason == BadNonce }

// Verify returns the credential of r when it is one that the server accepts for this very request; otherwise the error is a
// *[VerifyError]. What is compared with the credential's uri is r.RequestURI, byte by byte. It reads nothing of the content.
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
	switch {
	case !offered:
		return Authorization{}, &VerifyError{Reason: Mismatched, detail: "the credential is of an algorithm that was not offered"}
	case a.Realm != v.Realm:
		return Authorization{}, &VerifyError{Reason: Mismatched, detail: "the credential is for another realm"}
	case a.URI != r.RequestURI:
		return Authorization{}, &VerifyError{Reason: Mismatched, detail: "the credential is for another request target"}
	}
	alg, _ := algorithmOf(algorithm)
	ha1, known := v.HA1(a.Username, algorithm)
	if !known {
		ha1 = nobody(alg) // the same work as for somebody
	}
	var space [64]byte
	response := alg.appendResponse(space[:0], ha1, a.Nonce, a.nc, a.CNonce, r.Method, a.URI)
	right := subtle.ConstantTimeCompare(response, []byte(a.Response)) == 1
	if !right || !known {
		return Authorization{}, &VerifyError{Reason: WrongCredential, detail: "the user is unknown or the response is wrong"}
	}
	if verdict := v.CheckNonce(a.Nonce, a.NC); verdict != NonceGood {
		return Authorization{}, &VerifyError{Reason: BadNonce, Nonce: verdict, detail: "the nonce is " + verdict.String()}
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

// nobody returns an HA1 of the right length that belongs to no password.
func nobody(a algorithm) secret.Secret { return nobodies[a] }

var nobodies = [...]secret.Secret{
	algMD5:       secret.New(strings.Repeat("0", algMD5.hexLen())),
	algSHA256:    secret.New(strings.Repeat("0", algSHA256.hexLen())),
	algSHA512256: secret.New(strings.Repeat("0", algSHA512256.hexLen())),
}
