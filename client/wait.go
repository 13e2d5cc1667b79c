package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// WaitOptions say how [Client.WaitForExport] waits. The zero value is for exports that take
// minutes.
type WaitOptions struct {
	// Interval is the first pause between two reads of the job; 0 means 2 s. Each pause is half
	// as long again as the one before, up to MaxInterval; 0 means 30 s. A random part of up to a
	// fifth is taken off each, so that many programs that wait don't read at the same time.
	Interval, MaxInterval time.Duration
	// Progress, if not nil, is called after each read.
	Progress func(ExportProgress)
}

// ExportProgress is the result of one read of a job.
type ExportProgress struct {
	// Job is the job as it was read last; nil if no read has succeeded yet.
	Job *ExportJob
	// Err is why this read failed; nil if it did not. It does not end the wait.
	Err error
	// Next is how long the pause until the next read is; 0 after the last.
	Next time.Duration
}

// WaitForExport reads a job until it ends, and returns it. A read that fails does not end the
// wait if another may succeed, as when the network is down, a gateway restarts, or the answer
// is a rate limit or a 5xx. WaitForExport honours Retry-After. Without a deadline in ctx it
// waits for as long as the job runs. But 20 answers with a status of success and without the job
// in them end it, unless one with the job comes between: what answers is not Atlas.
//
// The error is an [*ExportError] with the reason if the job failed or was cancelled, a
// [*WaitError] if ctx ended first, or the [*Error] of a read if another read would fail too.
func (c *Client) WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o WaitOptions) (*ExportJob, error) {
	return wait(ctx, o, func() (*ExportJob, error) { return c.getExport(ctx, 0, groupID, clusterName, exportID) })
}

// WaitForExport is as [Client.WaitForExport].
func (v *V1) WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o WaitOptions) (*ExportJob, error) {
	return wait(ctx, o, func() (*ExportJob, error) { return v.getExport(ctx, 0, groupID, clusterName, exportID) })
}

// maxUnusable is how many answers that claim success and are not the job end a wait. With the
// pauses of the zero WaitOptions they take about six minutes.
const maxUnusable = 20

// unusable reports whether an answer claims success and is not what was asked for: its content is
// of another form, is about another job, or does not come to its end.
func (e *Error) unusable() bool { return e.Status >= 200 && e.Status <= 299 }

func wait(ctx context.Context, o WaitOptions, read func() (*ExportJob, error)) (*ExportJob, error) {
	longest := cmp.Or(max(o.MaxInterval, 0), 30*time.Second)
	interval := min(cmp.Or(max(o.Interval, 0), 2*time.Second), longest)
	var (
		seen *ExportJob // as it was read last
		last error      // of the last read

		unusable int // how many answers since the last good one
	)
	for {
		job, err := read()
		var failed *Error
		switch {
		case err == nil:
			seen, unusable = job, 0
		case ctx.Err() != nil:
			return nil, &WaitError{Job: seen, Last: last, Err: contextError(ctx)}
		case !errors.As(err, &failed) || !failed.transient:
			return nil, err
		case failed.unusable():
			if unusable++; unusable == maxUnusable {
				failed.Err = fmt.Errorf("%w; it is the last of %d such answers without the job", failed.Err, unusable)
				return nil, err
			}
		}
		last = err
		ended := err == nil && job.State.Ended()
		var pause time.Duration
		if !ended {
			random := rand.N(interval/5 + 1)
			pause = interval - random
			if failed != nil && failed.RetryAfter > 0 {
				pause = max(pause, failed.RetryAfter+random)
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

// ExportError says that a job failed or was cancelled; it is [ErrExportFailed] or
// [ErrExportCancelled].
type ExportError struct {
	// Job is the job at its end. Its StateReason says why it failed, if Atlas gives a reason.
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

// Is reports whether kind is the one for the job's state.
func (e *ExportError) Is(kind error) bool {
	return kind == ErrExportFailed && e.Job.State == Failed || kind == ErrExportCancelled && e.Job.State == Cancelled
}

// WaitError says that the context ended before the job did. The job continues.
type WaitError struct {
	// Job is the job as it was read last; nil if no read succeeded.
	Job *ExportJob
	// Last is why the last read failed; nil if it did not.
	Last error
	// Err is the error of the context.
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
