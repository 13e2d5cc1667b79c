package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"atlas-export-gateway/gateway/contract"
)

// kind is a reason for which the gateway itself refuses a request. Its name is the value
// of the field Gateway-Error and the label of the metrics.
type kind struct {
	name   string
	status int
	code   string // errorCode: Atlas's where one fits
}

// The kinds of refusals. Everything else is errInternal.
var (
	errTarget       = kind{"invalid_target", 400, "INVALID_PATH_PARAMETER"}
	errRequest      = kind{"invalid_request", 400, "VALIDATION_ERROR"}
	errNotFound     = kind{"not_found", 404, "RESOURCE_NOT_FOUND"}
	errMethod       = kind{"method_not_allowed", 405, "METHOD_NOT_ALLOWED"}
	errVersion      = kind{"invalid_version", 406, "INVALID_VERSION_DATE"}
	errSlowRequest  = kind{"request_timeout", 408, "REQUEST_TIMEOUT"}
	errTooLarge     = kind{"request_too_large", 413, "REQUEST_TOO_LARGE"}
	errMediaType    = kind{"unsupported_media_type", 415, "UNSUPPORTED_MEDIA_TYPE"}
	errForbidden    = kind{"forbidden", 403, "USER_UNAUTHORIZED"}
	errInternal     = kind{"internal", 500, "UNEXPECTED_ERROR"}
	errRateLimited  = kind{"rate_limited", 429, "RATE_LIMITED_TOKEN_BUCKET"}
	errNoCredential = kind{"no_credential", 502, "UNEXPECTED_ERROR"}
	errCredential   = kind{"upstream_credential", 502, "UNEXPECTED_ERROR"}
	errUnreachable  = kind{"upstream_unreachable", 502, "UNEXPECTED_ERROR"}
	errAnswer       = kind{"upstream_answer", 502, "UNEXPECTED_ERROR"}
	errOverloaded   = kind{"overloaded", 503, "SERVICE_UNAVAILABLE"}
	errUpstreamSlow = kind{"upstream_timeout", 504, "UNEXPECTED_ERROR"}
	errCallerIsGone = kind{"caller_gone", 499, "UNEXPECTED_ERROR"} // nobody reads it; for the record
)

// refusal is an error with what to tell the caller, and the cause for the log.
type refusal struct {
	kind
	detail     string
	parameters []string
	fields     []contract.Violation
	header     map[string]string // Allow, Retry-After
	cause      error
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.name + ": " + r.cause.Error()
	}
	return r.name
}

func (r *refusal) Unwrap() error { return r.cause }

// refuse makes a refusal; the detail is a format for the caller's eyes.
func refuse(k kind, cause error, detail string, args ...any) *refusal {
	return &refusal{kind: k, cause: cause, detail: fmt.Sprintf(detail, args...)}
}

// classify turns the errors of the steps into refusals: one table from kinds of errors
// to statuses. An error that it does not know is a bare 500.
func classify(err error) *refusal {
	var (
		known     *refusal
		target    *contract.TargetError
		method    *contract.MethodError
		version   *contract.VersionError
		mediaType *contract.MediaTypeError
		invalid   *contract.Invalid
		tooLarge  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &target):
		return refuse(errTarget, err, "%s", target.Detail)
	case errors.Is(err, contract.ErrNotFound):
		return refuse(errNotFound, err, "The gateway serves the snapshot export API alone, and this path is not part of it.")
	case errors.As(err, &method):
		r := refuse(errMethod, err, "The path does not support the method; it supports %s.", method.Allow)
		r.header = map[string]string{"Allow": method.Allow}
		return r
	case errors.As(err, &version):
		return refuse(errVersion, err, "Invalid accept header or version date. %s", version.Detail)
	case errors.As(err, &mediaType):
		return refuse(errMediaType, err, "%s", mediaType.Detail)
	case errors.As(err, &invalid):
		return refuseInvalid(invalid)
	case errors.As(err, &tooLarge):
		return refuse(errTooLarge, err, "The request's content is larger than %d bytes.", tooLarge.Limit)
	default:
		return refuse(errInternal, err, "Unexpected error.")
	}
}

