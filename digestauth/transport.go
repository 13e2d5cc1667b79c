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

// Config says what a [Transport] signs, with which credential, and within which bounds. Origin
// and Credential are required.
type Config struct {
	// Origin is the scheme, host and port that the credential is for, such as
	// "https://cloud.mongodb.com". Nothing is sent to another origin. Without a port, the port is
	// the default of the scheme. Origin has no user info, query or fragment, and no path except
	// "/".
	Origin string

	// Realm, if not empty, is the only realm whose challenges are answered.
	Realm string

	// Credential returns the current credential, of which neither part is empty. It is called
	// before the first request and after each refusal on a fresh nonce. Once the credential counts
	// as bad, each call calls it until one succeeds. If it returns another credential than before,
	// that one is tried at once. It may be called from several goroutines. Its errors are passed
	// on, and must not hold the secret.
	Credential func(context.Context) (Credential, error)

	// Base sends the requests. Nil means a new http.Transport that uses no proxy, keeps up to 256
	// idle connections, each for 30 s, and waits up to 10 s for a connection.
	Base http.RoundTripper

	// Authenticated, if not nil, reports whether a 401 with a challenge is nevertheless the answer
	// to an authenticated request, such as Atlas's NOT_IN_GROUP and USER_UNAUTHORIZED. Such a
	// response is returned as it is, and counts as a success of the credential. The function may
	// read only the status and the header.
	Authenticated func(*http.Response) bool

	// Confirm, if not nil, is a harmless GET at Origin that every good credential may send. The
	// server may refuse a request of one caller for a reason of its own. With Confirm, such refusals
	// don't delay the requests of other callers, and never hold the credential back: the Transport
	// sends Confirm when a request was refused on a fresh nonce, and only refusals of Confirm count
	// against the credential. Other answers show that the credential is good, except 408, 429 and
	// 5xx, which decide nothing. Confirm is sent with its header, at most once at a time.
	Confirm *http.Request

	// Now is the clock, time.Now if nil. It is used for the age of nonces, and for how long a bad
	// credential is held back.
	Now func() time.Time

	// MaxRetries is how often one request is sent again with the nonce of its 401. 0 means 8. It
	// may not be less than MaxRefusals.
	MaxRetries int
	// MaxRefusals is after how many refusals in a row on fresh nonces, with no success in between,
	// a credential counts as bad. 0 means 4.
	MaxRefusals int
	// HoldBad is for how long a bad credential is held back. 0 means 5 s.
	HoldBad time.Duration
	// MaxChallenges is how many requests for a new nonce may be in flight. 0 means 2.
	MaxChallenges int
	// MaxIdleNonces is how many idle nonces the pool keeps. Beyond that, the least recently used
	// one is dropped. 0 means 256.
	MaxIdleNonces int
	// NonceIdle is for how long a nonce may be idle. 0 means 1 min.
	NonceIdle time.Duration
	// MaxBody bounds, in bytes, the content of a request without GetBody, which is kept for a
	// second sending. 0 means 1 MiB.
	MaxBody int64
}

// A Transport is an http.RoundTripper that sends requests to one origin, signed with one
// credential. [NewTransport] makes one; the zero value is of no use. It may be used from several
// goroutines.
type Transport struct {
	origin        outbound.Origin
	realm         string
	base          http.RoundTripper
	authenticated func(*http.Response) bool
	confirm       *http.Request
	maxRetries    int
	maxBody       int64
	pool          pool
}

// NewTransport checks c and builds a Transport from it. It sends nothing, and does not call
// c.Credential.
func NewTransport(c Config) (*Transport, error) {
	o, err := outbound.ParseOrigin(c.Origin)
	if err != nil {
		return nil, fmt.Errorf("digestauth: Origin %w", err)
	}
	if c.Credential == nil {
		return nil, errors.New("digestauth: there is no source of the credential")
	}
	if c.MaxRetries < 0 || c.MaxRefusals < 0 || c.HoldBad < 0 || c.MaxChallenges < 0 ||
		c.MaxIdleNonces < 0 || c.NonceIdle < 0 || c.MaxBody < 0 {
		return nil, errors.New("digestauth: a bound is negative")
	}
	if err := checkConfirm(&o, c.Confirm); err != nil {
		return nil, err
	}
	t := &Transport{
		origin:        o,
		realm:         c.Realm,
		base:          c.Base,
		authenticated: c.Authenticated,
		confirm:       c.Confirm,
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
			window:        maxWindow,
		},
	}
	if t.maxRetries < t.pool.maxRefusals {
		return nil, errors.New("digestauth: MaxRetries is less than MaxRefusals")
	}
	if t.confirm != nil {
		t.pool.ask = t.askConfirm
	}
	if t.base == nil {
		t.base = defaultBase()
	}
	if t.pool.now == nil {
		t.pool.now = time.Now
	}
	return t, nil
}

// defaultBase is built from nothing, so that neither the environment nor a changed
// http.DefaultTransport sends the credential through a proxy.
func defaultBase() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 256,
		// Less than servers and load balancers keep connections: a POST on a connection that was
		// just closed fails, since it is never repeated.
		IdleConnTimeout: 30 * time.Second,
	}
}

// An OriginError says that a request was for another origin than the credential, and that nothing
// of it was sent. A client gets it if it follows a redirect to another origin.
type OriginError = outbound.OriginError

// ErrDisconnected says that the server or the network ended the connection each time when it got
// the request, without a response. Base sent the request once more each time, on another
// connection, and the server took that for a replay.
var ErrDisconnected = errors.New("digestauth: the connection ended without a response to the request, again and again")

// maxDisconnects is how often that may happen to one request.
const maxDisconnects = 2

