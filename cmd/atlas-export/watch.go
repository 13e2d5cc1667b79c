package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
)

// watchOptions say how to follow an export.
type watchOptions struct {
	timeout, interval time.Duration
}

func (o *watchOptions) define(c *cobra.Command) {
	c.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to follow the export; 0 means until it ends")
	c.Flags().DurationVar(&o.interval, "interval", 0, "pause between two requests for its state (default 2s, growing to 30s)")
}

func (o *watchOptions) check(c *cobra.Command) error {
	if o.timeout < 0 || o.interval < 0 {
		return usageError(c, "--timeout and --interval must not be negative")
	}
	return nil
}

// watch follows an export until it ends. Created is the job if the command has just created it,
// or else nil.
func (a *app) watch(c *cobra.Command, s *session, id string, o watchOptions, created *client.ExportJob) error {
	ctx := c.Context()
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	p := a.newProgress(s.format)
	if created != nil {
		p.update(client.ExportProgress{Job: created})
	}
	stop := p.tick(time.Second)
	job, err := s.WaitForExport(ctx, s.group, s.cluster, id, client.WaitOptions{Interval: o.interval, MaxInterval: o.interval, Progress: p.update})
	stop()
	p.end(job)
	var wait *client.WaitError
	var call *client.Error
	resume := "the export goes on; follow it with: "
	if !p.found() {
		resume = "if the export exists, it goes on; follow it with: "
	}
	resume += commandLine(c, "exports watch "+quote(id))
	switch {
	case errors.As(err, &wait) && c.Context().Err() != nil:
		return &failure{exitInterrupted, errors.New("interrupted"), resume}
	case errors.As(err, &wait):
		return &failure{exitNotFollowed, fmt.Errorf("the export did not end within %s: %w", o.timeout, err), resume}
	case errors.As(err, &call) && created != nil: // any other status would say that it was not created
		return &failure{exitNotFollowed, fmt.Errorf("the export was created, and can't be followed: %w", err), resume}
	default:
		return err
	}
}

// progress shows the progress of an export.
type progress struct {
	a      *app
	format string
	screen *screen // nil if no line is redrawn

	mu      sync.Mutex // guards what follows, and the screen
	job     *client.ExportJob
	pace    pace
	written []byte // the last line or document
	problem string // why the last request failed; empty if it succeeded
}

func (a *app) newProgress(format string) *progress {
	p := &progress{a: a, format: format}
	if format == "table" {
		p.screen = newScreen(a.stdout, a.env)
	}
	return p
}

// update shows the result of a request for the export's state.
func (p *progress) update(result client.ExportProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if result.Err != nil {
		p.reportProblem(result)
		return
	}
	first := p.job == nil
	p.job, p.problem = result.Job, ""
	p.pace.update(result.Job, p.a.now())
	if first && (p.format == "table" || p.format == "name") {
		fmt.Fprintln(p.a.stdout, printable.Escape("export/"+p.job.ID))
	}
	switch {
	case p.format == "name":
	case p.screen != nil:
		p.draw()
	default:
		p.write()
	}
}

// found reports whether a request for the export's state succeeded.
func (p *progress) found() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.job != nil
}

// reportProblem says why a request failed. It says nothing if the one before failed for the
// same reason.
func (p *progress) reportProblem(result client.ExportProgress) {
	text := result.Err.Error()
	reason := text
	var call *client.Error
	if errors.As(result.Err, &call) {
		bare := *call
		bare.RequestID = "" // differs in each request
		reason = bare.Error()
	}
	if reason == p.problem {
		return
	}
	p.problem = reason
	if p.screen != nil {
		p.screen.clear()
	}
	fmt.Fprintf(p.a.stderr, "atlas-export: a request failed, the next one is in %s: %s\n", result.Next.Round(time.Millisecond), printable.Escape(strings.TrimPrefix(text, "client: ")))
	p.draw()
}

// write writes the export as a document or a line, if it has changed.
func (p *progress) write() {
	var text, changed bytes.Buffer
	switch p.format {
	case "json":
		encodeJSON(&text, p.job, "", "") // writing to a buffer never fails
	case "yaml":
		text.WriteString("---\n")
		encodeYAML(&text, p.job, "")
	default:
		fmt.Fprintln(&changed, p.job.State, collections(p.job))
		fmt.Fprintln(&text, line(p.job, p.a.elapsed(p.job), "", ""))
	}
	if changed.Len() == 0 {
		changed = text
	}
	if !bytes.Equal(changed.Bytes(), p.written) {
		p.written = bytes.Clone(changed.Bytes())
		p.a.stdout.Write(text.Bytes())
	}
}

// draw redraws the line on the screen.
func (p *progress) draw() {
	if p.screen != nil && p.job != nil {
		now := p.a.now()
		p.screen.draw(p.job, p.a.elapsed(p.job), p.pace.rate(), p.pace.left(now))
	}
}

// tick redraws the line at an interval, so that time goes on in it, until stop is called.
func (p *progress) tick(interval time.Duration) (stop func()) {
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.mu.Lock()
				p.draw()
				p.mu.Unlock()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait() // nothing is drawn after stop
	}
}

// end ends the line that was redrawn, and says where the export is if it succeeded.
func (p *progress) end(job *client.ExportJob) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen != nil && p.job != nil {
		fmt.Fprintln(p.a.stdout)
	}
	if p.format == "table" && job != nil && job.Prefix != "" {
		fmt.Fprintln(p.a.stdout, "prefix:", printable.Escape(job.Prefix))
	}
}

// pace is how fast collections are exported, as far as updates show it.
type pace struct {
	since     time.Time // of the first update in which Atlas has counted collections
	base      int       // how many were exported then
	perSecond float64   // since then; 0 if not known
	ends      time.Time // when none are left at that rate
}

func (p *pace) update(job *client.ExportJob, now time.Time) {
	switch {
	case job.State != client.InProgress || job.Status == nil || job.Status.TotalCollections == 0:
		p.perSecond = 0
	case p.since.IsZero():
		p.since, p.base = now, job.Status.ExportedCollections
	default:
		took, done := now.Sub(p.since).Seconds(), job.Status.ExportedCollections-p.base
		if took > 0 && done > 0 {
			p.perSecond = float64(done) / took
			left := float64(job.Status.TotalCollections-job.Status.ExportedCollections) / p.perSecond
			p.ends = now.Add(time.Duration(left * float64(time.Second)))
		}
	}
}

// rate returns the rate in words; empty if it is not known.
func (p *pace) rate() string {
	switch perMinute := p.perSecond * 60; {
	case perMinute == 0:
		return ""
	case perMinute < 1:
		return fmt.Sprintf("%.1f/h", perMinute*60)
	default:
		return fmt.Sprintf("%.1f/min", perMinute)
	}
}

// left returns in words how long the rest takes at that rate; empty if that is not known.
func (p *pace) left(now time.Time) string {
	if p.perSecond == 0 {
		return ""
	}
	return formatDuration(p.ends.Sub(now)) + " left"
}
