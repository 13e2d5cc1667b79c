package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"atlas-export-gateway/gen"
)

// api answers the operations. It implements the generated strict interface, so that
// an operation which is added to the contract does not compile until it is handled.
type api struct{ *Server }

var _ gen.StrictServerInterface = api{}

// exchange is one request on its way through the simulation. The generated interface
// hands an operation nothing but a context, so it rides in that.
type exchange struct {
	op      *operation // nil where no operation was reached
	caller  *caller    // nil until authenticated
	group   *group
	version string // of v2 operations
	request *http.Request
	path    string // of the request's target, with the slash at its end if it had one
	body    []byte
	fault   *Fault
	answer  answer

	challenged bool
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// newAPI builds the handler of the API listener from the generated routes.
func (s *Server) newAPI() (http.Handler, error) {
	operations := newOperations()
	routes := &routes{ServeMux: http.NewServeMux()}
	var missing []error
	routes.wrap = func(pattern string, next http.HandlerFunc) http.HandlerFunc {
		op := operations[pattern]
		if op == nil {
			missing = append(missing, fmt.Errorf("nothing is known about %s", pattern))
			op = &operation{}
		}
		_, op.path, _ = strings.Cut(pattern, " ")
		s.operations = append(s.operations, op)
		return s.perform(op, s.admit, next)
	}
	gen.HandlerWithOptions(
		gen.NewStrictHandlerWithOptions(api{s}, nil, gen.StrictHTTPServerOptions{
			RequestErrorHandlerFunc:  refuseContent,
			ResponseErrorHandlerFunc: s.refuse,
		}),
		gen.StdHTTPServerOptions{BaseRouter: routes, ErrorHandlerFunc: refuseParameter})
	for path, handler := range map[string]http.HandlerFunc{"/api/oauth/token": s.issueToken, "/api/oauth/revoke": s.revokeToken} {
		op := &operation{id: path[len("/api/oauth/"):], path: path}
		s.operations = append(s.operations, op)
		nothing := func(*exchange, http.Header) error { return nil }
		routes.ServeMux.HandleFunc("POST "+path, s.perform(op, nothing, handler))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveAPI(w, r, routes) }), errors.Join(missing...)
}

// routes is a ServeMux that wraps each handler on its way in.
type routes struct {
	*http.ServeMux
	wrap func(pattern string, next http.HandlerFunc) http.HandlerFunc
}

// HandleFunc makes routes the ServeMux that the generated code registers with.
func (r *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.ServeMux.HandleFunc(pattern, r.wrap(pattern, handler))
}

// serveAPI answers one request: its content is read and logged whatever becomes of it,
// the answer is collected, logged, and only then sent.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, routes http.Handler) {
	x := &exchange{request: r, path: r.URL.EscapedPath()}
	x.answer.header = w.Header()
	var tooLarge error
	x.body, tooLarge = drain(r)
	raw := cutRequest(r, tooLarge == nil)
	if tooLarge != nil {
		w.Header().Set("Connection", "close")
	}

	inner := r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	inner.Body = io.NopCloser(bytes.NewReader(x.body))
	// The documents write many paths with a slash at the end. Both forms are the
	// same; a redirect would make clients repeat a POST as a GET.
	trimmed := *r.URL
	trimmed.Path, trimmed.RawPath = strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.RawPath, "/")
	inner.URL = &trimmed
	routes.ServeHTTP(&x.answer, inner)
	if x.op == nil {
		s.refuseUnknown(x)
	}
	x.answer.finish(x)
	s.record.add(x, raw, s.clock.now())
	s.deliver(w, x)
}

// perform wraps the handler of an operation in what comes before all of them.
func (s *Server) perform(op *operation, admit func(*exchange, http.Header) error, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		x := exchangeOf(r.Context())
		x.op = op
		op.requests.Add(1)
		if s.strike(x, true) {
			return
		}
		x.request = r // with the path's values
		if err := admit(x, w.Header()); err != nil {
			x.answer.refuse(err)
			return
		}
		if s.strike(x, false) {
			return
		}
		next(w, r)
		x.afterwards()
	}
}

// admit checks what is the same for every operation, in Atlas's order. Authentication
// comes before anything else about the request; the rest of the order is inferred.
func (s *Server) admit(x *exchange, h http.Header) error {
	if err := s.authenticate(x); err != nil {
		return err
	}
	if err := s.resolve(x, h); err != nil {
		return err
	}
	if err := s.enter(x); err != nil {
		return err
	}
	if err := s.limit(x, h); err != nil {
		return err
	}
	return x.checkContent()
}

// enter finds the group and whether the caller may do this there.
func (s *Server) enter(x *exchange) error {
	id := x.request.PathValue("groupId")
	if !objectID.MatchString(id) {
		return failure(http.StatusNotFound, "INVALID_GROUP_ID", "An invalid group ID %s was specified.", id)
	}
	x.group = s.world.groups[id]
	switch {
	case x.group == nil:
		return failure(http.StatusNotFound, "GROUP_NOT_FOUND", "No group with ID %s exists.", id)
	case !x.caller.in(id):
		return failure(http.StatusUnauthorized, "NOT_IN_GROUP", "The current user is not in the group, or the group does not exist: %s.", id)
	case !x.caller.may(x.op.right):
		return failure(http.StatusUnauthorized, "USER_UNAUTHORIZED", "The current user is not authorized to perform this action.")
	}
	return nil
}

// refuseUnknown replaces what the ServeMux made of a request that reached no operation:
// its plain-text 404 and 405, and its redirects, which Atlas's clients must never see.
func (s *Server) refuseUnknown(x *exchange) {
	status := x.answer.status
	allow := x.answer.header.Get("Allow")
	clear(x.answer.header)
	x.answer.reset()
	if err := s.authenticate(x); err != nil {
		x.answer.refuse(err)
		return
	}
	if status == http.StatusMethodNotAllowed {
		x.answer.header.Set("Allow", allow)
		x.answer.refuse(failure(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "The method %s is not allowed here.", x.request.Method)) // inferred
		return
	}
	x.answer.refuse(failure(http.StatusNotFound, "RESOURCE_NOT_FOUND", "Cannot find resource %s.", x.request.URL.Path))
}

// refuse answers an operation's error. Anything but a failure is the simulation's own.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f *failed
	if !errors.As(err, &f) {
		s.log.Error("an operation failed", "target", r.RequestURI, "error", err)
	}
	exchangeOf(r.Context()).answer.refuse(err)
}

// refuseContent answers content that the checks let pass and that still does not fit.
func refuseContent(_ http.ResponseWriter, r *http.Request, _ error) {
	exchangeOf(r.Context()).answer.refuse(failure(http.StatusBadRequest, "INVALID_JSON", "Received JSON is malformed."))
}

// refuseParameter answers a query parameter that is not of its type.
func refuseParameter(_ http.ResponseWriter, r *http.Request, err error) {
	name := ""
	var format *gen.InvalidParamFormatError
	if errors.As(err, &format) {
		name = format.ParamName
	}
	exchangeOf(r.Context()).answer.refuse(invalidQuery(name))
}

func invalidQuery(name string) error {
	return failure(http.StatusBadRequest, "INVALID_QUERY_PARAMETER", "Invalid query parameter %s specified.", name)
}
