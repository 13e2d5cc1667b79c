package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// CreateExport starts an export. The request is sent once, unless [Config.KeepsKeys] says that a
// gateway keeps its key. After an [*UnknownOutcomeError] that is not Kept, call [Client.FindExport]
// before you call CreateExport again. [ErrConflict] says that an export of the snapshot is in
// progress.
func (c *Client) CreateExport(ctx context.Context, groupID, clusterName string, r ExportRequest) (*ExportJob, error) {
	o := operation{id: "createBackupExport", key: r.IdempotencyKey, derived: true}
	o.found.inCluster(groupID, clusterName)
	o.found.export(r)
	o.check = about("job", r.started)
	return create[jobForm](ctx, c.caller, c.atlas, o, func(ctx context.Context, atlas *gen.Client) (*http.Response, error) {
		body := gen.ExportJobRequest{SnapshotID: r.SnapshotID, ExportBucketID: r.ExportBucketID}
		if len(r.CustomData) > 0 {
			pairs := make([]gen.CustomDataRequest, len(r.CustomData))
			for i := range r.CustomData {
				pairs[i] = gen.CustomDataRequest{Key: &r.CustomData[i].Key, Value: &r.CustomData[i].Value}
			}
			body.CustomData = &pairs
		}
		return atlas.CreateBackupExport(ctx, groupID, clusterName, nil, body)
	})
}

// GetExport returns one job.
func (c *Client) GetExport(ctx context.Context, groupID, clusterName, exportID string) (*ExportJob, error) {
	return c.getExport(ctx, c.caller.maxRetries, groupID, clusterName, exportID)
}

func (c *Client) getExport(ctx context.Context, retries int, groupID, clusterName, exportID string) (*ExportJob, error) {
	o := operation{id: "getBackupExport", retries: retries}
	o.found.inCluster(groupID, clusterName)
	o.found.id("exportId", exportID)
	o.check = about("job", func(job *ExportJob) bool { return job.ID == exportID })
	return call[jobForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetBackupExport(ctx, groupID, clusterName, exportID, nil)
	})
}

// ListExports yields the jobs of a cluster, page by page, in Atlas's order. An error is yielded
// once, and ends the sequence. A page that has the same jobs as an earlier one is an error, and so
// is a page that is empty and says that another one follows. If jobs are created meanwhile, one may
// be missing, or another may be yielded twice. How many pages there are is up to the server: to
// bound them, stop, or let ctx end.
func (c *Client) ListExports(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*ExportJob, error] {
	return pages("listBackupExports", o, func(o ListOptions) (*Page[ExportJob], error) { return c.exports(ctx, groupID, clusterName, o, false) })
}

// ExportsPage returns one page of the jobs of a cluster.
func (c *Client) ExportsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[ExportJob], error) {
	return c.exports(ctx, groupID, clusterName, o, true)
}

func (c *Client) exports(ctx context.Context, groupID, clusterName string, o ListOptions, count bool) (*Page[ExportJob], error) {
	op := c.caller.resendable("listBackupExports")
	op.found.inCluster(groupID, clusterName)
	op.found.page(o)
	return call[pageForm[jobForm, ExportJob]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListBackupExports(ctx, groupID, clusterName, &gen.ListBackupExportsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// FindExport returns the newest job that exports the snapshot and was created at since or later,
// by Atlas's clock and to the second. If there is none, the error is [ErrNotFound]. FindExport
// is for a create whose outcome is unknown: then since is [UnknownOutcomeError.SentAt], minus
// what the two clocks may differ. Atlas may still be carrying out a create: a job that is not
// found right after a time-out may appear later.
func (c *Client) FindExport(ctx context.Context, groupID, clusterName, snapshotID string, since time.Time) (*ExportJob, error) {
	return find("listBackupExports", snapshotID, since, c.ListExports(ctx, groupID, clusterName, ListOptions{ItemsPerPage: maxItems}))
}

// find returns the newest job of the snapshot that was created at since or later.
func find(operation, snapshotID string, since time.Time, jobs iter.Seq2[*ExportJob, error]) (*ExportJob, error) {
	var found violations
	if found.id("snapshotId", snapshotID); len(found) > 0 {
		return nil, found.err(operation)
	}
	since = since.Truncate(time.Second) // Atlas's times are whole seconds
	var newest *ExportJob
	for job, err := range jobs {
		switch {
		case err != nil:
			return nil, err
		case job.SnapshotID == snapshotID && !job.CreatedAt.Before(since) && (newest == nil || job.CreatedAt.After(newest.CreatedAt)):
			newest = job
		}
	}
	if newest == nil {
		return nil, &Error{Operation: operation, Err: fmt.Errorf("%w: no job of snapshot %s since %s", ErrNotFound, snapshotID, since.UTC().Format(time.RFC3339))}
	}
	return newest, nil
}
