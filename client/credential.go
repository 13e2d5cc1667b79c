package client

import (
	"fmt"
	"strings"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/secret"
)

// Credential is the credential of a [Client]. [APIKey], [ServiceAccount], [BearerToken] and
// [TokenFrom] make one; the zero Credential is none. It prints without its secret.
type Credential struct {
	kind   credentialKind
	name   string
	secret secret.Secret
	source *bearertoken.Source // in the place of the secret
}

type credentialKind string

const (
	noCredential   credentialKind = ""
	apiKey         credentialKind = "API key"
	serviceAccount credentialKind = "service account"
	bearerToken    credentialKind = "bearer token"
)

// APIKey returns the credential for the key pair of an Atlas API key, or for one that a
// gateway issued. It signs requests with HTTP Digest (RFC 7616).
func APIKey(publicKey, privateKey string) Credential {
	return Credential{kind: apiKey, name: publicKey, secret: secret.New(privateKey)}
}

// ServiceAccount returns the credential for the id and secret of an Atlas service account, or
// of one that a gateway issued. The Client fetches tokens from /api/oauth/token of
// [Config.BaseURL].
func ServiceAccount(clientID, clientSecret string) Credential {
	return Credential{kind: serviceAccount, name: clientID, secret: secret.New(clientSecret)}
}

// BearerToken returns the credential for a token that a gateway issued, or for an access token
// of Atlas. The token is sent as it is.
func BearerToken(token string) Credential {
	return Credential{kind: bearerToken, secret: secret.New(token)}
}

// TokenFrom returns the credential for bearer tokens that are replaced while the program runs:
// those in a [bearertoken.File], or those that a [bearertoken.Command] prints. A token that is
// refused is read anew, and the request is sent once more where the source has another one.
func TokenFrom(source *bearertoken.Source) Credential {
	return Credential{kind: bearerToken, name: source.String(), source: source}
}

// String names the credential without its secret.
func (c Credential) String() string {
	switch c.kind {
	case noCredential:
		return "no credential"
	case bearerToken:
		if c.source == nil {
			return string(c.kind)
		}
		return string(c.kind) + " from " + c.name
	default:
		return string(c.kind) + " " + c.name
	}
}

func (c Credential) equal(d Credential) bool {
	return c.kind == d.kind && c.name == d.name && c.source == d.source && c.secret.Equal(d.secret)
}

// check refuses what can't be sent as a credential. Its errors do not quote it.
func (c Credential) check() error {
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case c.kind == noCredential, c.source != nil:
		return nil
	case c.name == "" && c.kind != bearerToken || c.secret.IsZero():
		return fmt.Errorf("the %s is not whole", c.kind)
	case strings.ContainsFunc(c.name, unprintable) || strings.ContainsFunc(c.secret.Reveal(), unprintable):
		return fmt.Errorf("the %s holds white space or characters that are not ASCII", c.kind)
	}
	return nil
}
