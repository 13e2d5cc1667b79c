package budget

import (
	"errors"
	"time"
)

// Kind is why a request was not sent.
type Kind int

// The kinds of errors.
const (
	// Spent: Atlas allows no more requests now, and the request would wait for too long.
	Spent Kind = iota + 1
	// Out: Atlas does not answer, or answers that it can't.
	Out
)

// Error is a request of which nothing was sent.
type Error struct {
	Kind Kind
	// RetryAfter is after how long a request would have its turn. It is never 0.
	RetryAfter time.Duration
}

var (
	errSpent = errors.New("Atlas's rate limit is spent")                     //lint:ignore ST1005 Atlas is a name
	errOut   = errors.New("Atlas has failed for a while, and is asked less") //lint:ignore ST1005 Atlas is a name
)

func (e *Error) Error() string { return e.Unwrap().Error() }

// Unwrap returns what Kind says.
func (e *Error) Unwrap() error {
	if e.Kind == Out {
		return errOut
	}
	return errSpent
}
