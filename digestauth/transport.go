package digestauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"atlas-export-gateway/internal/outbound"
)

// Config says what a [Transport] signs, for whom and within which bounds. Origin and Credential are required.
type Config struct {
	// Origin is the scheme, host and port that the credential is for, such as "https://cloud.mongodb.com": nothing is sent to any
	// other. Without a port it is the scheme's own. It has no user info, query or fragment, and no path but "/".
	Origin string

	// Realm, if not empty, is the only one whose challenges are answered.
	Realm string

	// Credential returns the current credential, neither part of it empty. It is called before the first request, after each refusal
	// on a fresh nonce and, once the credential was condemned, by every call until one succeeds; another credential than before
	// is tried at once. It may be called from several goroutines. Its errors are passed on and must not hold the secret.
	Credential func(context.Context) (Credential, error)

	// Base sends the requests. Nil means an http.Transport of its own that uses no proxy, keeps up to 256 idle connections,
	// each for 30 s, and gives a connection 10 s to be made.
	Base http.RoundTripper

	// Authenticated, if not nil, reports whether a 401 with a challenge nevertheless answers an authenticated request, such as
	// Atlas's NOT_IN_GROUP and USER_UNAUTHORIZED. Such a response is returned as it is and speaks for the credential.
	// The function may look at the status and header only.
	Authenticated func(*http.Response) bool

	// Now is the clock, time.Now if nil. It tells the age of nonces and how long a bad credential is held back.
	Now func() time.Time

	// MaxRetries is how many 401s one request answers with their own nonce. 0 means 8. It may not be less than MaxRefusals.
	MaxRetries int
	// MaxRefusals is how many refusals in a row on fresh nonces condemn a credential, if no request succeeds in between.
	// 0 means 4.
	MaxRefusals int
	// HoldBad is for how long a condemned credential is not tried again. 0 means 5 s.
	HoldBad time.Duration
	// MaxChallenges is how many requests for a new nonce may be under way at once. 0 means 2.
	MaxChallenges int
	// MaxIdleNonces is how many nonces wait in the pool at most; beyond that the least recently used is dropped. 0 means 256.
	MaxIdleNonces int
	// NonceIdle is for how long a nonce may wait unused. 0 means 1 min.
	NonceIdle time.Duration
	// MaxBody is, in bytes, the largest content that is kept for a second sending if the request has no GetBody. 0 means 1 MiB.
	MaxBody int64
}

// A Transport is an http.RoundTripper that sends requests to one origin, signed with one credential. Its zero value is of no
// use; see [NewTransport]. It may be used from several goroutines.
type Transport struct {
	origin        outbound.Origin
	realm         string
	base          http.RoundTripper
	authenticated func(*http.Response) bool
	maxRetries    int
	maxBody       int64
	pool          pool
}

// NewTransport checks c and builds a Transport from it. It sends nothing and does not call c.Credential.
func NewTransport(c Config) (*Transport, error) {
	o, err := outbound.ParseOrigin(c.Origin)
	if err != nil {
		return nil, fmt.Errorf("digestauth: %w", err)
	}
	if c.Credential == nil {
		return nil, errors.New("digestauth: there is no source of the credential")
	}
	if c.MaxRetries < 0 || c.MaxRefusals < 0 || c.HoldBad < 0 || c.MaxChallenges < 0 || c.MaxIdleNonces < 0 || c.NonceIdle < 0 || c.MaxBody < 0 {
		return nil, errors.New("digestauth: a bound is negative")
	}
	t := &Transport{
		origin:        o,
		realm:         c.Realm,
		base:          c.Base,
		authenticated: c.Authenticated,
		maxRetries:    cmp.Or(c.MaxRetries, 8),
		maxBody:       cmp.Or(c.MaxBody, 1<<20),
		pool: pool{
			source:        c.Credential,
			now:           c.Now,
			maxRefusals:   cmp.Or(c.MaxRefusals, 4),
			holdBad:       cmp.Or(c.HoldBad, 5*time.Second),
			maxChallenges: cmp.Or(c.MaxChallenges, 2),
			maxIdle:       cmp.Or(c.MaxIdleNonces, 256),
			nonceIdle:     cmp.Or(c.NonceIdle, time.Minute),
			window:        openWindow,
		},
	}
	if t.maxRetries < t.pool.maxRefusals {
		return nil, errors.New("digestauth: MaxRetries is less than MaxRefusals")
	}
	if t.base == nil {
		t.base = defaultBase()
	}
	if t.pool.now == nil {
		t.pool.now = time.Now
	}
	return t, nil
}

