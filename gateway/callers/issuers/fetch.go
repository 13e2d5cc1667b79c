package issuers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"atlas-export-gateway/internal/hosts"

	"github.com/go-json-experiment/json"
)

// source is where keys are fetched. Two configurations with the same source share its keys.
type source struct {
	name        string // of the issuer, for the log
	issuer      string // whose discovery document says where the keys are; empty where jwks does
	jwks        string
	authorities string // PEM; empty for the system's
	proxy       string
}

// fetchTime bounds a fetch, the discovery document included.
const fetchTime = 10 * time.Second

// fetcher fetches the keys of a source.
type fetcher struct {
	source
	client http.Client
}

// newFetcher returns a fetcher that follows no redirect, asks no proxy of the environment, and
// keeps no connection.
func newFetcher(s source) *fetcher {
	t := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true, // a few bytes could become many
		MaxResponseHeaderBytes: 64 << 10,
	}
	if s.authorities != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(s.authorities))
	}
	if proxy, err := url.Parse(s.proxy); err == nil && s.proxy != "" {
		t.Proxy = http.ProxyURL(proxy)
	}
	refuseRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &fetcher{s, http.Client{Transport: t, CheckRedirect: refuseRedirect}}
}

// fetch returns the keys as they are now. Its errors hold nothing of what was answered except
// where the discovery document points to.
func (f *fetcher) fetch(ctx context.Context) (*keys, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	place := f.jwks
	if f.issuer != "" {
		var err error
		if place, err = f.discover(ctx); err != nil {
			return nil, fmt.Errorf("discovery: %w", err)
		}
	}
	content, err := f.get(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return parseKeys(content)
}

// discover returns the jwks_uri of the issuer's discovery document (OpenID Connect Discovery 1.0,
// section 4).
func (f *fetcher) discover(ctx context.Context) (string, error) {
	content, err := f.get(ctx, strings.TrimSuffix(f.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return "", err
	}
	var document struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	if json.Unmarshal(content, &document) != nil {
		return "", errors.New("the document is not strict JSON with an issuer and a jwks_uri")
	}
	if document.Issuer != f.issuer { // section 4.3
		return "", errors.New("the document is of another issuer")
	}
	own, err := url.Parse(f.issuer)
	// An issuer that speaks http on loopback, as in a test, has its keys there.
	if err := errors.Join(err, checkURL(document.JWKS, own.Scheme == "http" && hosts.Loopback(own.Hostname()))); err != nil {
		return "", fmt.Errorf("its jwks_uri %w", err)
	}
	return document.JWKS, nil
}

func (f *fetcher) get(ctx context.Context, place string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, place, nil)
	if err != nil {
		return nil, errors.New("the URL can't be used")
	}
	// RFC 7517, section 8.5.2. Kubernetes answers 406 to whoever accepts only JSON.
	r.Header["Accept"] = []string{"application/json, application/jwk-set+json"}
	r.Header["User-Agent"] = []string{"atlas-export-gateway"}
	response, err := f.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %d", response.StatusCode)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err == nil && len(content) > maxJWKS {
		err = fmt.Errorf("the answer has more than %d bytes", maxJWKS)
	}
	return content, err
}
