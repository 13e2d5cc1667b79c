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
	return waitForExport(ctx, o, func() (*ExportJob, error) { return c.getExport(ctx, 0, groupID, clusterName, exportID) })
}

// WaitForExport is as [Client.WaitForExport].
func (v *V1) WaitForExport(ctx context.Context, groupID, clusterName, exportID string, o WaitOptions) (*ExportJob, error) {
	return waitForExport(ctx, o, func() (*ExportJob, error) { return v.getExport(ctx, 0, groupID, clusterName, exportID) })
}

func waitForExport(ctx context.Context, o WaitOptions, read func() (*ExportJob, error)) (*ExportJob, error) {
	w := wait[ExportJob]{
		what:     "job",
		interval: o.Interval,
		longest:  o.MaxInterval,
		read:     read,
		ended:    func(job *ExportJob) bool { return job.State.Ended() },
	}
	if o.Progress != nil {
		w.progress = func(job *ExportJob, err error, next time.Duration) { o.Progress(ExportProgress{job, err, next}) }
	}
	job, err := w.run(ctx)
	switch {
	case err != nil:
		return nil, err
	case job.State != Successful:
		return nil, &ExportError{Job: job}
	default:
		return job, nil
	}
}

// maxUnusable is how many answers that claim success and are not what was asked for end a wait.
// With the pauses of the zero WaitOptions they take about six minutes.
const maxUnusable = 20

// unusable reports whether an answer claims success and is not what was asked for: its content is
// of another form, is about something else, or does not come to its end.
func (e *Error) unusable() bool { return e.Status >= 200 && e.Status <= 299 }

// wait reads something until it ends.
type wait[T any] struct {
	what              string // what is read
	interval, longest time.Duration
	read              func() (*T, error)
	ended             func(*T) bool
	progress          func(seen *T, err error, next time.Duration) // may be nil
}

// run returns what it read last, which has ended.
func (w wait[T]) run(ctx context.Context) (*T, error) {
	longest := cmp.Or(max(w.longest, 0), 30*time.Second)
	interval := min(cmp.Or(max(w.interval, 0), 2*time.Second), longest)
	var (
		seen *T    // as it was read last
		last error // of the last read

		unusable int // how many answers since the last good one
	)
	for {
		result, err := w.read()
		var failed *Error
		switch {
		case err == nil:
			seen, unusable = result, 0
		case ctx.Err() != nil:
			return nil, stopped(seen, last, contextError(ctx))
		case !errors.As(err, &failed) || !failed.transient:
			return nil, err
		case failed.unusable():
			if unusable++; unusable == maxUnusable {
				failed.Err = fmt.Errorf("%w; it is the last of %d such answers without the %s", failed.Err, unusable, w.what)
				return nil, err
			}
		}
		last = err
		ended := err == nil && w.ended(result)
		var pause time.Duration
		if !ended {
			random := rand.N(interval/5 + 1)
			pause = interval - random
			if failed != nil && failed.RetryAfter > 0 {
				pause = max(pause, failed.RetryAfter+random)
			}
		}
		if w.progress != nil {
			w.progress(seen, err, pause)
		}
		if ended {
			return result, nil
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, stopped(seen, last, err)
		}
		interval = min(interval+interval/2, longest)
	}
}

// stopped is the error of a wait whose context ended.
func stopped(seen any, last, err error) error {
	e := &WaitError{Last: last, Err: err}
	switch seen := seen.(type) {
	case *ExportJob:
		e.Job = seen
	case *Snapshot:
		e.Snapshot, e.snapshot = seen, true
	}
	return e
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

// WaitError says that the context ended before the job or the snapshot did. Atlas goes on with
// it.
type WaitError struct {
	// Job is the job as it was read last; nil if no read succeeded, or if a snapshot was waited for.
	Job *ExportJob
	// Snapshot is the snapshot as it was read last; nil if no read succeeded, or if an export was
	// waited for.
	Snapshot *Snapshot
	// Last is why the last read failed; nil if it did not.
	Last error
	// Err is the error of the context.
	Err error

	snapshot bool // a snapshot was waited for
}

func (e *WaitError) Error() string {
	text := "client: stopped waiting for the export, "
	if e.snapshot {
		text = "client: stopped waiting for the snapshot, "
	}
	switch {
	case e.Job != nil:
		text += "last seen as " + oneLine(string(e.Job.State))
	case e.Snapshot != nil:
		text += "last seen as " + oneLine(string(e.Snapshot.Status))
	default:
		text += "which was not seen"
	}
	text += ": " + e.Err.Error()
	if e.Last != nil {
		text += "; before that: " + e.Last.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *WaitError) Unwrap() error { return e.Err }