// defaultBase is built from nothing, so that neither the environment nor a changed http.DefaultTransport sends the credential
// through a proxy.
func defaultBase() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 256,
		// Less than servers and load balancers keep them: a POST that meets a connection just closed fails, since it is never repeated.
		IdleConnTimeout: 30 * time.Second,
	}
}

// An OriginError says that a request was for another origin than the credential, and that nothing of it was sent. A client
// that follows a redirect to elsewhere gets it.
type OriginError = outbound.OriginError

// ErrBodyTooLarge says that a request's content exceeds [Config.MaxBody] and has no GetBody. Nothing was sent.
var ErrBodyTooLarge = outbound.ErrBodyTooLarge

// A ProbeError says that the server did not ask for a credential when it should have. Before content is sent without
// knowing a nonce, the server is asked for one by the same request without content; this is its answer, other than 401.
// It is not the outcome of the request, which was not sent: to send it again is safe.
type ProbeError struct {
	Status int         // of the answer
	Header http.Header // of the answer; Retry-After may be of use
}

func (e *ProbeError) Error() string {
	return fmt.Sprintf("digestauth: the request was not sent, since the server answered %d when asked for a challenge", e.Status)
}

// RoundTrip sends req, signed, and returns the response to it.
//
// A request that the server refuses with a 401 is sent again with the nonce of that 401, until Config.MaxRetries. While no nonce is
// at hand it waits, no longer than its context, for another request to give one back or for its turn to ask the server. A request
// without content asks by being sent unsigned, and any answer but a 401 is its response. For one with content, see [ProbeError].
//
// A 401 is returned, its content unread, when it holds no challenge that can be answered, when the retries are used
// up, or when Config.Authenticated says so; [Transport.Explain] tells them apart.
//
// Errors of this package are *[OriginError], *[CredentialError], *[ProbeError], [ErrBodyTooLarge], and wrapped errors of the
// context, of the request's Body and of Config.Credential; all others are Base's. Nothing of req is changed, but its Body is read and
// closed. The Request of the response is req, which holds no credential.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.RoundTripThrough(t.base, req)
}

