// Package serviceaccount signs requests with the bearer tokens of an Atlas service account.
//
// The gateway and package client use its [Transport] for service accounts, and that of package
// digestauth for API keys. All requests share one token. It is fetched once (RFC 6749, section
// 4.4), renewed before it expires, and replaced when Atlas refuses it.
//
// The package refuses to send anything to another origin than the account's, and to ask for more
// tokens than Atlas allows.
package serviceaccount

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"atlas-export-gateway/internal/outbound"
	"atlas-export-gateway/secret"
)

// Credential is the id and secret of a service account. Atlas shows the secret once, when the
// account is created.
type Credential struct {
	ClientID     string
	ClientSecret secret.Secret
}

// Equal reports whether two credentials are the same.
func (c Credential) Equal(d Credential) bool {
	return c.ClientID == d.ClientID && c.ClientSecret.Equal(d.ClientSecret)
}

// Config says what a [Transport] signs, with which credential, and within which bounds. Origin,
// Credential and Base are required.
type Config struct {
	// Origin is the scheme, host and port of the account, such as "https://cloud.mongodb.com".
	// Tokens are fetched from it, and sent to no other.
	Origin string
	// Credential returns the current credential. It is called before a token is fetched, and by
	// each request while the credential counts as bad. If it returns another credential than
	// before, that one is tried at once. Its errors must not hold the secret.
	Credential func(context.Context) (Credential, error)
	// Base sends the requests.
	Base http.RoundTripper
	// Authenticated, if not nil, reports whether a 401 is nevertheless the answer to an
	// authenticated request, such as Atlas's NOT_IN_GROUP. Such a response is returned as it is.
	// The function may read only the status and the header.
	Authenticated func(*http.Response) bool
	// Confirm, if not nil, is a harmless GET at Origin that every good token may send. Atlas may
	// refuse a request of one caller for a reason of its own. With Confirm, such refusals neither
	// use up the tokens of a minute nor hold the credential back: the Transport sends Confirm when a
	// request was refused, and only a refusal of Confirm counts against the token. Other answers
	// show that the token is good, except 408, 429 and 5xx, which decide nothing. Confirm is sent
	// with its header, at most once at a time. Where it decides nothing, a refused token is replaced
	// once it is a minute old.
	Confirm *http.Request
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// TokensPerMinute bounds how often a token is asked for. 0 means 10, which is Atlas's limit.
	TokensPerMinute int
	// HoldBad is for how long a refused credential is not tried again. 0 means 30 s.
	HoldBad time.Duration
	// FetchTimeout bounds the request for one token. 0 means 15 s.
	FetchTimeout time.Duration
	// MaxBody bounds, in bytes, the content of a request without GetBody, which is kept for a
	// second sending. 0 means 1 MiB.
	MaxBody int64
}

// Transport is an http.RoundTripper that sends requests to one origin with the token of
// one service account. It may be used from several goroutines.
type Transport struct {
	origin        outbound.Origin
	base          http.RoundTripper
	authenticated func(*http.Response) bool
	confirm       *http.Request
	maxBody       int64
	tokens        tokens
}

// CredentialError says that Atlas refuses the credential, or that the credential could not be
// read. The request was not sent, or Atlas refused it.
type CredentialError struct {
	// Answer is what the token endpoint said. It is zero if the credential could not be read, or if
	// Atlas gave tokens for it and refused them.
	Answer
	// Source is the error of Config.Credential, if it returned one.
	Source error
}

func (e *CredentialError) Error() string {
	if e.Source != nil {
		return "serviceaccount: the credential can't be read: " + e.Source.Error()
	}
	if e.Code != "" {
		return "serviceaccount: the credential was refused: " + e.Code
	}
	return "serviceaccount: the credential was refused"
}

func (e *CredentialError) Unwrap() error { return e.Source }

// TokenError says that no token could be fetched, for another reason than the credential. The
// request was not sent.
type TokenError struct {
	// Answer is what the token endpoint said; zero if there was no answer. Status is also 429 if no
	// token was asked for, since as many were as a minute allows. RetryAfter is then, and after an
	// answer, how long the Transport waits until it asks again; 0 means that it asks at once.
	Answer
	// Cause is what went wrong.
	Cause error
}

