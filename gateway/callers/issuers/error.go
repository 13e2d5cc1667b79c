package issuers

import (
	"encoding/json"
	"fmt"
)

// A Reason is why a token is refused, as one word for logs and metrics.
type Reason string

// The reasons.
const (
	Malformed      Reason = "malformed"
	WrongIssuer    Reason = "wrong_issuer"
	WrongAudience  Reason = "wrong_audience"
	WrongAlgorithm Reason = "wrong_algorithm"
	WrongType      Reason = "wrong_type"
	WrongParty     Reason = "wrong_party"
	WrongLifetime  Reason = "wrong_lifetime"
	WrongKey       Reason = "wrong_key"
	WrongSignature Reason = "wrong_signature"
	Expired        Reason = "token_expired"
	NotYetValid    Reason = "token_not_yet_valid"
	UnknownKey     Reason = "unknown_key"
	Unavailable    Reason = "issuer_unavailable"
)

// An Error is why a token is refused.
type Error struct {
	Reason Reason
	// Issuer is the name of the issuer that the token says it is of; empty where the configuration
	// has no such issuer.
	Issuer string
	// Found is what the token holds in the place of what was expected, in JSON, for the operator who
	// has the token; or empty.
	Found string

	err error
}

// Error says why, in one sentence that holds nothing of the token.
func (e *Error) Error() string { return e.err.Error() }

func refuse(reason Reason, i *issuer, format string, args ...any) *Error {
	e := &Error{Reason: reason, err: fmt.Errorf(format, args...)}
	if i != nil {
		e.Issuer = i.Name
	}
	return e
}

// maxFound bounds Error.Found, in bytes.
const maxFound = 256

func (e *Error) found(value any) *Error {
	content, err := json.Marshal(value)
	if err == nil && len(content) <= maxFound {
		e.Found = string(content)
	}
	return e
}
