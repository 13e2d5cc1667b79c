package client

import (
	"net/http"
	"time"
)

// AtlasURL is where Atlas is.
const AtlasURL = "https://cloud.mongodb.com"

// Config says whom a [Client] calls, as whom, and within which bounds. Its zero value
// lacks a credential, which Atlas wants.
type Config struct {
	// BaseURL is the origin of Atlas or of a gateway, such as
	// "https://gateway.example.com:8443". Empty means AtlasURL.
	BaseURL string
	// Credential is whom to call as. The zero Credential is none, for a gateway that lets
	// anonymous callers in.
	Credential Credential

	// Transport sends the requests, below the credential. Nil means an http.Transport of
	// the Client's own that uses no proxy.
	Transport http.RoundTripper
	// UserAgent is sent as it is. Empty means "atlas-export-gateway-client".
	UserAgent string
	// BeforeSend, if not nil, is called with each request once it is checked and built,
	// before it is signed. An error ends the call: nothing is sent, and errors.Is finds the
	// error in what the call returns. GetBody gives the content. It may be called from
	// several goroutines.
	BeforeSend func(*http.Request) error

	// Timeout is for how long one answer is waited for; 0 means 75 s, which is longer than
	// a gateway waits for Atlas.
	Timeout time.Duration
	// MaxRetries is how often a read, an update or a deletion is sent again; 0 means 4, and
	// less than 0 never.
	MaxRetries int
	// MaxResponse is, in bytes, the largest content of a response; 0 means 8 MiB.
	MaxResponse int64
}

// Credential is whom a [Client] calls as. Make one with [APIKey], [ServiceAccount] or
// [BearerToken]; the zero Credential is none. It prints as REDACTED.
type Credential struct{}

// APIKey is the key pair of an Atlas API key, or one that a gateway issued. It signs with
// HTTP Digest.
func APIKey(publicKey, privateKey string) Credential { return Credential{} }

// ServiceAccount is the id and secret of an Atlas service account, or of one that a gateway
// issued. The Client fetches tokens from /api/oauth/token of [Config.BaseURL].
func ServiceAccount(clientID, clientSecret string) Credential { return Credential{} }

// BearerToken is a token that a gateway issued, or an access token of Atlas. It is sent as
// it is.
func BearerToken(token string) Credential { return Credential{} }

// FromEnv reads a Config from the environment of the process; see [FromEnviron].
func FromEnv() (Config, error) { return Config{}, nil }

// FromEnviron reads a Config from variables in the form of os.Environ, by the names that
// users of Atlas's own tools have. Variables that are empty count as not set.
//
//   - MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, the Atlas CLI's, or
//     MONGODB_ATLAS_PUBLIC_KEY and MONGODB_ATLAS_PRIVATE_KEY, Terraform's: an API key
//   - MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET: a service account
//   - MONGODB_ATLAS_BASE_URL or MONGODB_ATLAS_OPS_MANAGER_URL: Config.BaseURL
//
// None of a credential's is no error. Half of one is, and so are two credentials or base
// URLs that differ: which of them was meant can't be told.
func FromEnviron(environ []string) (Config, error) { return Config{}, nil }

// New checks the configuration and builds a Client from it. It sends nothing.
func New(c Config) (*Client, error) { return nil, nil }