// refuseInvalid words violations as Atlas words them where it has the words: for one
// violation its errorCode and sentence, for several VALIDATION_ERROR, and always each on
// its own in badRequestDetail.
func refuseInvalid(invalid *contract.Invalid) *refusal {
	r := &refusal{kind: errRequest, cause: invalid, fields: invalid.Violations}
	for _, v := range invalid.Violations {
		r.parameters = append(r.parameters, v.Field)
	}
	first := invalid.Violations[0]
	if invalid.Total > 1 {
		more := ""
		if left := invalid.Total - len(invalid.Violations); left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		r.detail = fmt.Sprintf("The request breaks the contract in %d places: %s%s.", invalid.Total, strings.Join(r.parameters, ", "), more)
		return r
	}
	r.code = first.Code
	switch attribute := strings.TrimPrefix(first.Field, "/"); first.Code {
	case "MISSING_ATTRIBUTE":
		r.detail, r.parameters = fmt.Sprintf("The required attribute %s was not specified.", attribute), []string{attribute}
	case "INVALID_ATTRIBUTE":
		if attribute != "" {
			r.detail, r.parameters = fmt.Sprintf("Invalid attribute %s specified.", attribute), []string{attribute}
			break
		}
		fallthrough
	default:
		if first.Field == "" {
			first.Field, r.parameters = "The body", nil
		}
		r.detail = fmt.Sprintf("%s %s", first.Field, first.Description)
		if !strings.HasSuffix(r.detail, "?") {
			r.detail += "."
		}
	}
	return r
}

// classifyForward words what can go wrong between the gateway and Atlas. A create whose
// outcome is unknown says so: repeating it may start a second export.
func classifyForward(ctx context.Context, creates bool, err error) *refusal {
	outcome := ""
	if creates {
		outcome = " It is not known whether it was carried out: look before you repeat it."
	}
	switch {
	case errors.Is(context.Cause(ctx), errUpstreamTimeout):
		return refuse(errUpstreamSlow, err, "Atlas did not answer in time.%s", outcome)
	case errors.Is(err, context.Canceled):
		return refuse(errCallerIsGone, err, "The caller is gone.")
	default:
		return refuse(errUnreachable, err, "Atlas could not be reached, or ended the connection before it answered.%s", outcome)
	}
}

// apiError is Atlas's form of an error. Official clients insist on application/json and
// on an integer error; application/problem+json makes them fail.
type apiError struct {
	Error            int         `json:"error"`
	ErrorCode        string      `json:"errorCode"`
	Reason           string      `json:"reason"`
	Detail           string      `json:"detail"`
	Parameters       []string    `json:"parameters,omitempty"`
	BadRequestDetail *badRequest `json:"badRequestDetail,omitempty"`
}

type badRequest struct {
	Fields []fieldViolation `json:"fields"`
}

type fieldViolation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

// writeError is the one place where an error of the gateway becomes an answer.
func writeError(w http.ResponseWriter, r *http.Request, e *refusal) {
	content := apiError{Error: e.status, ErrorCode: e.code, Reason: http.StatusText(e.status), Detail: e.detail, Parameters: e.parameters}
	if len(e.fields) > 0 {
		content.BadRequestDetail = &badRequest{}
		for _, v := range e.fields {
			content.BadRequestDetail.Fields = append(content.BadRequestDetail.Fields, fieldViolation{v.Field, v.Description})
		}
	}
	var body any = content
	query, _ := url.ParseQuery(r.URL.RawQuery)
	if query.Get("envelope") == "true" {
		body = struct {
			Status  int      `json:"status"`
			Content apiError `json:"content"`
		}{e.status, content}
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if query.Get("pretty") == "true" {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(body); err != nil {
		panic(err) // structs of strings and numbers always encode
	}
	h := w.Header()
	for name, value := range e.header {
		h.Set(name, value)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(buffer.Len()))
	h.Set("X-Error-Code", e.code)
	h.Set("Gateway-Error", e.name)
	w.WriteHeader(e.status)
	w.Write(buffer.Bytes())
}
