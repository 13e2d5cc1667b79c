package gateway

import (
	"net/http"
	"net/netip"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/inbound"
)

// ownEndpoint returns what serves the gateway's own two paths, where service accounts of the
// gateway exchange their secret for a token. It returns nil for any other target, also for one of
// these with a query, and where no caller is a service account.
func (g *Gateway) ownEndpoint(x *exchange) func(*exchange) error {
	if !x.settings.accounts {
		return nil
	}
	switch x.target {
	case "/api/oauth/token":
		x.path = x.target
		return func(x *exchange) error { return x.serveOwn(x.settings.authenticator.ServeToken) }
	case "/api/oauth/revoke":
		x.path = x.target
		return func(x *exchange) error { return x.serveOwn(x.settings.authenticator.ServeRevoke) }
	}
	return nil
}

// serveOwn lets an endpoint of the package callers answer, and notes for the record how.
func (x *exchange) serveOwn(serve func(http.ResponseWriter, *http.Request, netip.Addr) (callers.Caller, error)) error {
	x.change = false
	if x.in.Method != http.MethodPost {
		return &contract.MethodError{Allow: http.MethodPost}
	}
	w := &statusWriter{ResponseWriter: x.out, request: x.in}
	caller, err := serve(w, x.in, x.source.client.Addr())
	x.caller, x.status = caller, w.status
	if caller != (callers.Caller{}) {
		inbound.Keep(x.in.Context()) // the secret was right, and the answer is written in any case
	}
	if err != nil {
		x.refusal = classify(&endpointError{w.status, err})
	}
	return nil
}

// endpointError is a refusal that an endpoint of the gateway's own has answered already.
type endpointError struct {
	status int
	error
}

func (e *endpointError) Unwrap() error { return e.error }

// statusWriter remembers the status that was written. Like ServeHTTP, it doesn't let a refusal
// wait for content that was announced.
type statusWriter struct {
	http.ResponseWriter
	request *http.Request
	status  int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	if status >= 400 {
		shortenDeadlines(w.ResponseWriter, w.request, true)
	}
	w.ResponseWriter.WriteHeader(status)
}
