package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/gateway/callers"
	"atlas-export-gateway/gateway/clientaddress"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/gateway/inbound"
	"atlas-export-gateway/gateway/observe"
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
	kindFlex            = kind{"not_flex", 400, "CANNOT_USE_NON_FLEX_CLUSTER_IN_FLEX_API"}
	kindNotServed       = kind{"not_served", 403, "OPERATION_NOT_SERVED"}
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
	kindBudget          = kind{"rate_budget", 429, "RATE_LIMITED_TOKEN_BUCKET"}
	kindCallerRate      = kind{"caller_rate", 429, "RATE_LIMITED_TOKEN_BUCKET"}
	kindNoCredential    = kind{"no_credential", 502, "UNEXPECTED_ERROR"}
	kindCredential      = kind{"upstream_credential", 502, "UNEXPECTED_ERROR"}
	kindUnreachable     = kind{"upstream_unreachable", 502, "UNEXPECTED_ERROR"}
	kindUnsigned        = kind{"upstream_unsigned", 502, "UNEXPECTED_ERROR"}
	kindResponse        = kind{"upstream_response", 502, "UNEXPECTED_ERROR"}
	kindOut             = kind{"upstream_out", 503, "SERVICE_UNAVAILABLE"}
	kindOverloaded      = kind{"overloaded", 503, "SERVICE_UNAVAILABLE"}
	kindUpstreamTimeout = kind{"upstream_timeout", 504, "UNEXPECTED_ERROR"}
	kindCallerGone      = kind{"caller_gone", 499, "UNEXPECTED_ERROR"} // nobody reads it; for the record
	kindKey             = kind{"invalid_key", 400, "INVALID_IDEMPOTENCY_KEY"}
	kindKeyMissing      = kind{"key_required", 400, "IDEMPOTENCY_KEY_REQUIRED"}
	kindKeyReused       = kind{"key_reused", 422, "IDEMPOTENCY_KEY_REUSED"}
	kindOpenCreates     = kind{"open_creates", 429, "TOO_MANY_OPEN_CREATES"}
	kindJournal         = kind{"journal", 503, "SERVICE_UNAVAILABLE"}
	kindAudit           = kind{"audit_unavailable", 503, "SERVICE_UNAVAILABLE"}
	kindNotCarriedOut   = kind{"not_carried_out", 503, "SERVICE_UNAVAILABLE"}
	kindOpen            = kind{"outcome_unknown", 504, "UNEXPECTED_ERROR"}
	kindOAuth           = kind{"oauth", 0, ""} // answered already, with a status of its own
)

// alerts are the refusals that operators alert on, as docs/operate.md says.
var alerts = []observe.Alert{
	{Kind: kindNoCredential.name, Matched: true},
	{Kind: kindCredential.name, Matched: true},
	{Kind: kindUnreachable.name, Matched: true},
	{Kind: kindUnsigned.name, Matched: true},
	{Kind: kindRateLimited.name, Matched: true},
	{Kind: kindBudget.name, Matched: true},
	{Kind: kindOut.name, Matched: true},
	{Kind: kindResponse.name, Matched: true},
	{Kind: kindUpstreamTimeout.name, Matched: true},
	{Kind: kindOverloaded.name, Matched: true},
	{Kind: kindAudit.name, Matched: true},
	{Kind: kindInternal.name, Matched: true, Unmatched: true},
	{Kind: kindNotServed.name, Unmatched: true},
	{Kind: kindUnauthorized.name, Reason: string(callers.WrongCredential), Matched: true, Unmatched: true},
	{Kind: kindOAuth.name, Reason: string(callers.WrongCredential), Unmatched: true},
}

// refusal is an error with what to tell the caller, and the cause for the log.
type refusal struct {
	kind
	detail       string
	tellsOutcome bool // what became of a change is to follow the detail
	parameters   []string
	fields       []contract.Violation
	header       map[string]string // Allow, Retry-After, WWW-Authenticate
	cause        error
}

// refuse makes a refusal. The detail is a format, for the caller to read.
func refuse(k kind, cause error, detail string, args ...any) *refusal {
	return &refusal{kind: k, cause: cause, detail: fmt.Sprintf(detail, args...)}
}

