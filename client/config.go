package client

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/outbound"
)

// AtlasURL is where Atlas is.
const AtlasURL = "https://cloud.mongodb.com"

// Keys says which keys of creates a gateway keeps. Its values are those of creates.keys in the
// gateway's configuration.
type Keys string

// The values of Keys.
const (
	// NoKeys: none is kept, as at Atlas itself and at a gateway whose creates.journal is off.
	NoKeys Keys = ""
	// DerivedKeys: the gateway derives a key from each create that bears none. An export without a
	// key of its own then is the same as any other with its group, cluster, snapshot, bucket and
	// custom data, also of another process: CreateExport returns the job that there is.
	DerivedKeys Keys = "derived"
	// ExplicitKeys: the gateway keeps the keys that creates bear. A create without a key of its own
	// gets one that is made up for the call.
	ExplicitKeys Keys = "explicit"
	// RequiredKeys: as ExplicitKeys, and the gateway takes no create without a key.
	RequiredKeys Keys = "required"
)

// Config says what a [Client] calls, with which credential, and within which bounds. The zero
// value lacks a credential, which Atlas requires.
type Config struct {
	// BaseURL is the origin of Atlas or of a gateway, such as
	// "https://gateway.example.com:8443". Empty means AtlasURL.
	BaseURL string
	// Credential is the credential of each request. The zero Credential is none, for a gateway
	// that admits anonymous callers.
	Credential Credential

	// Transport sends the requests, with the credential already added. Nil means an
	// http.Transport that uses no proxy and sends each create on a new connection.
	Transport http.RoundTripper
	// RootCAs are the certificate authorities that a server's certificate must come from; nil
	// means those of the system. It is an error to set both RootCAs and Transport.
	RootCAs *x509.CertPool
	// ClientCertificate, if not nil, returns the certificate to show to a server that asks for one.
	// It is called for each new connection, so that it may return another one each time; see
	// [CertificateFiles]. A gateway takes it in the place of a Credential where there is none. It is
	// an error to set both ClientCertificate and Transport, or to call a server without TLS.
	ClientCertificate func() (*tls.Certificate, error)
	// UserAgent is the value of User-Agent. Empty means "atlas-export-gateway-client".
	UserAgent string
	// BeforeSend, if not nil, is called with each request after it is checked and built and
	// before it is signed; also with each retry. If it returns an error, the call ends: nothing
	// is sent, and errors.Is finds the error in what the call returns. GetBody returns the
	// content. BeforeSend may be called from several goroutines.
	BeforeSend func(*http.Request) error

	// Timeout bounds the wait for one answer; 0 means 75 s, which is longer than a gateway
	// waits for Atlas.
	Timeout time.Duration
	// KeepsKeys says that BaseURL is a gateway that keeps the keys of creates, and which: it is what
	// creates.keys is in the gateway's configuration. A create is then repeated with the same key,
	// until the context ends, as long as it is not known what became of it: the gateway sends it to
	// Atlas once. Empty means [NoKeys]: a create is sent once, as it has to be at Atlas itself.
	KeepsKeys Keys
	// BeforeRepeat, if not nil, is called before a pause after which a create is repeated, with what
	// went wrong. It may be called from several goroutines.
	BeforeRepeat func(err error, pause time.Duration)
	// MaxRetries is how often a read, an update or a deletion is sent again, and with KeepsKeys also
	// a create that did not reach Atlas; 0 means 4, and a negative number means never.
	MaxRetries int
	// MaxResponse bounds the content of a response, in bytes; 0 means 8 MiB.
	MaxResponse int64
}

// New checks the configuration and builds a Client from it. It sends nothing.
func New(c Config) (*Client, error) {
	fail := func(err error) (*Client, error) { return nil, fmt.Errorf("client: %w", err) }
	base := cmp.Or(c.BaseURL, AtlasURL)
	origin, err := outbound.ParseOrigin(base)
	if err != nil {
		return fail(fmt.Errorf("BaseURL %w", err))
	}
	u := origin.URL()
	switch {
	case c.Timeout < 0 || c.MaxResponse < 0:
		return fail(errors.New("a bound is negative"))
	case !slices.Contains([]Keys{NoKeys, DerivedKeys, ExplicitKeys, RequiredKeys}, c.KeepsKeys):
		return fail(fmt.Errorf("KeepsKeys is %q", c.KeepsKeys))
	case c.KeepsKeys != NoKeys && hosts.Atlas(u.Hostname()):
		return fail(errors.New("KeepsKeys is for a gateway: Atlas takes no keys"))
	case c.Transport != nil && c.RootCAs != nil:
		return fail(errors.New("RootCAs is not for a Transport of the caller's own"))
	case c.Transport != nil && c.ClientCertificate != nil:
		return fail(errors.New("ClientCertificate is not for a Transport of the caller's own"))
	case u.Scheme == "http" && c.ClientCertificate != nil:
		return fail(errors.New("ClientCertificate needs https: nobody asks for it otherwise"))
	case c.Credential.kind == noCredential && u.Hostname() == "cloud.mongodb.com":
		return fail(errors.New("a credential is required at Atlas"))
	// Digest never sends the secret. The other kinds of credentials do.
	case u.Scheme == "http" && c.Credential.kind != apiKey && c.Credential.kind != noCredential && !hosts.Loopback(u.Hostname()):
		return fail(fmt.Errorf("the %s would be sent in the clear; use https", c.Credential.kind))
	}
	if err := c.Credential.check(); err != nil {
		return fail(err)
	}
	shared := &caller{
		origin:      origin,
		secret:      c.Credential.secret,
		userAgent:   cmp.Or(c.UserAgent, "atlas-export-gateway-client"),
		beforeSend:  c.BeforeSend,
		timeout:     cmp.Or(c.Timeout, 75*time.Second),
		maxRetries:  max(cmp.Or(c.MaxRetries, 4), 0),
		maxResponse: cmp.Or(c.MaxResponse, 8<<20),
		keys:        c.KeepsKeys,

		beforeRepeat: c.BeforeRepeat,
	}
	shared.useTransport(c.Transport, c.RootCAs, c.ClientCertificate)
	if err := shared.useCredential(c.Credential); err != nil {
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
