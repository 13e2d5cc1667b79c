package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
	"atlas-export-gateway/serviceaccount"
)

// What each generation accepts. The date is the newest that an operation of the contract
// has; Atlas answers each operation in its newest version of that date or before.
const (
	acceptV1 = "application/json"
	acceptV2 = "application/vnd.atlas.2024-08-05+json"
)

// caller is what both generations send through.
type caller struct {
	origin      outbound.Origin
	base        http.RoundTripper
	alone       http.RoundTripper          // for creates
	signed      http.RoundTripper          // base, with the credential in front
	explain     func(*http.Response) error // why signed returned a 401
	secret      secret.Secret              // of the credential
	userAgent   string
	beforeSend  func(*http.Request) error
	timeout     time.Duration
	maxRetries  int
	maxResponse int64
}

// Do makes caller what the generated client sends with. Unlike http.Client, it follows no
// redirect.
func (c *caller) Do(r *http.Request) (*http.Response, error) { return c.signed.RoundTrip(r) }

// operation is one call.
type operation struct {
	id      string // operationId
	create  bool
	retries int                   // how often it may be sent again
	found   violations            // why it may not be sent at all
	about   func(*ExportJob) bool // whether an answer is about the right job; nil where any is
}

// read starts an operation that may be sent again: a read, an update or a deletion.
func (c *caller) read(id string) operation { return operation{id: id, retries: c.maxRetries} }

// form is an answer's content as Atlas writes it. To read it refuses what lacks members that
// the contract promises.
type form[T any] interface{ read() (*T, error) }

