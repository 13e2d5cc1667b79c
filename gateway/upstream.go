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
	"os"
	"path"
	"syscall"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/serviceaccount"
)

// upstream is Atlas by one credential.
type upstream struct {
	groups []string // patterns
	signer signer
}

// signer is a transport that signs what it sends, and says why a 401 came back.
type signer interface {
	http.RoundTripper
	Explain(*http.Response) error
}

// connect prepares a signer for each credential. Connections are shared: what is bound to
// a credential is the nonces and tokens.
func (g *Gateway) connect() error {
	roots, err := certificates(g.config.Upstream.CAFile)
	if err != nil {
		return err
	}
	g.connections = &http.Transport{
		// Everything that http.DefaultTransport would take from the environment is left out:
		// a proxy would see the credential.
		Proxy:               nil,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, Control: refuseLinkLocal}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxConnsPerHost:     g.config.Upstream.MaxConnections,
		MaxIdleConns:        g.config.Upstream.MaxConnections,
		MaxIdleConnsPerHost: g.config.Upstream.MaxConnections,
		// Less than servers keep them: a create that meets a connection just closed fails, since
		// it is not sent again.
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// A compressed response would have to be bounded twice, and is not asked for.
		DisableCompression: true,
	}
	base := noteSending(nameErrors(g.metrics.countUpstream(g.connections)))
	for i, source := range g.config.Upstream.Credentials {
		signer, err := g.sign(source.pair(), base)
		if err != nil {
			return fmt.Errorf("upstream.credentials[%d]: %w", i, err)
		}
		g.upstreams = append(g.upstreams, upstream{groups: source.Groups, signer: signer})
	}
	return nil
}

// sign returns the signer for a credential: Digest for an API key, a bearer token for a
// service account.
func (g *Gateway) sign(pair credentialPair, base http.RoundTripper) (signer, error) {
	if pair.account {
		return serviceaccount.NewTransport(serviceaccount.Config{
			Origin: g.base.String(),
			Base:   base,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				id, secret, err := pair.read(g.config.environ)
				return serviceaccount.Credential{ClientID: id, ClientSecret: secret}, err
			},
			Authenticated: authenticated,
		})
	}
	return digestauth.NewTransport(digestauth.Config{
		Origin: g.base.String(),
		Realm:  g.config.Upstream.Realm,
		Base:   base,
		Credential: func(context.Context) (digestauth.Credential, error) {
			public, private, err := pair.read(g.config.environ)
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

// signerFor returns the signer of the first credential that is for the group, or nil.
func (g *Gateway) signerFor(group string) signer {
	for _, u := range g.upstreams {
		for _, pattern := range u.groups {
			if matched, _ := path.Match(pattern, group); matched {
				return u.signer
			}
		}
	}
	return nil
}

func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", unnamed(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("upstream.ca_file: the file holds no PEM certificate")
	}
	return pool, nil
}
