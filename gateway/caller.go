package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/nearest"
)

// anonymous is who calls without a key, where the configuration lets everyone in.
const anonymous = "anonymous"

// authenticate finds out who calls, before a byte of the body is read.
func (g *Gateway) authenticate(x *exchange) error {
	// Where there are no keys to check, whatever an anonymous caller shows is as good as none.
	if x.config.Callers.Anonymous && (len(x.config.Callers.List) == 0 || x.in.Header["Authorization"] == nil) {
		if err := refuseForeign(x.in, x.publicURL); err != nil {
			return err
		}
		if !firstLeg(x.in) {
			x.caller.Name = anonymous
			return nil
		}
	}
	caller, err := x.callers.Authenticate(x.in)
	var refused *callers.Refusal
	switch {
	case errors.As(err, &refused):
		r := refuse(kindUnauthorized, err, "You are not authorized for this resource.")
		if firstLeg(x.in) {
			r.detail += " A client that authenticates by Digest sends its content in answer to this challenge."
		}
		if len(refused.Challenge) > 0 {
			r.header = map[string]string{"WWW-Authenticate": refused.Challenge[0]}
		}
		return r
	case err != nil:
		return err
	}
	x.caller = caller
	return nil
}

// firstLeg reports whether a request may be the first leg of a client that authenticates by
// Digest and waits with its content for the challenge, as curl --digest does: it announces
// no content where there should be some, and bears no credential.
func firstLeg(r *http.Request) bool {
	return (r.Method == http.MethodPost || r.Method == http.MethodPatch) && r.ContentLength == 0 && r.Header["Authorization"] == nil
}

// authorize decides whether the caller may do this, by what is in the request alone: a
// refusal does not tell whether the thing exists.
func (g *Gateway) authorize(x *exchange) error {
	if x.caller.Name == anonymous {
		return nil
	}
	request := policy.Request{
		Operation:    x.match.Operation.ID,
		Group:        x.match.Parameter("groupId"),
		Cluster:      x.match.Parameter("clusterName"),
		ExportBucket: x.match.Parameter("exportBucketId"),
	}
	if x.in.Method == http.MethodPost {
		request.FromBody(x.content)
	}
	if err := x.policies[x.caller.Name].Allow(request); err != nil {
		return refuse(kindForbidden, err, "The caller may not do this: %s.", err)
	}
	return nil
}

// Explain says, for each grant of a caller, whether it allows a request, or why not. It
// refuses a caller that the configuration does not have, an operation that the contract does
// not have, and ids and names that can't exist.
func (g *Gateway) Explain(caller string, request policy.Request) ([]policy.Explanation, error) {
	policies := g.settings.Load().policies
	p, ok := policies[caller]
	if !ok {
		return nil, fmt.Errorf("no caller of the configuration has the name %q%s", caller, nearest.Hint(caller, slices.Sorted(maps.Keys(policies))))
	}
	if ids := operationIDs(); !slices.Contains(ids, request.Operation) {
		return nil, fmt.Errorf("the contract has no operation %q%s", request.Operation, nearest.Hint(request.Operation, ids))
	}
	for _, given := range []struct{ parameter, value string }{
		{"groupId", request.Group}, {"clusterName", request.Cluster}, {"exportBucketId", request.ExportBucket},
	} {
		if given.value == "" {
			continue
		}
		if err := g.contract.CheckParameter(given.parameter, given.value); err != nil {
			return nil, err
		}
	}
	request.Settle()
	return p.Explain(request), nil
}

// ownEndpoint returns what serves the two paths that are the gateway's own, where service
// accounts of the gateway exchange their secret for a token; nil for all others.
func (g *Gateway) ownEndpoint(x *exchange) func(*exchange) error {
	if len(x.config.Callers.List) == 0 {
		return nil
	}
	switch x.in.RequestURI {
	case "/api/oauth/token":
		return func(x *exchange) error { return g.serveOwn(x, x.callers.ServeToken) }
	case "/api/oauth/revoke":
		return func(x *exchange) error { return g.serveOwn(x, x.callers.ServeRevoke) }
	}
	return nil
}

// serveOwn lets an endpoint of the package callers answer, and notes for the record how.
func (g *Gateway) serveOwn(x *exchange, serve func(http.ResponseWriter, *http.Request) (callers.Caller, error)) error {
	if x.in.Method != http.MethodPost {
		r := refuse(kindMethod, nil, "The path does not support the method; it supports POST.")
		r.header = map[string]string{"Allow": http.MethodPost}
		return r
	}
	w := &statusWriter{ResponseWriter: x.out, request: x.in}
	caller, err := serve(w, x.in)
	x.caller, x.status = caller, w.status
	if err != nil {
		x.refusal = refuse(kind{"oauth", w.status, ""}, err, "")
	}
	return nil
}

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
		hurry(w.ResponseWriter, w.request, true)
	}
	w.ResponseWriter.WriteHeader(status)
}
