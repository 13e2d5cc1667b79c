package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/serviceaccount"
)

// upstream is Atlas by one credential.
type upstream struct {
	groups    []string // patterns
	transport signer
}

// signer is a transport that signs what it sends, and says why a 401 came back.
type signer interface {
	http.RoundTripper
	Explain(*http.Response) error
}

// answer is what Atlas answered, in full.
type answer struct {
	status   int
	header   http.Header
	body     []byte
	duration time.Duration
}

var errUpstreamTimeout = errors.New("the upstream took longer than timeouts.upstream")

// connect prepares a transport for each credential. Connections are shared: what is bound
// to a credential is the nonces.
func (g *Gateway) connect() error {
	roots, err := certificates(g.config.Upstream.CAFile)
	if err != nil {
		return err
	}
	connections := &http.Transport{
		// Everything that http.DefaultTransport would take from the environment is left out:
		// a proxy would see the credential.
		Proxy:               nil,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxConnsPerHost:     g.config.Upstream.MaxConnections,
		MaxIdleConns:        g.config.Upstream.MaxConnections,
		MaxIdleConnsPerHost: g.config.Upstream.MaxConnections,
		// Less than servers keep them: a create that meets a connection just closed fails, since
		// it is not sent again.
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// A compressed answer would have to be bounded twice, and is not asked for.
		DisableCompression: true,
	}
	for i, source := range g.config.Upstream.Credentials {
		transport, err := g.signer(source, g.metrics.countUpstream(connections))
		if err != nil {
			return fmt.Errorf("upstream.credentials[%d]: %w", i, err)
		}
		g.upstreams = append(g.upstreams, upstream{groups: source.Groups, transport: transport})
	}
	return nil
}

// signer returns the transport for a credential: Digest for an API key, a bearer token for
// a service account.
func (g *Gateway) signer(source CredentialSource, base http.RoundTripper) (signer, error) {
	pair := source.pair()
	if pair.account {
		return serviceaccount.NewTransport(serviceaccount.Config{
			Origin: g.base.String(),
			Base:   base,
			Credential: func(context.Context) (serviceaccount.Credential, error) {
				id, secret, err := pair.read()
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
			public, private, err := pair.read()
			return digestauth.Credential{Username: public, Password: private}, err
		},
		Authenticated: authenticated,
	})
}

// authenticated tells Atlas's 401s that are about what a good key may do from those that
// are about the key.
func authenticated(response *http.Response) bool {
	switch response.Header.Get("X-Error-Code") {
	case "NOT_IN_GROUP", "USER_UNAUTHORIZED":
		return true
	}
	return false
}

func certificates(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("upstream.ca_file: %s holds no PEM certificate", file)
	}
	return pool, nil
}

// forward sends the request to Atlas: the validated bytes, the resolved version, and a
// header made from nothing.
func (g *Gateway) forward(x *exchange) error {
	transport := g.transport(x.match.Parameter("groupId"))
	if transport == nil {
		return refuse(errNoCredential, nil, "The gateway has no credential for this group.")
	}
	creates := x.in.Method == http.MethodPost
	// A create goes on without its caller, so that its outcome is known and logged.
	ctx := x.in.Context()
	if creates {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, g.config.Timeouts.Upstream, errUpstreamTimeout)
	defer cancel()

	began := time.Now()
	response, err := transport.RoundTrip(g.outbound(ctx, x))
	if err != nil {
		return g.classifyTransport(ctx, creates, err)
	}
	defer response.Body.Close()
	x.answer = answer{status: response.StatusCode, header: response.Header}
	if response.StatusCode == http.StatusUnauthorized {
		cause := transport.Explain(response)
		if cause == nil {
			cause = fmt.Errorf("answered 401 %s", response.Header.Get("X-Error-Code"))
		}
		return refuse(errCredential, cause, "Atlas does not accept the gateway's credential for this group. The operator's log says more.")
	}
	x.answer.body, err = readAnswer(response, g.config.Limits.AnswerBody)
	x.answer.duration = time.Since(began)
	if errors.Is(err, errAnswerTooLarge) {
		return refuse(errAnswer, err, "Atlas's answer is larger than %d bytes.", g.config.Limits.AnswerBody)
	}
	if err != nil {
		return classifyForward(ctx, creates, fmt.Errorf("reading the answer: %w", err))
	}
	return nil
}

