package atlas

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"atlas-export-gateway/digestauth"
	"atlas-export-gateway/gateway/http1"
	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/serviceaccount"
)

// Kind is why Atlas gave no answer that can be relayed.
type Kind int

// The kinds of errors.
const (
	// NoCredential: no credential is for the group.
	NoCredential Kind = iota + 1
	// CredentialRefused: Atlas does not accept the credential, or it can't be read.
	CredentialRefused
	// Unsigned: Atlas gave neither a challenge nor a token to sign the request with.
	Unsigned
	// RateLimited is Unsigned where the reason is a rate limit of Atlas's.
	RateLimited
	// HandedFailed: Request.Handed returned an error.
	HandedFailed
	// TimedOut: Atlas took longer than Config.Timeout.
	TimedOut
	// Canceled: the context of the request ended first.
	Canceled
	// Unreachable: no connection to Atlas could be made.
	Unreachable
	// Disconnected: the connection ended before Atlas answered.
	Disconnected
	// Truncated: the response ended early.
	Truncated
	// TooLarge: the response is larger than Config.MaxResponse.
	TooLarge
	// NoCommonCredential: the operation has no group, and no credential is for every group.
	NoCommonCredential
)

// Error is a request that got no answer that can be relayed.
type Error struct {
	Kind    Kind
	Outcome Outcome
	// Status is that of the response, 0 where there was none.
	Status int
	// Duration is that of Send.
	Duration time.Duration
	// RetryAfter is how long Atlas asks to wait, 0 where it does not say.
	RetryAfter time.Duration
	// Limit is Config.MaxResponse, of a response that is TooLarge.
	Limit int
	// Err is the cause. Its text holds nothing that the gateway sent.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

var (
	errNoCredential       = errors.New("no credential is for the group")
	errNoCommonCredential = errors.New("no credential is for every group")
	errTimeout            = errors.New("Atlas took longer than timeouts.upstream") //lint:ignore ST1005 Atlas is a name
	errTooLarge           = errors.New("the response is larger than limits.response_body")
)

// handedError is an error of Request.Handed.
type handedError struct{ error }

func (e *handedError) Unwrap() error { return e.error }

// unquoted is an error without what it quotes: the errors of net/http quote a broken response,
// which may repeat what the gateway sent.
type unquoted struct{ error }

func (e unquoted) Error() string {
	text, _, _ := strings.Cut(e.error.Error(), `"`)
	return strings.TrimSpace(text)
}

func (e unquoted) Unwrap() error { return e.error }

// failed returns what an error of sending or reading means. outcome is what is known from how far
// the request was sent; status is that of the response, 0 where there was none.
func (c *credential) failed(ctx context.Context, err error, status int, outcome Outcome) *Error {
	e := &Error{Outcome: outcome, Status: status, Err: unquoted{err}}
	var (
		key     *digestauth.CredentialError
		account *serviceaccount.CredentialError
		request *serviceaccount.RefusedError
		probe   *digestauth.ProbeError
		token   *serviceaccount.TokenError
		handed  *handedError
		network *net.OpError
		unsent  *http1.UnsentError
	)
	if errors.As(err, &network) && network.Op == "dial" || errors.As(err, &unsent) {
		e.Outcome = NotSent // whatever ended the wait for a connection, or the making of one
	}
	switch {
	case errors.As(err, &key), errors.As(err, &account), errors.As(err, &request):
		return c.refused(e.Err, status)
	case errors.As(err, &probe):
		e.unsigned(probe.Status, outbound.RetryAfter(probe.Header, time.Now()))
	case errors.As(err, &token):
		e.unsigned(token.Status, token.RetryAfter)
	case errors.As(err, &handed):
		e.Kind, e.Err = HandedFailed, handed.error
	case errors.Is(context.Cause(ctx), errTimeout):
		e.Kind = TimedOut
	case errors.Is(err, context.Canceled):
		e.Kind = Canceled
	case status != 0:
		e.Kind = Truncated
	case network != nil && network.Op == "dial":
		e.Kind = Unreachable
	default:
		e.Kind = Disconnected
	}
	return e
}

// refused returns the error of a credential that Atlas does not accept.
func (c *credential) refused(cause error, status int) *Error {
	return &Error{Kind: CredentialRefused, Outcome: NotSent, Status: status, Err: fmt.Errorf("%s: %w", c.Name, cause)}
}

// unsigned makes e the error of a request that could not be signed, and so was not sent.
func (e *Error) unsigned(status int, after time.Duration) {
	e.Kind, e.Outcome, e.RetryAfter = Unsigned, NotSent, after
	if status == http.StatusTooManyRequests {
		e.Kind = RateLimited
	}
}