// call sends an operation, and reads the answer's content in the form F.
func call[F form[T], T any](ctx context.Context, c *caller, o operation, send func(context.Context) (*http.Response, error)) (*T, error) {
	var result *T
	err := c.call(ctx, o, send, func(body []byte) (err error) {
		var content F
		if err = json.Unmarshal(body, &content); err != nil {
			return err
		}
		result, err = content.read()
		if job, ok := any(result).(*ExportJob); ok && err == nil && o.about != nil && !o.about(job) {
			err = errors.New("it is about another job")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// call sends an operation until it succeeds, or another try would be of no use or of harm.
func (c *caller) call(ctx context.Context, o operation, send func(context.Context) (*http.Response, error), decode func([]byte) error) error {
	if err := o.found.err(o.id); err != nil {
		return err
	}
	if o.create {
		return c.create(ctx, o, send, decode)
	}
	doubtful := false
	for tries := 0; ; tries++ {
		failed := c.try(ctx, o, send, decode)
		if failed == nil {
			return nil
		}
		failed.doubtful = doubtful
		var dial *net.OpError // nothing was sent
		doubtful = doubtful || failed.Status == 0 && !(errors.As(failed.Err, &dial) && dial.Op == "dial") || failed.Status >= 500
		if !failed.transient || tries >= o.retries {
			return failed
		}
		pause := backoff(tries)
		if failed.RetryAfter > 0 {
			pause += failed.RetryAfter
		}
		if deadline, ok := ctx.Deadline(); pause > maxPause || ok && time.Until(deadline) < pause {
			return failed
		}
		if err := sleep(ctx, pause); err != nil {
			if failed.Err != nil {
				err = fmt.Errorf("%w; %w", failed.Err, err)
			}
			failed.Err = err
			return failed
		}
	}
}

// maxPause is the longest pause between two tries that a caller is not asked about first.
const maxPause = 90 * time.Second

// backoff returns how long to wait before another try: 250 ms, doubled each time up to 8 s,
// half of it by chance.
func backoff(tries int) time.Duration {
	d := 250 * time.Millisecond << min(tries, 5)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return over(ctx)
	}
}

// over returns why a context is over: its error, and the cause if that is another.
func over(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// create sends an operation once, and tells a create that was not carried out from one
// that may have been.
func (c *caller) create(ctx context.Context, o operation, send func(context.Context) (*http.Response, error), decode func([]byte) error) error {
	s := new(sending)
	failed := c.try(context.WithValue(ctx, sendingKey{}, s), o, send, decode)
	switch {
	case failed == nil:
		return nil
	case s.maybe() && failed.unknown():
		return &UnknownOutcomeError{SentAt: s.at, Err: failed}
	default:
		return failed
	}
}

// errTimeout is the cause of a context that Config.Timeout ended.
var errTimeout = errors.New("no answer in time")

// stopped is an error of Config.BeforeSend.
type stopped struct{ error }

func (s *stopped) Unwrap() error { return s.error }

var (
	errRedirect  = errors.New("redirects are not followed")
	errTooLarge  = errors.New("the answer is larger than MaxResponse")
	errNoContent = errors.New("the answer is not what the operation promises")
)

// try sends an operation once.
func (c *caller) try(parent context.Context, o operation, send func(context.Context) (*http.Response, error), decode func([]byte) error) *Error {
	ctx, cancel := context.WithTimeoutCause(parent, c.timeout, errTimeout)
	defer cancel()
	response, err := send(ctx)
	if err != nil {
		e := unanswered(o.id, ended(parent, ctx, err))
		e.transient = e.transient && parent.Err() == nil
		return e
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, c.maxResponse+1))
	switch {
	case err != nil:
		err = fmt.Errorf("reading the answer: %w", ended(parent, ctx, err))
	case int64(len(body)) > c.maxResponse:
		body, err = nil, errTooLarge
	}
	e := &Error{Operation: o.id}
	e.answered(response.StatusCode, response.Header)
	switch status := response.StatusCode; {
	case status >= 200 && status <= 299:
		if err == nil && decode != nil {
			if invalid := decode(body); invalid != nil {
				err = fmt.Errorf("%w: %w", errNoContent, invalid)
			}
		}
		if err == nil {
			return nil
		}
		e.transient = parent.Err() == nil && err != errTooLarge
	case status >= 300 && status <= 399:
		err = errRedirect
	case err == nil:
		err = e.parse(c.redact(body))
	}
	if !forbidden(e.Code) { // else the 401 is about what a good credential may do
		if status401 := c.explain(response); status401 != nil {
			err = status401
		}
	}
	e.Err = err
	return e
}

// redact takes the secret out of an answer that repeats what was sent.
func (c *caller) redact(body []byte) []byte {
	if c.secret.IsZero() {
		return body
	}
	return bytes.ReplaceAll(body, []byte(c.secret.Reveal()), []byte("REDACTED"))
}

// ended puts the reason why a try ended in the place of what net/http makes of it.
func ended(parent, ctx context.Context, err error) error {
	switch {
	case parent.Err() != nil:
		return over(parent)
	case context.Cause(ctx) == errTimeout:
		return errTimeout
	default:
		return err
	}
}

// unanswered is the error of a try that no answer came to.
func unanswered(operation string, err error) *Error {
	e := &Error{Operation: operation, Err: err}
	var (
		stop        *stopped
		origin      *outbound.OriginError
		key         *digestauth.CredentialError
		account     *serviceaccount.CredentialError
		probe       *digestauth.ProbeError
		token       *serviceaccount.TokenError
		certificate *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &stop):
		e.Err = stop.error
	case errors.As(err, &key), errors.As(err, &account):
		e.Status = http.StatusUnauthorized
	case errors.As(err, &probe):
		e.answered(probe.Status, probe.Header)
	case errors.As(err, &token):
		e.answered(token.Status, nil)
		e.RetryAfter = token.RetryAfter
		e.transient = e.transient || token.Status < 400
	case errors.As(err, &origin), errors.As(err, &certificate), errors.Is(err, outbound.ErrBodyTooLarge):
	default:
		e.transient = true
	}
	return e
}

// sending is how far a create has come.
type sending struct {
	at     time.Time   // when it was handed to the transport
	handed atomic.Bool // to the transport, with its content
	asked  atomic.Bool // the transport looked for a connection,
	got    atomic.Bool // and had one
}

type sendingKey struct{}

// maybe reports whether the create may have reached the server. A transport that does not
// say that it still looks for a connection may have had one.
func (s *sending) maybe() bool { return s.handed.Load() && (s.got.Load() || !s.asked.Load()) }

// carry is the transport below the credential. It notes how far a create has come, and puts
// the errorCode of a 401 where authenticated looks for it.
func (c *caller) carry(r *http.Request) (*http.Response, error) {
	s, _ := r.Context().Value(sendingKey{}).(*sending)
	if s == nil || r.Body == nil {
		return nameCode(c.base.RoundTrip(r))
	}
	if err := r.Context().Err(); err != nil {
		outbound.CloseBody(r)
		return nil, err
	}
	s.at = time.Now()
	s.asked.Store(false)
	s.got.Store(false)
	s.handed.Store(true)
	response, err := c.alone.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { s.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.got.Store(true) },
	})))
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		s.handed.Store(false) // refused; the credential may be tried again
	}
	return nameCode(response, err)
}

