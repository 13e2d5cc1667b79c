package client

import (
	"context"
	"time"
)

// SnapshotWaitOptions say how [Client.WaitForSnapshot] waits. The zero value is for snapshots
// that take minutes.
type SnapshotWaitOptions struct {
	// Interval and MaxInterval are as in [WaitOptions].
	Interval, MaxInterval time.Duration
	// Progress, if not nil, is called after each read.
	Progress func(SnapshotProgress)
}

// SnapshotProgress is the result of one read of a snapshot.
type SnapshotProgress struct {
	// Snapshot is the snapshot as it was read last; nil if no read has succeeded yet.
	Snapshot *Snapshot
	// Err is why this read failed; nil if it did not. It does not end the wait.
	Err error
	// Next is how long the pause until the next read is; 0 after the last.
	Next time.Duration
}

// WaitForSnapshot reads a snapshot of a cluster of either kind until it ends, and returns it.
// It goes on and ends as [Client.WaitForExport] does. The error is a [*SnapshotError] if the
// snapshot failed, a [*WaitError] if ctx ended first, or the [*Error] of a read if another read
// would fail too.
func (c *Client) WaitForSnapshot(ctx context.Context, groupID, clusterName, snapshotID string, o SnapshotWaitOptions) (*Snapshot, error) {
	return waitForSnapshot(ctx, o, func(sharded bool) (*Snapshot, error) {
		if sharded {
			return c.getShardedSnapshot(ctx, 0, groupID, clusterName, snapshotID)
		}
		return c.getSnapshot(ctx, 0, groupID, clusterName, snapshotID)
	}, func() (bool, error) { return c.IsSharded(ctx, groupID, clusterName) })
}

// WaitForSnapshot is as [Client.WaitForSnapshot].
func (v *V1) WaitForSnapshot(ctx context.Context, groupID, clusterName, snapshotID string, o SnapshotWaitOptions) (*Snapshot, error) {
	return waitForSnapshot(ctx, o, func(sharded bool) (*Snapshot, error) {
		if sharded {
			return v.getShardedSnapshot(ctx, 0, groupID, clusterName, snapshotID)
		}
		return v.getSnapshot(ctx, 0, groupID, clusterName, snapshotID)
	}, func() (bool, error) { return v.IsSharded(ctx, groupID, clusterName) })
}

func waitForSnapshot(ctx context.Context, o SnapshotWaitOptions, read func(sharded bool) (*Snapshot, error), isSharded func() (bool, error)) (*Snapshot, error) {
	asked, sharded := false, false
	w := wait[Snapshot]{
		what:     "snapshot",
		interval: o.Interval,
		longest:  o.MaxInterval,
		read: func() (*Snapshot, error) {
			if !asked {
				var err error
				if sharded, err = isSharded(); err != nil {
					return nil, err
				}
				asked = true
			}
			return read(sharded)
		},
		ended: func(s *Snapshot) bool { return s.Status.Ended() },
	}
	if o.Progress != nil {
		w.progress = func(s *Snapshot, err error, next time.Duration) { o.Progress(SnapshotProgress{s, err, next}) }
	}
	snapshot, err := w.run(ctx)
	switch {
	case err != nil:
		return nil, err
	case snapshot.Status != SnapshotCompleted:
		return nil, &SnapshotError{Snapshot: snapshot}
	default:
		return snapshot, nil
	}
}

// SnapshotError says that a snapshot failed; it is [ErrSnapshotFailed]. Atlas gives no reason.
type SnapshotError struct {
	// Snapshot is the snapshot at its end.
	Snapshot *Snapshot
}

func (e *SnapshotError) Error() string {
	return "client: snapshot " + oneLine(e.Snapshot.ID) + " is " + oneLine(string(e.Snapshot.Status))
}

// Is reports whether kind is [ErrSnapshotFailed].
func (e *SnapshotError) Is(kind error) bool { return kind == ErrSnapshotFailed }
