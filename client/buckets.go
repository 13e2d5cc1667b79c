package client

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"atlas-export-gateway/gen"
)

// CreateExportBucket registers a bucket with Atlas, for exports. The request is sent once. After
// an [*UnknownOutcomeError], look for the bucket with [Client.ListExportBuckets] before you call
// CreateExportBucket again: Atlas registers the same bucket a second time.
func (c *Client) CreateExportBucket(ctx context.Context, groupID string, r BucketRequest) (*ExportBucket, error) {
	o := operation{id: "createExportBucket"}
	o.found.id("groupId", groupID)
	var body gen.ExportBucketRequest
	if r == nil {
		o.found.add("", "the body is required")
	} else {
		o.key = r.key()
		var err error
		if body, err = r.request(&o.found); err != nil {
			return nil, &Error{Operation: o.id, Err: err}
		}
	}
	return create[bucketForm](ctx, c.caller, c.atlas, o, func(ctx context.Context, atlas *gen.Client) (*http.Response, error) {
		return atlas.CreateExportBucket(ctx, groupID, nil, body)
	})
}

// GetExportBucket returns one bucket.
func (c *Client) GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*ExportBucket, error) {
	o := c.caller.resendable("getExportBucket")
	o.found.bucket(groupID, exportBucketID)
	return call[bucketForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetExportBucket(ctx, groupID, exportBucketID, nil)
	})
}

// ListExportBuckets yields the buckets of a group, as [Client.ListExports] yields jobs.
func (c *Client) ListExportBuckets(ctx context.Context, groupID string, o ListOptions) iter.Seq2[*ExportBucket, error] {
	return pages("listExportBuckets", o, func(o ListOptions) (*Page[ExportBucket], error) { return c.buckets(ctx, groupID, o, false) })
}

// ExportBucketsPage returns one page of the buckets of a group.
func (c *Client) ExportBucketsPage(ctx context.Context, groupID string, o ListOptions) (*Page[ExportBucket], error) {
	return c.buckets(ctx, groupID, o, true)
}

func (c *Client) buckets(ctx context.Context, groupID string, o ListOptions, count bool) (*Page[ExportBucket], error) {
	op := c.caller.resendable("listExportBuckets")
	op.found.id("groupId", groupID)
	op.found.page(o)
	return call[pageForm[bucketForm, ExportBucket]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListExportBuckets(ctx, groupID, &gen.ListExportBucketsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// UpdateExportBucket changes an AWS bucket, and returns it.
func (c *Client) UpdateExportBucket(ctx context.Context, groupID, exportBucketID string, u ExportBucketUpdate) (*ExportBucket, error) {
	o := c.caller.resendable("updateBackupExportBucket")
	o.found.bucket(groupID, exportBucketID)
	return call[bucketForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.UpdateBackupExportBucket(ctx, groupID, exportBucketID, nil, gen.ExportBucketUpdate(u))
	})
}

// DeleteExportBucket removes a bucket from Atlas. The content of the bucket stays. [ErrConflict]
// says that the bucket is in use.
func (c *Client) DeleteExportBucket(ctx context.Context, groupID, exportBucketID string) error {
	return c.caller.deleteBucket(ctx, "deleteExportBucket", groupID, exportBucketID, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.DeleteExportBucket(ctx, groupID, exportBucketID, nil)
	})
}

// deleteBucket deletes a bucket. If an earlier try may have been carried out and the bucket is
// gone at a later one, the deletion succeeded.
func (c *caller) deleteBucket(ctx context.Context, id, groupID, exportBucketID string, send func(context.Context) (*http.Response, error)) error {
	o := c.resendable(id)
	o.found.bucket(groupID, exportBucketID)
	err := c.call(ctx, o, send, nil)
	var failed *Error
	if errors.As(err, &failed) && failed.maybeDone && failed.Code == "EXPORT_BUCKET_NOT_FOUND" {
		return nil
	}
	return err
}
