package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"atlas-export-gateway/client"

	"github.com/spf13/cobra"
)

// latest stands for the newest completed snapshot of a cluster.
const latest = "latest"

// creation is what exports create is asked for.
type creation struct {
	several
	snapshot, bucket string
	maxAge           age
	custom           customData
	wait             bool
	watch            watchOptions
}

func (a *app) exportsCreate() *cobra.Command {
	var o creation
	c := &cobra.Command{
		Use:   "create --snapshot latest|ID --bucket NAME|ID",
		Short: "Export a snapshot to a bucket",
		Long: `Export a snapshot to a bucket. With --snapshot latest it is the newest completed snapshot of
the cluster, and --max-age refuses one that is too old: the exit status is then 17.

The create is sent once. If nobody can know whether it was carried out, the exit status is 10:
look for the export before you repeat the command.

A gateway with a journal keeps the key of a create, and creates nothing twice. Set keeps_keys to
what creates.keys is in the gateway's configuration. A create that may have been carried out is then
repeated until that is known, for as long as create_timeout says. With derived, the gateway's
default, an export of the same snapshot to the same bucket with the same custom data is the same
export for a day, whoever asks for it, until it fails or is cancelled: the command prints the export
that there is, says so on standard error, follows it with --wait, and has the member replayed in JSON
and YAML. --idempotency-key asks for an export of its own, once: the same key gets the same export,
also one that has failed, and with another snapshot or bucket the exit status is 3. With explicit and
required, only --idempotency-key tells that two commands mean the same export. For several clusters,
the key of each is KEY-CLUSTER.

With --wait the command follows the export until it ends, as atlas-export exports watch does. With
--quiet it prints one line at the end, which says what was exported where.

Several clusters are exported with --cluster orders,events, with a repeated --cluster, or with
--all-clusters; the snapshot must then be the latest. The exports are created one after the
other and followed together. One that fails does not stop the others. The command ends with a
table of all of them, and names those that failed. If some failed, the exit status is 16; if all
failed for the same reason, it is the status for that reason.`,
		Example: `  atlas-export exports create --cluster orders --snapshot latest --max-age 24h --bucket acme-exports --wait --quiet
  atlas-export exports create --cluster orders --snapshot 6a01e0b45be2d84417c09f10 --bucket acme-exports --custom-data reason=audit --custom-data by=me -o name
  atlas-export exports create --all-clusters --snapshot latest --bucket acme-exports --wait`,
		Args:    arguments(),
		PreRunE: func(c *cobra.Command, _ []string) error { return o.check(c) },
		RunE:    a.withClusters(&o.several, func(c *cobra.Command, s *session, clusters []string) error { return a.create(c, s, clusters, &o) }),
	}
	c.Flags().StringVar(&o.snapshot, "snapshot", "", "`id` of the snapshot, or latest for the newest that is completed")
	c.Flags().Var(&o.maxAge, "max-age", "how old the latest snapshot may be, such as 24h or 7d (default: any age)")
	c.Flags().StringVar(&o.bucket, "bucket", "", "`name` of the bucket, if only one bucket has it, or its id")
	c.Flags().Var(&o.custom, "custom-data", "one pair, as `key=value`, for the file .complete beside the export; repeat the flag for more pairs")
	c.Flags().BoolVar(&o.wait, "wait", false, "follow the export until it ends")
	c.Flags().Bool("dry-run", false, dryRunUsage+"; snapshot and bucket must be ids")
	defineKey(c, "export")
	o.several.define(c)
	o.watch.define(c, "the export")
	must(c.RegisterFlagCompletionFunc("snapshot", a.completeSnapshots(true)))
	must(c.RegisterFlagCompletionFunc("bucket", a.completeBuckets()))
	return c
}

func (o *creation) check(c *cobra.Command) error {
	o.snapshot = trimKind(o.snapshot, "snapshot")
	if o.maxAge.Duration > 0 && o.snapshot != latest {
		return usageError(c, "--max-age is for --snapshot latest")
	}
	return cmp.Or(require(c, "snapshot", "bucket"), o.watch.checkWait(c, o.wait))
}

