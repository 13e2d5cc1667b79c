package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"atlas-export-gateway/bearertoken"
	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/serviceaccount"
)

// What each generation accepts. The date is the newest one that an operation of the contract
// has: Atlas answers each operation in its newest version of that date or before.
const (
	acceptV1 = "application/json"
	acceptV2 = "application/vnd.atlas.2024-08-05+json"
)

// defaultTransport is net/http's Transport, as Go programs expect. It is built from nothing, so
// that neither the environment nor a changed http.DefaultTransport sends a credential through a
// proxy.
func defaultTransport(rootCAs *x509.CertPool, certificate func() (*tls.Certificate, error)) *http.Transport {
	t := &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: rootCAs},
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        30 * time.Second, // less than servers keep them
		MaxResponseHeaderBytes: 64 << 10,
	}
	if certificate != nil {
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() }
	}
	return t
}

// useTransport sets what requests are sent through. Each of the parameters may be nil.
func (c *caller) useTransport(transport http.RoundTripper, rootCAs *x509.CertPool, certificate func() (*tls.Certificate, error)) {
	c.transport, c.createTransport = transport, transport
	if transport == nil {
		c.transport = defaultTransport(rootCAs, certificate)
		// A connection that was used before may have been closed, or may hold an answer that
		// nobody asked for. net/http takes such an answer for the answer to the next request.
		unshared := defaultTransport(rootCAs, certificate)
		unshared.DisableKeepAlives = true
		c.createTransport = unshared
	}
	c.base = outbound.TransportFunc(func(r *http.Request) (*http.Response, error) {
		return outbound.NameCode(c.transport.RoundTrip(r))
	})
}

// useCredential sets what signs requests.
func (c *caller) useCredential(credential Credential) error {
	switch {
	case credential.kind == apiKey:
		t, err := digestauth.NewTransport(digestauth.Config{
			Origin: c.origin.String(),
			Base:   c.base,
			Credential: func(context.Context) (digestauth.Credential, error) {
				return digestauth.Credential{Username: credential.name, Password: credential.secret}, nil
			},
			Authenticated: authenticated,
		})
		if err != nil {
			return err
		}
		c.sign, c.explain = t.RoundTripThrough, t.Explain
	case credential.kind == serviceAccount:
		t, err := serviceaccount.NewTransport(serviceaccount.Config{
			Origin: c.origin.String(),
			Base:   c.base,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				return serviceaccount.Credential{ClientID: credential.name, ClientSecret: credential.secret}, nil
			},
			Authenticated: authenticated,
		})
		if err != nil {
			return err
		}
		c.sign, c.explain = t.RoundTripThrough, t.Explain
	case credential.source != nil:
		t, err := bearertoken.NewTransport(bearertoken.Config{Origin: c.origin.String(), Source: credential.source, Base: c.base, Authenticated: notForToken})
		if err != nil {
			return err
		}
		c.sign, c.explain = t.RoundTripThrough, noExplanation
	default:
		t := &fixedCredential{origin: c.origin}
		if credential.kind == bearerToken {
			t.authorization = []string{"Bearer " + credential.secret.Reveal()}
		}
		c.sign, c.explain = t.roundTripThrough, noExplanation
	}
	return nil
}

// authenticated is [outbound.Authenticated], and knows more errorCodes.
func authenticated(response *http.Response) bool {
	return outbound.Authenticated(response) || forbidden(response.Header.Get("X-Error-Code"))
}

// notForToken reports whether a 401 says nothing against a bearer token, or is no proof that a
// create was not carried out.
func notForToken(response *http.Response) bool {
	outcome := Outcome(response.Header.Get("Gateway-Outcome"))
	return authenticated(response) || outcome != "" && outcome != OutcomeNotSent
}

func noExplanation(*http.Response) error { return nil }

// fixedCredential sends requests without a credential, or with a token that is sent as it is.
type fixedCredential struct {
	origin        outbound.Origin
	authorization []string // nil for no credential
}

func (f *fixedCredential) roundTripThrough(base http.RoundTripper, r *http.Request) (*http.Response, error) {
	content, err := f.origin.TakeContent(r, maxContent)
	if err != nil {
		return nil, err
	}
	out, err := outbound.Request(r, content)
	if err != nil {
		return nil, err
	}
	if f.authorization != nil {
		out.Header["Authorization"] = f.authorization
	}
	return base.RoundTrip(out)
}

// maxContent bounds the content of a request that has no GetBody. The requests of the
// generated client have one.
const maxContent = 1 << 20

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
			return &beforeSendError{err}
		}
		return nil
	}))
}

// beforeSendError is an error of Config.BeforeSend.
type beforeSendError struct{ error }

func (e *beforeSendError) Unwrap() error { return e.error }