// with adds a field to the header of the answer, unless the value is empty.
func (r *refusal) with(name, value string) *refusal {
	if value == "" {
		return r
	}
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header[name] = value
	return r
}

// withOutcome appends what became of a change to the detail.
func (r *refusal) withOutcome() *refusal {
	r.tellsOutcome = true
	return r
}

// classify turns the errors of the steps into refusals. It is the one table from kinds of errors
// to statuses. An error that it does not know is a bare 500.
func classify(err error) *refusal {
	switch e := err.(type) {
	case *contract.ValidationError:
		return refuseInvalid(e)
	case *contract.TargetError:
		return refuse(kindTarget, err, "%s", e.Detail)
	case *contract.MethodError: // of the token endpoint
		return refuse(kindMethod, err, "The path does not support the method; it supports %s.", e.Allow).with("Allow", e.Allow)
	case *unservedError:
		if e.allow != "" {
			return refuse(kindMethod, err, "%s", e.detail()).with("Allow", e.allow)
		}
		return refuse(kindNotServed, err, "%s", e.detail())
	case flexError:
		r := refuse(kindFlex, err, "Cannot use non-flex cluster %s in the flex API.", e.name())
		r.parameters = []string{e.name()}
		return r
	case *contract.VersionError:
		return refuse(kindVersion, err, "Invalid accept header or version date. %s", e.Detail)
	case *contract.MediaTypeError:
		return refuse(kindMediaType, err, "%s", e.Detail)
	case *http.MaxBytesError:
		return refuse(kindTooLarge, err, "The request's content is larger than %d bytes.", e.Limit)
	case *readError:
		return refuseUnread(e)
	case *clientaddress.FieldError:
		return refuse(kindRequest, err, "The gateway can't tell where the request comes from: %s.", e)
	case *unauthenticated:
		return refuseUnauthenticated(e)
	case foreignError:
		return refuse(kindForeign, nil, "%s", e)
	case *policy.Refusal:
		text := err.Error()
		if strings.Contains(text, "404") {
			// The entries of grants are ids, any of which may hold these digits. Terraform's provider
			// takes them, anywhere in a text, for the news that an export bucket or job was deleted.
			text, _, _ = strings.Cut(text, ";")
		}
		return refuse(kindForbidden, err, "The caller may not do this: %s.", text)
	case *atlas.Error:
		return refuseUpstream(e)
	case *idempotency.Error:
		return refuseCreate(e)
	case *budget.Error:
		return refuseBudget(e)
	case *auditError:
		return refuse(kindAudit, e, "The gateway can't record the change now, so it did not send it. Repeat it.").with("Retry-After", "1")
	case *meterError:
		return refuse(kindCallerRate, nil, "This caller may send %d requests a minute.", e.perMinute).with("Retry-After", seconds(e.after)).withOutcome()
	case *responseError:
		return refuse(kindResponse, e.cause, "%s", e.detail).withOutcome()
	case *endpointError:
		r := refuse(kindOAuth, err, "")
		r.status = e.status
		return r
	case *panicError:
		return refuse(kindInternal, err, "Unexpected error.").withOutcome()
	}
	switch err {
	case errOperatorsOnly:
		return refuse(kindNotServed, err, "This listener serves /healthz, /readyz, /metrics, /callers and /creates, for operators; callers use the other listener.")
	case inbound.ErrEvicted:
		return refuse(kindCallerGone, nil, "The connection was closed to make room for others.").withOutcome()
	case errOverloaded:
		return refuse(kindOverloaded, nil, "The gateway is serving as many requests as it may; try again.").with("Retry-After", "1")
	}
	return refuse(kindInternal, err, "Unexpected error.")
}

// panicError is a panic of a step.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func refuseUnread(e *readError) *refusal {
	switch {
	case errors.Is(e.error, os.ErrDeadlineExceeded):
		return refuse(kindRequestTimeout, e, "The request did not arrive within %s.", e.limit)
	case errors.Is(e.error, io.ErrUnexpectedEOF):
		return refuse(kindCallerGone, e, "The request ended early.").withOutcome()
	}
	return refuse(kindRequest, fmt.Errorf("reading the content: %w", e), "The request's content can't be read.")
}

