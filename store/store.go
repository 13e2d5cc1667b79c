// Package store keeps the journal of creates: one record for each create that may have been
// carried out, committed to stable storage before the create leaves for Atlas. Beside it, it keeps
// which access tokens of callers were revoked, and when each of the callers' keys was last used.
//
// There is one SQL schema and one implementation, over two drivers: an embedded SQLite file for
// one gateway ([OpenFile]), and PostgreSQL for several that share the journal ([OpenPostgres]).
// Package idempotency decides what is recorded; the store knows neither HTTP nor Atlas. It holds
// no credential. Of a request it holds digests, ids and names. Atlas's answer, which a repeated
// request gets byte for byte, repeats what callers wrote: custom data, and the descriptions of
// snapshots.
package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// State is how far the create of a record has come.
type State string

// The states. A create that was not carried out has no record.
const (
	// Sent means that the create may be leaving, or has left, and that no answer is known yet.
	Sent State = "sent"
	// Unknown means that no answer will tell what became of the create: somebody has to look.
	Unknown State = "unknown"
	// Answered means that the create was carried out.
	Answered State = "answered"
)

// Record is one create.
type Record struct {
	// Key is what makes two creates the same: there is one record for a key. A record whose key was
	// freed has its ID here.
	Key string
	// ID is the record's own, made anew for each record. Whoever changes a record names its ID, so
	// that a record that took another's place is never changed by mistake.
	ID string
	// Kind is what is created, such as "export". Results are unique within a kind.
	Kind string
	// Request is a digest of the request, by which another request with the same key is told.
	Request string
	// Match is a digest of what a listing shows of the thing created.
	Match string
	// Caller is the name of the caller, and RequestID the value of Gateway-Request-Id.
	Caller, RequestID string
	// Group, Cluster, Subject and Bucket are ids and names for the operator: Subject is the id of
	// the snapshot or the name of the bucket. Those that a create does not have are empty.
	Group, Cluster, Subject, Bucket string

	State State
	// Owner is the process that follows the create.
	Owner string
	// Sent and Changed are when the record was made and last changed, and Age is how long ago it
	// was made, all by the clock of the store, which may be set.
	Sent, Changed time.Time
	Age           time.Duration
	// AtlasSent is when the record was made, by Atlas's clock; zero where that was not known.
	AtlasSent time.Time
	// Result is the id of what was created; empty as long as it is not known.
	Result string
	// Answer is what Atlas answered, where it is kept. Lists of records leave out its Body.
	Answer Answer
	// Note says to the operator why the record is Unknown.
	Note string
}

// Answer is an answer to a create, without the envelope.
type Answer struct {
	Status    int
	MediaType string
	// Body is at most MaxBody bytes; a longer one is not kept.
	Body []byte
}

// MaxBody is the size up to which the body of an answer is kept, in bytes.
const MaxBody = 64 << 10

var (
	// ErrQuota says that the caller has as many open records as it may have.
	ErrQuota = errors.New("the caller has too many creates whose outcome is open")
	// ErrGone says that there is no record with the ID: it was freed, or has expired.
	ErrGone = errors.New("the journal has no such record")
	// ErrTaken says that another record has the result.
	ErrTaken = errors.New("another record of the journal has this result")
)

// Store is a journal. It may be used from several goroutines. Every method may fail because the
// journal can't be reached; the record may then have been changed or not.
type Store struct {
	db      *sql.DB
	dialect dialect
	// write runs a function within a transaction, which is on stable storage when write returns
	// nil. The function may run several times.
	write func(context.Context, func(*sql.Tx) error) error
	// explain says in words what an error of the database means.
	explain func(error) error
	close   func() error // may be called several times
}

// Shared reports whether several processes may have the journal at once.
func (s *Store) Shared() bool { return s.dialect.shared }

// Close ends the connections, after the writes that are under way. It may be called again.
func (s *Store) Close() error { return s.close() }