// authenticated tells Atlas's 401s that are about what a good credential may do from those
// that are about the credential.
func authenticated(response *http.Response) bool {
	return forbidden(response.Header.Get("X-Error-Code"))
}

// nameCode puts the errorCode of a 401 into X-Error-Code where the server does not:
// authenticated may look at the header only.
func nameCode(response *http.Response, err error) (*http.Response, error) {
	if err != nil || response.StatusCode != http.StatusUnauthorized || response.Header.Get("X-Error-Code") != "" {
		return response, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	var content struct{ ErrorCode string }
	if err == nil && json.Unmarshal(body, &content) == nil && content.ErrorCode != "" {
		response.Header.Set("X-Error-Code", content.ErrorCode)
	}
	return response, nil
}

// plain is the transport of callers without a credential, or with a token that is sent as it is.
type plain struct {
	origin        outbound.Origin
	base          http.RoundTripper
	authorization []string
}

func (p *plain) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := p.origin.Check(r); err != nil {
		outbound.CloseBody(r)
		return nil, err
	}
	content, err := outbound.TakeContent(r, maxContent)
	if err != nil {
		return nil, err
	}
	out, err := outbound.Request(r, content)
	if err != nil {
		return nil, err
	}
	if p.authorization != nil {
		out.Header["Authorization"] = p.authorization
	}
	return p.base.RoundTrip(out)
}

// maxContent bounds the content of a request that has no GetBody, which those of the
// generated client have.
const maxContent = 1 << 20

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answered notes status and header of an answer.
func (e *Error) answered(status int, header http.Header) {
	e.Status = status
	e.Code = header.Get("X-Error-Code")
	e.GatewayKind = header.Get("Gateway-Error")
	e.RequestID = header.Get("Gateway-Request-Id")
	e.RetryAfter = retryAfter(header.Get("Retry-After"))
	switch {
	case e.GatewayKind == "no_credential": // until the gateway's configuration changes
	case e.rateLimited():
		e.transient = true
	default:
		switch status {
		case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			e.transient = true
		}
	}
}

var errNotAPIError = errors.New("the answer's content is not Atlas's")

// parse notes what an answer's content says of the error.
func (e *Error) parse(body []byte) error {
	var content gen.APIError
	if err := json.Unmarshal(body, &content); err != nil || content.ErrorCode == "" {
		return errNotAPIError
	}
	e.Code = content.ErrorCode
	e.transient = e.transient || e.rateLimited()
	if content.Detail != nil {
		e.Detail = *content.Detail
	}
	if content.Parameters != nil {
		for _, p := range *content.Parameters {
			e.Parameters = append(e.Parameters, fmt.Sprint(p))
		}
	}
	if d := content.BadRequestDetail; d != nil && d.Fields != nil {
		for _, field := range *d.Fields {
			e.Violations = append(e.Violations, Violation{Field: orZero(field.Field), Description: orZero(field.Description)})
		}
	}
	return nil
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3): seconds, or a date.
func retryAfter(value string) time.Duration {
	if value == "" {
		return 0
	}
	if seconds, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
		return time.Duration(min(max(seconds, 0), maxRetryAfter)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(date), 0), maxRetryAfter*time.Second)
	}
	return 0
}

// maxRetryAfter is the longest that a server is believed, in seconds.
const maxRetryAfter = 24 * 60 * 60

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