// RoundTripThrough is [Transport.RoundTrip] with another transport than Config.Base for this
// request. Only a signed sending of the request has an Authorization field, and only that has
// the request's content: whoever must know whether the content left learns it in base.
func (t *Transport) RoundTripThrough(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	if err := t.origin.Check(req); err != nil {
		outbound.CloseBody(req)
		return nil, err
	}
	content, err := outbound.TakeContent(req, t.maxBody)
	if err != nil {
		return nil, err
	}
	turn, err := t.pool.acquire(req.Context())
	if err != nil {
		return nil, err
	}
	for retries := 0; ; {
		authorized := turn.nonce != nil
		out, err := signed(req, content, turn)
		if err != nil {
			t.pool.abandoned(turn, nil)
			return nil, err
		}
		var connections *atomic.Int32
		if turn.fresh && content.Open == nil {
			out, connections = countConnections(out)
		}
		resp, err := base.RoundTrip(out)
		if err != nil {
			t.pool.abandoned(turn, nil)
			return nil, err
		}
		resp.Request = req

		switch {
		case authorized && (resp.StatusCode != http.StatusUnauthorized || t.admitted(resp)):
			t.pool.accepted(turn, following(turn.nonce, resp.Header))
			return resp, nil
		case resp.StatusCode != http.StatusUnauthorized:
			t.pool.abandoned(turn, nil)
			if content.Open == nil {
				return resp, nil
			}
			outbound.Discard(resp)
			return nil, &ProbeError{Status: resp.StatusCode, Header: resp.Header}
		}
		challenge, err := ChooseChallenge(resp.Header, t.realm)
		if err != nil {
			t.pool.abandoned(turn, nil)
			return resp, nil // for Explain
		}
		n := newNonce(challenge)
		if authorized && retries == t.maxRetries {
			t.pool.abandoned(turn, n)
			return resp, nil
		}
		outbound.Discard(resp)
		if authorized {
			retries++
			if connections != nil && connections.Load() > 1 {
				turn.fresh = false // what was refused is the same count a second time, not the key
			}
			turn, err = t.pool.refused(req.Context(), turn, n)
		} else {
			turn, err = t.pool.challenged(req.Context(), turn, n)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (t *Transport) admitted(resp *http.Response) bool {
	return t.authenticated != nil && t.authenticated(resp)
}

// Explain says why RoundTrip returned a 401: a *[ChallengeError] if it could not be answered, a *[CredentialError] if every
// answer was refused. It returns nil for other statuses and for a 401 that Config.Authenticated vouches for.
func (t *Transport) Explain(resp *http.Response) error {
	if resp.StatusCode != http.StatusUnauthorized {
		return nil
	}
	if _, err := ChooseChallenge(resp.Header, t.realm); err != nil {
		return err
	}
	if t.admitted(resp) {
		return nil
	}
	return &CredentialError{Refusals: t.maxRetries + 1}
}

// CloseIdleConnections closes those of Base, as http.Client.CloseIdleConnections expects.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// signed returns what is sent in req's place on this turn.
func signed(req *http.Request, content outbound.Content, turn turn) (*http.Request, error) {
	if turn.nonce == nil {
		out, err := outbound.Request(req, outbound.Content{})
		if err != nil {
			return nil, err
		}
		delete(out.Header, "Authorization")
		if content.Open != nil {
			withoutContent(out)
		}
		return out, nil
	}
	out, err := outbound.Request(req, content)
	if err != nil {
		return nil, err
	}
	// net/http writes the same string into the request line.
	out.Header["Authorization"] = []string{turn.key.sign(turn.nonce, cmp.Or(req.Method, http.MethodGet), req.URL.RequestURI())}
	return out, nil
}

// countConnections returns out, and the number of connections that it goes over: net/http sends a request without content again
// when one that it had used before breaks.
func countConnections(out *http.Request) (*http.Request, *atomic.Int32) {
	n := new(atomic.Int32)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { n.Add(1) }}
	return out.WithContext(httptrace.WithClientTrace(out.Context(), trace)), n
}

// withoutContent makes out a question for a challenge: the fields that speak of its content go, but for the media type, and so does
// the idempotency key, lest the server remember the answer under it. curl asks in the same way.
func withoutContent(out *http.Request) {
	for name := range out.Header {
		switch {
		case name == "Content-Type":
		case strings.HasPrefix(name, "Content-"), name == "Expect", name == "Trailer", name == "idempotency-key", name == "x-idempotency-key":
			delete(out.Header, name)
		}
	}
	out.Trailer, out.TransferEncoding = nil, nil
}

// following returns the nonce to use after n: n again, unless the response names another (RFC 7616, section 3.5).
func following(n *nonce, h http.Header) *nonce {
	info := h.Get("Authentication-Info")
	if info == "" {
		return n
	}
	params, err := parseParams(&cursor{s: info}, nil)
	if err != nil {
		return n
	}
	for _, p := range params {
		if p.name == "nextnonce" && p.value != "" && p.value != n.Nonce && len(p.value) <= maxNonce {
			c := n.Challenge
			c.Nonce = p.value
			return newNonce(c)
		}
	}
	return n
}
