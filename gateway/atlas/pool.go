package atlas

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
)

// Config says which Atlas requests are sent to, and within which bounds.
type Config struct {
	// Origin is the scheme, host and port, such as "https://cloud.mongodb.com".
	Origin string
	// Realm, if not empty, is the only realm whose Digest challenges are answered.
	Realm string
	// Roots are the certificate authorities to trust; nil means the system's.
	Roots *x509.CertPool
	// MaxConnections bounds the connections, used or idle.
	MaxConnections int
	// MaxResponse bounds the content of a response, in bytes.
	MaxResponse int
	// Timeout is how long Atlas may take to answer, retries included.
	Timeout time.Duration
	// Credentials are tried in order: the first that is for the group signs.
	Credentials []Credential
}

// Credential is a credential for Atlas.
type Credential struct {
	// Name names the credential in errors, such as "upstream.credentials[0]".
	Name string
	// Groups are the ids of the groups that the credential is for, as patterns of path.Match.
	Groups []string
	// Place names the files or variables that hold the credential. Where two configurations have a
	// credential with the same Place, the later one is the earlier one, perhaps rotated.
	Place string
	// Account means a service account; otherwise the credential is an API key.
	Account bool
	// ID and Secret are the halves of the credential as they were when the configuration was read:
	// public and private key, or client id and client secret.
	ID     string
	Secret secret.Secret
	// Read reads both halves again, after Atlas has refused them. Its errors hold neither half.
	Read func() (id string, s secret.Secret, err error)
}

// replaced reports whether now, which has the same Place, is another credential. A new API key has
// two new halves. Where only one half is new, the other has not been written yet, and the old key
// stays.
func (c *Credential) replaced(now *Credential) bool {
	id, half := c.ID != now.ID, !c.Secret.Equal(now.Secret)
	if c.Account {
		return id || half
	}
	return id && half
}

// Pool owns what outlives a configuration: connections to Atlas, and signers with their nonces and
// tokens. It may be used from several goroutines.
type Pool struct {
	count func(status int)

	mu      sync.Mutex
	current *Upstream
}

// NewPool returns an empty Pool. It has count called after every request to Atlas, challenges and
// retries included, with the status that was answered, or 0 where there was no answer.
func NewPool(count func(status int)) *Pool { return &Pool{count: count} }

// Upstream returns an Upstream for a configuration. It takes over from the Upstream in force the
// connections and signers that the configuration does not change, and changes none of them.
func (p *Pool) Upstream(c Config) (*Upstream, error) {
	origin, err := outbound.ParseOrigin(c.Origin)
	if err != nil {
		return nil, fmt.Errorf("atlas: Origin %w", err)
	}
	u := &Upstream{config: c, base: origin.URL()}
	p.mu.Lock()
	defer p.mu.Unlock()
	var known []credential
	if p.current != nil && p.current.config.sameConnections(&c) {
		u.transport, known = p.current.transport, p.current.credentials
	} else if u.transport, err = p.connect(c); err != nil {
		return nil, err
	}
	for _, configured := range c.Credentials {
		signing := credential{Credential: configured}
		for _, k := range known {
			if k.Place == configured.Place && k.Account == configured.Account && !k.replaced(&configured) {
				signing.ID, signing.Secret, signing.signer = k.ID, k.Secret, k.signer
				break
			}
		}
		if signing.signer == nil {
			if signing.signer, err = u.sign(configured); err != nil {
				return nil, fmt.Errorf("%s: %w", configured.Name, err)
			}
		}
		u.credentials = append(u.credentials, signing)
	}
	return u, nil
}

// Keep tells the Pool that u is in force. Connections that u does not use are closed once no
// request uses them.
func (p *Pool) Keep(u *Upstream) {
	p.mu.Lock()
	before := p.current
	p.current = u
	p.mu.Unlock()
	if before != nil && before.transport != u.transport {
		before.transport.connections.Retire()
	}
}

