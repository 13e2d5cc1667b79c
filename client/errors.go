package client

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The kinds of errors, for errors.Is.
var (
	// ErrInvalid is a request that breaks the contract: refused before it was sent, or
	// answered 400, 406, 413, 415 or 422.
	ErrInvalid = errors.New("client: the request is invalid")
	// ErrUnauthorized is a credential that is missing or not good.
	ErrUnauthorized = errors.New("client: the credential is not accepted")
	// ErrForbidden is a good credential that may not do this. Atlas says so in a 403, or in
	// a 401 with the errorCode NOT_IN_GROUP or USER_UNAUTHORIZED.
	ErrForbidden = errors.New("client: the caller may not do this")
	// ErrNotFound is something that does not exist, as Atlas or a gateway says.
	ErrNotFound = errors.New("client: not found")
	// ErrConflict is something that stands in the way: an export of the snapshot under way,
	// or a bucket that is in use.
	ErrConflict = errors.New("client: conflict")
	// ErrRateLimited is a call too many, also where it is answered 400; see
	// [Error.RetryAfter].
	ErrRateLimited = errors.New("client: rate limited")

	// ErrUnknownOutcome is a create that may have been carried out; see
	// [UnknownOutcomeError].
	ErrUnknownOutcome = errors.New("client: the outcome is not known")
	// ErrExportFailed is a job that ended in Failed, ErrExportCancelled one that ended in
	// Cancelled; see [ExportError].
	ErrExportFailed    = errors.New("client: the export failed")
	ErrExportCancelled = errors.New("client: the export was cancelled")
)

// Error is what went wrong with a call. Its text holds no secret.
type Error struct {
	// Operation is the operationId, such as createBackupExport; empty from a Validate.
	Operation string
	// Status is the HTTP status of the answer; 0 where there was none.
	Status int
	// Code, Detail and Parameters are Atlas's errorCode, its sentence for people, and what
	// the sentence is about. Empty where the answer does not have them.
	Code       string
	Detail     string
	Parameters []string
	// Violations are the places where the request breaks the contract.
	Violations []Violation
	// RetryAfter is how long the server asks to wait; 0 where it doesn't.
	RetryAfter time.Duration
	// GatewayKind is why the gateway itself refused the request, such as forbidden; empty
	// where it is Atlas that answered. DIVERGENCES.md lists the kinds.
	GatewayKind string
	// RequestID is under what the gateway logged the request; empty without a gateway.
	RequestID string
	// Err is the cause where there is one besides the answer: of the network, the
	// context, the credential, or of content that can't be read.
	Err error

	transient bool // another try may succeed
	doubtful  bool // an earlier try may have been carried out
}

// Violation is one place where a request breaks the contract.
type Violation struct {
	// Field is a JSON pointer into the body (RFC 6901) or the name of a parameter.
	Field string
	// Description is what was found or is expected there.
	Description string
}

// Error says what went wrong in one line, without characters that would move a cursor.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("client: ")
	if e.Operation != "" {
		b.WriteString(e.Operation + ": ")
	}
	var parts []string
	if e.Status != 0 {
		status := strconv.Itoa(e.Status)
		if e.Code != "" {
			status += " " + oneLine(e.Code)
		} else if text := http.StatusText(e.Status); text != "" {
			status += " " + text
		}
		parts = append(parts, status)
	}
	if e.Detail != "" {
		parts = append(parts, oneLine(e.Detail))
	}
	if e.Err != nil {
		parts = append(parts, oneLine(e.Err.Error()))
	}
	b.WriteString(strings.Join(parts, ": "))
	for i, v := range e.Violations {
		switch {
		case i > 0 || e.Status != 0:
			b.WriteString("; ")
		case len(parts) > 0:
			b.WriteString(": ")
		}
		b.WriteString(strings.TrimSpace(oneLine(v.Field) + " " + oneLine(v.Description)))
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + oneLine(e.RequestID) + " of the gateway)")
	}
	return b.String()
}

// maxText is how much of what a server said an error's text repeats, in bytes.
const maxText = 1000

// oneLine makes what a server said fit for a terminal and a log.
func oneLine(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// Is reports whether the error is of a kind, such as [ErrNotFound].
func (e *Error) Is(kind error) bool { return kind != nil && e.kind() == kind }

// kind goes by the errorCode first: Atlas also sends a rate limit as 400, a bucket in use as
// 400, and a missing role as 401.
func (e *Error) kind() error {
	switch {
	case e.rateLimited():
		return ErrRateLimited
	case forbidden(e.Code):
		return ErrForbidden
	case e.Code == "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE":
		return ErrConflict
	case e.Code == "" && e.GatewayKind == "" && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		return nil // of neither Atlas nor a gateway: it says nothing of what was asked for
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusNotAcceptable, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return ErrInvalid
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case 0:
		if len(e.Violations) > 0 {
			return ErrInvalid
		}
	}
	return nil
}

func (e *Error) rateLimited() bool {
	return e.Status == http.StatusTooManyRequests || strings.HasPrefix(e.Code, "RATE_LIMITED")
}

// forbidden reports whether an errorCode of Atlas's speaks of a good credential.
func forbidden(code string) bool {
	switch code {
	case "NOT_IN_GROUP", "USER_UNAUTHORIZED", "IP_ADDRESS_NOT_ON_WHITELIST":
		return true
	}
	return false
}

// unknown reports whether a create that reached the server may have been carried out
// although it failed like this. A 4xx refuses it. A gateway knows of some of its own 5xx
// that nothing was sent to Atlas.
func (e *Error) unknown() bool {
	switch {
	case e.GatewayKind == "request_timeout":
		return false
	case e.Status == http.StatusRequestTimeout:
		return true
	case e.Status >= 400 && e.Status <= 499:
		return false
	}
	switch e.GatewayKind {
	case "":
		return true
	case "no_credential", "upstream_credential", "upstream_unsigned", "overloaded":
		return false
	default:
		return !strings.HasSuffix(e.Detail, "not carried out.")
	}
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// UnknownOutcomeError is a create that may have been carried out: it was sent, and no
// answer tells. To send it again may start a second export. Its text says where to look.
type UnknownOutcomeError struct {
	// SentAt is when the create was sent, by this machine's clock.
	SentAt time.Time
	// Err is what went wrong.
	Err *Error
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("%v; it may have been carried out all the same: before you repeat it, %s", e.Err, e.advice())
}

// advice says how to find out.
func (e *UnknownOutcomeError) advice() string {
	if strings.HasSuffix(strings.ToLower(e.Err.Operation), "createexportbucket") {
		return "look for the bucket in the list of the group's export buckets"
	}
	return "look for the snapshot's id in the list of the cluster's export jobs"
}

// Is reports whether kind is [ErrUnknownOutcome].
func (e *UnknownOutcomeError) Is(kind error) bool { return kind == ErrUnknownOutcome }

// Unwrap returns Err.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }
