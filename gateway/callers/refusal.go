package callers

import "atlas-export-gateway/gateway/callers/issuers"

// A Reason is why a request was not let in, as one word for logs and metrics.
type Reason string

// The reasons.
const (
	// NoCredential: the request has no Authorization field. Many clients send their first try so.
	NoCredential Reason = "no_credential"
	// Malformed: there are several fields, or the field is not a credential.
	Malformed Reason = "malformed"
	// Mismatched: a Digest credential for another realm, request target or algorithm.
	Mismatched Reason = "mismatched"
	// WrongCredential: nobody has the key, or the secret is wrong. The two are not told apart.
	WrongCredential Reason = "wrong_credential"
	// NotPrivate: a secret that came over a connection that others can listen to.
	NotPrivate Reason = "not_private"
	// NonceUnknown: a nonce that was not signed with one of our keys, or one so old that its counts
	// may have been forgotten.
	NonceUnknown Reason = "nonce_unknown"
	// NonceExpired: a nonce beyond its lifetime.
	NonceExpired Reason = "nonce_expired"
	// Replayed: a count of a nonce that was used before, or that is too far behind to tell.
	Replayed Reason = "replayed"
	// TokenExpired: an access token of ours beyond its lifetime, or a token of an issuer beyond its
	// exp.
	TokenExpired Reason = "token_expired"
	// TokenRevoked: an access token of ours that was revoked here.
	TokenRevoked Reason = "token_revoked"
	// KeyExpired: the secret is right, and the key's not_after has passed.
	KeyExpired Reason = "key_expired"
	// KeyDisabled: the secret is right, and the key or its caller is disabled.
	KeyDisabled Reason = "key_disabled"
	// SourceNetwork: the secret is right, and the request comes from none of the caller's
	// source_networks.
	SourceNetwork Reason = "source_network"
	// TokenNotYetValid: a token of an issuer whose nbf or iat is in the future.
	TokenNotYetValid = Reason(issuers.NotYetValid)
	// WrongIssuer: a token with an iss that no issuer of the configuration has.
	WrongIssuer = Reason(issuers.WrongIssuer)
	// WrongAudience: a token of an issuer that is for others.
	WrongAudience = Reason(issuers.WrongAudience)
	// WrongAlgorithm: a token signed by an algorithm that is not the issuer's, such as none or HS256.
	WrongAlgorithm = Reason(issuers.WrongAlgorithm)
	// WrongType and WrongParty: a token whose typ or azp is not one of the issuer's.
	WrongType  = Reason(issuers.WrongType)
	WrongParty = Reason(issuers.WrongParty)
	// WrongLifetime: a token of an issuer without exp, or one that is good for too long.
	WrongLifetime = Reason(issuers.WrongLifetime)
	// WrongKey: a token that names a key of its issuer's that is weak or for another use.
	WrongKey = Reason(issuers.WrongKey)
	// WrongSignature: a token that the key that it names has not signed.
	WrongSignature = Reason(issuers.WrongSignature)
	// UnknownKey: a token that names a key that its issuer does not have.
	UnknownKey = Reason(issuers.UnknownKey)
	// IssuerUnavailable: a token of an issuer whose keys could not be fetched.
	IssuerUnavailable = Reason(issuers.Unavailable)
	// NoCaller: a token of an issuer that is good, and that no caller's claims match.
	NoCaller Reason = "no_caller"
	// CertificateUnknown: a client certificate that is trusted, and no caller's.
	CertificateUnknown Reason = "certificate_unknown"
	// CertificateMalformed: the same, and the certificate has several URIs, or a broken SPIFFE id.
	CertificateMalformed Reason = "certificate_malformed"
	// CertificateExpired: a client certificate that has expired since the handshake.
	CertificateExpired Reason = "certificate_expired"
	// CertificateUntrusted: a client certificate whose authority was removed since the handshake.
	CertificateUntrusted Reason = "certificate_untrusted"
	// CertificateRequired: the connection has no client certificate, and the listener requires one,
	// or a token is asked for that would be bound to it.
	CertificateRequired Reason = "certificate_required"
	// CertificateMismatch: an access token of ours that is bound to another client certificate than
	// that of the connection, or that is not bound and would have to be.
	CertificateMismatch Reason = "certificate_mismatch"
	// TooMany: more requests to the token endpoint than a minute allows.
	TooMany Reason = "too_many"
	// InvalidRequest: the token endpoint's form is wrong.
	InvalidRequest Reason = "invalid_request"
	// Unavailable: no more revocations can be remembered.
	Unavailable Reason = "unavailable"
)

// A Refusal is the error of a request that is not let in. It holds nothing that the client
// sent, except for Tried, so it can be logged as it is.
type Refusal struct {
	// Challenge has the WWW-Authenticate values of the 401 that answers. There is one, since Atlas's
	// clients read only the first. Empty from the token endpoint, which has answered already.
	Challenge []string
	Reason    Reason
	// Tried is the public key or client id that was shown, right or wrong: one of a caller, or a text
	// in the form of one (see [secret.ShowID]). It is "other" for any other text, which may be a
	// secret, and empty where none was shown, or only a token that nobody knows. Of a token of an
	// issuer it is the issuer's name, and of a client certificate that is nobody's a name in it, cut
	// as in [Caller]. Where the secret is right or the token is good, and it is refused nevertheless,
	// it is the Key of the Caller.
	Tried string

	detail string
}

// Error says why, in one sentence.
func (r *Refusal) Error() string { return "callers: " + r.detail }
