package callers

// A Form is how a caller proved who it is.
type Form string

// The forms.
const (
	Digest       Form = "digest"
	Basic        Form = "basic"
	StaticToken  Form = "static_token"
	AccessToken  Form = "access_token"  // of a service account
	ClientSecret Form = "client_secret" // of a service account, at the token endpoint
	// ClientAssertion is a token of an issuer that proves a service account at the token endpoint.
	ClientAssertion Form = "client_assertion"
	JWT             Form = "jwt"         // of an issuer of the configuration
	Certificate     Form = "certificate" // of the connection, without an Authorization field
	AnonymousForm   Form = "anonymous"   // not at all: see [Anonymous]
)

// A Caller is who sent a request. It holds no secret.
type Caller struct {
	// Name is the name of the caller's entry.
	Name string
	// Form is how the caller proved who it is.
	Form Form
	// Key is the key that the caller used: the public key, the client id, the first eight digits of a
	// static token's hash, the name of an issuer, a colon and the sub of its token, as it may be
	// printed, of some 130 bytes at most, or the first 100 bytes of the certificate's name, in
	// printable ASCII. Empty for an anonymous caller.
	Key string

	anonymous bool
	key       *key // that it was proved by; nil for an anonymous caller
}

// Anonymous returns the Caller of a request that needs no key. No name and no key of a configured
// caller makes a Caller anonymous, even if the name is "anonymous".
func Anonymous() Caller { return Caller{Name: "anonymous", Form: AnonymousForm, anonymous: true} }

// IsAnonymous reports whether c comes from [Anonymous].
func (c Caller) IsAnonymous() bool { return c.anonymous }