// transport returns the transport of the first credential that is for the group.
func (g *Gateway) transport(group string) signer {
	for _, u := range g.upstreams {
		for _, pattern := range u.groups {
			if matched, _ := path.Match(pattern, group); matched {
				return u.transport
			}
		}
	}
	return nil
}

// userAgent names the gateway to Atlas.
var userAgent = []string{"atlas-export-gateway"}

// outbound builds the request that Atlas gets. Nothing of the caller's header is in it.
func (g *Gateway) outbound(ctx context.Context, x *exchange) *http.Request {
	header := make(http.Header, 4)
	mediaType := []string{x.version.MediaType}
	header["Accept"] = mediaType
	header["User-Agent"] = userAgent
	out := &http.Request{
		Method:     x.match.Operation.Method, // GET where HEAD came in
		URL:        &url.URL{Scheme: g.base.Scheme, Host: g.base.Host, Path: x.match.Path, RawQuery: x.match.Query},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
	}
	if x.version.HasBody() {
		header["Content-Type"] = mediaType
		// GetBody is for digestauth, which sends the content again after a 401 alone and keeps
		// it from net/http, which would after a reset.
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.body)), nil }
		out.Body, _ = out.GetBody()
		out.ContentLength = int64(len(x.body))
	}
	return out.WithContext(ctx)
}

var errAnswerTooLarge = errors.New("the answer is larger than limits.answer_body")

// readAnswer reads an answer's content in full, so that half an answer is never relayed.
func readAnswer(response *http.Response, limit int) ([]byte, error) {
	if response.ContentLength > int64(limit) {
		return nil, errAnswerTooLarge
	}
	body, err := readContent(io.LimitReader(response.Body, int64(limit)+1), response.ContentLength)
	if err == nil && len(body) > limit {
		err = errAnswerTooLarge
	}
	return body, err
}

// classifyTransport words the errors of the digest transport.
func (g *Gateway) classifyTransport(ctx context.Context, creates bool, err error) *refusal {
	var (
		credential *digestauth.CredentialError
		challenge  *digestauth.ChallengeError
		probe      *digestauth.ProbeError
		account    *serviceaccount.CredentialError
		token      *serviceaccount.TokenError
	)
	switch {
	case errors.As(err, &credential), errors.As(err, &account):
		return refuse(errCredential, err, "Atlas does not accept the gateway's credential for this group. The operator's log says more.")
	case errors.As(err, &challenge):
		return refuse(errCredential, err, "The upstream asks for a kind of authentication that the gateway does not use.")
	case errors.As(err, &probe):
		return refuseUnsent(err, probe.Status, probe.Header.Get("Retry-After"))
	case errors.As(err, &token):
		after := ""
		if token.RetryAfter > 0 {
			after = strconv.Itoa(int((token.RetryAfter + time.Second - 1) / time.Second))
		}
		return refuseUnsent(err, token.Status, after)
	default:
		return classifyForward(ctx, creates, err)
	}
}

// refuseUnsent words why a request was not even sent: Atlas gave neither challenge nor
// token for it.
func refuseUnsent(cause error, status int, retryAfter string) *refusal {
	k := errUnreachable
	if status == http.StatusTooManyRequests {
		k = errRateLimited
	}
	r := refuse(k, cause, "Atlas did not let the gateway sign the request. It was not carried out.")
	if retryAfter != "" {
		r.header = map[string]string{"Retry-After": retryAfter}
	}
	return r
}
