package atlas

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
)

// Config says which Atlas requests are sent to, and within which bounds.
type Config struct {
	// Origin is the scheme, host and port, such as "https://cloud.mongodb.com".
	Origin string
	// Realm, if not empty, is the only realm whose Digest challenges are answered.
	Realm string
	// Roots are the certificate authorities to trust; nil means the system's.
	Roots *x509.CertPool
	// Proxy, if not nil, is the proxy that Atlas is reached through.
	Proxy *Proxy
	// MaxConnections bounds the connections, used or idle.
	MaxConnections int
	// MaxResponse bounds the content of a response, in bytes.
	MaxResponse int
	// Timeout is how long Atlas may take to answer, retries included.
	Timeout time.Duration
	// Credentials are tried in order: the first that is for the group signs.
	Credentials []Credential
}

// Proxy is an HTTP proxy that makes tunnels to Atlas.
type Proxy struct {
	// Origin is the scheme, host and port, such as "http://proxy.example.com:3128".
	Origin string
	// Roots are the certificate authorities to trust for an https proxy; nil means the system's.
	Roots *x509.CertPool
	// User, if not empty, is sent to the proxy with Password.
	User     string
	Password secret.Secret
}

func (p *Proxy) equal(q *Proxy) bool {
	if p == nil || q == nil {
		return p == q
	}
	return p.Origin == q.Origin && p.Roots.Equal(q.Roots) && p.User == q.User && p.Password.Equal(q.Password)
}

// Credential is a credential for Atlas.
type Credential struct {
	// Name names the credential in errors, such as "upstream.credentials[0]".
	Name string
	// Groups are the ids of the groups that the credential is for, as patterns of path.Match.
	Groups []string
	// Place names the files or variables that hold the credential. Where two configurations have a
	// credential with the same Place, the later one is the earlier one, perhaps rotated. So is one
	// for the same Groups where the earlier one is gone.
	Place string
	// Account means a service account; otherwise the credential is an API key.
	Account bool
	// ID and Secret are the halves of the credential as they were when the configuration was read:
	// public and private key, or client id and client secret.
	ID     string
	Secret secret.Secret
	// Read reads both halves again, after Atlas has refused the pair that signs. Its errors hold
	// neither half.
	Read func() (id string, s secret.Secret, err error)
}

func (c *Credential) pair() pair { return pair{c.Account, c.ID, c.Secret} }

// Pool owns what outlives a configuration: connections to Atlas, and credentials with their
// signers, nonces and tokens. It may be used from several goroutines.
type Pool struct {
	count func(method string, status int, d time.Duration)
	tell  func(CredentialState)

	mu      sync.Mutex
	current *Upstream
}

// NewPool returns an empty Pool. It has count called after every request to Atlas, challenges and
// retries included, with the request's method, the status that was answered, or 0 where there was
// no answer, and how long the header of the answer took. It has tell called when another pair of a
// credential signs, and each time that a pair was found to wait.
func NewPool(count func(method string, status int, d time.Duration), tell func(CredentialState)) *Pool {
	return &Pool{count: count, tell: tell}
}

// Upstream returns an Upstream for a configuration. It takes over from the Upstream in force the
// connections and credentials that the configuration does not change, and changes none of them.
func (p *Pool) Upstream(c Config) (*Upstream, error) {
	origin, err := outbound.ParseOrigin(c.Origin)
	if err != nil {
		return nil, fmt.Errorf("atlas: Origin %w", err)
	}
	u := &Upstream{config: c}
	p.mu.Lock()
	defer p.mu.Unlock()
	var known []credential
	if p.current != nil && p.current.config.Origin == c.Origin {
		known = p.current.credentials
	}
	if p.current != nil && p.current.config.sameConnections(&c) {
		u.way = p.current.way
	} else if u.way, err = p.connect(c, origin); err != nil {
		return nil, err
	}
	for _, configured := range c.Credentials {
		r := inPlace(u.credentials, &configured)
		if r == nil {
			r, err = p.goOn(u, known, &configured)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", configured.Name, err)
		}
		u.credentials = append(u.credentials, credential{configured, r})
	}
	return u, nil
}

// goOn returns the rotation of a configured credential of u: one that is known, or a new one.
func (p *Pool) goOn(u *Upstream, known []credential, configured *Credential) (*rotation, error) {
	r := inPlace(known, configured)
	if r == nil {
		r = forGroups(known, configured, u.config.Credentials)
	}
	switch {
	case r == nil:
		return newRotation(u.way, p.tell, configured.pair())
	case r.way != u.way, slices.ContainsFunc(u.credentials, func(c credential) bool { return c.rotation == r }):
		return r.over(u.way)
	}
	return r, nil
}

