package callers

import (
	"cmp"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/callers/issuers"
	"atlas-export-gateway/internal/strictyaml"
)

// DefaultRealm is the realm of Atlas's own challenges.
const DefaultRealm = "MMS Public API"

// Config says who may call and how the callers prove who they are.
type Config struct {
	Settings `yaml:",inline"`
	// Issuers are those whose tokens prove who calls.
	Issuers []issuers.Config `yaml:"issuers"`
	// List has an entry for each caller.
	List []Entry `yaml:"list"`
}

// Settings hold for all callers. The zero value of a setting means its default.
type Settings struct {
	// Realm is the realm of the challenges. The HA1 files must be made for it. Default
	// [DefaultRealm].
	Realm string `yaml:"realm"`
	// DigestAlgorithm is MD5 or SHA-256. Default MD5, which Atlas uses and which is the only one
	// that some clients know.
	DigestAlgorithm string `yaml:"digest_algorithm"`
	// SigningKeyFile holds the key that signs nonces and access tokens: at least 32 bytes in base64.
	// A second line may hold another key, whose signatures are accepted too. See [NewSigningKey].
	// Without a file a key is made up, where [Compile] is told that this is allowed.
	SigningKeyFile string `yaml:"signing_key_file"`
	// TokenLifetime is the lifetime of access tokens, from 1m to 24h. Default 1h.
	TokenLifetime time.Duration `yaml:"token_lifetime"`
	// NonceLifetime is the lifetime of Digest nonces, from 10s to 1h. Default 5m.
	NonceLifetime time.Duration `yaml:"nonce_lifetime"`
	// Attempts bound the use of the token and revoke endpoints.
	Attempts Attempts `yaml:"attempts"`
}

// Attempts are how many requests a minute the token and revoke endpoints answer in each process.
// Requests beyond that get 429. Requests with the right secret and requests with a wrong one are
// counted separately, so that nobody can lock a client out by trying its id. Each number is from 1
// to 1,000,000.
type Attempts struct {
	// PerClient is the number for one client id. Default 10, as at Atlas.
	PerClient int `yaml:"per_client"`
	// Overall is the number for all client ids together. Default 300.
	Overall int `yaml:"overall"`
}

// Entry is one caller: a name, and at least one key or identity. To rotate a key, add the new one
// and remove the old one later.
type Entry struct {
	// Name is the caller's name in policies and logs: up to 64 letters, digits, dots, hyphens and
	// underscores.
	Name string `yaml:"name"`
	// Disabled refuses all keys of the caller, and keeps the entry in the configuration.
	Disabled bool `yaml:"disabled,omitempty"`
	// SourceNetworks are the networks that the caller may call from, such as 10.1.0.0/16, 10.1.2.3/32
	// or 2001:db8::/48. They are compared with the address of the connection's other end, whatever
	// the header says. Without a list the caller may call from anywhere; an empty list is refused.
	SourceNetworks []string `yaml:"source_networks,omitempty"`
	// KeyPairs are for Digest and Basic.
	KeyPairs []KeyPair `yaml:"key_pairs,omitempty"`
	// Tokens are static bearer tokens.
	Tokens []Token `yaml:"tokens,omitempty"`
	// ServiceAccounts are for the token endpoint.
	ServiceAccounts []ServiceAccount `yaml:"service_accounts,omitempty"`
	// Identities are what tokens of issuers say of the caller.
	Identities []Identity `yaml:"identities,omitempty"`
	// Certificates are names in client certificates. A request without an Authorization field is of
	// the first caller of the list that has a name of the certificate. The authorities are
	// listener.client_ca_file.
	Certificates []CertificateName `yaml:"certificates,omitempty"`
}

