package idempotency

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"atlas-export-gateway/store"
)

const (
	keepEvery   = 3 * time.Second
	leaseTime   = 15 * time.Second
	expireEvery = time.Minute
	expireMost  = 1000
	// ownedTime is how long the journal knows what a create has made after its key was freed. A
	// like create a little later must not be taken for it; slack says how much later.
	ownedTime = time.Hour

	// callTime bounds one call to the journal. A database that went away without a word must hold up
	// neither an answer of Atlas's nor a key.
	callTime = 5 * time.Second
)

// call returns a context for one call to the journal, which goes on while the gateway ends.
func (c *Creates) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.ctx), callTime)
}

// lease is the time until which no other gateway takes the records of this one over.
type lease struct{ until atomic.Pointer[time.Time] }

// renewed notes that the lease was renewed by a call that began at a time.
func (l *lease) renewed(began time.Time) {
	until := began.Add(leaseTime - keepEvery) // monotonic: a clock that is set changes nothing
	l.until.Store(&until)
}

// holds reports whether no other gateway takes the records of this one over now.
func (c *Creates) holds() bool {
	until := c.lease.until.Load()
	return !c.journal.Shared() || until != nil && time.Now().Before(*until)
}

// keep renews the lease again and again, and removes what has expired.
func (c *Creates) keep(failing bool) {
	defer close(c.kept)
	ticks := time.NewTicker(keepEvery)
	defer ticks.Stop()
	var expired time.Time
	for ; ; failing = c.renew(failing) {
		if !failing && time.Since(expired) > expireEvery {
			expired = time.Now()
			c.expire()
		}
		select {
		case <-ticks.C:
		case <-c.ctx.Done():
			return
		}
	}
}

// renew renews the lease, and follows the records that nobody follows: those of gateways that have
// ended, and those whose answer the journal did not take. It takes and returns whether the journal
// fails.
func (c *Creates) renew(failing bool) bool {
	ctx, cancel := context.WithTimeout(c.ctx, leaseTime/2)
	defer cancel()
	began := time.Now()
	open, err := c.journal.Keep(ctx, c.owner, leaseTime)
	switch {
	case c.ctx.Err() != nil:
	case err == nil:
		c.lease.renewed(began)
		c.adopt(open)
		if failing {
			c.log.Info("the journal can be reached again")
		}
	case !failing:
		c.log.Error("the journal can't be reached; creates are refused until it can", slog.Any("error", err))
	}
	return err != nil
}

// adopt starts a flight for each record that has none.
func (c *Creates) adopt(open []*store.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range open {
		if c.ctx.Err() == nil && c.flights[r.Key] == nil {
			c.start(r.Key, nil)
		}
	}
}

// expire removes the records whose time is over.
func (c *Creates) expire() {
	for {
		ctx, cancel := c.call()
		n, err := c.journal.Expire(ctx, ownedTime, expireMost)
		cancel()
		if err != nil {
			c.log.Warn("expired records of the journal were not removed", slog.Any("error", err))
		}
		if n < expireMost || err != nil {
			return
		}
	}
}

// logState writes the record of a change of state into the log.
func (c *Creates) logState(r *store.Record, state, note string) {
	c.log.LogAttrs(context.Background(), slog.LevelInfo, "create",
		slog.String("id", r.RequestID), slog.String("state", state), slog.String("kind", r.Kind), slog.String("caller", r.Caller),
		slog.String("group", r.Group), slog.String("cluster", r.Cluster), slog.String("subject", r.Subject), slog.String("note", note))
}
