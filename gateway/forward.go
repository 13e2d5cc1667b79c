package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/serviceaccount"
)

// response is what Atlas answered, in full.
type response struct {
	status      int // 0 where there was no response
	header      http.Header
	body        []byte
	duration    time.Duration
	contentType string // by check: as it is relayed
}

var errUpstreamTimeout = errors.New("Atlas took longer than timeouts.upstream") //lint:ignore ST1005 Atlas is a name

// forward sends the request to Atlas: the validated bytes, the resolved version, and a
// header made from nothing.
func (g *Gateway) forward(x *exchange) error {
	x.upstream = x.upstreamFor(x.match.Parameter("groupId"))
	if x.upstream == nil {
		return refuse(kindNoCredential, nil, "The gateway has no credential for this group.")
	}
	ctx, cancel := x.sending.context(x.in, x.config.Timeouts.Upstream)
	defer cancel()

	began := time.Now()
	defer func() { x.response.duration = time.Since(began) }()
	received, err := x.upstream.signer.RoundTrip(x.outbound(ctx))
	if err != nil {
		return classifyForward(ctx, x, err)
	}
	defer received.Body.Close()
	x.response.status, x.response.header = received.StatusCode, received.Header
	if received.StatusCode == http.StatusUnauthorized {
		cause := x.upstream.signer.Explain(received)
		if cause == nil {
			cause = fmt.Errorf("answered 401 %.40q", received.Header.Get("X-Error-Code"))
		}
		return refuseCredential(x, cause)
	}
	x.response.body, err = readResponse(received, x.config.Limits.ResponseBody)
	if errors.Is(err, errResponseTooLarge) {
		return refuse(kindResponse, err, "Atlas's response is larger than %d bytes.%s", x.config.Limits.ResponseBody, x.outcome())
	}
	if err != nil {
		return classifyForward(ctx, x, fmt.Errorf("reading the response: %w", err))
	}
	return nil
}

// userAgent names the gateway to Atlas.
var userAgent = []string{"atlas-export-gateway"}

// outbound builds the request that Atlas gets. Nothing of the caller's header is in it.
func (x *exchange) outbound(ctx context.Context) *http.Request {
	header := make(http.Header, 4)
	mediaType := []string{x.version.MediaType}
	header["Accept"] = mediaType
	header["User-Agent"] = userAgent
	out := &http.Request{
		Method:     x.match.Operation.Method, // GET where HEAD came in
		URL:        &url.URL{Scheme: x.base.Scheme, Host: x.base.Host, Path: x.match.Path, RawQuery: x.match.Query},
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
	}
	if x.version.HasBody() {
		header["Content-Type"] = mediaType
		// GetBody is for the signer, which sends the content again after a 401 alone.
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.body)), nil }
		out.Body, _ = out.GetBody()
		out.ContentLength = int64(len(x.body))
	}
	return out.WithContext(ctx)
}

var errResponseTooLarge = errors.New("the response is larger than limits.response_body")

// readResponse reads a response's content in full, so that half of it is never relayed.
func readResponse(received *http.Response, limit int) ([]byte, error) {
	if received.ContentLength > int64(limit) {
		return nil, errResponseTooLarge
	}
	body, err := readContent(io.LimitReader(received.Body, int64(limit)+1), received.ContentLength)
	if err == nil && len(body) > limit {
		err = errResponseTooLarge
	}
	return body, err
}

// unquoted is an error without what it quotes: net/http's about a broken response quote it,
// and it may repeat what the gateway sent.
type unquoted struct{ error }

func (e unquoted) Error() string {
	text, _, _ := strings.Cut(e.error.Error(), `"`)
	return strings.TrimSpace(text)
}

func (e unquoted) Unwrap() error { return e.error }

// classifyForward words what can go wrong between the gateway and Atlas.
func classifyForward(ctx context.Context, x *exchange, err error) *refusal {
	err = unquoted{err}
	var (
		key       *digestauth.CredentialError
		account   *serviceaccount.CredentialError
		challenge *digestauth.ChallengeError
		probe     *digestauth.ProbeError
		token     *serviceaccount.TokenError
		network   *net.OpError
	)
	switch {
	case errors.As(err, &key), errors.As(err, &account):
		return refuseCredential(x, err)
	case errors.As(err, &challenge):
		return refuse(kindCredential, err, "Atlas asks for a kind of authentication that the gateway does not use.")
	case errors.As(err, &probe):
		return refuseUnsent(err, probe.Status, probe.Header.Get("Retry-After"))
	case errors.As(err, &token):
		after := ""
		if token.RetryAfter > 0 {
			after = strconv.Itoa(int((token.RetryAfter + time.Second - 1) / time.Second))
		}
		return refuseUnsent(err, token.Status, after)
	case errors.Is(context.Cause(ctx), errUpstreamTimeout):
		return refuse(kindUpstreamTimeout, err, "Atlas did not answer in time.%s", x.outcome())
	case errors.Is(err, context.Canceled):
		return refuse(kindCallerGone, err, "The caller is gone.")
	case x.response.status != 0:
		return refuse(kindResponse, err, "Atlas's response ended early.%s", x.outcome())
	case errors.As(err, &network) && network.Op == "dial":
		return refuse(kindUnreachable, err, "Atlas could not be reached. The request was not carried out.")
	default:
		return refuse(kindUnreachable, err, "Atlas ended the connection before it answered, or never took the request.%s", x.outcome())
	}
}

// refuseCredential words that Atlas refuses the gateway's credential, and nothing of it.
func refuseCredential(x *exchange, cause error) *refusal {
	return refuse(kindCredential, fmt.Errorf("%s: %w", x.upstream.path, cause), "Atlas does not accept the gateway's credential for this group. The operator's log says more.")
}

// refuseUnsent words why a request was not even sent: Atlas gave neither challenge nor
// token for it.
func refuseUnsent(cause error, status int, after string) *refusal {
	k := kindUnsigned
	if status == http.StatusTooManyRequests {
		k = kindRateLimited
	}
	r := refuse(k, cause, "Atlas did not let the gateway sign the request. It was not carried out.")
	if retryAfter(after) {
		r.header = map[string]string{"Retry-After": after}
	}
	return r
}