// create creates the exports of one cluster or several.
func (a *app) create(c *cobra.Command, s *session, clusters []string, o *creation) (err error) {
	r := client.ExportRequest{SnapshotID: o.snapshot, CustomData: o.custom}
	some := len(clusters) > 1 || o.all
	switch {
	case some && o.snapshot != latest:
		return usageError(c, "a snapshot is of one cluster: for several clusters give --snapshot latest")
	case s.dry != nil && o.snapshot == latest:
		return usageError(c, "a dry run sends nothing, and can't look up the latest snapshot: give its id")
	}
	if r.ExportBucketID, err = s.bucketID(c, o.bucket); err != nil {
		return err
	}
	if some {
		return a.createSeveral(c, s, clusters, r, o)
	}
	r.IdempotencyKey = s.key
	a.reportRepeats(s, o.watch.quiet)
	job, note, err := a.createOne(c, s, clusters[0], r, o.maxAge)
	switch {
	case err != nil:
		return a.dryRunOr(s, err)
	case note != "":
		fmt.Fprintln(a.stderr, note)
	}
	switch {
	case o.wait:
		return a.watch(c, s, job.ID, o.watch, job)
	default:
		return a.printExport(c, s, job)
	}
}

// createOne creates the export of one cluster. The note says that it was there already.
func (a *app) createOne(c *cobra.Command, s *session, cluster string, r client.ExportRequest, maxAge age) (job *client.ExportJob, note string, err error) {
	if r.SnapshotID == latest {
		snapshot, err := a.latestSnapshot(c, s, cluster, maxAge)
		if err != nil {
			return nil, "", err
		}
		r.SnapshotID = snapshot.ID
	}
	ctx, cancel := s.creating(c.Context())
	defer cancel()
	began := a.now()
	s.repeated = false
	job, err = s.CreateExport(ctx, s.group, cluster, r)
	if err != nil || !job.Replayed {
		return job, "", err
	}
	if r.IdempotencyKey != "" { // the state is that of the first answer
		if now, err := s.GetExport(c.Context(), s.group, cluster, job.ID); err == nil {
			now.Replayed, job = true, now
		}
	}
	return job, s.existed(job, began), nil
}

// latestSnapshot returns the newest completed snapshot of a cluster, unless it is too old.
func (a *app) latestSnapshot(c *cobra.Command, s *session, cluster string, maxAge age) (*client.Snapshot, error) {
	snapshot, err := s.LatestSnapshot(c.Context(), s.group, cluster)
	hint := "see what there is, and whether one is being taken: " + commandLineFor(c, cluster, "snapshots list")
	var call *client.Error
	switch {
	case errors.Is(err, client.ErrNotFound) && errors.As(err, &call) && call.Status == 0:
		return nil, &failure{exitNoSnapshot, fmt.Errorf("the cluster %s has no completed snapshot", cluster), hint}
	case err != nil || maxAge.Duration == 0:
		return snapshot, err
	case snapshot.CreatedAt.IsZero():
		return nil, &failure{exitNoSnapshot, fmt.Errorf("it is not known when the newest completed snapshot of %s, %s, was taken, and --max-age is %s", cluster, snapshot.ID, maxAge.text), hint}
	}
	if old := a.now().Sub(snapshot.CreatedAt); old > maxAge.Duration {
		return nil, &failure{exitNoSnapshot, fmt.Errorf("the newest completed snapshot of %s, %s, was taken %s ago, at %s, and --max-age is %s",
			cluster, snapshot.ID, formatDuration(old), formatTime(snapshot.CreatedAt), maxAge.text), hint}
	}
	return snapshot, nil
}

// location returns where an export is, in the form in which the tools of the cloud provider
// take it.
func (s *session) location(ctx context.Context, job *client.ExportJob) string {
	b := s.bucket(ctx, job.ExportBucketID)
	prefix := strings.Trim(job.Prefix, "/")
	if b == nil {
		return "bucket " + job.ExportBucketID + ", prefix " + prefix
	}
	switch b.CloudProvider {
	case client.AWS:
		return "s3://" + b.BucketName + "/" + prefix
	case client.GCP:
		return "gs://" + b.BucketName + "/" + prefix
	case client.Azure:
		if b.ServiceURL != "" {
			return b.ServiceURL + "/" + prefix
		}
	}
	return "bucket " + bucketName(b) + ", prefix " + prefix
}

// summary says in one line what became of an export that succeeded.
func (a *app) summary(ctx context.Context, s *session, cluster string, job *client.ExportJob) string {
	text := fmt.Sprintf("%s: snapshot %s exported in %s to %s", cluster, job.SnapshotID, formatDuration(a.elapsed(job)), s.location(ctx, job))
	if job.Replayed {
		text += ", created at " + formatTime(job.CreatedAt)
	}
	return text
}