// ErrBodyTooLarge says that the content of a request without GetBody exceeds [Config.MaxBody].
// Nothing was sent.
var ErrBodyTooLarge = outbound.ErrBodyTooLarge

// A ProbeError says that the server did not challenge a request as it should have. If a Transport
// has no nonce for a request with content, it first sends the same request without content, to
// get one. The answer to that was not a 401. The request itself was not sent: it is safe to send
// it again.
type ProbeError struct {
	Status int         // of the answer
	Header http.Header // of the answer; it may have Retry-After
}

func (e *ProbeError) Error() string {
	return fmt.Sprintf("digestauth: the request was not sent, since the server answered %d when asked for a challenge", e.Status)
}

// RoundTrip sends req, signed, and returns the response to it.
//
// A request that the server refuses with a 401 is sent again with the nonce of that 401, up to
// Config.MaxRetries times. While the pool has no nonce, the request waits, no longer than its
// context, until another request gives a nonce back or until it may ask the server for one. A
// request without content asks by being sent unsigned; any answer except a 401 is then its
// response. For a request with content, see [ProbeError].
//
// RoundTrip returns a 401, its content unread, if it has no challenge that can be answered, if
// there are no retries left, or if Config.Authenticated says so. [Transport.Explain] tells these
// apart.
//
// The errors of this package are *[OriginError], *[CredentialError], *[ProbeError],
// [ErrBodyTooLarge], [ErrDisconnected], and wrapped errors of the context, of the request's Body
// and of Config.Credential. All others are Base's. req is not changed, except that its Body is
// read and closed. The Request of the response is req, which holds no credential.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.RoundTripThrough(t.base, req)
}

// RoundTripThrough is [Transport.RoundTrip] with another transport than Config.Base for this
// request. Only a signed sending of the request has an Authorization field and the content of
// req. base therefore learns whether the content was sent.
func (t *Transport) RoundTripThrough(base http.RoundTripper, req *http.Request) (*http.Response, error) {
	content, err := t.origin.TakeContent(req, t.maxBody)
	if err != nil {
		return nil, err
	}
	turn, err := t.pool.acquire(req.Context())
	if err != nil {
		return nil, err
	}
	for retries, disconnects := 0, 0; ; {
		authorized := turn.nonce != nil
		resp, twice, err := t.send(base, req, content, turn)
		if err != nil {
			t.pool.abandoned(turn, nil)
			return nil, err
		}
		switch {
		case authorized && (resp.StatusCode != http.StatusUnauthorized || t.vouched(resp)):
			t.pool.accepted(turn, nextNonce(turn.nonce, resp.Header))
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
		if twice {
			if disconnects++; disconnects == maxDisconnects {
				t.pool.abandoned(turn, n)
				return nil, ErrDisconnected
			}
			turn.fresh = false // the server refused the count, and not the nonce
		}
		if authorized {
			retries++
			turn, err = t.pool.refused(req.Context(), turn, n)
		} else {
			turn, err = t.pool.challenged(req.Context(), turn, n)
		}
		if err != nil {
			return nil, err
		}
	}
}

// send sends a request once, signed with its turn. It reports whether base sent the same count of
// a fresh nonce twice.
func (t *Transport) send(base http.RoundTripper, req *http.Request, content outbound.Content, turn turn) (resp *http.Response, twice bool, err error) {
	out, err := signed(req, content, turn)
	if err != nil {
		return nil, false, err
	}
	var connections *atomic.Int32
	if turn.fresh && content.Open == nil {
		out, connections = countConnections(out)
	}
	if resp, err = base.RoundTrip(out); err != nil {
		return nil, false, err
	}
	resp.Request = req
	return resp, connections != nil && connections.Load() > 1, nil
}

// vouched reports whether Config.Authenticated says that a 401 answers an authenticated request.
func (t *Transport) vouched(resp *http.Response) bool {
	return t.authenticated != nil && t.authenticated(resp)
}

// Explain says why RoundTrip returned a 401. It returns a *[ChallengeError] if the challenge could
// not be answered. If each answer was refused, it returns a *[CredentialError], or a
// *[RefusedError] with Config.Confirm. It returns nil for other statuses, and for a 401 for which
// Config.Authenticated returns true.
func (t *Transport) Explain(resp *http.Response) error {
	if resp.StatusCode != http.StatusUnauthorized {
		return nil
	}
	if _, err := ChooseChallenge(resp.Header, t.realm); err != nil {
		return err
	}
	if t.vouched(resp) {
		return nil
	}
	if t.confirm != nil {
		return &RefusedError{Refusals: t.maxRetries + 1}
	}
	return &CredentialError{Refusals: t.maxRetries + 1}
}

// CloseIdleConnections closes the idle connections of Base. http.Client.CloseIdleConnections calls
// it.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// signed returns the request that is sent for req on this turn.
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
	target := req.URL.RequestURI()
	out.Header["Authorization"] = []string{turn.key.sign(turn.nonce, cmp.Or(req.Method, http.MethodGet), target)}
	return out, nil
}

// countConnections returns out, and the number of connections that it is sent on. If a connection
// breaks that was used before, net/http sends a request without content again.
func countConnections(out *http.Request) (*http.Request, *atomic.Int32) {
	n := new(atomic.Int32)
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { n.Add(1) }}
	return out.WithContext(httptrace.WithClientTrace(out.Context(), trace)), n
}

// withoutContent makes out a request for a challenge. It deletes the fields about the content,
// except the media type, and the idempotency key, since the server might remember its answer under
// that key. curl asks in the same way.
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

// nextNonce returns the nonce to use after n, which is n unless the response names another (RFC
// 7616, section 3.5).
func nextNonce(n *nonce, h http.Header) *nonce {
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
