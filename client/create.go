package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"atlas-export-gateway/gen"
	"atlas-export-gateway/internal/outbound"
)

// create sends a create, and reads the content of the answer in the form F. It sends the create
// once, or, to a gateway that keeps its key, until it is known what became of it. Its error tells a
// create that was not carried out from one that may have been.
func create[F form[T], T any](ctx context.Context, c *caller, atlas *gen.Client, o operation, send func(context.Context, *gen.Client) (*http.Response, error)) (*T, error) {
	o.found.key(o.key, c.keys)
	if err := o.found.err(o.id); err != nil {
		return nil, err
	}
	// Of what is no export, a gateway forgets the derived key once it has answered. If that answer is
	// lost, only a key of the call's own keeps its second try from creating a second thing.
	made := o.key == "" && c.keys != NoKeys && !(c.keys == DerivedKeys && o.derived)
	if made {
		o.key = rand.Text()
	}
	var unknown *UnknownOutcomeError // nil as long as no try may have been carried out
	for tries, unsent := 0, 0; ; tries++ {
		s := &sending{caller: c, key: o.key}
		result, failed := createOnce[F](ctx, s, atlas, o, send)
		if failed == nil {
			if r, ok := any(result).(interface{ replayed() }); ok && s.replayed && !made {
				r.replayed()
			}
			return result, nil
		}
		err := error(failed)
		if unknown = s.unknown(unknown, failed); unknown != nil {
			err = unknown
		} else {
			unsent++
		}
		pause := max(backoff(tries), failed.RetryAfter)
		if deadline, ok := ctx.Deadline(); !c.repeats(failed, unknown, unsent) || ok && time.Until(deadline) < pause {
			return nil, err
		}
		if c.beforeRepeat != nil {
			c.beforeRepeat(err, pause)
		}
		if ended := sleep(ctx, pause); ended != nil {
			failed.interrupted(ended)
			return nil, err
		}
	}
}

// repeats reports whether a create that failed is to be sent again. One that may have been carried
// out is, as long as the gateway keeps its key. One that was not sent is a few times.
func (c *caller) repeats(failed *Error, unknown *UnknownOutcomeError, unsent int) bool {
	if unknown == nil {
		return c.keys != NoKeys && failed.transient && unsent <= c.maxRetries && failed.RetryAfter <= maxPause
	}
	return unknown.Kept && (failed.transient || failed.Status >= 500)
}

// createOnce sends a create once.
func createOnce[F form[T], T any](ctx context.Context, s *sending, atlas *gen.Client, o operation, send func(context.Context, *gen.Client) (*http.Response, error)) (*T, *Error) {
	once := *atlas
	once.Client = s
	if s.key != "" { // before BeforeSend, which sees the whole request
		once.RequestEditors = append([]gen.RequestEditorFn{s.addKey}, atlas.RequestEditors...)
	}
	var result *T
	failed := s.caller.try(ctx, o, func(ctx context.Context) (*http.Response, error) { return send(ctx, &once) }, decoder[F](o, &result))
	return result, failed
}

// sending sends one create, and notes how far it came.
type sending struct {
	caller   *caller
	key      string      // Idempotency-Key, empty for none
	replayed bool        // the answer was not made by sending this create
	at       time.Time   // when the create was handed to the transport last
	handed   atomic.Bool // the transport has the create, with its content,
	asked    atomic.Bool // looked for a connection,
	got      atomic.Bool // and had one
}

func (s *sending) addKey(_ context.Context, r *http.Request) error {
	r.Header.Set("Idempotency-Key", s.key)
	return nil
}

// Do sends the create that the generated client builds.
func (s *sending) Do(r *http.Request) (*http.Response, error) {
	response, err := s.caller.sign(s, r)
	s.replayed = err == nil && response.Header.Get("Idempotent-Replayed") == "true"
	return response, err
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

// unknown returns what is not known of a create after a try that failed; nil where no try was
// carried out. before is what was not known before the try.
func (s *sending) unknown(before *UnknownOutcomeError, failed *Error) *UnknownOutcomeError {
	maybe := s.mayHaveArrived() && failed.mayBeCarriedOut()
	kept := !maybe || !failed.unkept()
	switch {
	case !maybe && (before == nil || failed.settles()):
		return nil
	case before == nil:
		return &UnknownOutcomeError{SentAt: s.at, Err: failed, Kept: kept && s.caller.keys != NoKeys, Key: s.key}
	}
	before.Err, before.Kept = failed, kept && before.Kept
	return before
}