// Identity is what a token says of a caller. The first identity that matches, in the order of the
// list, tells whose the token is.
type Identity struct {
	// Issuer is the name of one of the issuers.
	Issuer string `yaml:"issuer"`
	// Claims are what claims of the token must be, all of them. A name that begins with "/" is a JSON
	// pointer (RFC 6901) to a claim within others. A value is a text or a list, of which one must
	// match. In it * stands for any characters except "/", and ** for any characters. A claim that is
	// a list matches if one of its values does. Booleans and numbers are compared as the token writes
	// them: true, 42. At least one value must not consist of stars only.
	Claims map[string]strictyaml.Texts `yaml:"claims"`

	Validity `yaml:",inline"`
}

// CertificateName is a name in client certificates. Exactly one of its members is set.
type CertificateName struct {
	// URI is the URI in the subject alternative names, such as a SPIFFE id: scheme and host as they
	// are, then a path in which * stands for any run without a slash, and ** for any run. A
	// certificate with several URIs has none that counts.
	URI string `yaml:"uri,omitempty"`
	// DNS is a DNS name in the subject alternative names. *. at its beginning stands for one label.
	DNS string `yaml:"dns,omitempty"`
	// Subject is the whole subject as RFC 4514 writes it, such as CN=exporter,O=Acme.
	Subject string `yaml:"subject,omitempty"`

	Validity `yaml:",inline"`
}

// Validity says when a key may be used. Every kind of key has it. The zero value is always.
type Validity struct {
	// NotAfter is when the key ends, as in RFC 3339, such as 2027-01-31T18:00:00Z. A time that has
	// passed is accepted: the key is refused. So are the tokens that a service account got before.
	NotAfter string `yaml:"not_after,omitempty"`
	// Disabled refuses the key, and keeps it in the configuration.
	Disabled bool `yaml:"disabled,omitempty"`
}

// KeyPair is the part of a key pair that the gateway keeps. See [NewKeyPair].
type KeyPair struct {
	PublicKey string `yaml:"public_key"`
	// HA1File has a line for each digest algorithm, in the form of the program htdigest: the public
	// key, the realm and the hash, with colons between. The line for the configured algorithm is
	// required. Key and realm must be those of the configuration. Lines such as MD5:HASH, which do
	// not name them, are accepted and not compared. The content is a secret.
	HA1File string `yaml:"ha1_file"`

	Validity `yaml:",inline"`
}

// Token is the part of a static bearer token that the gateway keeps. See [NewToken].
type Token struct {
	// SHA256 is the hash of the token, in hexadecimal digits.
	SHA256 string `yaml:"sha256"`

	Validity `yaml:",inline"`
}

// ServiceAccount is the part of a service account that the gateway keeps. See [NewServiceAccount].
type ServiceAccount struct {
	ClientID string `yaml:"client_id"`
	// SecretSHA256 is the hash of the client secret, in hexadecimal digits. It may be left out where
	// the caller has identities: then the secret is a token of an issuer that proves this caller, as
	// client_assertion (RFC 7523, section 2.2) or in the place of the client secret. Such a token may
	// be used again until its exp.
	SecretSHA256 string `yaml:"secret_sha256,omitempty"`
	// BindCertificate binds the access tokens of the service account to the client certificate of
	// the connection on which they are issued (RFC 8705, section 3). It needs
	// listener.client_ca_file.
	BindCertificate bool `yaml:"bind_certificate,omitempty"`

	Validity `yaml:",inline"`
}

// fill sets what is zero to its default.
func (s *Settings) fill() {
	s.Realm = cmp.Or(s.Realm, DefaultRealm)
	s.DigestAlgorithm = cmp.Or(s.DigestAlgorithm, digestauth.MD5)
	s.TokenLifetime = cmp.Or(s.TokenLifetime, time.Hour)
	s.NonceLifetime = cmp.Or(s.NonceLifetime, 5*time.Minute)
	s.Attempts.PerClient = cmp.Or(s.Attempts.PerClient, 10)
	s.Attempts.Overall = cmp.Or(s.Attempts.Overall, 300)
}
