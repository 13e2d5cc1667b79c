package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
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
	// the Client's own, which uses no proxy and sends each create on a connection of its own.
	Transport http.RoundTripper
	// UserAgent is sent as it is. Empty means "atlas-export-gateway-client".
	UserAgent string
	// BeforeSend, if not nil, is called with each request once it is checked and built,
	// before it is signed, and again for each retry. An error ends the call: nothing is
	// sent, and errors.Is finds the error in what the call returns. GetBody gives the
	// content. BeforeSend may be called from several goroutines.
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
// [BearerToken]; the zero Credential is none. It prints without its secret.
type Credential struct {
	kind   credentialKind
	name   string
	secret secret.Secret
}

type credentialKind string

const (
	noCredential   credentialKind = ""
	apiKey         credentialKind = "API key"
	serviceAccount credentialKind = "service account"
	bearerToken    credentialKind = "bearer token"
)

// APIKey is the key pair of an Atlas API key, or one that a gateway issued. It signs with
// HTTP Digest.
func APIKey(publicKey, privateKey string) Credential {
	return Credential{apiKey, publicKey, secret.New(privateKey)}
}

// ServiceAccount is the id and secret of an Atlas service account, or of one that a gateway
// issued. The Client fetches tokens from /api/oauth/token of [Config.BaseURL].
func ServiceAccount(clientID, clientSecret string) Credential {
	return Credential{serviceAccount, clientID, secret.New(clientSecret)}
}

// BearerToken is a token that a gateway issued, or an access token of Atlas. It is sent as
// it is.
func BearerToken(token string) Credential {
	return Credential{bearerToken, "", secret.New(token)}
}

// String names the credential without its secret.
func (c Credential) String() string {
	switch c.kind {
	case noCredential:
		return "no credential"
	case bearerToken:
		return string(c.kind)
	default:
		return string(c.kind) + " " + c.name
	}
}

func (c Credential) equal(d Credential) bool {
	return c.kind == d.kind && c.name == d.name && c.secret.Equal(d.secret)
}

// check refuses what can't be sent as a credential, without quoting it.
func (c Credential) check() error {
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case c.kind == noCredential:
		return nil
	case c.name == "" && c.kind != bearerToken || c.secret.IsZero():
		return fmt.Errorf("the %s is not whole", c.kind)
	case strings.ContainsFunc(c.name, unprintable) || strings.ContainsFunc(c.secret.Reveal(), unprintable):
		return fmt.Errorf("the %s holds white space or characters that are not ASCII", c.kind)
	}
	return nil
}

// New checks the configuration and builds a Client from it. It sends nothing.
func New(c Config) (*Client, error) {
	fail := func(err error) (*Client, error) { return nil, fmt.Errorf("client: %w", err) }
	base := cmp.Or(c.BaseURL, AtlasURL)
	origin, err := outbound.ParseOrigin(base)
	if err != nil {
		return fail(fmt.Errorf("BaseURL: %w", err))
	}
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return fail(errors.New("BaseURL is not a URL"))
	case c.Timeout < 0 || c.MaxResponse < 0:
		return fail(errors.New("a bound is negative"))
	case c.Credential.kind == noCredential && u.Hostname() == "cloud.mongodb.com":
		return fail(errors.New("a credential is required at Atlas"))
	// Digest never sends its secret, the others do.
	case u.Scheme == "http" && c.Credential.kind != apiKey && c.Credential.kind != noCredential && !loopback(u.Hostname()):
		return fail(fmt.Errorf("the %s would be sent in the clear; use https", c.Credential.kind))
	}
	if err := c.Credential.check(); err != nil {
		return fail(err)
	}
	shared := &caller{
		origin:      origin,
		base:        c.Transport,
		secret:      c.Credential.secret,
		userAgent:   cmp.Or(c.UserAgent, "atlas-export-gateway-client"),
		beforeSend:  c.BeforeSend,
		timeout:     cmp.Or(c.Timeout, 75*time.Second),
		maxRetries:  max(cmp.Or(c.MaxRetries, 4), 0),
		maxResponse: cmp.Or(c.MaxResponse, 8<<20),
	}
	shared.alone = shared.base
	if shared.base == nil {
		shared.base = defaultTransport()
		// A connection that was used before may have been closed, or hold an answer that nobody
		// asked for, which net/http takes for that to the next request.
		alone := defaultTransport()
		alone.DisableKeepAlives = true
		shared.alone = alone
	}
	if err := shared.sign(c.Credential); err != nil {
		return fail(err)
	}
	v2, err := shared.generated(u, acceptV2)
	if err != nil {
		return fail(err)
	}
	v1, err := shared.generated(u, acceptV1)
	if err != nil {
		return fail(err)
	}
	return &Client{shared, v2, &V1{shared, v1}}, nil
}

