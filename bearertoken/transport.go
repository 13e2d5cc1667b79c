// Package bearertoken signs requests with a bearer token that changes: one in a file, such as a
// projected service account token of Kubernetes, or one that a command prints.
//
// Package client uses its [Transport], and atlas-export the two kinds of [Source]. All requests
// share one token. It is renewed before it expires, and read anew when it is refused.
//
// The package refuses to send anything to another origin than the token's, and to wait for a
// command that hangs or does not stop printing. No error holds a token or what a command printed.
package bearertoken

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"atlas-export-gateway/internal/outbound"
)

// Config says what a [Transport] signs, and with which tokens. Origin, Source and Base are
// required.
type Config struct {
	// Origin is the scheme, host and port that the token is for, such as
	// "https://gateway.example.com". It is sent to no other.
	Origin string
	// Source gives the tokens.
	Source *Source
	// Base sends the requests.
	Base http.RoundTripper
	// Authenticated, if not nil, reports whether a 401 says nothing against the token, or whether the
	// request may have been carried out all the same. Such a response is returned as it is. The
	// function may read only the status and the header.
	Authenticated func(*http.Response) bool
	// MaxBody bounds, in bytes, the content of a request without GetBody, which is kept for a
	// second sending. 0 means 1 MiB.
	MaxBody int64
}

// Transport is an http.RoundTripper that sends requests to one origin with the tokens of one
// Source. It may be used from several goroutines.
type Transport struct {
	origin        outbound.Origin
	source        *Source
	base          http.RoundTripper
	authenticated func(*http.Response) bool
	maxBody       int64
}

// SourceError says that there is no token to send a request with. The request was not sent, or it
// was refused with the last token.
type SourceError struct {
	// Refused says that the last token was refused.
	Refused bool
	// Cause is what went wrong. It names the file or the program.
	Cause error
}

func (e *SourceError) Error() string {
	if e.Refused {
		return "bearertoken: the token was refused, and there is no new one: " + e.Cause.Error()
	}
	return "bearertoken: there is no token: " + e.Cause.Error()
}

func (e *SourceError) Unwrap() error { return e.Cause }

// NewTransport checks c and builds a Transport from it. It sends nothing, and does not ask
// c.Source.
func NewTransport(c Config) (*Transport, error) {
	origin, err := outbound.ParseOrigin(c.Origin)
	switch {
	case err != nil:
		return nil, fmt.Errorf("bearertoken: Origin %w", err)
	case c.Source == nil || c.Base == nil:
		return nil, errors.New("bearertoken: Source and Base are required")
	case c.MaxBody < 0:
		return nil, errors.New("bearertoken: a bound is negative")
	}
	return &Transport{origin, c.Source, c.Base, c.Authenticated, cmp.Or(c.MaxBody, 1<<20)}, nil
}

// RoundTrip sends req with a token, and returns the response to it. If the token is refused,
// RoundTrip asks the source anew, and sends the request once more if the source has another token.
// A second 401, or one with a token that the source has no other for, is returned as it is. The
// errors of the package are *[outbound.OriginError], *[SourceError] and
// [outbound.ErrBodyTooLarge]; all others are Base's or the context's. req is not changed, except
// that its Body is read and closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.RoundTripThrough(t.base, req)
}

// RoundTripThrough is [Transport.RoundTrip] with another transport than Config.Base for this
// request.
func (t *Transport) RoundTripThrough(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	content, err := t.origin.TakeContent(req, t.maxBody)
	if err != nil {
		return nil, err
	}
	first, err := t.source.get(req.Context(), nil)
	if err != nil {
		return nil, sourceError(req, err, false)
	}
	response, err := send(base, req, content, first)
	if err != nil || !t.refuses(response) {
		return response, err
	}
	second, err := t.source.get(req.Context(), first)
	switch {
	case err != nil:
		outbound.Discard(response)
		return nil, sourceError(req, err, true)
	case second.is(first):
		return response, nil
	}
	outbound.Discard(response)
	return send(base, req, content, second)
}

// sourceError returns the error for a request that has no token: that of its context, or the
// source's.
func sourceError(req *http.Request, err error, refused bool) error {
	if ended := req.Context().Err(); ended != nil {
		return ended
	}
	return &SourceError{Refused: refused, Cause: err}
}

// send sends a request with a token. The response's Request has the token, so that it can be found
// in the content.
func send(base http.RoundTripper, req *http.Request, content outbound.Content, token *token) (*http.Response, error) {
	out, err := outbound.Request(req, content)
	if err != nil {
		return nil, err
	}
	out.Header["Authorization"] = []string{"Bearer " + token.value.Reveal()}
	response, err := base.RoundTrip(out)
	if err == nil {
		response.Request = out
	}
	return response, err
}

// refuses reports whether a response says that the token is refused. A request with this answer
// was not carried out (RFC 9110, section 15.5.2).
func (t *Transport) refuses(response *http.Response) bool {
	return response.StatusCode == http.StatusUnauthorized && (t.authenticated == nil || !t.authenticated(response))
}
