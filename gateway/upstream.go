package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"syscall"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/smallfile"
	"atlas-export-gateway/serviceaccount"
)

// upstream is Atlas by one credential.
type upstream struct {
	path   string   // of the credential in the configuration
	groups []string // patterns
	pair   credentialPair
	read   [2]state // of the pair's files, when the signer was made
	signer signer
}

// replaced reports whether the pair's files hold another credential than the signer was made
// for. Of an API key both halves change: where one alone did, the other is still to come, and the
// signer stays, which reads both again should Atlas refuse what it has.
func (u *upstream) replaced(now [2]state) bool {
	name, secret := !u.read[0].same(now[0]), !u.read[1].same(now[1])
	if u.pair.account {
		return name || secret
	}
	return name && secret
}

// signer is a transport that signs what it sends, and says why a 401 came back.
type signer interface {
	http.RoundTripper
	Explain(*http.Response) error
}

// connect prepares a signer for each credential. Connections are shared: what is bound to
// a credential is the nonces and tokens. A signer of before stays if it would be made again
// just as it is.
func (g *Gateway) connect(s, before *settings) error {
	to := s.config.Upstream
	var err error
	if s.roots, err = certificates(to.CAFile); err != nil {
		return s.config.errorf("upstream.ca_file", "%w", err)
	}
	var known []upstream
	if before != nil && before.reaches(to, s.roots) {
		s.connections, known = before.connections, before.upstreams
	} else if s.connections, err = s.newConnections(); err != nil {
		return err
	}
	base := noteSending(nameErrors(g.metrics.countUpstream(s.connections)))
	for i, source := range to.Credentials {
		u := upstream{path: fmt.Sprintf("upstream.credentials[%d]", i), groups: source.Groups, pair: source.pair()}
		u.read = [2]state{s.config.read[u.pair.name], s.config.read[u.pair.secret]}
		for _, k := range known {
			if k.pair == u.pair && !k.replaced(u.read) {
				u.read, u.signer = k.read, k.signer
				break
			}
		}
		if u.signer == nil {
			if u.signer, err = s.sign(u.pair, base); err != nil {
				return fmt.Errorf("%s: %w", u.path, err)
			}
		}
		s.upstreams = append(s.upstreams, u)
	}
	return nil
}

// reaches reports whether the connections are as they would be made anew.
func (s *settings) reaches(to Upstream, roots *x509.CertPool) bool {
	is := s.config.Upstream
	return is.BaseURL == to.BaseURL && is.Realm == to.Realm && is.MaxConnections == to.MaxConnections && s.roots.Equal(roots)
}

// newConnections keeps connections to Atlas alone: there is no proxy, which would see the
// credential, whatever the environment says.
func (s *settings) newConnections() (*http1.Transport, error) {
	return http1.NewTransport(http1.Config{
		Origin:      s.base.String(),
		TLS:         &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
		Control:     refuseLinkLocal,
		DialTimeout: 10 * time.Second,
		// Less than servers keep them: a create that meets a connection just closed fails, since
		// it is not sent again.
		IdleTimeout:    30 * time.Second,
		MaxConnections: s.config.Upstream.MaxConnections,
		MaxHeader:      64 << 10,
		// So that a short list arrives with one read.
		ReadBuffer: 16 << 10,
	})
}

// sign returns the signer for a credential: Digest for an API key, a bearer token for a
// service account.
func (s *settings) sign(pair credentialPair, base http.RoundTripper) (signer, error) {
	getenv := s.config.getenv
	if pair.account {
		return serviceaccount.NewTransport(serviceaccount.Config{
			Origin: s.base.String(),
			Base:   base,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				id, secret, err := pair.read(getenv)
				return serviceaccount.Credential{ClientID: id, ClientSecret: secret}, err
			},
			Authenticated: authenticated,
		})
	}
	return digestauth.NewTransport(digestauth.Config{
		Origin: s.base.String(),
		Realm:  s.config.Upstream.Realm,
		Base:   base,
		Credential: func(context.Context) (digestauth.Credential, error) {
			public, private, err := pair.read(getenv)
			return digestauth.Credential{Username: public, Password: private}, err
		},
		Authenticated: authenticated,
	})
}

// authenticated tells Atlas's 401s that are about what a good credential may do from those
// that are about the credential.
func authenticated(response *http.Response) bool {
	switch response.Header.Get("X-Error-Code") {
	case "NOT_IN_GROUP", "USER_UNAUTHORIZED":
		return true
	}
	return false
}

// nameErrors puts the errorCode of a 401 into X-Error-Code where Atlas does not: authenticated
// may look at the header only.
func nameErrors(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		received, err := next.RoundTrip(r)
		if err != nil || received.StatusCode != http.StatusUnauthorized || received.Header.Get("X-Error-Code") != "" {
			return received, err
		}
		body, err := io.ReadAll(io.LimitReader(received.Body, 64<<10))
		received.Body.Close()
		received.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil {
			return received, nil // what there is of it is of no use, and never relayed
		}
		var content struct{ ErrorCode string }
		if json.Unmarshal(body, &content) == nil && content.ErrorCode != "" {
			received.Header.Set("X-Error-Code", content.ErrorCode)
		}
		return received, nil
	})
}

// refuseLinkLocal keeps the credential from what a name may resolve to besides Atlas: the
// metadata services of clouds live on link-local addresses.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	if host, _, err := net.SplitHostPort(address); err != nil || linkLocal(host) {
		return fmt.Errorf("%s is a link-local address", address)
	}
	return nil
}

// upstreamFor returns Atlas by the first credential that is for the group, or nil.
func (s *settings) upstreamFor(group string) *upstream {
	for i := range s.upstreams {
		for _, pattern := range s.upstreams[i].groups {
			if matched, _ := path.Match(pattern, group); matched {
				return &s.upstreams[i]
			}
		}
	}
	return nil
}

func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := smallfile.Read(file, maxFile)
	if err != nil {
		return nil, unnamed(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("the file holds no PEM certificate")
	}
	return pool, nil
}
