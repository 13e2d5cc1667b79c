package gateway

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// sending is how far the sending of a create has come, which decides two things: whether
// it still ends with its caller, and whether its outcome can be known. Its zero value is a
// create that is not signed yet, and any other request.
type sending struct {
	state atomic.Int32
}

const (
	notSent = iota
	sent    // signed, and handed to the network
	given   // up by the caller before that
)

type sendingKey struct{}

// context returns the context in which a request is forwarded, for as long as
// timeouts.upstream, and what ends it. It ends with the caller's, but for a create: that
// ends with its caller until it is sent, and then goes on, so that its outcome is known and
// logged.
func (s *sending) context(in *http.Request, timeout time.Duration) (context.Context, context.CancelFunc) {
	if in.Method != http.MethodPost {
		return context.WithTimeoutCause(in.Context(), timeout, errUpstreamTimeout)
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(in.Context()), timeout, errUpstreamTimeout)
	stop := context.AfterFunc(in.Context(), func() {
		if s.state.CompareAndSwap(notSent, given) {
			cancel()
		}
	})
	return context.WithValue(ctx, sendingKey{}, s), func() {
		stop() // or every create would end with a goroutine of its own
		cancel()
	}
}

// noteSending is the transport below the signers: it notes that a create is handed to the
// network, which is when it bears a credential.
func noteSending(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if s, ok := r.Context().Value(sendingKey{}).(*sending); ok && r.Body != nil && r.Header["Authorization"] != nil {
			if !s.state.CompareAndSwap(notSent, sent) && s.state.Load() == given {
				r.Body.Close()
				return nil, context.Canceled
			}
		}
		return next.RoundTrip(r)
	})
}

// outcome words, for the caller of a create that failed, what is known of it: to repeat one
// that was carried out starts a second export.
func (x *exchange) outcome() string {
	switch {
	case x.in.Method != http.MethodPost:
		return ""
	case x.sending.state.Load() == sent:
		return " It is not known whether the request was carried out: look before you repeat it."
	default:
		return " The request was not carried out."
	}
}
