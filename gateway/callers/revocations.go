package callers

import (
	"context"
	"fmt"
	"time"
)

// Revocations keep which access tokens were revoked, for other processes and for the next one. A
// token is named by its id.
type Revocations interface {
	// Revoke notes that a token was revoked, once and for all processes.
	Revoke(ctx context.Context, token string, issued, expiry time.Time) error
	// Revoked calls each with the tokens that were revoked within a time, or at any time if it is 0.
	Revoked(ctx context.Context, within time.Duration, each func(token string, issued, expiry time.Time)) error
}

const (
	// revokeTime bounds the noting of a revocation, and of reading those of others.
	revokeTime = 10 * time.Second
	// followInterval is the time between two readings of what others have revoked.
	followInterval = time.Second
	// followOverlap is how far back each of them reads: a revocation may take up to revokeTime from
	// its time stamp until others can see it, and a reading may fail.
	followOverlap = 2 * time.Minute
)

// Share has m note revocations in r, too, and learns those that r has. It is called before the first
// request.
func (m *Memory) Share(ctx context.Context, r Revocations) error {
	m.shared = r
	return m.learn(ctx, 0)
}

// Follow learns each second what other processes have revoked, until the context ends. It calls
// failed with the first of several errors in a row, and with nil once there is none any more.
func (m *Memory) Follow(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		within := followOverlap
		if failing {
			within = 0 // all, however long it has failed
		}
		switch err := m.learn(ctx, within); {
		case ctx.Err() != nil:
			return
		case (err != nil) != failing:
			failing = err != nil
			failed(err)
		}
	}
}

// learn revokes what others have revoked.
func (m *Memory) learn(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	room := true
	err := m.shared.Revoked(ctx, within, func(token string, issued, expiry time.Time) {
		if now := time.Now(); now.Before(expiry) {
			room = m.revoke(token, issued, expiry, now) && room
		}
	})
	switch {
	case err != nil:
		return fmt.Errorf("what others have revoked can't be read: %w", err)
	case !room:
		return fmt.Errorf("more than %d tokens were revoked", m.revoked.max)
	}
	return nil
}

// note notes a revocation for others.
func (m *Memory) note(ctx context.Context, token string, issued, expiry time.Time) error {
	if m.shared == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTime)
	defer cancel()
	return m.shared.Revoke(ctx, token, issued, expiry)
}
