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
	case e.unread:
		return false
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

// unkept reports whether the answer to a create that may have been carried out shows that no
// gateway keeps the key of the create, and looks for what it created.
func (e *Error) unkept() bool {
	switch {
	case e.RequestID == "": // of Atlas itself, unless something between here and the gateway answers
		return e.Code != "" || e.Status >= 200 && e.Status < 400
	case e.GatewayKind == "": // Atlas's, which a gateway that keeps the key would not pass on
		return e.Outcome == OutcomeAnswered && e.Status >= 500
	default:
		return e.Outcome == OutcomeUnknown && e.GatewayKind != outcomeUnknown
	}
}

// outcomeUnknown is the kind of an answer by which a gateway says that it goes on looking.
const outcomeUnknown = "outcome_unknown"

// settles reports whether the answer says of earlier tries with the same key that none was carried
// out: Atlas refuses the create, for which its key had to be free, or does not show it.
func (e *Error) settles() bool {
	return e.GatewayKind == "not_carried_out" || e.GatewayKind == "" && e.Outcome == OutcomeAnswered
}

// UnknownOutcomeError is a create that may have been carried out: it was sent, and no answer
// tells. Unless Kept is set, to send it again may start a second export or take a second snapshot.
// The error's text says what to do.
type UnknownOutcomeError struct {
	// SentAt is when the create was sent first, by this machine's clock.
	SentAt time.Time
	// Err is what went wrong last.
	Err *Error
	// Kept says that it is safe to make the same call again, with Key as its IdempotencyKey: the
	// gateway keeps the key, and does not create the same twice.
	Kept bool
	// Key is the key that the create was sent with; empty if the gateway derives the key, or if
	// nobody keeps it.
	Key string
}

func (e *UnknownOutcomeError) Error() string {
	switch {
	case e.Kept && e.Key != "":
		return fmt.Sprintf("%v; repeat it with the key %s: the gateway creates nothing twice", e.Err, e.Key)
	case e.Kept || e.Err.GatewayKind == outcomeUnknown:
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
