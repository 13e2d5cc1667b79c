// Package atlas is the one way to Atlas. Whoever wants an answer of Atlas's, for a caller or for
// the gateway itself, hands a [Request] to [Upstream.Send]. The package knows no caller and no
// configuration file.
//
// Send builds the outbound request from nothing, chooses the credential by the group, has the
// request signed, and reads the whole response. It follows no redirect, and repeats no create that
// may have been carried out. If a request fails, an [Error] says what is known about its outcome.
//
// A credential may get another pair of halves while the gateway runs. The new pair signs once
// Atlas has accepted it; [CredentialState] tells which pair signs.
package atlas

import (
	"net/http"
	"time"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/tracing"
)

// Request is what Atlas is asked.
type Request struct {
	// Operation is the operation of the contract; its method is sent.
	Operation *contract.Operation
	// Group is the id of the group, which the credential is chosen by. Empty where the operation
	// has no group.
	Group string
	// Path is the path in the form that the contract documents, and Query the query without the
	// question mark. Both are sent as they are.
	Path, Query string
	// Fields are sent in the header. A field that the package sets itself replaces one of them.
	Fields http.Header
	// MediaType names the version: it is sent as Accept and, with a Body, as Content-Type.
	MediaType string
	// Body is the content, which is sent byte for byte. Nil means that the request has none.
	Body []byte
	// Handed, if not nil, is called for a change, just before its first byte may leave: once for a
	// create. An error means that nothing leaves; Send then fails with an [Error] that wraps it.
	Handed func() error
	// Exchanges, if not nil, are told of each exchange with Atlas that the request takes.
	Exchanges *tracing.Exchanges
	// Deadline is until when an answer is of use, if that is earlier than Config.Timeout from now.
	Deadline time.Time
}

// Response is what Atlas answered, in full.
type Response struct {
	Status   int
	Header   http.Header
	Body     []byte
	Duration time.Duration // of Send
	// Exchanges are those of the Request that it answers, also where another request gets it.
	Exchanges *tracing.Exchanges
}

// Outcome is what is known about what became of a request.
type Outcome string

// The outcomes. Their texts are the values of the field Gateway-Outcome.
const (
	// NotSent means that the request was not carried out: nothing of it was sent, or Atlas refused
	// the gateway's credential.
	NotSent Outcome = "not_sent"
	// Answered means that Atlas answered the request.
	Answered Outcome = "answered"
	// Unknown means that the request was sent and that no answer tells what became of it.
	Unknown Outcome = "unknown"
)
