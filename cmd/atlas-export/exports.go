package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/objectid"

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

func (a *app) exportsCreate() *cobra.Command {
	var (
		snapshot, bucket string
		custom           customData
		wait             bool
		watch            watchOptions
	)
	c := &cobra.Command{
		Use:   "create --snapshot ID --bucket NAME|ID",
		Short: "Export a snapshot to a bucket",
		Long: `Export a snapshot to a bucket. The create is sent once. If nobody can know whether it was
carried out, the exit status is 10: look for the export before you repeat the command.

With --wait the command follows the export until it ends, as atlas-export exports watch does.`,
		Example: `  atlas-export exports create --cluster orders --snapshot 6a01e0b45be2d84417c09f10 --bucket acme-exports --wait
  atlas-export exports create --cluster orders --snapshot 6a01e0b45be2d84417c09f10 --bucket acme-exports --custom-data reason=audit --custom-data by=me -o name`,
		Args: arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error {
			if err := cmp.Or(require(c, "snapshot", "bucket"), watch.check(c)); err != nil {
				return err
			}
			if !wait && (c.Flags().Changed("timeout") || c.Flags().Changed("interval")) {
				return usageError(c, "--timeout and --interval are for --wait")
			}
			return nil
		},
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) (err error) {
			r := client.ExportRequest{SnapshotID: trimKind(snapshot, "snapshot"), CustomData: custom}
			if r.ExportBucketID, err = s.bucketID(c, bucket); err != nil {
				return err
			}
			job, err := s.CreateExport(c.Context(), s.group, s.cluster, r)
			switch {
			case err != nil:
				return a.dryRunOr(s, err)
			case wait:
				return a.watch(c, s, job.ID, watch, job)
			default:
				return a.printExport(c, s, job)
			}
		}),
	}
	c.Flags().StringVar(&snapshot, "snapshot", "", "`id` of the snapshot")
	c.Flags().StringVar(&bucket, "bucket", "", "`name` of the bucket, if only one bucket has it, or its id")
	c.Flags().Var(&custom, "custom-data", "one pair, as `key=value`, for the file .complete beside the export; repeat the flag for more pairs")
	c.Flags().BoolVar(&wait, "wait", false, "follow the export until it ends")
	c.Flags().Bool("dry-run", false, dryRunUsage+"; the bucket must be an id")
	watch.define(c)
	must(c.RegisterFlagCompletionFunc("bucket", a.completeBuckets()))
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

func (a *app) exportsList() *cobra.Command {
	var (
		snapshot string
		all      bool
	)
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the exports of a cluster",
		Long:    "List the exports of a cluster. " + aboutLists,
		Example: `  atlas-export exports list --cluster orders
  atlas-export exports list --cluster orders --snapshot 6a01e0b45be2d84417c09f10 -o json`,
		Args: arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error {
			snapshot = trimKind(snapshot, "snapshot")
			if err := objectid.Check(snapshot); c.Flags().Changed("snapshot") && err != nil {
				return usageError(c, "--snapshot: the id of a snapshot, %q, %w", snapshot, err)
			}
			return nil
		},
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			l := list[client.ExportJob]{
				items:  s.ListExports(c.Context(), s.group, s.cluster, largestPages),
				plural: "exports",
				none:   "there are no exports",
				header: []string{"ID", "STATE", "COLLECTIONS", "SNAPSHOT", "CREATED", "ELAPSED"},
				name:   func(job *client.ExportJob) string { return "export/" + job.ID },
				row: func(job *client.ExportJob) []string {
					return []string{job.ID, string(job.State), collections(job), job.SnapshotID, formatTime(job.CreatedAt), formatDuration(a.elapsed(job))}
				},
			}
			if snapshot != "" {
				l.keep = func(job *client.ExportJob) bool { return job.SnapshotID == snapshot }
				l.none += " of the snapshot " + snapshot
			}
			return printList(a, c, s.format, l, all)
		}),
	}
	defineAll(c, &all)
	c.Flags().StringVar(&snapshot, "snapshot", "", "list only exports of the snapshot with this `id`")
	return c
}

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
	watch.define(c)
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
	rows = slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" })
	return a.print(s.format, job, []string{"export/" + job.ID}, rows)
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
