package client

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/internal/printable"
)

// The kinds of errors, for errors.Is.
var (
	// ErrInvalid is a request that breaks the contract. The Client did not send it, or the
	// answer was 400, 406, 413, 415 or 422.
	ErrInvalid = errors.New("client: the request is invalid")
	// ErrUnauthorized is a credential that is missing or not accepted.
	ErrUnauthorized = errors.New("client: the credential is not accepted")
	// ErrForbidden is a good credential that is not allowed to do this. Atlas says so in a 403,
	// or with an errorCode such as NOT_IN_GROUP or USER_UNAUTHORIZED, which come in a 401.
	ErrForbidden = errors.New("client: the caller may not do this")
	// ErrNotFound is something that does not exist, as Atlas or a gateway says.
	ErrNotFound = errors.New("client: not found")
	// ErrConflict is a request that the state of Atlas does not permit: an export of the snapshot
	// or an on-demand snapshot of the cluster is in progress already, or the bucket is in use.
	ErrConflict = errors.New("client: conflict")
	// ErrRateLimited is a request beyond a rate limit, also where Atlas answers 400; see
	// [Error.RetryAfter].
	ErrRateLimited = errors.New("client: rate limited")

	// ErrUnknownOutcome is a create that may have been carried out; see
	// [UnknownOutcomeError].
	ErrUnknownOutcome = errors.New("client: the outcome is not known")
	// ErrExportFailed is a job that ended in Failed, ErrExportCancelled one that ended in
	// Cancelled; see [ExportError].
	ErrExportFailed    = errors.New("client: the export failed")
	ErrExportCancelled = errors.New("client: the export was cancelled")
	// ErrSnapshotFailed is a snapshot that ended as failed; see [SnapshotError].
	ErrSnapshotFailed = errors.New("client: the snapshot failed")
)

// Error is what went wrong with a call. Its text holds no secret.
type Error struct {
	// Operation is the operationId, such as createBackupExport; empty in the error of a method
	// Validate.
	Operation string
	// Status is the HTTP status of the answer; 0 if there was none.
	Status int
	// Code, Detail and Parameters are Atlas's errorCode, a sentence for people, and what the
	// sentence is about. Each is empty if the answer does not have it. Detail is that of the token
	// endpoint where it gave no token to sign the call with.
	Code       string
	Detail     string
	Parameters []string
	// Violations are the places where the request breaks the contract.
	Violations []Violation
	// RetryAfter is how long the server asks to wait; 0 if it does not ask.
	RetryAfter time.Duration
	// GatewayKind is why the gateway itself refused the request, such as forbidden; empty in an
	// answer of Atlas. DIVERGENCES.md lists the kinds.
	GatewayKind string
	// Outcome is what the gateway knows about what became of a create; empty if the answer does
	// not say. errors.Is with [ErrUnknownOutcome] tells whether it may have been carried out.
	Outcome Outcome
	// RequestID is the id of the request in the gateway's log; empty without a gateway.
	RequestID string
	// Err is the cause, if there is another one than the answer: an error of the network, of the
	// context or of the credential, or content that can't be read.
	Err error

	transient bool // another try may succeed
	unread    bool // the server has not read the request
	maybeDone bool // an earlier try may have been carried out
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

// maxText bounds, in bytes, how much of a server's text stands in the text of an error.
const maxText = 1000

// oneLine escapes and shortens a server's text, so that a terminal or a log can show it.
func oneLine(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return printable.Escape(s)
}

// Is reports whether the error is of a kind, such as [ErrNotFound].
func (e *Error) Is(kind error) bool { return kind != nil && e.kind() == kind }

// kind decides by the errorCode first, since Atlas also answers 400 for a rate limit or for a
// bucket in use, and 401 for a role that is missing.
func (e *Error) kind() error {
	switch {
	case e.rateLimited():
		return ErrRateLimited
	case kindsOfCodes[e.Code] != nil:
		return kindsOfCodes[e.Code]
	case e.Code == "" && e.GatewayKind == "" && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		return nil // of neither Atlas nor a gateway: it is not about what was asked for
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

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