// defaultTransport is built from nothing, so that neither the environment nor a changed
// http.DefaultTransport sends a credential through a proxy.
func defaultTransport() *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        30 * time.Second, // less than servers keep them
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sign puts the transport that adds the credential in front of the base.
func (c *caller) sign(credential Credential) error {
	base := roundTripper(c.carry)
	switch credential.kind {
	case apiKey:
		t, err := digestauth.NewTransport(digestauth.Config{
			Origin: c.origin.String(),
			Base:   base,
			Credential: func(context.Context) (digestauth.Credential, error) {
				return digestauth.Credential{Username: credential.name, Password: credential.secret}, nil
			},
			Authenticated: authenticated,
		})
		c.signed, c.explain = t, t.Explain
		return err
	case serviceAccount:
		t, err := serviceaccount.NewTransport(serviceaccount.Config{
			Origin: c.origin.String(),
			Base:   base,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				return serviceaccount.Credential{ClientID: credential.name, ClientSecret: credential.secret}, nil
			},
			Authenticated: authenticated,
		})
		c.signed, c.explain = t, t.Explain
		return err
	default:
		c.signed = &plain{origin: c.origin, base: base}
		if credential.kind == bearerToken {
			c.signed = &plain{origin: c.origin, base: base, authorization: []string{"Bearer " + credential.secret.Reveal()}}
		}
		c.explain = func(*http.Response) error { return nil }
		return nil
	}
}

// generated returns the generated client that sends through c and accepts one version.
func (c *caller) generated(base *url.URL, accept string) (*gen.Client, error) {
	header := []string{accept}
	return gen.NewClient(base.String(), gen.WithHTTPClient(c), gen.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header["Accept"] = header
		r.Header.Set("User-Agent", c.userAgent)
		if c.beforeSend == nil {
			return nil
		}
		if err := c.beforeSend(r); err != nil {
			return &stopped{err}
		}
		return nil
	}))
}

// The variables of an API key, of a service account, of a token and of the base URL.
var (
	keyVariables = [][2]string{
		{"MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"},
		{"MONGODB_ATLAS_PUBLIC_KEY", "MONGODB_ATLAS_PRIVATE_KEY"},
	}
	accountVariables = [2]string{"MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"}
	tokenVariable    = "MONGODB_ATLAS_ACCESS_TOKEN"
	urlVariables     = [2]string{"MONGODB_ATLAS_BASE_URL", "MONGODB_ATLAS_OPS_MANAGER_URL"}
)

// FromEnviron reads a Config from variables in the form of os.Environ, by the names that
// users of Atlas's own tools have. Variables that are empty count as not set.
//
//   - MONGODB_ATLAS_PUBLIC_API_KEY and MONGODB_ATLAS_PRIVATE_API_KEY, the Atlas CLI's, or
//     MONGODB_ATLAS_PUBLIC_KEY and MONGODB_ATLAS_PRIVATE_KEY, Terraform's: an API key
//   - MONGODB_ATLAS_CLIENT_ID and MONGODB_ATLAS_CLIENT_SECRET: a service account
//   - MONGODB_ATLAS_ACCESS_TOKEN: a bearer token
//   - MONGODB_ATLAS_BASE_URL or MONGODB_ATLAS_OPS_MANAGER_URL: Config.BaseURL
//
// To set none of a credential's is no error. Half of one is, and so are two credentials or
// base URLs that differ: which of them was meant can't be told.
func FromEnviron(environ []string) (Config, error) {
	var c Config
	from := "" // the variable that the credential came from
	take := func(names [2]string, credential func(name, secret string) Credential) error {
		name, secret := lookup(environ, names[0]), lookup(environ, names[1])
		switch found := credential(name, secret); {
		case name == "" && secret == "":
			return nil
		case secret == "":
			return fmt.Errorf("client: %s is set, and %s is not", names[0], names[1])
		case name == "":
			return fmt.Errorf("client: %s is set, and %s is not", names[1], names[0])
		case from != "" && !found.equal(c.Credential):
			return fmt.Errorf("client: %s and %s are of two different credentials; unset one", from, names[0])
		case from == "":
			c.Credential, from = found, names[0]
		}
		return nil
	}
	for _, names := range keyVariables {
		if err := take(names, APIKey); err != nil {
			return Config{}, err
		}
	}
	if err := take(accountVariables, ServiceAccount); err != nil {
		return Config{}, err
	}
	if token := lookup(environ, tokenVariable); token != "" {
		if from != "" {
			return Config{}, fmt.Errorf("client: %s and %s are of two different credentials; unset one", from, tokenVariable)
		}
		c.Credential = BearerToken(token)
	}
	first, second := strings.TrimSuffix(lookup(environ, urlVariables[0]), "/"), strings.TrimSuffix(lookup(environ, urlVariables[1]), "/")
	if first != "" && second != "" && first != second {
		return Config{}, fmt.Errorf("client: %s and %s differ; unset one", urlVariables[0], urlVariables[1])
	}
	c.BaseURL = cmp.Or(first, second)
	return c, nil
}

// lookup returns the value of a variable. The last counts, as with os.Environ in os/exec.
func lookup(environ []string, name string) string {
	for _, variable := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}
