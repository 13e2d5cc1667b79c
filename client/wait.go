package client

import (
	"context"
	"time"
)

// WaitOptions say how [Client.WaitForExport] waits. The zero value is for exports of minutes.
type WaitOptions struct {
	// Interval is the first pause between two looks; 0 means 2 s. Each pause is longer than
	// the one before, by half, until MaxInterval; 0 means 30 s. A fifth of each is left to
	// chance, so that many who wait don't look at once.
	Interval, MaxInterval time.Duration
	// Progress, if not nil, is called after each look.
	Progress func(ExportProgress)
}

// ExportProgress is what one look at a job found.
type ExportProgress struct {
	// Job is the job as it was last seen; nil if no look has succeeded yet.
	Job *ExportJob
	// Err is why this look failed; nil if it did not. It does not end the waiting.
	Err error
	// Next is how long the pause until the next look is; 0 after the last.
	Next time.Duration
}

// WaitForExport looks at a job until it ends, and returns it. Looks that fail do not end the
// waiting if another may succeed: a network that is down, a gateway that restarts, a rate limit,
// a 5xx. It honours Retry-After. Without a deadline in ctx it waits for as long as it takes.
//
// The error is an [*ExportError] with the reason if the job failed or was cancelled, a
// [*WaitError] if ctx ended first, or the [*Error] that no further look would mend.
func (c *Client) WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o WaitOptions) (*ExportJob, error) {
	return nil, nil
}

// WaitForExport is as [Client.WaitForExport].
func (v *V1) WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o WaitOptions) (*ExportJob, error) {
	return nil, nil
}

// ExportError is a job that ended without success: it is [ErrExportFailed] or
// [ErrExportCancelled].
type ExportError struct {
	// Job is the job as it ended; its StateReason says why, if Atlas gave a reason.
	Job *ExportJob
}

func (e *ExportError) Error() string { return "" }

// Is reports whether kind is that of the job's state.
func (e *ExportError) Is(kind error) bool { return false }

// WaitError is a wait that its context ended.
type WaitError struct {
	// Job is the job as it was last seen; nil if no look succeeded.
	Job *ExportJob
	// Last is why the last look failed; nil if it did not.
	Last error
	// Err is the context's.
	Err error
}

func (e *WaitError) Error() string { return "" }

// Unwrap returns Err, and Last where there is one.
func (e *WaitError) Unwrap() []error { return nil }
