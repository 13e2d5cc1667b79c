package main

import (
	"slices"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

func (a *app) scheduleCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:     "schedule",
		Aliases: []string{"schedules"},
		Short:   "Show and set which snapshots of a cluster Atlas exports by itself",
	})
	settingOf("cluster").define(c.PersistentFlags())
	must(c.RegisterFlagCompletionFunc("cluster", a.completeClusters()))
	c.AddCommand(a.scheduleGet(), a.scheduleSet())
	return c
}

func (a *app) scheduleGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get",
		Aliases: []string{"describe"},
		Short:   "Show which snapshots of a cluster Atlas exports by itself",
		Long: `Show which snapshots of a cluster Atlas exports by itself, where to, and whether the prefix of its
exports has the names or the ids of organization and group.`,
		Example: "  atlas-export schedule get --cluster orders",
		Args:    arguments(),
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) error {
			found, err := s.GetBackupSchedule(c.Context(), s.group, s.cluster)
			if err != nil {
				return err
			}
			return a.printSchedule(c, s, found)
		}),
	}
}

// The values of flags of schedule set.
var (
	switches    = []string{"on", "off"}
	frequencies = []string{"daily", "weekly", "monthly", "yearly"}
	prefixes    = []string{"names", "ids"}
)

func (a *app) scheduleSet() *cobra.Command {
	var autoExport, bucket, frequency, prefix string
	c := &cobra.Command{
		Use:   "set",
		Short: "Set which snapshots of a cluster Atlas exports by itself",
		Long: `Set which snapshots of a cluster Atlas exports by itself, where to, and what the prefix of its
exports is made of. What no flag names stays as it is. Nothing else of the backup schedule can be
changed: when snapshots are taken, and how long they are kept, is not about exports.`,
		Example: `  atlas-export schedule set --cluster orders --auto-export on --bucket acme-exports --frequency monthly
  atlas-export schedule set --cluster orders --auto-export off
  atlas-export schedule set --cluster orders --prefix names`,
		Args: arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error {
			given := false
			for flag, values := range map[string][]string{"auto-export": switches, "frequency": frequencies, "prefix": prefixes, "bucket": nil} {
				f := c.Flags().Lookup(flag)
				given = given || f.Changed
				if text := f.Value.String(); f.Changed && values != nil && !slices.Contains(values, text) {
					return usageError(c, "--%s: %w", flag, oneOf(text, values))
				}
			}
			if !given {
				return usageError(c, "nothing to set: give --auto-export, --bucket, --frequency or --prefix")
			}
			return nil
		},
		RunE: a.withSession(func(c *cobra.Command, s *session, _ []string) (err error) {
			var u client.BackupScheduleUpdate
			if autoExport != "" {
				on := autoExport == "on"
				u.AutoExportEnabled = &on
			}
			if prefix != "" {
				named := prefix == "names"
				u.UseOrgAndGroupNamesInExportPrefix = &named
			}
			if frequency != "" || c.Flags().Changed("bucket") {
				u.Export = &client.AutoExport{FrequencyType: frequency}
			}
			if c.Flags().Changed("bucket") {
				if u.Export.ExportBucketID, err = s.bucketID(c, bucket); err != nil {
					return err
				}
			}
			found, err := s.UpdateBackupSchedule(c.Context(), s.group, s.cluster, u)
			if err != nil {
				return a.dryRunOr(s, err)
			}
			return a.printSchedule(c, s, found)
		}),
	}
	c.Flags().StringVar(&autoExport, "auto-export", "", "`on|off`: whether Atlas exports snapshots by itself")
	c.Flags().StringVar(&bucket, "bucket", "", "`name` of the bucket to export to, if only one bucket has it, or its id")
	c.Flags().StringVar(&frequency, "frequency", "", "which scheduled snapshots are exported: `daily|weekly|monthly|yearly`")
	c.Flags().StringVar(&prefix, "prefix", "", "`names|ids`: what the prefix of exports has of organization and group")
	c.Flags().Bool("dry-run", false, dryRunUsage+"; the bucket must be an id")
	for flag, values := range map[string][]string{"auto-export": switches, "frequency": frequencies, "prefix": prefixes} {
		must(c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
	}
	must(c.RegisterFlagCompletionFunc("bucket", a.completeBuckets()))
	return c
}

func (a *app) printSchedule(c *cobra.Command, s *session, found *client.BackupSchedule) error {
	state, prefix := "off", "ids"
	if found.AutoExportEnabled {
		state = "on"
	}
	if found.UseOrgAndGroupNamesInExportPrefix {
		prefix = "names"
	}
	rows := [][]string{{"CLUSTER", found.ClusterName}, {"AUTO EXPORT", state}}
	if found.Export != nil {
		bucket := found.Export.ExportBucketID
		if s.format == "table" && bucket != "" {
			bucket = s.bucketLabel(c.Context(), bucket)
		}
		rows = append(rows, []string{"BUCKET", bucket}, []string{"FREQUENCY", found.Export.FrequencyType})
	}
	rows = append(rows, []string{"PREFIX", prefix}, []string{"NEXT SNAPSHOT", formatTime(found.NextSnapshot)})
	return a.print(s.format, found, []string{"schedule/" + found.ClusterName}, filled(rows))
}
