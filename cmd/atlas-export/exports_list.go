package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/objectid"

	"github.com/spf13/cobra"
)

// exportStates are the states of exports that the program knows, as exports list takes them.
var exportStates = []string{string(client.Queued), string(client.InProgress), string(client.Successful), string(client.Failed), string(client.Cancelled)}

// selection is which exports exports list shows.
type selection struct {
	several
	snapshot  string
	states    names
	since     since
	unbounded bool
}

// clusterExport is an export, with its cluster if the list is of several.
type clusterExport struct {
	Cluster string `json:"clusterName,omitempty"`
	*client.ExportJob
}

func (a *app) exportsList() *cobra.Command {
	var o selection
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the exports of one cluster or several",
		Long: `List the exports of a cluster, or of several with --cluster orders,events, with a repeated
--cluster, or with --all-clusters. If some of several clusters can't be read, the list has the
others, and the exit status is 16. ` + aboutLists,
		Example: `  atlas-export exports list --cluster orders
  atlas-export exports list --cluster orders --snapshot 6a01e0b45be2d84417c09f10 -o json
  atlas-export exports list --all-clusters --since 24h --state Failed,Cancelled`,
		Args:    arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error { return o.check(c) },
		RunE: a.withClusters(&o.several, func(c *cobra.Command, s *session, clusters []string) error {
			return a.listExports(c, s, clusters, &o)
		}),
	}
	defineAll(c, &o.unbounded)
	o.several.define(c)
	c.Flags().StringVar(&o.snapshot, "snapshot", "", "list only exports of the snapshot with this `id`")
	c.Flags().Var(&o.states, "state", "list only exports in these `states`: "+strings.Join(exportStates, ", ")+"; may be repeated")
	c.Flags().Var(&o.since, "since", "list only exports created since then: a date, a time, or how long ago, such as 24h or 7d")
	must(c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(exportStates, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("snapshot", a.completeSnapshots(false)))
	return c
}

func (o *selection) check(c *cobra.Command) error {
	o.snapshot = trimKind(o.snapshot, "snapshot")
	if err := objectid.Check(o.snapshot); c.Flags().Changed("snapshot") && err != nil {
		return usageError(c, "--snapshot: the id of a snapshot, %q, %w", o.snapshot, err)
	}
	if !c.Flags().Changed("state") {
		return nil
	}
	for state := range strings.SplitSeq(string(o.states), ",") {
		if !slices.ContainsFunc(exportStates, func(known string) bool { return strings.EqualFold(known, state) }) {
			return usageError(c, "--state: %w", oneOf(state, exportStates))
		}
	}
	return nil
}

// keep reports whether an export is to be listed.
func (o *selection) keep(job *client.ExportJob, now time.Time) bool {
	return (o.snapshot == "" || job.SnapshotID == o.snapshot) &&
		(o.since.text == "" || !job.CreatedAt.Before(o.since.at(now))) &&
		(o.states == "" || slices.ContainsFunc(strings.Split(string(o.states), ","), func(state string) bool { return strings.EqualFold(state, string(job.State)) }))
}

func (a *app) listExports(c *cobra.Command, s *session, clusters []string, o *selection) error {
	some, now := len(clusters) > 1 || o.all, a.now()
	errs := make([]error, len(clusters))
	found := false
	l := list[clusterExport]{
		items:  exportsOf(c, s, clusters, some, errs),
		plural: "exports",
		none:   "there are no exports",
		header: []string{"ID", "STATE", "COLLECTIONS", "SNAPSHOT", "CREATED", "ELAPSED"},
		keep: func(e *clusterExport) bool {
			kept := o.keep(e.ExportJob, now)
			found = found || kept
			return kept
		},
		name: func(e *clusterExport) string { return "export/" + e.ID },
		row: func(e *clusterExport) []string {
			row := []string{e.ID, string(e.State), collections(e.ExportJob), e.SnapshotID, formatTime(e.CreatedAt), formatDuration(a.elapsed(e.ExportJob))}
			if some {
				row = append([]string{e.Cluster}, row...)
			}
			return row
		},
	}
	switch {
	case o.snapshot != "":
		l.none += " of the snapshot " + o.snapshot
	case o.states != "" || o.since.text != "":
		l.none += " as asked for"
	}
	none := l.none
	if some {
		l.header, l.none = append([]string{"CLUSTER"}, l.header...), ""
	}
	err := printList(a, c, s.format, l, o.unbounded)
	if err == nil {
		err = a.verdict(c, clusters, errs)
	}
	if err == nil && some && !found && s.format == "table" {
		fmt.Fprintln(a.stderr, none)
	}
	return err
}

// exportsOf yields the exports of the clusters. If there may be several, an error does not end
// the sequence, and stands in errs instead.
func exportsOf(c *cobra.Command, s *session, clusters []string, some bool, errs []error) iter.Seq2[*clusterExport, error] {
	return func(yield func(*clusterExport, error) bool) {
		for i, cluster := range clusters {
			for job, err := range s.ListExports(c.Context(), s.group, cluster, largestPages) {
				item := &clusterExport{ExportJob: job}
				if some {
					item.Cluster = cluster
				}
				if some && err != nil {
					errs[i] = err
					continue // the sequence ends by itself
				}
				if !yield(item, err) {
					return
				}
			}
		}
	}
}