// CloseIdleConnections closes the connections that no request uses.
func (p *Pool) CloseIdleConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		p.current.transport.connections.CloseIdleConnections()
	}
}

// sameConnections reports whether the connections and signers that were made for c can also serve
// other.
func (c *Config) sameConnections(other *Config) bool {
	return c.Origin == other.Origin && c.Realm == other.Realm && c.MaxConnections == other.MaxConnections && c.Roots.Equal(other.Roots)
}

// transport is what the signers send through: it counts requests, and names the errorCode of a 401
// in its header.
type transport struct {
	connections *http1.Transport
	count       func(status int)
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := outbound.NameCode(t.connections.RoundTrip(r))
	if err != nil {
		t.count(0)
		return nil, err
	}
	t.count(response.StatusCode)
	return response, nil
}

// quiet is how long a connection is left alone before a create, or another request that changes
// something, goes out on it. A response that nobody asked for is found if it comes within that
// time behind an answer, and not taken for the answer to the create.
const quiet = 5 * time.Millisecond

// connect prepares connections to Atlas and to nothing else. It uses no proxy, whatever the
// environment says: a proxy would see the credential.
func (p *Pool) connect(c Config) (*transport, error) {
	connections, err := http1.NewTransport(http1.Config{
		Origin:      c.Origin,
		TLS:         &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		Control:     refuseLinkLocal,
		DialTimeout: 10 * time.Second,
		// Servers keep idle connections longer. A create on a connection that was just closed
		// fails, since it is not sent again.
		IdleTimeout:    30 * time.Second,
		MaxConnections: c.MaxConnections,
		Quiet:          quiet,
		MaxHeader:      64 << 10,
		// A short list arrives with one read.
		ReadBuffer: 16 << 10,
	})
	if err != nil {
		return nil, err
	}
	return &transport{connections, p.count}, nil
}

// refuseLinkLocal keeps the credential from link-local addresses that the name of Atlas's host may
// resolve to.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	if host, _, err := net.SplitHostPort(address); err != nil || hosts.LinkLocal(host) {
		return fmt.Errorf("%s is a link-local address", address)
	}
	return nil
}

// sign returns the signer for a credential: Digest for an API key, a bearer token for a service
// account. The signer begins with the halves that the configuration was read with where they can't
// be read now, or where one half of an API key is still to come.
func (u *Upstream) sign(c Credential) (signer, error) {
	var begun atomic.Bool
	halves := func() (string, secret.Secret, error) {
		id, s, err := c.Read()
		if begun.CompareAndSwap(false, true) {
			now := Credential{ID: id, Secret: s, Account: c.Account}
			if err != nil || !c.replaced(&now) {
				return c.ID, c.Secret, nil
			}
		}
		return id, s, err
	}
	if c.Account {
		return serviceaccount.NewTransport(serviceaccount.Config{
			Origin: u.config.Origin,
			Base:   u.transport,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				id, s, err := halves()
				return serviceaccount.Credential{ClientID: id, ClientSecret: s}, err
			},
			Authenticated: outbound.Authenticated,
			Confirm:       u.confirm(),
		})
	}
	return digestauth.NewTransport(digestauth.Config{
		Origin: u.config.Origin,
		Realm:  u.config.Realm,
		Base:   u.transport,
		Credential: func(context.Context) (digestauth.Credential, error) {
			id, s, err := halves()
			return digestauth.Credential{Username: id, Password: s}, err
		},
		Authenticated: outbound.Authenticated,
		Confirm:       u.confirm(),
	})
}

// confirm returns the request that decides whether Atlas refuses a credential or only the requests
// of one caller: a list of the groups that the credential may read. Atlas answers it to a
// credential with any role.
func (u *Upstream) confirm() *http.Request {
	return &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: u.base.Scheme, Host: u.base.Host, Path: "/api/atlas/v2/groups", RawQuery: "itemsPerPage=1"},
		Header: http.Header{"Accept": {"application/vnd.atlas.2025-03-12+json"}, "User-Agent": userAgent},
	}
}
