package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"atlas-export-gateway/client"
	"atlas-export-gateway/internal/objectid"
	"atlas-export-gateway/internal/printable"

	"github.com/spf13/cobra"
)

func (a *app) snapshotsCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "snapshots",
		Aliases: []string{"snapshot"},
		Short:   "List, take and follow the snapshots of a cluster",
	})
	settingOf("cluster").define(c.PersistentFlags())
	must(c.RegisterFlagCompletionFunc("cluster", a.completeClusters()))
	c.AddCommand(a.snapshotsList(), a.snapshotsGet(), a.snapshotsTake(), a.snapshotsWatch())
	return c
}

// snapshots yields the snapshots of the session's cluster, whether it is sharded or not.
func (s *session) snapshots(ctx context.Context) iter.Seq2[*client.Snapshot, error] {
	sharded, err := s.IsSharded(ctx, s.group, s.cluster)
	switch {
	case err != nil:
		return func(yield func(*client.Snapshot, error) bool) { yield(nil, err) }
	case sharded:
		return s.ListShardedSnapshots(ctx, s.group, s.cluster)
	default:
		return s.ListSnapshots(ctx, s.group, s.cluster, largestPages)
	}
}

// snapshot returns a snapshot of the session's cluster, whether it is sharded or not.
func (s *session) snapshot(ctx context.Context, id string) (*client.Snapshot, error) {
	if !objectid.Valid(id) { // the client says so without a request
		return s.GetSnapshot(ctx, s.group, s.cluster, id)
	}
	sharded, err := s.IsSharded(ctx, s.group, s.cluster)
	switch {
	case err != nil:
		return nil, err
	case sharded:
		return s.GetShardedSnapshot(ctx, s.group, s.cluster, id)
	default:
		return s.GetSnapshot(ctx, s.group, s.cluster, id)
	}
}

func (a *app) snapshotsList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the snapshots of a cluster",
		Long:    "List the snapshots of a cluster. Only completed ones can be exported. " + aboutLists,
		Example: "  atlas-export snapshots list --cluster orders\n  atlas-export snapshots list --cluster orders -o json",
		Args:    arguments(),
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			return printList(a, c, s.format, list[client.Snapshot]{
				items:  s.snapshots(c.Context()),
				plural: "snapshots",
				none:   "there are no snapshots",
				header: []string{"ID", "STATUS", "TYPE", "CREATED", "EXPIRES", "SIZE", "DESCRIPTION"},
				name:   func(s *client.Snapshot) string { return "snapshot/" + s.ID },
				row: func(s *client.Snapshot) []string {
					return []string{s.ID, string(s.Status), snapshotType(s), formatTime(s.CreatedAt), formatTime(s.ExpiresAt), formatBytes(s.StorageSizeBytes), s.Description}
				},
			}, all)
		}),
	}
	defineAll(c, &all)
	return c
}

func (a *app) snapshotsGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get SNAPSHOT|latest",
		Aliases: []string{"describe"},
		Short:   "Show a snapshot",
		Long:    "Show a snapshot. latest is the newest one that is completed; if there is none, the exit status is 17.",
		Example: `  atlas-export snapshots get 6a01e0b45be2d84417c09f10 --cluster orders
  atlas-export snapshots get latest --cluster orders -o name`,
		Args:              arguments("SNAPSHOT"),
		ValidArgsFunction: first(a.completeSnapshots(true)),
		RunE: a.withSession(func(c *cobra.Command, s *session, args []string) (err error) {
			var snapshot *client.Snapshot
			if id := trimKind(args[0], "snapshot"); id == latest {
				snapshot, err = a.latestSnapshot(c, s, s.cluster, age{})
			} else {
				snapshot, err = s.snapshot(c.Context(), id)
			}
			if err != nil {
				return err
			}
			return a.printSnapshot(s.format, snapshot)
		}),
	}
}

func (a *app) snapshotsTake() *cobra.Command {
	var (
		r     client.SnapshotRequest
		wait  bool
		watch watchOptions
	)
	c := &cobra.Command{
		Use:     "take",
		Aliases: []string{"create"},
		Short:   "Take a snapshot of a cluster now",
		Long: `Take a snapshot of a cluster now. Atlas refuses it while another on-demand snapshot of the
cluster is queued or in progress: the exit status is then 7. A snapshot takes minutes, and can be
exported once it is completed.

The request is sent once. If nobody can know whether it was carried out, the exit status is 10:
look for the snapshot before you repeat the command. To a gateway that keeps the keys of creates (the
setting keeps_keys), it is repeated until it is known what became of it, for as long as create_timeout
says; the same --idempotency-key then gets the same snapshot, also in another command.

With --wait the command follows the snapshot until it ends, as atlas-export snapshots watch does.`,
		Example: `  atlas-export snapshots take --cluster orders --retention-days 7 --description before-v42 --wait`,
		Args:    arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("retention-days") && r.RetentionInDays < 1 {
				return usageError(c, "--retention-days must be 1 or more")
			}
			return watch.checkWait(c, wait)
		},
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			r.IdempotencyKey = s.key
			a.reportRepeats(s, watch.quiet)
			ctx, cancel := s.creating(c.Context())
			defer cancel()
			snapshot, err := s.TakeSnapshot(ctx, s.group, s.cluster, r)
			switch {
			case err != nil:
				return a.dryRunOr(s, err)
			case snapshot.Replayed:
				fmt.Fprintln(a.stderr, "the snapshot was asked for before, with the same key; none was taken")
			}
			switch {
			case wait:
				return a.watchSnapshot(c, s, snapshot.ID, watch, snapshot)
			default:
				return a.printSnapshot(s.format, snapshot)
			}
		}),
	}
	c.Flags().StringVar(&r.Description, "description", "", "`text` to note beside the snapshot")
	c.Flags().IntVar(&r.RetentionInDays, "retention-days", 0, "how many `days` Atlas keeps the snapshot (default: as Atlas decides)")
	c.Flags().BoolVar(&wait, "wait", false, "follow the snapshot until it ends")
	c.Flags().Bool("dry-run", false, dryRunUsage)
	defineKey(c, "snapshot")
	watch.define(c, "the snapshot")
	return c
}