func refuseUnauthenticated(e *unauthenticated) *refusal {
	r := refuse(kindUnauthorized, e, "You are not authorized for this resource.")
	if e.firstLeg {
		r.detail += " A client that authenticates by Digest sends its content in answer to this challenge."
	}
	if len(e.Challenge) > 0 {
		r.with("WWW-Authenticate", e.Challenge[0])
	}
	return r
}

// seconds returns a duration in seconds, rounded up, and nothing for 0.
func seconds(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// refuseUpstream words what can go wrong between the gateway and Atlas. It says nothing of the
// credential.
func refuseUpstream(e *atlas.Error) *refusal {
	after := seconds(e.RetryAfter)
	const unsigned = "Atlas did not let the gateway sign the request. It was not carried out."
	switch e.Kind {
	case atlas.NoCredential:
		return refuse(kindNoCredential, nil, "The gateway has no credential for this group.")
	case atlas.NoCommonCredential:
		return refuse(kindNoCredential, nil, "The gateway has no credential for every group, which this operation needs.")
	case atlas.CredentialRefused:
		return refuse(kindCredential, e, "Atlas does not accept the gateway's credential for this group. The operator's log says more.")
	case atlas.Unsigned:
		return refuse(kindUnsigned, e, unsigned).with("Retry-After", after)
	case atlas.RateLimited:
		return refuse(kindRateLimited, e, unsigned).with("Retry-After", after)
	case atlas.TimedOut:
		return refuse(kindUpstreamTimeout, e, "Atlas did not answer in time.").withOutcome()
	case atlas.Canceled:
		return refuse(kindCallerGone, e, "The caller is gone.").withOutcome()
	case atlas.Unreachable:
		return refuse(kindUnreachable, e, "Atlas could not be reached. The request was not carried out.")
	case atlas.Disconnected:
		return refuse(kindUnreachable, e, "Atlas ended the connection before it answered, or never took the request.").withOutcome()
	case atlas.Truncated:
		return refuse(kindResponse, e, "Atlas's response ended early.").withOutcome()
	case atlas.HandedFailed:
		return classify(e.Err)
	case atlas.TooLarge:
		return refuse(kindResponse, e, "Atlas's response is larger than %d bytes.", e.Limit).withOutcome()
	}
	return refuse(kindInternal, e, "Unexpected error.").withOutcome()
}

// refuseBudget words why a request did not get its turn.
func refuseBudget(e *budget.Error) *refusal {
	after := seconds(max(e.RetryAfter, time.Millisecond))
	if e.Kind == budget.Out {
		return refuse(kindOut, e, "Atlas has not answered for a while. The gateway asks it from time to time, and did not send this request.").with("Retry-After", after)
	}
	return refuse(kindBudget, e, "The requests that Atlas allows in this group are spent. This one was not sent.").with("Retry-After", after)
}

// forRecord returns the part of the record that says why the gateway refused.
func (r *refusal) forRecord() observe.Refusal {
	record := observe.Refusal{Kind: r.name}
	_, record.NotServed = errors.AsType[*unservedError](r.cause)
	// The cause of a status below 500 may quote the request. The log keeps no values of requests.
	if invalid, ok := errors.AsType[*contract.ValidationError](r.cause); ok {
		record.Violations = invalid.Total
	} else if refused, ok := errors.AsType[*callers.Refusal](r.cause); ok {
		record.Reason, record.Tried = string(refused.Reason), refused.Tried
	} else if denied, ok := errors.AsType[*policy.Refusal](r.cause); ok {
		record.Missing = denied.Part
	} else if r.cause != nil && r.status >= 500 {
		record.Cause = r.cause.Error()
	}
	return record
}

// refuseInvalid words violations. One violation has its own errorCode, and Atlas's sentence where
// one is known. Several have the errorCode VALIDATION_ERROR. badRequestDetail names each of them.
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
		if reason := invalid.Violations[0].Description; !slices.ContainsFunc(invalid.Violations, func(v contract.Violation) bool { return v.Description != reason }) {
			r.detail += " Each " + ended(reason)
		}
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
		r.detail = v.Field + " " + ended(v.Description)
	}
	return r
}

// ended ends a sentence, unless it asks what was meant.
func ended(sentence string) string {
	if strings.HasSuffix(sentence, "?") {
		return sentence
	}
	return sentence + "."
}