func (e *TokenError) Error() string {
	text := "serviceaccount: no token: " + e.Cause.Error()
	if e.Code != "" {
		text += ": " + e.Code
	}
	return text
}

func (e *TokenError) Unwrap() error { return e.Cause }

// NewTransport checks c and builds a Transport from it. It sends nothing, and does not call
// c.Credential.
func NewTransport(c Config) (*Transport, error) {
	origin, err := outbound.ParseOrigin(c.Origin)
	switch {
	case err != nil:
		return nil, fmt.Errorf("serviceaccount: Origin %w", err)
	case c.Credential == nil || c.Base == nil:
		return nil, errors.New("serviceaccount: Credential and Base are required")
	case c.TokensPerMinute < 0 || c.HoldBad < 0 || c.FetchTimeout < 0 || c.MaxBody < 0:
		return nil, errors.New("serviceaccount: a bound is negative")
	}
	if err := checkConfirm(&origin, c.Confirm); err != nil {
		return nil, err
	}
	t := &Transport{
		origin:        origin,
		base:          c.Base,
		authenticated: c.Authenticated,
		confirm:       c.Confirm,
		maxBody:       cmp.Or(c.MaxBody, 1<<20),
		tokens: tokens{
			url:     origin.String() + "/api/oauth/token",
			base:    c.Base,
			source:  c.Credential,
			now:     c.Now,
			calls:   make([]time.Time, cmp.Or(c.TokensPerMinute, 10)),
			holdBad: cmp.Or(c.HoldBad, 30*time.Second),
			timeout: cmp.Or(c.FetchTimeout, 15*time.Second),
		},
	}
	if t.tokens.now == nil {
		t.tokens.now = time.Now
	}
	return t, nil
}

// RoundTrip sends req with a token, and returns the response to it. If Atlas refuses the token,
// RoundTrip sends the request once more, with a new token. It returns a second 401, its content
// unread. With Config.Confirm, a refusal of the request only, and not of the token, is a
// *[RefusedError]. The errors of the package are *[outbound.OriginError], *[CredentialError],
// *[TokenError], *[RefusedError] and [outbound.ErrBodyTooLarge]; all others are Base's or the
// context's. req is not changed, except that its Body is read and closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.RoundTripThrough(t.base, req)
}

// RoundTripThrough is [Transport.RoundTrip] with another transport than Config.Base for this
// request. Tokens are still fetched through Config.Base, so that base learns whether the request
// itself was sent.
func (t *Transport) RoundTripThrough(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	content, err := t.origin.TakeContent(req, t.maxBody)
	if err != nil {
		return nil, err
	}
	var refused *token
	for {
		token, err := t.tokens.get(req.Context(), refused)
		if err != nil {
			return nil, err
		}
		response, err := send(base, req, content, token)
		if err != nil {
			return nil, err
		}
		response.Request = req
		if !t.refuses(response) {
			token.confirmations.accepted.Store(true)
			return response, nil
		}
		revoked := false
		if t.confirm != nil {
			// The response lets go of its connection first, since the request of Config.Confirm needs
			// one, and there may be no other.
			outbound.Discard(response)
			response.Body = http.NoBody
			bad, err := t.isBad(req.Context(), token)
			if !bad {
				return nil, cmp.Or(err, error(&RefusedError{}))
			}
			revoked = token.confirmations.accepted.Load()
		}
		if refused != nil && !revoked {
			t.tokens.holdBack(token)
			return response, nil
		}
		refused = token
		outbound.Discard(response)
	}
}

// send sends a request with a token.
func send(base http.RoundTripper, req *http.Request, content outbound.Content, token *token) (*http.Response, error) {
	out, err := outbound.Request(req, content)
	if err != nil {
		return nil, err
	}
	out.Header["Authorization"] = token.authorization
	return base.RoundTrip(out)
}

// refuses reports whether a response says that Atlas refuses the token.
func (t *Transport) refuses(response *http.Response) bool {
	return response.StatusCode == http.StatusUnauthorized && (t.authenticated == nil || !t.authenticated(response))
}

// Explain says why RoundTrip returned a 401. It returns a *[CredentialError] if two tokens were
// refused. It returns nil for other statuses, and for a 401 for which Config.Authenticated returns
// true.
func (t *Transport) Explain(response *http.Response) error {
	if !t.refuses(response) {
		return nil
	}
	return &CredentialError{}
}
