package callers

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
	// TokenExpired: an access token of ours beyond its lifetime.
	TokenExpired Reason = "token_expired"
	// TokenRevoked: an access token of ours that was revoked here.
	TokenRevoked Reason = "token_revoked"
	// KeyExpired: the secret is right, and the key's not_after has passed.
	KeyExpired Reason = "key_expired"
	// KeyDisabled: the secret is right, and the key or its caller is disabled.
	KeyDisabled Reason = "key_disabled"
	// SourceNetwork: the secret is right, and the connection comes from none of the caller's
	// source_networks.
	SourceNetwork Reason = "source_network"
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
	// secret, and empty where none was shown, or only a token that nobody has. Where the secret is right
	// and the key is refused nevertheless, it is the Key of the Caller.
	Tried string

	detail string
}

// Error says why, in one sentence.
func (r *Refusal) Error() string { return "callers: " + r.detail }
