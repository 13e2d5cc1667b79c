package main

import (
	"fmt"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/printable"
)

// exportState is the state of an export that is followed.
type exportState struct {
	a    *app
	job  *client.ExportJob
	pace pace
}

// next returns the state after another request for it.
func (e exportState) next(job *client.ExportJob) exportState {
	job.Replayed = job.Replayed || e.job != nil && e.job.Replayed
	e.job = job
	e.pace.update(job, e.a.now())
	return e
}

func (e exportState) name() string  { return "export/" + e.job.ID }
func (e exportState) document() any { return e.job }
func (e exportState) ended() bool   { return e.job.State.Ended() }
func (e exportState) mark() string  { return fmt.Sprintln(e.job.State, collections(e.job)) }
func (e exportState) line() string  { return exportLine(e.job, e.a.elapsed(e.job), "", "") }

func (e exportState) render(s *screen, columns int) string {
	return s.renderExport(columns, e.job, e.a.elapsed(e.job), e.pace.rate(), e.pace.left(e.a.now()))
}

// exportLine returns what is known of an export: the state, then other parts, two spaces apart.
func exportLine(job *client.ExportJob, elapsed time.Duration, rate, left string) string {
	parts := []string{printable.Escape(string(job.State))}
	if counts := collections(job); counts != "" {
		parts = append(parts, counts+" collections")
	}
	parts = append(parts, formatDuration(elapsed))
	for _, part := range []string{rate, left} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if sets := replicaSets(job); len(sets) > 0 {
		parts = append(parts, printable.Escape(strings.Join(sets, ", ")))
	}
	return strings.Join(parts, "  ")
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
