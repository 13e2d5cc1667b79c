package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"atlas-export-gateway/gen"
)

// api answers the operations. It implements the generated strict interface, so that the
// package does not compile when the contract has an operation that api does not.
type api struct{ *Server }

var _ gen.StrictServerInterface = api{}

// exchange is a request on its way through the simulation, and its answer. An operation
// finds it in the context, since the generated interface passes nothing else on.
type exchange struct {
	op      *operation // nil where no operation was reached
	caller  *caller    // nil until authenticated
	group   *group
	version string // of v2 operations
	request *http.Request
	path    string // of the request's target, with its slash at the end if there is one
	body    []byte
	fault   *Fault
	began   time.Time
	answer  answer

	challenged bool
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

// newAPI builds the handler of the API listener from the generated routes.
func (s *Server) newAPI() (http.Handler, error) {
	operations := newOperations()
	routes := &routes{ServeMux: http.NewServeMux(), byName: http.NewServeMux()}
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
	s.serveBeyond(routes)
	for path, handler := range map[string]http.HandlerFunc{"/api/oauth/token": s.issueToken, "/api/oauth/revoke": s.revokeToken} {
		op := &operation{id: path[len("/api/oauth/"):], path: path}
		s.operations = append(s.operations, op)
		nothing := func(*exchange, http.Header) error { return nil }
		routes.ServeMux.HandleFunc("POST "+path, s.perform(op, nothing, handler))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveAPI(w, r, routes) }), errors.Join(missing...)
}

// routes is a ServeMux that wraps each handler that is registered. What reads a group by its name
// has a ServeMux of its own: one refuses two patterns that match the same path, as
// /groups/{groupId}/clusters and /groups/byName/{groupName} do for a group with the name clusters.
type routes struct {
	*http.ServeMux
	byName *http.ServeMux
	wrap   func(pattern string, next http.HandlerFunc) http.HandlerFunc
}

// HandleFunc registers a handler. The generated code calls it.
func (r *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.chosen(pattern).HandleFunc(pattern, r.wrap(pattern, handler))
}

// ServeHTTP calls the handler of a path.
func (r *routes) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.chosen(request.URL.Path).ServeHTTP(w, request)
}

func (r *routes) chosen(path string) *http.ServeMux {
	if strings.Contains(path, "/groups/byName/") {
		return r.byName
	}
	return r.ServeMux
}

// serveAPI answers a request. It reads the content of every request, also of one that will
// be refused, so that the log has it. It sends the answer after it has logged the exchange.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, routes http.Handler) {
	x := &exchange{request: r, path: r.URL.EscapedPath(), began: time.Now()}
	x.answer.header = w.Header()
	var tooLarge error
	x.body, tooLarge = drain(r)
	raw := cutRequest(r, tooLarge == nil)
	if tooLarge != nil {
		w.Header().Set("Connection", "close")
	}

	inner := r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	inner.Body = io.NopCloser(bytes.NewReader(x.body))
	// The documents write many paths with a slash at the end. Both forms reach the same
	// operation. A redirect would make clients repeat a POST as a GET.
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

// perform wraps the handler of an operation in what all operations have: faults, and admit.
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
		x.strikeAnswer()
	}
}

// admit makes the checks that all operations have, in Atlas's order. Authentication is the
// first of all; the rest of the order is inferred.
func (s *Server) admit(x *exchange, h http.Header) error {
	if err := s.authenticate(x); err != nil {
		return err
	}
	if err := s.resolve(x, h); err != nil {
		return err
	}
	if err := s.authorize(x); err != nil {
		return err
	}
	if err := s.limit(x, h); err != nil {
		return err
	}
	return x.checkContent()
}

// findGroup returns the group that the request's path names. It is nil for a path that names none.
func (s *Server) findGroup(x *exchange) (*group, error) {
	if name := x.request.PathValue("groupName"); name != "" {
		return s.world.groupNamed(name)
	}
	if !strings.Contains(x.op.path, "{groupId}") {
		return nil, nil
	}
	id := x.request.PathValue("groupId")
	if !objectID.MatchString(id) {
		return nil, failure(http.StatusNotFound, "INVALID_GROUP_ID", "An invalid group ID %s was specified.", id)
	}
	if s.world.groups[id] == nil {
		return nil, failure(http.StatusNotFound, "GROUP_NOT_FOUND", "No group with ID %s exists.", id)
	}
	return s.world.groups[id], nil
}

// authorize finds the group and refuses callers that may not call the operation in it.
func (s *Server) authorize(x *exchange) (err error) {
	if x.group, err = s.findGroup(x); err != nil {
		return err
	}
	switch {
	case x.group != nil && !x.caller.in(x.group.ID):
		return failure(http.StatusUnauthorized, "NOT_IN_GROUP", "The current user is not in the group, or the group does not exist.")
	case !x.caller.may(x.op.right):
		return failure(http.StatusUnauthorized, "USER_UNAUTHORIZED", "Current user is not authorized to perform this action.")
	}
	return nil
}

// refuseUnknown replaces the ServeMux's answer to a request that reached no operation: a 404
// or 405 in plain text, or a redirect, which Atlas does not send.
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

// refuse answers the error of an operation. An error that is no apiError is a fault of the
// simulation, which logs it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f *apiError
	if !errors.As(err, &f) {
		s.log.Error("an operation failed", "target", r.RequestURI, "error", err)
	}
	exchangeOf(r.Context()).answer.refuse(err)
}

// refuseContent answers content that passes checkContent and does not fit the generated
// types.
func refuseContent(_ http.ResponseWriter, r *http.Request, _ error) {
	exchangeOf(r.Context()).answer.refuse(invalidJSON())
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
