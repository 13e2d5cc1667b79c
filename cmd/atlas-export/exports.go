package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

func (a *app) exportsCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "exports",
		Aliases: []string{"export"},
		Short:   "Create, list and follow the exports of a cluster's snapshots",
	})
	settingOf("cluster").define(c.PersistentFlags())
	must(c.RegisterFlagCompletionFunc("cluster", a.completeClusters()))
	c.AddCommand(a.exportsCreate(), a.exportsList(), a.exportsGet(), a.exportsWatch())
	return c
}

// customData is a flag of pairs, in the order in which they are given. Each use of the flag is one
// pair, and all after the first = is its value: a value is free text, and may hold commas, quotes
// and equals signs.
type customData []client.CustomData

func (d *customData) Set(pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	if !ok {
		return fmt.Errorf("%q is not key=value", pair)
	}
	if slices.ContainsFunc(*d, func(known client.CustomData) bool { return known.Key == key }) {
		return fmt.Errorf("the key %q is given twice", key)
	}
	*d = append(*d, client.CustomData{Key: key, Value: value})
	return nil
}

func (d *customData) String() string { return "" }
func (d *customData) Type() string   { return "key=value" }

func (a *app) exportsGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get EXPORT",
		Aliases: []string{"describe"},
		Short:   "Show an export",
		Example: `  atlas-export exports get 6b022709d9f2a4b685bab126 --cluster orders
  atlas-export exports get 6b022709d9f2a4b685bab126 --cluster orders -o json`,
		Args:              arguments("EXPORT"),
		ValidArgsFunction: first(a.completeExports()),
		RunE: a.withSession(func(c *cobra.Command, s *session, args []string) error {
			job, err := s.GetExport(c.Context(), s.group, s.cluster, trimKind(args[0], "export"))
			if err != nil {
				return err
			}
			return a.printExport(c, s, job)
		}),
	}
}

func (a *app) exportsWatch() *cobra.Command {
	var watch watchOptions
	c := &cobra.Command{
		Use:   "watch EXPORT",
		Short: "Follow an export until it ends",
		Long: `Follow an export until it ends. On a terminal the command redraws a line with the state. For a
replica set, the line also shows how many collections are exported, how fast, and how long the
rest takes at that rate. For a sharded cluster it shows the replica sets instead, since Atlas
counts no collections there. Elsewhere the command prints a line for each change; with -o json
the line is the export as JSON, with -o yaml it is a document.

A request that fails does not end the command if the next one may succeed. 20 answers that claim
success and are not the export do end it, unless the export comes between. Ctrl-C ends the
command; the export goes on.`,
		Example: `  atlas-export exports watch 6b022709d9f2a4b685bab126 --cluster orders
  atlas-export exports watch export/6b022709d9f2a4b685bab126 --cluster orders --timeout 1h -o json`,
		Args:              arguments("EXPORT"),
		ValidArgsFunction: first(a.completeExports()),
		PreRunE:           func(c *cobra.Command, _ []string) error { return watch.check(c) },
		RunE: a.withSession(func(c *cobra.Command, s *session, args []string) error {
			return a.watch(c, s, trimKind(args[0], "export"), watch, nil)
		}),
	}
	watch.define(c, "the export")
	return c
}

// trimKind cuts off the prefix that -o name puts before an id.
func trimKind(argument, kind string) string { return strings.TrimPrefix(argument, kind+"/") }

func (a *app) printExport(c *cobra.Command, s *session, job *client.ExportJob) error {
	bucket := job.ExportBucketID
	if s.format == "table" && bucket != "" {
		bucket = s.bucketLabel(c.Context(), bucket)
	}
	rows := [][]string{
		{"ID", job.ID},
		{"STATE", string(job.State)},
		{"REASON", reason(job)},
		{"COLLECTIONS", collections(job)},
		{"REPLICA SETS", strings.Join(replicaSets(job), ", ")},
		{"SNAPSHOT", job.SnapshotID},
		{"BUCKET", bucket},
		{"PREFIX", job.Prefix},
		{"CREATED", formatTime(job.CreatedAt)},
		{"FINISHED", formatTime(job.FinishedAt)},
		{"ELAPSED", formatDuration(a.elapsed(job))},
	}
	for _, pair := range job.CustomData {
		rows = append(rows, []string{"CUSTOM DATA", pair.Key + "=" + pair.Value})
	}
	return a.print(s.format, job, []string{"export/" + job.ID}, filled(rows))
}

// reason returns why a job failed, or "" if Atlas does not say so.
func reason(job *client.ExportJob) string {
	if job.StateReason == nil {
		return ""
	}
	code := job.StateReason.ErrorCode
	if code != "" {
		code = "(" + code + ")"
	}
	return strings.TrimSpace(job.StateReason.Message + " " + code)
}

// collections returns how many collections are exported, of how many. It is empty if Atlas
// counts none.
func collections(job *client.ExportJob) string {
	if job.Status == nil || job.Status.TotalCollections == 0 {
		return ""
	}
	return strconv.Itoa(job.Status.ExportedCollections) + "/" + strconv.Itoa(job.Status.TotalCollections)
}

func replicaSets(job *client.ExportJob) []string {
	var names []string
	for _, component := range job.Components {
		names = append(names, component.ReplicaSetName)
	}
	return names
}

// elapsed is how long a job took, or has taken so far. It starts by Atlas's clock and ends by
// this machine's, which may be earlier.
func (a *app) elapsed(job *client.ExportJob) time.Duration {
	switch {
	case job.CreatedAt.IsZero():
		return 0
	case !job.FinishedAt.IsZero():
		return max(job.FinishedAt.Sub(job.CreatedAt), 0)
	default:
		return max(a.now().Sub(job.CreatedAt), 0)
	}
}
