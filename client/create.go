package client

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"
)

// create sends a create, and reads the content of the answer in the form F. It sends the create
// once, or, to a gateway that keeps keys, until it is known what became of it. Its error tells a
// create that was not carried out from one that may have been.
func create[F form[T], T any](ctx context.Context, c *caller, atlas *gen.Client, o operation, send func(context.Context, *gen.Client) (*http.Response, error)) (*T, error) {
	o.found.key(o.key, c.keepsKeys)
	if err := o.found.err(o.id); err != nil {
		return nil, err
	}
	if !c.keepsKeys {
		return createOnce[F](ctx, c, atlas, o, send)
	}
	if o.key == "" {
		o.key = rand.Text()
	}
	for tries := 0; ; tries++ {
		result, err := createOnce[F](ctx, c, atlas, o, send)
		pause, again := repeatable(err, tries)
		if !again || ctx.Err() != nil {
			return result, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause || sleep(ctx, pause) != nil {
			return nil, err
		}
	}
}

// repeatable reports whether a create with a key is to be sent again, and after which pause: its
// outcome is unknown, the connection was lost, or the gateway asks for it.
func repeatable(err error, tries int) (pause time.Duration, again bool) {
	failed, ok := errors.AsType[*Error](err)
	if !ok {
		return 0, false
	}
	_, unknown := errors.AsType[*UnknownOutcomeError](err)
	return max(backoff(tries), failed.RetryAfter), unknown || failed.transient
}

// createOnce sends a create once.
func createOnce[F form[T], T any](ctx context.Context, c *caller, atlas *gen.Client, o operation, send func(context.Context, *gen.Client) (*http.Response, error)) (*T, error) {
	s := &sending{caller: c, key: o.key}
	once := *atlas
	once.Client = s
	var result *T
	failed := c.try(ctx, o, func(ctx context.Context) (*http.Response, error) { return send(ctx, &once) }, decoder[F](o, &result))
	switch {
	case failed == nil:
		return result, nil
	case s.mayHaveArrived() && failed.mayBeCarriedOut():
		return nil, &UnknownOutcomeError{SentAt: s.at, Err: failed}
	default:
		return nil, failed
	}
}

// sending sends one create, and notes how far it came.
type sending struct {
	caller *caller
	key    string      // Idempotency-Key, empty for none
	at     time.Time   // when the create was handed to the transport last
	handed atomic.Bool // the transport has the create, with its content,
	asked  atomic.Bool // looked for a connection,
	got    atomic.Bool // and had one
}

// Do sends the create that the generated client builds.
func (s *sending) Do(r *http.Request) (*http.Response, error) {
	if s.key != "" {
		r.Header.Set("Idempotency-Key", s.key)
	}
	return s.caller.sign(s, r)
}

// RoundTrip makes sending the transport that the signed create is sent through. A request without
// content asks for a challenge.
func (s *sending) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return s.caller.base.RoundTrip(r)
	}
	if err := r.Context().Err(); err != nil {
		outbound.CloseBody(r)
		return nil, err
	}
	s.at = time.Now()
	s.asked.Store(false)
	s.got.Store(false)
	s.handed.Store(true)
	response, err := s.caller.createTransport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { s.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.got.Store(true) },
	})))
	if err == nil && response.StatusCode == http.StatusUnauthorized {
		s.handed.Store(false) // the create was refused; it may be sent again with another nonce or token
	}
	return outbound.NameCode(response, err)
}

// mayHaveArrived reports whether the create may have reached the server. A transport that
// does not say that it looks for a connection may have had one.
func (s *sending) mayHaveArrived() bool {
	return s.handed.Load() && (s.got.Load() || !s.asked.Load())
}
