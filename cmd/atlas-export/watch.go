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

// watchOptions say how to follow something until it ends.
type watchOptions struct {
	timeout, interval time.Duration
	quiet             bool
}

// define adds the flags. What is "the export" or "the snapshot".
func (o *watchOptions) define(c *cobra.Command, what string) {
	c.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to follow "+what+"; 0 means until it ends")
	c.Flags().DurationVar(&o.interval, "interval", 0, "pause between two requests for its state (default 2s, growing to 30s)")
	c.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print only how it ends")
}

func (o *watchOptions) check(c *cobra.Command) error {
	if o.timeout < 0 || o.interval < 0 {
		return usageError(c, "--timeout and --interval must not be negative")
	}
	return nil
}

// checkWait refuses the flags if there is nothing to wait for.
func (o *watchOptions) checkWait(c *cobra.Command, wait bool) error {
	for _, flag := range []string{"timeout", "interval", "quiet"} {
		if !wait && c.Flags().Changed(flag) {
			return usageError(c, "--%s is for --wait", flag)
		}
	}
	return o.check(c)
}

// limit returns a context that ends after the timeout.
func (o *watchOptions) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, o.timeout)
}

// unfollowed returns the error of a wait. What is "export" or "snapshot". Created says that the
// command has created it, and seen that a request for its state succeeded. Resume is the command
// line that follows it.
func (o *watchOptions) unfollowed(c *cobra.Command, err error, what string, created, seen bool, resume string) error {
	var wait *client.WaitError
	var call *client.Error
	hint := "the " + what + " goes on; follow it with: " + resume
	if !seen {
		hint = "if the " + what + " exists, it goes on; follow it with: " + resume
	}
	switch {
	case errors.As(err, &wait) && c.Context().Err() != nil:
		return &failure{exitInterrupted, errors.New("interrupted"), hint}
	case errors.As(err, &wait):
		return &failure{exitNotFollowed, fmt.Errorf("the %s did not end within %s: %w", what, o.timeout, err), hint}
	case errors.As(err, &call) && created: // any other status would say that it was not created
		return &failure{exitNotFollowed, fmt.Errorf("the %s was created, and can't be followed: %w", what, err), hint}
	default:
		return err
	}
}

// watch follows an export until it ends. Created is the job if the command has just created it,
// or else nil.
func (a *app) watch(c *cobra.Command, s *session, id string, o watchOptions, created *client.ExportJob) error {
	ctx, cancel := o.limit(c.Context())
	defer cancel()
	p := a.newProgress(s.format, o.quiet)
	current := exportState{a: a}
	update := func(result client.ExportProgress) {
		if result.Err == nil {
			current = current.next(result.Job)
		}
		p.update(current, result.Err, result.Next)
	}
	if created != nil {
		update(client.ExportProgress{Job: created})
	}
	stop := every(time.Second, p.redraw)
	job, err := s.WaitForExport(ctx, s.group, s.cluster, id, client.WaitOptions{Interval: o.interval, MaxInterval: o.interval, Progress: update})
	stop()
	p.end()
	switch {
	case err != nil || s.format != "table":
	case o.quiet:
		fmt.Fprintln(a.stdout, printable.Escape(a.summary(c.Context(), s, s.cluster, job)))
	case job.Prefix != "":
		fmt.Fprintln(a.stdout, "prefix:", printable.Escape(job.Prefix))
	}
	return o.unfollowed(c, err, "export", created != nil, current.job != nil, commandLine(c, "exports watch "+quote(id)))
}

// followed is the state of something that is followed until it ends.
type followed interface {
	name() string                         // for -o name
	document() any                        // for -o json and yaml
	mark() string                         // differs where a line is due
	line() string                         // what is known of it
	render(s *screen, columns int) string // the same for a screen
	ended() bool
}

// progress shows the progress of something that is followed.
type progress struct {
	a      *app
	format string
	quiet  bool
	screen *screen // nil if no line is redrawn

	mu      sync.Mutex // guards what follows, and the screen
	state   followed   // nil until a request for it succeeded
	written string     // the last document, or the mark of the last line
	problem string     // why the last request failed; empty if it succeeded
}

func (a *app) newProgress(format string, quiet bool) *progress {
	p := &progress{a: a, format: format, quiet: quiet}
	if format == "table" && !quiet {
		p.screen = newScreen(a.stdout, a.env)
	}
	return p
}

// update shows the result of a request for the state, which is current if err is nil.
func (p *progress) update(current followed, err error, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.reportProblem(err, next)
		return
	}
	first := p.state == nil
	p.state, p.problem = current, ""
	switch {
	case p.quiet && (p.format == "table" || !current.ended()):
		return
	case (first || p.quiet) && (p.format == "table" || p.format == "name"):
		fmt.Fprintln(p.a.stdout, printable.Escape(current.name()))
	}
	switch {
	case p.format == "name":
	case p.screen != nil:
		p.draw()
	default:
		p.write()
	}
}

// reportProblem says why a request failed. It says nothing if the one before failed for the
// same reason.
func (p *progress) reportProblem(err error, next time.Duration) {
	text, reason := problemOf(err)
	if reason == p.problem || p.quiet {
		return
	}
	p.problem = reason
	if p.screen != nil {
		p.screen.clear()
	}
	fmt.Fprintf(p.a.stderr, "atlas-export: a request failed, the next one is in %s: %s\n", next.Round(time.Millisecond), printable.Escape(text))
	p.draw()
}

// problemOf returns the text of an error, and the part of it that is the same each time.
func problemOf(err error) (text, reason string) {
	text = err.Error()
	reason = text
	var call *client.Error
	if errors.As(err, &call) {
		bare := *call
		bare.RequestID = "" // differs in each request
		reason = bare.Error()
	}
	return strings.TrimPrefix(text, "client: "), reason
}

// write writes the state as a document or a line, if it has changed.
func (p *progress) write() {
	var text bytes.Buffer
	mark := ""
	switch p.format {
	case "json":
		encodeJSON(&text, p.state.document(), "", "") // writing to a buffer never fails
	case "yaml":
		text.WriteString("---\n")
		encodeYAML(&text, p.state.document(), "")
	default:
		mark = p.state.mark()
		fmt.Fprintln(&text, p.state.line())
	}
	if mark == "" {
		mark = text.String()
	}
	if mark != p.written {
		p.written = mark
		p.a.stdout.Write(text.Bytes())
	}
}

// draw redraws the line on the screen.
func (p *progress) draw() {
	if p.screen != nil && p.state != nil {
		p.screen.draw(p.state.render(p.screen, p.screen.columns()))
	}
}

// redraw is draw for other goroutines.
func (p *progress) redraw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw()
}

// every calls f at an interval, so that time goes on in what it draws, until stop is called.
func every(interval time.Duration, f func()) (stop func()) {
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				f()
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

// end ends the line that was redrawn.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.screen != nil && p.state != nil {
		fmt.Fprintln(p.a.stdout)
	}
}