// inPlace returns the rotation of the credential that is kept in the same place as c, or nil.
func inPlace(known []credential, c *Credential) *rotation {
	for i := range known {
		if k := &known[i]; k.Place == c.Place && k.Account == c.Account && (k.Place != "" || k.pair().equal(c.pair())) {
			return k.rotation
		}
	}
	return nil
}

// forGroups returns the rotation of the credential that c takes the place of although it is kept
// in another place: one for the same groups that all configured credentials no longer have. It
// returns nil if there is none.
func forGroups(known []credential, c *Credential, all []Credential) *rotation {
	for i := range known {
		k := &known[i]
		gone := !slices.ContainsFunc(all, func(other Credential) bool { return inPlace(known[i:i+1], &other) != nil })
		if gone && slices.Equal(k.Groups, c.Groups) {
			return k.rotation
		}
	}
	return nil
}

// Keep tells the Pool that u is in force. Connections that u does not use are closed once no
// request uses them. A pair of a credential that is new is tried, and signs once Atlas accepts it.
func (p *Pool) Keep(u *Upstream) {
	p.mu.Lock()
	before := p.current
	p.current = u
	p.mu.Unlock()
	kept := map[*rotation]bool{}
	for i := range u.credentials {
		if c := &u.credentials[i]; !kept[c.rotation] {
			kept[c.rotation] = true
			c.configure(c.Name, c.pair(), before == nil || inPlace(before.credentials, &c.Credential) != nil)
		}
	}
	if before == nil {
		return
	}
	for i := range before.credentials {
		if c := &before.credentials[i]; !kept[c.rotation] {
			c.retire()
		}
	}
	if before.transport != u.transport {
		before.transport.connections.Retire()
	}
}

// Retry tries each pair of a credential again that waits and whose pause is over. It does not
// wait for Atlas. Whoever reloads configurations calls it every second or so.
func (p *Pool) Retry() {
	p.mu.Lock()
	u := p.current
	p.mu.Unlock()
	if u == nil {
		return
	}
	for i := range u.credentials {
		u.credentials[i].retry()
	}
}

// Credentials returns the states of the credentials in force, in the order of the configuration.
func (p *Pool) Credentials() []CredentialState {
	p.mu.Lock()
	u := p.current
	p.mu.Unlock()
	if u == nil {
		return nil
	}
	states := make([]CredentialState, len(u.credentials))
	for i := range u.credentials {
		c := &u.credentials[i]
		c.mu.Lock()
		states[i] = c.state()
		c.mu.Unlock()
		states[i].Name = c.Name
	}
	return states
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
	return c.Origin == other.Origin && c.Realm == other.Realm && c.MaxConnections == other.MaxConnections && c.Roots.Equal(other.Roots) &&
		c.Proxy.equal(other.Proxy)
}

// transport is what the signers send through: it counts requests, names the errorCode of a 401 in
// its header, and notes Atlas's time.
type transport struct {
	connections *http1.Transport
	count       func(method string, status int, d time.Duration)
	clock       clock
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := outbound.NameCode(t.connections.RoundTrip(r))
	took := time.Since(began)
	if err != nil {
		t.count(r.Method, 0, took)
		return nil, err
	}
	t.count(r.Method, response.StatusCode, took)
	t.clock.read(response.Header, began.Add(took))
	return response, nil
}

// quiet is how long a connection is left alone before a create, or another request that changes
// something, goes out on it. A response that nobody asked for is found if it comes within that
// time behind an answer, and not taken for the answer to the create.
const quiet = 5 * time.Millisecond

// connect prepares connections to Atlas and to nothing else. It uses no proxy of the environment.
func (p *Pool) connect(c Config, origin outbound.Origin) (*way, error) {
	var proxy *http1.Proxy
	if c.Proxy != nil {
		proxy = &http1.Proxy{
			Origin:   c.Proxy.Origin,
			TLS:      &tls.Config{RootCAs: c.Proxy.Roots, MinVersion: tls.VersionTLS12},
			User:     c.Proxy.User,
			Password: c.Proxy.Password,
		}
	}
	connections, err := http1.NewTransport(http1.Config{
		Origin:      c.Origin,
		TLS:         &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		Proxy:       proxy,
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
	return &way{origin: c.Origin, realm: c.Realm, base: origin.URL(), transport: &transport{connections: connections, count: p.count}}, nil
}

// refuseLinkLocal keeps the credential from link-local addresses that the name of Atlas's host, or
// of the proxy, may resolve to.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	if host, _, err := net.SplitHostPort(address); err != nil || hosts.LinkLocal(host) {
		return fmt.Errorf("%s is a link-local address", address)
	}
	return nil
}
