package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/policy"
)

// kind is a reason for which the gateway itself refuses a request. Its name is the value
// of the field Gateway-Error and the label of the metrics.
type kind struct {
	name   string
	status int
	code   string // errorCode: Atlas's where one fits
}

// The kinds of refusals. Everything else is kindInternal.
var (
	kindTarget          = kind{"invalid_target", 400, "INVALID_PATH_PARAMETER"}
	kindRequest         = kind{"invalid_request", 400, "VALIDATION_ERROR"}
	kindNotFound        = kind{"not_found", 404, "RESOURCE_NOT_FOUND"}
	kindMethod          = kind{"method_not_allowed", 405, "METHOD_NOT_ALLOWED"}
	kindVersion         = kind{"invalid_version", 406, "INVALID_VERSION_DATE"}
	kindRequestTimeout  = kind{"request_timeout", 408, "REQUEST_TIMEOUT"}
	kindTooLarge        = kind{"request_too_large", 413, "REQUEST_TOO_LARGE"}
	kindMediaType       = kind{"unsupported_media_type", 415, "UNSUPPORTED_MEDIA_TYPE"}
	kindUnauthorized    = kind{"unauthorized", 401, "UNEXPECTED_ERROR"}
	kindForeign         = kind{"foreign_site", 403, "USER_UNAUTHORIZED"}
	kindForbidden       = kind{"forbidden", 403, "USER_UNAUTHORIZED"}
	kindInternal        = kind{"internal", 500, "UNEXPECTED_ERROR"}
	kindRateLimited     = kind{"rate_limited", 429, "RATE_LIMITED_TOKEN_BUCKET"}
	kindNoCredential    = kind{"no_credential", 502, "UNEXPECTED_ERROR"}
	kindCredential      = kind{"upstream_credential", 502, "UNEXPECTED_ERROR"}
	kindUnreachable     = kind{"upstream_unreachable", 502, "UNEXPECTED_ERROR"}
	kindUnsigned        = kind{"upstream_unsigned", 502, "UNEXPECTED_ERROR"}
	kindResponse        = kind{"upstream_response", 502, "UNEXPECTED_ERROR"}
	kindOverloaded      = kind{"overloaded", 503, "SERVICE_UNAVAILABLE"}
	kindUpstreamTimeout = kind{"upstream_timeout", 504, "UNEXPECTED_ERROR"}
	kindCallerGone      = kind{"caller_gone", 499, "UNEXPECTED_ERROR"} // nobody reads it; for the record
)

// refusal is an error with what to tell the caller, and the cause for the log.
type refusal struct {
	kind
	detail     string
	parameters []string
	fields     []contract.Violation
	header     map[string]string // Allow, Retry-After, WWW-Authenticate
	cause      error
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.name + ": " + r.cause.Error()
	}
	return r.name
}

func (r *refusal) Unwrap() error { return r.cause }

// reason is why, within the kind: a word of a small set, for metrics. It is empty where the kind
// says it all.
func (r *refusal) reason() string {
	if refused, ok := errors.AsType[*callers.Refusal](r.cause); ok {
		return string(refused.Reason)
	}
	if denied, ok := errors.AsType[*policy.Refusal](r.cause); ok {
		return denied.Part
	}
	return ""
}

// refuse makes a refusal; the detail is a format for the caller's eyes.
func refuse(k kind, cause error, detail string, args ...any) *refusal {
	return &refusal{kind: k, cause: cause, detail: fmt.Sprintf(detail, args...)}
}

// classify turns the errors of the steps into refusals: one table from kinds of errors
// to statuses. An error that it does not know is a bare 500.
func classify(err error) *refusal {
	if e, ok := errors.AsType[*refusal](err); ok {
		return e
	}
	if e, ok := errors.AsType[*contract.ValidationError](err); ok {
		return refuseInvalid(e)
	}
	if e, ok := errors.AsType[*contract.TargetError](err); ok {
		return refuse(kindTarget, err, "%s", e.Detail)
	}
	if errors.Is(err, contract.ErrNotFound) {
		return refuse(kindNotFound, err, "The gateway serves the snapshot export API alone, and this path is not part of it.")
	}
	if e, ok := errors.AsType[*contract.MethodError](err); ok {
		r := refuse(kindMethod, err, "The path does not support the method; it supports %s.", e.Allow)
		r.header = map[string]string{"Allow": e.Allow}
		return r
	}
	if e, ok := errors.AsType[*contract.VersionError](err); ok {
		return refuse(kindVersion, err, "Invalid accept header or version date. %s", e.Detail)
	}
	if e, ok := errors.AsType[*contract.MediaTypeError](err); ok {
		return refuse(kindMediaType, err, "%s", e.Detail)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(kindTooLarge, err, "The request's content is larger than %d bytes.", e.Limit)
	}
	return refuse(kindInternal, err, "Unexpected error.")
}

// refuseInvalid words violations as Atlas words them where it has the words: for one
// violation its errorCode and sentence, for several VALIDATION_ERROR, and always each on
// its own in badRequestDetail.
func refuseInvalid(invalid *contract.ValidationError) *refusal {
	r := &refusal{kind: kindRequest, cause: invalid, fields: invalid.Violations}
	places := make([]string, len(invalid.Violations))
	for i, v := range invalid.Violations {
		places[i] = v.Field
		if v.Field == "" {
			places[i] = "the body"
		} else {
			r.parameters = append(r.parameters, v.Field)
		}
	}
	if invalid.Total > 1 {
		more := ""
		if left := invalid.Total - len(invalid.Violations); left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		r.detail = fmt.Sprintf("The request breaks the contract in %d places: %s%s.", invalid.Total, strings.Join(places, ", "), more)
		return r
	}
	v := invalid.Violations[0]
	r.code = v.Code
	switch attribute := strings.TrimPrefix(v.Field, "/"); {
	case v.Code == "MISSING_ATTRIBUTE":
		r.detail, r.parameters = fmt.Sprintf("The required attribute %s was not specified.", attribute), []string{attribute}
	case v.Code == "INVALID_ATTRIBUTE":
		r.detail, r.parameters = fmt.Sprintf("Invalid attribute %s specified.", attribute), []string{attribute}
	case v.Field == "":
		r.detail = "The body " + v.Description + "."
	default:
		r.detail = v.Field + " " + v.Description
		if !strings.HasSuffix(r.detail, "?") {
			r.detail += "."
		}
	}
	return r
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
	if asksFor(r.URL.RawQuery, "envelope") {
		body = struct {
			Status  int      `json:"status"`
			Content apiError `json:"content"`
		}{e.status, content}
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if asksFor(r.URL.RawQuery, "pretty") {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(body); err != nil {
		panic(err) // structs of strings and numbers always encode
	}
	h := w.Header()
	for name, value := range e.header {
		h.Set(name, value)
	}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(buffer.Len())}
	h["X-Error-Code"] = []string{e.code}
	h["Gateway-Error"] = []string{e.name}
	w.WriteHeader(e.status)
	w.Write(buffer.Bytes())
}
