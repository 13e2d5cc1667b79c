package idempotency

import (
	"context"
	"errors"
	"log/slog"

	"atlas-export-gateway/store"
)

// Open returns the creates whose outcome is open, the oldest first, at most limit.
func (c *Creates) Open(ctx context.Context, limit int) ([]*store.Record, error) {
	return c.journal.Open(ctx, limit)
}

// Recent returns the creates that changed last, the newest first, at most limit.
func (c *Creates) Recent(ctx context.Context, limit int) ([]*store.Record, error) {
	return c.journal.Recent(ctx, limit)
}

// Get returns the create with an ID of the journal. The error is [store.ErrGone] where there is
// none.
func (c *Creates) Get(ctx context.Context, id string) (*store.Record, error) {
	return c.journal.Get(ctx, id)
}

// ErrSent says that the answer to a create is still awaited.
var ErrSent = errors.New("its gateway still waits for Atlas's answer: look again when its state is unknown or answered, after timeouts.upstream at the latest")

// Release frees the key of a create, for a reason that goes into the log. The next request with the
// key is sent, whatever became of the create. The error is [store.ErrGone] where there is no record
// with the ID, and ErrSent where the create is under way: it soon has an answer, or its outcome is
// unknown. A gateway that ended leaves none under way.
func (c *Creates) Release(ctx context.Context, id, reason string) error {
	r, err := c.journal.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case r.State == store.Sent:
		return ErrSent
	}
	if err := c.journal.Free(ctx, id); err != nil {
		return err
	}
	c.logOperator("an operator released the key of a create", r, r.Result, reason)
	return nil
}

// Settle says what a create of unknown outcome has created, for a reason that goes into the log: of
// several things that match, a person knows the one. Requests with the key then get it. The error is
// [store.ErrGone] where there is no such record whose outcome is unknown, and [store.ErrTaken] where
// another record has the result.
func (c *Creates) Settle(ctx context.Context, id, result, reason string) error {
	r, err := c.journal.Get(ctx, id)
	switch {
	case err != nil:
		return err
	case r.State != store.Unknown:
		return store.ErrGone
	}
	config, _ := c.settings()
	if err := c.journal.Answered(ctx, id, result, store.Answer{}, config.Retention); err != nil {
		return err
	}
	c.logOperator("an operator said what a create has created", r, result, reason)
	return nil
}

func (c *Creates) logOperator(message string, r *store.Record, result, reason string) {
	c.log.Warn(message, slog.String("id", r.RequestID), slog.String("record", r.ID), slog.String("state", string(r.State)),
		slog.String("kind", r.Kind), slog.String("caller", r.Caller), slog.String("group", r.Group), slog.String("cluster", r.Cluster),
		slog.String("subject", r.Subject), slog.String("result", result), slog.String("reason", reason))
}