func (a *app) snapshotsWatch() *cobra.Command {
	var watch watchOptions
	c := &cobra.Command{
		Use:   "watch SNAPSHOT",
		Short: "Follow a snapshot until it ends",
		Long: `Follow a snapshot until it is completed, or has failed: the exit status is then 11. Progress and
errors are as with atlas-export exports watch. Ctrl-C ends the command; the snapshot goes on.`,
		Example:           "  atlas-export snapshots watch 6a01e0b45be2d84417c09f10 --cluster orders --timeout 1h",
		Args:              arguments("SNAPSHOT"),
		ValidArgsFunction: first(a.completeSnapshots(false)),
		PreRunE:           func(c *cobra.Command, _ []string) error { return watch.check(c) },
		RunE: a.withSession(func(c *cobra.Command, s *session, args []string) error {
			return a.watchSnapshot(c, s, trimKind(args[0], "snapshot"), watch, nil)
		}),
	}
	watch.define(c, "the snapshot")
	return c
}

// watchSnapshot follows a snapshot until it ends. Taken is the snapshot if the command has just
// taken it, or else nil.
func (a *app) watchSnapshot(c *cobra.Command, s *session, id string, o watchOptions, taken *client.Snapshot) error {
	ctx, cancel := o.limit(c.Context())
	defer cancel()
	p := a.newProgress(s.format, o.quiet)
	current := snapshotState{a: a, since: a.now()}
	update := func(result client.SnapshotProgress) {
		if result.Err == nil {
			result.Snapshot.Replayed = result.Snapshot.Replayed || current.snapshot != nil && current.snapshot.Replayed
			current.snapshot = result.Snapshot
		}
		p.update(current, result.Err, result.Next)
	}
	if taken != nil {
		update(client.SnapshotProgress{Snapshot: taken})
	}
	stop := every(time.Second, p.redraw)
	snapshot, err := s.WaitForSnapshot(ctx, s.group, s.cluster, id, client.SnapshotWaitOptions{Interval: o.interval, MaxInterval: o.interval, Progress: update})
	stop()
	p.end()
	if err == nil && s.format == "table" {
		fmt.Fprintf(a.stdout, "%s: snapshot %s of %s is completed, %s\n", s.cluster, printable.Escape(snapshot.ID), formatTime(snapshot.CreatedAt), cmp.Or(formatBytes(snapshot.StorageSizeBytes), "0 B"))
	}
	var failed *client.SnapshotError
	if errors.As(err, &failed) {
		return &failure{exitExportFailed, err, "Atlas does not say why; take another snapshot"}
	}
	return o.unfollowed(c, err, "snapshot", taken != nil, current.snapshot != nil, commandLine(c, "snapshots watch "+quote(id)))
}

// snapshotState is the state of a snapshot that is followed.
type snapshotState struct {
	a        *app
	since    time.Time // when the program began to follow it
	snapshot *client.Snapshot
}

func (s snapshotState) name() string  { return "snapshot/" + s.snapshot.ID }
func (s snapshotState) document() any { return s.snapshot }
func (s snapshotState) ended() bool   { return s.snapshot.Status.Ended() }
func (s snapshotState) mark() string  { return string(s.snapshot.Status) }

func (s snapshotState) line() string {
	return printable.Escape(string(s.snapshot.Status)) + "  " + formatDuration(s.a.now().Sub(s.since))
}

func (s snapshotState) render(screen *screen, columns int) string {
	colour := cyan
	switch s.snapshot.Status {
	case client.SnapshotCompleted:
		colour = green
	case client.SnapshotFailed:
		colour = red
	}
	status, rest, _ := strings.Cut(fit(s.line(), columns), "  ")
	return strings.TrimSuffix(screen.paint(colour, status)+"  "+rest, "  ")
}

func (a *app) printSnapshot(format string, s *client.Snapshot) error {
	var members []string
	for _, member := range s.Members {
		members = append(members, member.ReplicaSetName)
	}
	return a.print(format, s, []string{"snapshot/" + s.ID}, filled([][]string{
		{"ID", s.ID},
		{"STATUS", string(s.Status)},
		{"TYPE", snapshotType(s)},
		{"CREATED", formatTime(s.CreatedAt)},
		{"EXPIRES", formatTime(s.ExpiresAt)},
		{"SIZE", formatBytes(s.StorageSizeBytes)},
		{"DESCRIPTION", s.Description},
		{"SERVER", s.MongodVersion},
		{"PROVIDER", string(s.CloudProvider)},
		{"REPLICA SET", s.ReplicaSetName},
		{"REPLICA SETS", strings.Join(members, ", ")},
		{"COPIED TO", strings.Join(s.CopyRegions, ", ")},
	}))
}

// snapshotType says why a snapshot was taken.
func snapshotType(s *client.Snapshot) string {
	if s.FrequencyType == "" || strings.EqualFold(s.FrequencyType, s.SnapshotType) {
		return s.SnapshotType
	}
	return s.SnapshotType + ", " + s.FrequencyType
}
