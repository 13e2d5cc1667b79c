package client

import (
	"context"
	"iter"
	"net/http"

	"atlas-export-gateway/gen"
)

// CreateExportBucket is as [Client.CreateExportBucket].
func (v *V1) CreateExportBucket(ctx context.Context, groupID string, r AWSBucket) (*ExportBucket, error) {
	o := operation{id: "v1CreateExportBucket", key: r.IdempotencyKey}
	o.found.id("groupId", groupID)
	if _, err := r.request(&o.found); err != nil {
		return nil, &Error{Operation: o.id, Err: err}
	}
	if r.RequirePrivateNetworking {
		o.found.add("/requirePrivateNetworking", "is not known to v1.0")
	}
	return create[bucketForm](ctx, v.caller, v.atlas, o, func(ctx context.Context, atlas *gen.Client) (*http.Response, error) {
		return atlas.V1CreateExportBucket(ctx, groupID, nil, gen.V1ExportBucketRequest{
			CloudProvider: gen.V1ExportBucketRequestCloudProviderAWS,
			BucketName:    r.BucketName,
			IamRoleID:     r.IAMRoleID,
		})
	})
}

// GetExportBucket is as [Client.GetExportBucket].
func (v *V1) GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*ExportBucket, error) {
	o := v.caller.resendable("v1GetExportBucket")
	o.found.bucket(groupID, exportBucketID)
	return call[bucketForm](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetExportBucket(ctx, groupID, exportBucketID, nil)
	})
}

// ListExportBuckets is as [Client.ListExportBuckets].
func (v *V1) ListExportBuckets(ctx context.Context, groupID string, o ListOptions) iter.Seq2[*ExportBucket, error] {
	return pages("v1ListExportBuckets", o, func(o ListOptions) (*Page[ExportBucket], error) { return v.buckets(ctx, groupID, o, false) })
}

// ExportBucketsPage is as [Client.ExportBucketsPage].
func (v *V1) ExportBucketsPage(ctx context.Context, groupID string, o ListOptions) (*Page[ExportBucket], error) {
	return v.buckets(ctx, groupID, o, true)
}

func (v *V1) buckets(ctx context.Context, groupID string, o ListOptions, count bool) (*Page[ExportBucket], error) {
	op := v.caller.resendable("v1ListExportBuckets")
	op.found.id("groupId", groupID)
	op.found.page(o)
	return call[pageForm[bucketForm, ExportBucket]](ctx, v.caller, op, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1ListExportBuckets(ctx, groupID, &gen.V1ListExportBucketsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// DeleteExportBucket is as [Client.DeleteExportBucket].
func (v *V1) DeleteExportBucket(ctx context.Context, groupID, exportBucketID string) error {
	return v.caller.deleteBucket(ctx, "v1DeleteExportBucket", groupID, exportBucketID, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1DeleteExportBucket(ctx, groupID, exportBucketID, nil)
	})
}
