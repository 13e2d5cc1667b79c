package client

import (
	"errors"
	"time"
)

// The kinds of errors, for errors.Is.
var (
	// ErrInvalid is a request that breaks the contract: refused before it was sent, or
	// answered 400, 406, 413 or 415.
	ErrInvalid = errors.New("client: the request is invalid")
	// ErrUnauthorized is a credential that is missing or not good.
	ErrUnauthorized = errors.New("client: the credential is not accepted")
	// ErrForbidden is a good credential that may not do this. Atlas says so in a 403, or in
	// a 401 with the errorCode NOT_IN_GROUP or USER_UNAUTHORIZED.
	ErrForbidden = errors.New("client: the caller may not do this")
	// ErrNotFound is something that does not exist.
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
	// the sentence is about. Empty where the answer's content is not Atlas's ApiError.
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
}

// Violation is one place where a request breaks the contract.
type Violation struct {
	// Field is a JSON pointer into the body (RFC 6901) or the name of a parameter.
	Field string
	// Description is what was found and what is expected.
	Description string
}

func (e *Error) Error() string { return "" }

// Is reports whether the error is of a kind, such as [ErrNotFound].
func (e *Error) Is(kind error) bool { return false }

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

func (e *UnknownOutcomeError) Error() string { return "" }

// Is reports whether kind is [ErrUnknownOutcome].
func (e *UnknownOutcomeError) Is(kind error) bool { return kind == ErrUnknownOutcome }

// Unwrap returns Err.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }
