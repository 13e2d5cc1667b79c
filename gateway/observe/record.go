// Package observe is what operators learn of the gateway. The gateway completes one [Record] for
// each request; every [Observer] gets it: [Log] writes it to the log, [Metrics] count it. A Record
// holds no secret and no text of a caller's, except names and ids that were found valid, and
// Refusal.Tried.
package observe

import (
	"context"
	"time"
)

// Record is one request of a caller's, after its end.
type Record struct {
	// ID is the value of the field Gateway-Request-Id.
	ID       string
	End      time.Time
	Duration time.Duration // from the request's header to the end of the response
	// Remote is the address of the client that the request came from, and Proxy that of the trusted
	// proxy that says so; empty where the client is connected itself.
	Remote, Proxy string
	// Method is the request's, or "other" for what no RFC defines.
	Method string
	// Operation is the operationId, or [NoOperation].
	Operation string
	// Status is the status that was answered.
	Status int
	// Outcome is what became of a change: the value of Gateway-Outcome. It is empty for all else.
	Outcome string
	// Read says how a read was answered: the value of a reads.How. It is empty for all else, and
	// where the read was refused before.
	Read string
	// Replayed says that the answer to a create was not made by sending this request.
	Replayed bool

	// TraceID and SpanID are the ids of the request's span, in hexadecimal digits; empty where
	// requests are not traced.
	TraceID, SpanID string

	// Caller, Key and Form are the caller's name, which of its keys it used, and how. They are
	// empty where the caller is not known.
	Caller, Key, Form string

	// Version is the date of the version; empty for v1.0.
	Version string
	// Sunset is the version's, where it has passed.
	Sunset time.Time
	// Path is the request's path where no operation was matched, in words of a closed list: with
	// placeholders for ids and names, and "other" where it is no path of Atlas's API. It is empty
	// where an operation was matched, and where the target has a form that no served path has.
	Path string
	// Group and Cluster are of the path, where the path is valid. Group is also there where the rest
	// of the request is not valid or not served.
	Group, Cluster string

	// Reported are the places where the request breaks the contract, in words of the contract, if it
	// went on in spite of that.
	Reported []string

	// Upstream is what was sent to Atlas.
	Upstream Upstream
	// Refusal says why the gateway refused; its zero value means that it did not.
	Refusal Refusal
}

// NoOperation is the Operation of a Record where none was matched.
const NoOperation = "none"

// Upstream is the part of a request that Atlas answered, or did not.
type Upstream struct {
	// Status is Atlas's, 0 where Atlas did not answer.
	Status int
	// Duration is 0 where nothing was to be sent.
	Duration time.Duration
}

// Refusal is why the gateway refused a request.
type Refusal struct {
	// Kind is the value of the field Gateway-Error.
	Kind string
	// Reason is why a caller was not let in, and Missing the part of its grants that is missing: a
	// word of a small set each, or empty.
	Reason, Missing string
	// Tried is the public key or client id that a caller showed who was not let in: one of a caller
	// or in the form of one, "other" for any other text, or empty.
	Tried string
	// NotServed says that the gateway does not serve what a caller, who was let in, asks for.
	NotServed bool
	// Violations is how many places of the request break the contract. Places names the first of them
	// in words of the contract.
	Violations int
	Places     []string
	// Cause is what went wrong in the gateway or at Atlas. It is empty where the cause may quote
	// the request.
	Cause string
}

// An Observer gets the Record of every request. It may not keep or change the Record.
// The context is that of the request, which may have ended.
type Observer interface {
	Observe(context.Context, *Record)
}
