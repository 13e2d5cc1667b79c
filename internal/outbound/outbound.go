// Package outbound is what transports that add a credential have in common: they send to
// only one origin, keep a request's content for a second sending, and keep net/http from
// sending it a second time by itself. digestauth and serviceaccount call it. It refuses
// requests for other origins and content that is too large to keep.
package outbound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Origin is a scheme, host and port (RFC 6454, section 4). Its zero value has no use; see
// [ParseOrigin].
type Origin struct {
	scheme    string
	authority string // in lower case, without the scheme's own port
	hostPort  string // in lower case, with the port
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// ParseOrigin reads an origin such as "https://cloud.mongodb.com". It refuses user information, a
// path other than "/", a query and a fragment. Its errors say what is wrong with the text, as in
// "is not a URL", and quote nothing of it: a key may stand in the place of the origin.
func ParseOrigin(s string) (Origin, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Origin{}, errors.New("is not a URL; expected https://HOST or https://HOST:PORT")
	case u.User != nil || strings.Contains(s, "@"):
		return Origin{}, errors.New("holds user information; keys belong in files or the environment")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Origin{}, errors.New("has a query or a fragment; expected scheme and host only")
	case defaultPorts[u.Scheme] == "":
		return Origin{}, errors.New("does not begin with http:// or https://")
	case u.Hostname() == "":
		return Origin{}, errors.New("has no host; expected https://HOST or https://HOST:PORT")
	case strings.Trim(u.Path, "/") != "":
		return Origin{}, errors.New("has a path; expected scheme and host only")
	}
	authority := strings.ToLower(strings.TrimSuffix(u.Host, ":"))
	if port := u.Port(); port == defaultPorts[u.Scheme] {
		authority = strings.TrimSuffix(authority, ":"+port)
	}
	return Origin{u.Scheme, authority, hostPort(u.Scheme, u.Host)}, nil
}

// String returns the origin in one form: in lower case, without the scheme's own port.
func (o *Origin) String() string { return o.scheme + "://" + o.authority }

// URL returns the origin as a URL without a path.
func (o *Origin) URL() *url.URL { return &url.URL{Scheme: o.scheme, Host: o.authority} }

// Scheme returns "http" or "https".
func (o *Origin) Scheme() string { return o.scheme }

// HostPort returns the host, in lower case, and the port, which may be the scheme's own.
func (o *Origin) HostPort() string { return o.hostPort }

// hostPort returns the authority in one spelling.
func hostPort(scheme, authority string) string {
	u := url.URL{Host: authority}
	port := u.Port()
	if port == "" {
		port = defaultPorts[scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func (o *Origin) has(authority string) bool {
	return authority == o.authority || hostPort(o.scheme, authority) == o.hostPort
}

// Check refuses, with an [OriginError], requests that would go to, or name in their Host
// field, another origin. An opaque URL can name anything.
func (o *Origin) Check(req *http.Request) error {
	if u := req.URL; u == nil || u.Scheme != o.scheme || u.Opaque != "" || !o.has(u.Host) || req.Host != "" && !o.has(req.Host) {
		e := &OriginError{Origin: o.String()}
		if u != nil {
			e.Got = u.Scheme + "://" + u.Host
			if u.Host == "" || req.Host != "" && req.Host != u.Host {
				e.Got += " with the Host " + req.Host
			}
		}
		return e
	}
	return nil
}

// OriginError says that a request was for another origin than the credential, and that
// nothing of it was sent. A client that follows a redirect to elsewhere gets it.
type OriginError struct {
	Origin string // the credential's
	Got    string // the request's: its scheme and host, and its Host field if that is another
}

func (e *OriginError) Error() string {
	return fmt.Sprintf("the credential is for %s, not for %q", e.Origin, e.Got)
}

// ErrBodyTooLarge says that a request's content exceeds the bound for content that is kept,
// and has no GetBody. Nothing was sent.
var ErrBodyTooLarge = errors.New("the content is too large to be kept for a second sending")

// Content is a request's, to be sent as often as it takes. It is not left to net/http to
// rewind: given a GetBody, its Transport repeats a POST that carries an Idempotency-Key
// after a connection was reset, when the first may have been carried out.
type Content struct {
	Open   func() (io.ReadCloser, error) // nil if there is none
	Length int64                         // as in http.Request.ContentLength
}

// TakeContent takes the content out of req and closes its Body, as a RoundTripper must. It
// refuses a request for another origin as [Origin.Check] does. Without a GetBody, no more than
// limit bytes are kept.
func (o *Origin) TakeContent(req *http.Request, limit int64) (Content, error) {
	if err := o.Check(req); err != nil {
		CloseBody(req)
		return Content{}, err
	}
	if req.Body == nil || req.Body == http.NoBody {
		return Content{}, nil
	}
	defer req.Body.Close()
	if req.GetBody != nil {
		return Content{req.GetBody, req.ContentLength}, nil
	}
	if req.ContentLength > limit {
		return Content{}, ErrBodyTooLarge
	}
	stop := context.AfterFunc(req.Context(), func() { req.Body.Close() }) // ends a read that blocks
	defer stop()
	var kept bytes.Buffer
	kept.Grow(int(max(req.ContentLength, 0)) + bytes.MinRead)
	n, err := kept.ReadFrom(io.LimitReader(req.Body, limit+1))
	switch {
	case req.Context().Err() != nil:
		return Content{}, req.Context().Err()
	case err != nil:
		return Content{}, fmt.Errorf("reading the content: %w", err)
	case n > limit:
		return Content{}, ErrBodyTooLarge
	case req.ContentLength > 0 && n != req.ContentLength:
		return Content{}, fmt.Errorf("the content has %d bytes, not %d as its Content-Length says", n, req.ContentLength)
	case n == 0:
		return Content{}, nil
	}
	return Content{func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(kept.Bytes())), nil }, n}, nil
}

// CloseBody closes the Body of a request that is not sent, as a RoundTripper must.
func CloseBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// Request returns what is sent in req's place: a request with a header of its own, to
// which a credential may be added, and with the content, which may be none. Fields may be
// added and deleted; their values are req's. net/http does not repeat the request.
func Request(req *http.Request, content Content) (*http.Request, error) {
	out := req.WithContext(req.Context())
	out.Header = make(http.Header, len(req.Header)+1)
	maps.Copy(out.Header, req.Header)
	out.GetBody = nil
	out.Body, out.ContentLength = nil, 0
	forbidReplay(out)
	if content.Open != nil {
		body, err := content.Open()
		if err != nil {
			return nil, fmt.Errorf("reading the content again: %w", err)
		}
		out.Body, out.ContentLength = body, content.Length
	}
	return out, nil
}

// forbidReplay hides from net/http the fields that it takes as permission to repeat a POST or
// DELETE after a connection was reset, even one without content. It looks for them in this
// spelling; to the server, case doesn't matter (RFC 9110, section 5.1).
func forbidReplay(out *http.Request) {
	for _, name := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := out.Header[name]; ok {
			delete(out.Header, name)
			out.Header[strings.ToLower(name)] = v
		}
	}
}

// Discard reads the rest of a response, within reason, and closes it, so that its
// connection can be used again.
func Discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}
