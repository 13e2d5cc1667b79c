package idempotency

import (
	"errors"
	"time"

	"atlas-export-gateway/gateway/atlas"
)

// Kind is why a create has no answer of Atlas's.
type Kind string

// The kinds of errors.
const (
	// KeyMalformed: the field Idempotency-Key does not have the form of a key.
	KeyMalformed Kind = "key_malformed"
	// KeyMissing: the request has no key, and Keys is Required.
	KeyMissing Kind = "key_missing"
	// KeyReused: the key is that of another request.
	KeyReused Kind = "key_reused"
	// QuotaReached: Config.Quota creates of the caller are open.
	QuotaReached Kind = "quota"
	// NoJournal: the journal can't take a record, so nothing was sent.
	NoJournal Kind = "no_journal"
	// Open: it is not known yet whether the create was carried out; the gateway goes on looking.
	Open Kind = "open"
	// NothingHappened: the create was sent, and Atlas's lists show that it was not carried out.
	NothingHappened Kind = "nothing_happened"
	// Released: an operator has freed the key of the create while its outcome was unknown.
	Released Kind = "released"
)

// Error is a create that has no answer of Atlas's.
type Error struct {
	Kind    Kind
	Outcome atlas.Outcome
	// RetryAfter is when to repeat the request, 0 where repeating it does not help.
	RetryAfter time.Duration
	// Err is the cause, for the log. It may be nil.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Kind) + ": " + e.Err.Error()
	}
	return string(e.Kind)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

var (
	errWaited     = errors.New("the create's outcome is still unknown")
	errClosed     = errors.New("the gateway is ending")
	errNobody     = errors.New("nobody waits for the create")
	errHeld       = errors.New("the key has a record")
	errLeaseEnded = errors.New("the lease of this gateway has ended: another one may follow its creates")
)

// noJournal says that the journal failed before anything was sent.
func noJournal(err error) *Error {
	return &Error{Kind: NoJournal, Outcome: atlas.NotSent, RetryAfter: 2 * time.Second, Err: err}
}

// open says that it is not known yet whether the create was carried out.
func open(err error) *Error {
	return &Error{Kind: Open, Outcome: atlas.Unknown, RetryAfter: 5 * time.Second, Err: err}
}
