package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
)

// exported is what became of the export of one of several clusters. It encodes as JSON.
type exported struct {
	Cluster    string            `json:"clusterName"`
	Export     *client.ExportJob `json:"export,omitempty"` // as it was read last
	Location   string            `json:"location,omitempty"`
	Error      string            `json:"error,omitempty"`
	ExitStatus int               `json:"exitStatus"` // what it would be for this cluster alone
}

// errNotTried is the error of a cluster whose turn did not come.
var errNotTried = &failure{exitInterrupted, errors.New("interrupted before the export was created"), ""}

// createSeveral creates the exports of several clusters, one after the other, and follows them
// together.
func (a *app) createSeveral(c *cobra.Command, s *session, clusters []string, r client.ExportRequest, o *creation) error {
	b := a.newBoard(s, o.watch.quiet, clusters)
	stop := every(time.Second, b.redraw)
	states, notes, errs := make([]exportState, len(clusters)), make([]string, len(clusters)), make([]error, len(clusters))
	for i, cluster := range clusters {
		if c.Context().Err() != nil {
			errs[i] = errNotTried
			continue
		}
		b.note(i, "...")
		s.repeating = func(err error, pause time.Duration) { b.update(i, states[i], withoutAdvice(err), pause) }
		if s.key != "" {
			r.IdempotencyKey = s.key + "-" + cluster // the same key for another cluster is refused
		}
		job, note, err := a.createOne(c, s, cluster, r, o.maxAge)
		if i == 0 && errors.Is(err, client.ErrUnauthorized) {
			stop()
			b.end()
			return err // it would be the same for each
		}
		if err != nil {
			errs[i] = s.unknownFor(cluster, err)
			b.fail(i, "not created; the reason stands below")
			continue
		}
		states[i], notes[i] = exportState{a: a}.next(job), note
		b.update(i, states[i], nil, 0)
	}
	if o.wait {
		a.watchSeveral(c, s, clusters, states, errs, b, &o.watch)
	}
	stop()
	b.end()
	for i, note := range notes {
		if note != "" {
			fmt.Fprintf(a.stderr, "%s: %s\n", printable.Escape(clusters[i]), note)
		}
	}
	return a.conclude(c, s, clusters, states, errs)
}

// watchSeveral follows the exports until they end. It notes the last state and the error of each.
func (a *app) watchSeveral(c *cobra.Command, s *session, clusters []string, states []exportState, errs []error, b *board, o *watchOptions) {
	ctx, cancel := o.limit(c.Context())
	defer cancel()
	var waits sync.WaitGroup
	for i := range clusters {
		if states[i].job == nil {
			continue
		}
		id := states[i].job.ID
		resume := commandLineFor(c, clusters[i], "exports watch "+quote(id)) // not in parallel: flags sort themselves
		waits.Go(func() {
			_, err := s.WaitForExport(ctx, s.group, clusters[i], id, client.WaitOptions{Interval: o.interval, MaxInterval: o.interval, Progress: func(p client.ExportProgress) {
				if p.Err == nil {
					states[i] = states[i].next(p.Job)
				}
				b.update(i, states[i], p.Err, p.Next)
			}})
			errs[i] = o.unfollowed(c, err, "export", true, true, resume)
		})
	}
	waits.Wait()
}

// conclude prints what became of each cluster, and returns the error for all.
func (a *app) conclude(c *cobra.Command, s *session, clusters []string, states []exportState, errs []error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), nameTime)
	defer cancel()
	l := list[exported]{
		plural: "clusters",
		header: []string{"CLUSTER", "STATE", "ELAPSED", "SNAPSHOT", "EXPORT", "LOCATION"},
		name: func(r *exported) string {
			if r.Export == nil {
				return "" // which a list of names leaves out
			}
			return "export/" + r.Export.ID
		},
		row: func(r *exported) []string {
			if r.Export == nil {
				return []string{r.Cluster, "not created", "", "", "", ""}
			}
			return []string{r.Cluster, string(r.Export.State), formatDuration(a.elapsed(r.Export)), r.Export.SnapshotID, r.Export.ID, r.Location}
		},
	}
	var results []*exported
	for i, cluster := range clusters {
		r := &exported{Cluster: cluster, Export: states[i].job}
		if r.Export != nil && r.Export.Prefix != "" {
			r.Location = s.location(ctx, r.Export)
		}
		if errs[i] != nil {
			r.Error = withoutPackage(errs[i].Error())
			r.ExitStatus, _ = a.classify(c.Context(), c, errs[i])
		}
		results = append(results, r)
	}
	l.items = func(yield func(*exported, error) bool) {
		for _, r := range results {
			if !yield(r, nil) {
				return
			}
		}
	}
	if err := printList(a, c, s.format, l, true); err != nil {
		return err
	}
	return a.verdict(c, clusters, errs)
}
