package client

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
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
	return wait(ctx, o, func() (*ExportJob, error) { return c.getExport(ctx, 0, groupID, clusterName, exportID) })
}

// WaitForExport is as [Client.WaitForExport].
func (v *V1) WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o WaitOptions) (*ExportJob, error) {
	return wait(ctx, o, func() (*ExportJob, error) { return v.getExport(ctx, 0, groupID, clusterName, exportID) })
}

func wait(ctx context.Context, o WaitOptions, look func() (*ExportJob, error)) (*ExportJob, error) {
	longest := cmp.Or(max(o.MaxInterval, 0), 30*time.Second)
	interval := min(cmp.Or(max(o.Interval, 0), 2*time.Second), longest)
	var (
		seen *ExportJob
		last error
	)
	for {
		job, err := look()
		var failed *Error
		switch {
		case err == nil:
			seen = job
		case ctx.Err() != nil:
			return nil, &WaitError{Job: seen, Last: last, Err: over(ctx)}
		case !errors.As(err, &failed) || !failed.transient:
			return nil, err
		}
		last = err
		ended := err == nil && job.State.Ended()
		var pause time.Duration
		if !ended {
			chance := rand.N(interval/5 + 1)
			pause = interval - chance
			if failed != nil && failed.RetryAfter > 0 {
				pause = max(pause, failed.RetryAfter+chance)
			}
		}
		if o.Progress != nil {
			o.Progress(ExportProgress{Job: seen, Err: err, Next: pause})
		}
		switch {
		case ended && job.State == Successful:
			return job, nil
		case ended:
			return nil, &ExportError{Job: job}
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, &WaitError{Job: seen, Last: last, Err: err}
		}
		interval = min(interval+interval/2, longest)
	}
}

// ExportError is a job that ended without success: it is [ErrExportFailed] or
// [ErrExportCancelled].
type ExportError struct {
	// Job is the job as it ended; its StateReason says why, if Atlas gave a reason.
	Job *ExportJob
}

func (e *ExportError) Error() string {
	text := "client: export " + oneLine(e.Job.ID) + " is " + oneLine(string(e.Job.State))
	if reason := e.Job.StateReason; reason != nil {
		for _, part := range []string{reason.ErrorCode, reason.Message} {
			if part != "" {
				text += ": " + oneLine(part)
			}
		}
	}
	return text
}

// Is reports whether kind is that of the job's state.
func (e *ExportError) Is(kind error) bool {
	return kind == ErrExportFailed && e.Job.State == Failed || kind == ErrExportCancelled && e.Job.State == Cancelled
}

// WaitError is a wait that its context ended. The job goes on.
type WaitError struct {
	// Job is the job as it was last seen; nil if no look succeeded.
	Job *ExportJob
	// Last is why the last look failed; nil if it did not.
	Last error
	// Err is the context's.
	Err error
}

func (e *WaitError) Error() string {
	text := "client: stopped waiting for the export, "
	if e.Job == nil {
		text += "which was not seen"
	} else {
		text += "last seen as " + oneLine(string(e.Job.State))
	}
	text += ": " + e.Err.Error()
	if e.Last != nil {
		text += "; before that: " + e.Last.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *WaitError) Unwrap() error { return e.Err }
