package client

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Outcome is what a gateway knows about what became of a create. Each answer of a gateway to
// a create has it in the field Gateway-Outcome. Answers of Atlas do not have the field, nor do
// those of a gateway of an older version.
type Outcome string

// The outcomes.
const (
	// OutcomeNotSent: the create was not carried out, and it is safe to repeat it. The gateway did
	// not send it to Atlas, or Atlas refused the gateway's credential.
	OutcomeNotSent Outcome = "not_sent"
	// OutcomeAnswered: the answer is Atlas's own. It means what it means without a gateway.
	OutcomeAnswered Outcome = "answered"
	// OutcomeUnknown: the gateway sent the create to Atlas. It may have been carried out.
	OutcomeUnknown Outcome = "unknown"
)

// mayBeCarriedOut reports whether a create that reached the server may have been carried out
// although its answer, or the lack of one, is this error.
func (e *Error) mayBeCarriedOut() bool {
	switch {
	case e.Status < 400: // no answer, or one that does not refuse the create, whatever its fields say
		return true
	case e.Outcome == OutcomeNotSent:
		return false
	case e.Outcome == OutcomeUnknown:
		return true
	case e.Outcome == OutcomeAnswered, e.GatewayKind == "": // Atlas's own
		return e.Status >= 500 || e.Status == http.StatusRequestTimeout
	case e.Status < 500: // the gateway refused it
		return false
	case e.Outcome != "": // an outcome that a later version may have
		return true
	}
	// A gateway of an older version.
	switch e.GatewayKind {
	case "no_credential", "upstream_credential", "upstream_unsigned", "overloaded":
		return false
	default:
		return true
	}
}

// UnknownOutcomeError is a create that may have been carried out: it was sent, and no answer
// tells. To send it again may start a second export or take a second snapshot. The error's text
// says where to look.
type UnknownOutcomeError struct {
	// SentAt is when the create was sent, by this machine's clock.
	SentAt time.Time
	// Err is what went wrong.
	Err *Error
}

func (e *UnknownOutcomeError) Error() string {
	if e.Err.GatewayKind == "outcome_unknown" { // a gateway with a journal
		return fmt.Sprintf("%v; repeat it: the gateway goes on looking, and creates nothing twice", e.Err)
	}
	return fmt.Sprintf("%v; it may have been carried out all the same: before you repeat it, %s", e.Err, e.advice())
}

// advice says how to find out whether the create was carried out.
func (e *UnknownOutcomeError) advice() string {
	switch operation := strings.ToLower(e.Err.Operation); {
	case strings.HasSuffix(operation, "createexportbucket"):
		return "look for the bucket in the list of the group's export buckets"
	case strings.HasSuffix(operation, "takesnapshots"):
		return "look for the snapshot in the list of the cluster's snapshots"
	}
	return "look for the snapshot's id in the list of the cluster's export jobs"
}

// Is reports whether kind is [ErrUnknownOutcome].
func (e *UnknownOutcomeError) Is(kind error) bool { return kind == ErrUnknownOutcome }

// Unwrap returns Err.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }
