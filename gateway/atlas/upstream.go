package atlas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"atlas-export-gateway/internal/content"
	"atlas-export-gateway/internal/outbound"
)

// Upstream sends requests to Atlas with the credentials of one configuration. A [Pool] makes it.
// It never changes, and may be used from several goroutines.
type Upstream struct {
	*way
	config      Config
	credentials []credential
}

// credential is a Credential with its rotation, which has the pair that signs.
type credential struct {
	Credential
	*rotation
}

// signer is a transport that signs what it sends, and says why a 401 came back.
type signer interface {
	http.RoundTripper
	RoundTripThrough(base http.RoundTripper, r *http.Request) (*http.Response, error)
	Explain(*http.Response) error
}

// Send sends a request to Atlas and returns the whole response. The error is an *[Error].
//
// A context that ends also ends the request, with one exception: a change that was handed to the
// network goes on until Config.Timeout, so that its outcome is known.
func (u *Upstream) Send(ctx context.Context, r *Request) (*Response, error) {
	began := time.Now()
	response, failed := u.send(ctx, r)
	if failed != nil {
		failed.Duration = time.Since(began)
		return nil, failed
	}
	response.Duration, response.Exchanges = time.Since(began), r.Exchanges
	return response, nil
}

// send sends a request. If Atlas refuses the pair that signs, and another one is in its files,
// send sends the request once more, signed with that.
func (u *Upstream) send(ctx context.Context, r *Request) (*Response, *Error) {
	c := u.credentialFor(r.Group)
	switch {
	case c == nil && r.Group == "":
		return nil, &Error{Kind: NoCommonCredential, Outcome: NotSent, Err: errNoCommonCredential}
	case c == nil:
		return nil, &Error{Kind: NoCredential, Outcome: NotSent, Err: errNoCredential}
	}
	deadline := time.Now().Add(u.config.Timeout)
	if !r.Deadline.IsZero() && r.Deadline.Before(deadline) {
		deadline = r.Deadline
	}
	for again := false; ; again = true {
		signing := c.current.Load()
		response, handed, failed := u.attempt(ctx, deadline, c, signing, r)
		if failed == nil {
			if !signing.works.Load() && response.Status < 500 {
				signing.works.Store(true)
			}
			return response, nil
		}
		if !isRefusal(failed.Err) {
			return nil, failed
		}
		replaced, err := c.replaceBefore(ctx, deadline, signing)
		if err != nil {
			failed.Err = fmt.Errorf("%w; reading it again failed: %w", failed.Err, err)
		}
		if !replaced || handed || again {
			return nil, failed
		}
	}
}

// replaceBefore is replace, until a deadline.
func (c *credential) replaceBefore(ctx context.Context, deadline time.Time, refused *signing) (bool, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return c.replace(ctx, &c.Credential, refused)
}

// attempt sends a request once, signed with one pair. It reports whether a create was handed to
// the network, which is not done twice.
func (u *Upstream) attempt(ctx context.Context, deadline time.Time, c *credential, signing *signing, r *Request) (response *Response, handed bool, failed *Error) {
	var base http.RoundTripper = u.transport
	if r.Exchanges != nil {
		base = r.Exchanges.Through(base, r.Operation.Path)
	}
	if r.Operation.Method == http.MethodGet {
		ctx, cancel := context.WithDeadlineCause(ctx, deadline, errTimeout)
		defer cancel()
		received, err := signing.signer.RoundTripThrough(base, u.outbound(ctx, r))
		if err != nil {
			return nil, false, c.failed(ctx, err, 0, Unknown)
		}
		response, failed = u.read(ctx, c, signing, received)
		return response, false, failed
	}
	s, create := &sending{next: base, caller: ctx, handed: r.Handed}, r.Operation.Create()
	ctx, cancel := s.context(ctx, deadline)
	defer cancel()
	received, err := signing.signer.RoundTripThrough(s, u.outbound(ctx, r))
	if err != nil {
		return nil, create && s.state.Load() == sent, c.failed(ctx, err, 0, s.outcome())
	}
	response, failed = u.read(ctx, c, signing, received)
	return response, create, failed
}

// read reads a response in full, so that half of it is never relayed.
func (u *Upstream) read(ctx context.Context, c *credential, signing *signing, received *http.Response) (*Response, *Error) {
	defer received.Body.Close()
	status := received.StatusCode
	if status == http.StatusUnauthorized {
		cause := signing.signer.Explain(received)
		if cause == nil {
			cause = errors.New("answered 401 " + errorCode(received.Header))
		}
		return nil, c.refused(unquoted{cause}, status)
	}
	limit := min(int64(u.config.MaxResponse), math.MaxInt64-1) // one byte more is read
	if received.ContentLength > limit {
		return nil, &Error{Kind: TooLarge, Outcome: Unknown, Status: status, Limit: u.config.MaxResponse, Err: errTooLarge}
	}
	body, err := content.Read(io.LimitReader(received.Body, limit+1), received.ContentLength)
	switch {
	case err != nil:
		return nil, c.failed(ctx, fmt.Errorf("reading the response: %w", err), status, Unknown)
	case int64(len(body)) > limit:
		return nil, &Error{Kind: TooLarge, Outcome: Unknown, Status: status, Limit: u.config.MaxResponse, Err: errTooLarge}
	}
	return &Response{Status: status, Header: received.Header, Body: body}, nil
}

