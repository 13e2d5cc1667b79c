package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
)

// caller sends requests to one origin with one credential. Both generations share it.
type caller struct {
	origin          outbound.Origin
	transport       http.RoundTripper // as configured
	createTransport http.RoundTripper // the one for creates
	base            http.RoundTripper // transport, and what the signing transports need of it
	// sign adds the credential to a request, and sends it through base.
	sign        func(base http.RoundTripper, r *http.Request) (*http.Response, error)
	explain     func(*http.Response) error // says why sign returned a 401
	secret      secret.Secret              // of the credential
	userAgent   string
	beforeSend  func(*http.Request) error
	timeout     time.Duration
	maxRetries  int
	maxResponse int64
	keys        Keys
	// beforeRepeat is Config.BeforeRepeat.
	beforeRepeat func(error, time.Duration)
}

// Do sends what the generated client builds, except creates. Unlike http.Client, it follows
// no redirect.
func (c *caller) Do(r *http.Request) (*http.Response, error) { return c.sign(c.base, r) }

// operation is one call of an operation of the contract.
type operation struct {
	id      string          // operationId
	key     string          // Idempotency-Key of a create
	derived bool            // gateways keep a derived key of it after they have answered
	retries int             // how often it may be sent again
	found   violations      // why it may not be sent at all
	check   func(any) error // whether a result is what was asked for; nil where any is
}

// about returns the function operation.check for results of the type T, which the error calls
// what.
func about[T any](what string, asked func(*T) bool) func(any) error {
	return func(result any) error {
		if value, ok := result.(*T); !ok || !asked(value) {
			return errors.New("it is about another " + what)
		}
		return nil
	}
}

// resendable returns an operation that may be sent again: a read, an update or a deletion.
func (c *caller) resendable(id string) operation { return operation{id: id, retries: c.maxRetries} }

// form is the content of an answer as Atlas writes it. Its method read refuses content that
// lacks members that the contract promises.
type form[T any] interface{ read() (*T, error) }

// call sends an operation that may be sent again, and reads the content of the answer in the
// form F.
func call[F form[T], T any](ctx context.Context, c *caller, o operation, send func(context.Context) (*http.Response, error)) (*T, error) {
	var result *T
	if err := c.call(ctx, o, send, decoder[F](o, &result)); err != nil {
		return nil, err
	}
	return result, nil
}

// decoder returns a function that reads the content of an answer, in the form F, into result.
func decoder[F form[T], T any](o operation, result **T) func([]byte) error {
	return func(body []byte) error {
		var content F
		if err := json.Unmarshal(body, &content); err != nil {
			return err
		}
		value, err := content.read()
		if err != nil {
			return err
		}
		if o.check != nil {
			if err := o.check(value); err != nil {
				return err
			}
		}
		*result = value
		return nil
	}
}

// errTimeout is the cause of a context that Config.Timeout ended.
var errTimeout = errors.New("no answer in time")

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
		e := unanswered(o.id, endOfTry(parent, ctx, err))
		e.transient = e.transient && parent.Err() == nil
		return e
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, c.maxResponse+1))
	switch {
	case err != nil:
		err = fmt.Errorf("reading the answer: %w", endOfTry(parent, ctx, err))
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
		err = e.parse(c.redact(response, body))
	}
	if !forbidden(e.Code) { // else the 401 is about what a good credential may do
		if status401 := c.explain(response); status401 != nil {
			err = status401
		}
	}
	e.Err = err
	return e
}

// endOfTry returns why a try ended: the end of the caller's context, Config.Timeout, or err,
// which is what net/http makes of either.
func endOfTry(parent, ctx context.Context, err error) error {
	switch {
	case parent.Err() != nil:
		return contextError(parent)
	case context.Cause(ctx) == errTimeout:
		return errTimeout
	default:
		return err
	}
}

// contextError returns why a context ended: its error, and the cause if that is another.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// redact takes the secret out of an answer that repeats what was sent.
func (c *caller) redact(response *http.Response, body []byte) []byte {
	secrets := []string{c.secret.Reveal()}
	if response.Request != nil { // as it was sent, if its token came from a source
		secrets = append(secrets, strings.TrimPrefix(response.Request.Header.Get("Authorization"), "Bearer "))
	}
	for _, secret := range secrets {
		if secret != "" {
			body = bytes.ReplaceAll(body, []byte(secret), []byte("REDACTED"))
		}
	}
	return body
}