// errorCode returns the errorCode of a response for the log, if it has the form of Atlas's.
func errorCode(header http.Header) string {
	if code := header.Get("X-Error-Code"); atlasCode.MatchString(code) {
		return code
	}
	return "without an errorCode"
}

var atlasCode = regexp.MustCompile(`^[A-Z]{1,30}(_[A-Z]{1,30}){0,9}$`)

// userAgent names the gateway to Atlas.
var userAgent = []string{"atlas-export-gateway"}

// outbound builds the request that Atlas gets.
func (u *Upstream) outbound(ctx context.Context, r *Request) *http.Request {
	header := make(http.Header, 4+len(r.Fields))
	maps.Copy(header, r.Fields)
	mediaType := []string{r.MediaType}
	header["Accept"] = mediaType
	header["User-Agent"] = userAgent
	out := &http.Request{
		Method:     r.Operation.Method,
		URL:        u.locate(r),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
	}
	if body := r.Body; body != nil {
		header["Content-Type"] = mediaType
		// GetBody is for the signer, which sends the content again after a 401 only.
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
		out.ContentLength = int64(len(body))
	}
	return out.WithContext(ctx)
}

// locate returns the URL of a request. The path stays as it is: url.URL by itself would escape
// what a group's name has.
func (u *Upstream) locate(r *Request) *url.URL {
	location := &url.URL{Scheme: u.base.Scheme, Host: u.base.Host, Path: r.Path, RawQuery: r.Query}
	if strings.ContainsAny(r.Path, "%'()") {
		if plain, err := url.PathUnescape(r.Path); err == nil {
			location.Path, location.RawPath = plain, r.Path
		}
	}
	return location
}

// credentialFor returns the first credential that is for the group, or nil.
func (u *Upstream) credentialFor(group string) *credential {
	for i := range u.credentials {
		for _, pattern := range u.credentials[i].Groups {
			if matched, _ := path.Match(pattern, group); matched {
				return &u.credentials[i]
			}
		}
	}
	return nil
}

// Identity returns a number that stands for the pair that signs for a group now, and for the
// connections that it is used on: another pair has another number. It is 0 where no credential is
// for the group.
func (u *Upstream) Identity(group string) uint64 {
	c := u.credentialFor(group)
	if c == nil {
		return 0
	}
	return c.current.Load().identity
}

// sending is the transport below the signer for one change. It knows how far the change has come,
// which decides whether the change still ends with its context, and whether its outcome is known.
type sending struct {
	next   http.RoundTripper
	handed func() error
	caller context.Context // until the change is sent

	state  atomic.Int32
	undone bool // a 401 or an error of handed says that the change was not carried out
}

// The states of a sending.
const (
	unsent    = iota // not signed yet
	sent             // signed, and handed to the network
	abandoned        // the context ended before that
)

// context returns the context that the change is sent in, and what ends it. It ends with ctx until
// the change is sent, and at the deadline in any case.
func (s *sending) context(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	detached, cancel := context.WithDeadlineCause(context.WithoutCancel(ctx), deadline, errTimeout)
	stop := context.AfterFunc(ctx, func() {
		if s.state.CompareAndSwap(unsent, abandoned) {
			cancel()
		}
	})
	return detached, func() {
		stop() // or every change would end with a goroutine of its own
		cancel()
	}
}

// RoundTrip notes when the change is handed to the network, which is when it has a credential.
func (s *sending) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header["Authorization"] == nil {
		return s.next.RoundTrip(r) // a request for a challenge, without the content
	}
	if s.caller.Err() != nil {
		s.state.CompareAndSwap(unsent, abandoned) // as context does, which may not have come to it
	}
	switch {
	case s.state.CompareAndSwap(unsent, sent):
		if s.handed != nil {
			if err := s.hand(); err != nil {
				s.undone = true
				outbound.CloseBody(r)
				return nil, &handedError{err}
			}
		}
	case s.state.Load() == abandoned:
		outbound.CloseBody(r)
		return nil, context.Canceled
	}
	s.undone = false
	response, err := s.next.RoundTrip(r)
	s.undone = err == nil && response.StatusCode == http.StatusUnauthorized
	return response, err
}

// hand calls handed. A panic of handed is an error of it, so that nothing leaves and the signer
// gets its nonce back.
func (s *sending) hand() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.handed()
}

// outcome returns what is known of a change that failed.
func (s *sending) outcome() Outcome {
	if s.state.Load() == sent && !s.undone {
		return Unknown
	}
	return NotSent
}
