package client

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"

	"atlas-export-gateway/gen"
)

// CloudProvider is whose object storage a bucket is. Atlas may have more of them than are
// named here.
type CloudProvider string

// The cloud providers.
const (
	AWS   CloudProvider = "AWS"
	Azure CloudProvider = "AZURE"
	GCP   CloudProvider = "GCP"
)

// BucketRequest is the bucket to register: an [AWSBucket], [AzureBucket] or [GCPBucket]. No
// other package can make another.
type BucketRequest interface {
	// Validate checks the request against the contract, as [Client.CreateExportBucket] does
	// before it sends anything. The error is an [*Error] with every violation.
	Validate() error

	// request returns the request's content, and notes what is wrong with it.
	request(*violations) (gen.ExportBucketRequest, error)
}

// AWSBucket is an S3 bucket.
type AWSBucket struct {
	BucketName               string // 3 to 63 characters
	IAMRoleID                string // the role, as Atlas numbers it, that may write to the bucket
	RequirePrivateNetworking bool   // whether Atlas must reach the bucket over private networking alone; v2 alone
}

// AzureBucket is a container of Azure Blob Storage.
type AzureBucket struct {
	ServiceURL string // https://ACCOUNT.blob.core.windows.net/CONTAINER
	RoleID     string // the service principal, as Atlas numbers it, that may write to the container
	BucketName string // the container's name, 3 to 63 characters; may be empty
}

// GCPBucket is a bucket of Google Cloud Storage.
type GCPBucket struct {
	BucketName string // 3 to 63 characters
	RoleID     string // the service account, as Atlas numbers it, that may write to the bucket
}

// Validate implements [BucketRequest].
func (b AWSBucket) Validate() error { return validate(b) }

// Validate implements [BucketRequest].
func (b AzureBucket) Validate() error { return validate(b) }

// Validate implements [BucketRequest].
func (b GCPBucket) Validate() error { return validate(b) }

func validate(r BucketRequest) error {
	var found violations
	if _, err := r.request(&found); err != nil {
		return err
	}
	return found.err("")
}

func (b AWSBucket) request(found *violations) (r gen.ExportBucketRequest, err error) {
	found.bucketName(b.BucketName)
	found.id("/iamRoleId", b.IAMRoleID)
	return r, r.FromAWSExportBucketRequest(gen.AWSExportBucketRequest{
		CloudProvider:            gen.AWSExportBucketRequestCloudProviderAWS,
		BucketName:               b.BucketName,
		IamRoleID:                b.IAMRoleID,
		RequirePrivateNetworking: orNil(b.RequirePrivateNetworking),
	})
}

func (b AzureBucket) request(found *violations) (r gen.ExportBucketRequest, err error) {
	found.serviceURL(b.ServiceURL)
	found.id("/roleId", b.RoleID)
	if b.BucketName != "" {
		found.bucketName(b.BucketName)
	}
	return r, r.FromAzureExportBucketRequest(gen.AzureExportBucketRequest{
		CloudProvider: gen.AzureExportBucketRequestCloudProviderAZURE,
		ServiceURL:    b.ServiceURL,
		RoleID:        b.RoleID,
		BucketName:    orNil(b.BucketName),
	})
}

func (b GCPBucket) request(found *violations) (r gen.ExportBucketRequest, err error) {
	found.bucketName(b.BucketName)
	found.id("/roleId", b.RoleID)
	return r, r.FromGCPExportBucketRequest(gen.GCPExportBucketRequest{
		CloudProvider: gen.GCPExportBucketRequestCloudProviderGCP,
		BucketName:    b.BucketName,
		RoleID:        b.RoleID,
	})
}

// ExportBucket is a destination of exports. Which fields are set depends on CloudProvider.
// It encodes as JSON in Atlas's form.
type ExportBucket struct {
	ID                       string        `json:"_id"`
	CloudProvider            CloudProvider `json:"cloudProvider"`
	BucketName               string        `json:"bucketName,omitempty"`
	IAMRoleID                string        `json:"iamRoleId,omitempty"`                // AWS
	Region                   string        `json:"region,omitempty"`                   // AWS, once the bucket exists
	RequirePrivateNetworking bool          `json:"requirePrivateNetworking,omitempty"` // AWS
	RoleID                   string        `json:"roleId,omitempty"`                   // Azure and Google Cloud
	ServiceURL               string        `json:"serviceUrl,omitempty"`               // Azure
	TenantID                 string        `json:"tenantId,omitempty"`                 // Azure
	ProjectID                string        `json:"projectId,omitempty"`                // the group; v1.0 alone
}

// bucketForm is a bucket as either generation writes it: the id may be called id or _id.
type bucketForm struct {
	ExportBucket
	PlainID string `json:"id"`
}

func (f bucketForm) read() (*ExportBucket, error) {
	f.ID = cmp.Or(f.ID, f.PlainID)
	if f.ID == "" || f.CloudProvider == "" {
		return nil, errors.New("a bucket without an id or a cloud provider")
	}
	return &f.ExportBucket, nil
}

// CreateExportBucket grants Atlas a bucket for exports. It is sent once: after an
// [*UnknownOutcomeError], look with [Client.ListExportBuckets] before you call it again,
// since Atlas takes the same bucket twice.
func (c *Client) CreateExportBucket(ctx context.Context, groupID string, r BucketRequest) (*ExportBucket, error) {
	o := operation{id: "createExportBucket", create: true}
	o.found.id("groupId", groupID)
	var body gen.ExportBucketRequest
	if r == nil {
		o.found.add("", "the body is required")
	} else {
		var err error
		if body, err = r.request(&o.found); err != nil {
			return nil, &Error{Operation: o.id, Err: err}
		}
	}
	return call[bucketForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.CreateExportBucket(ctx, groupID, nil, body)
	})
}

// GetExportBucket returns one bucket.
func (c *Client) GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*ExportBucket, error) {
	o := c.caller.read("getExportBucket")
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
	op := c.caller.read("listExportBuckets")
	op.found.id("groupId", groupID)
	op.found.page(o)
	return call[pageForm[bucketForm, ExportBucket]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListExportBuckets(ctx, groupID, &gen.ListExportBucketsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// ExportBucketUpdate is the change to an AWS bucket.
type ExportBucketUpdate struct {
	RequirePrivateNetworking bool // whether Atlas must reach the bucket over private networking alone
}

// UpdateExportBucket changes an AWS bucket, and returns it.
func (c *Client) UpdateExportBucket(ctx context.Context, groupID, exportBucketID string, u ExportBucketUpdate) (*ExportBucket, error) {
	o := c.caller.read("updateBackupExportBucket")
	o.found.bucket(groupID, exportBucketID)
	return call[bucketForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.UpdateBackupExportBucket(ctx, groupID, exportBucketID, nil, gen.ExportBucketUpdate(u))
	})
}

// DeleteExportBucket withdraws a bucket from Atlas; what it holds stays. [ErrConflict] says
// that it is in use.
func (c *Client) DeleteExportBucket(ctx context.Context, groupID, exportBucketID string) error {
	return c.caller.deleteBucket(ctx, "deleteExportBucket", groupID, exportBucketID, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.DeleteExportBucket(ctx, groupID, exportBucketID, nil)
	})
}

// deleteBucket takes it for success when the bucket is gone after a deletion that may have
// been carried out.
func (c *caller) deleteBucket(ctx context.Context, id, groupID, exportBucketID string, send func(context.Context) (*http.Response, error)) error {
	o := c.read(id)
	o.found.bucket(groupID, exportBucketID)
	err := c.call(ctx, o, send, nil)
	var failed *Error
	if errors.As(err, &failed) && failed.doubtful && failed.Code == "EXPORT_BUCKET_NOT_FOUND" {
		return nil
	}
	return err
}

// CreateExportBucket is as [Client.CreateExportBucket].
func (v *V1) CreateExportBucket(ctx context.Context, groupID string, r AWSBucket) (*ExportBucket, error) {
	o := operation{id: "v1CreateExportBucket", create: true}
	o.found.id("groupId", groupID)
	if _, err := r.request(&o.found); err != nil {
		return nil, &Error{Operation: o.id, Err: err}
	}
	if r.RequirePrivateNetworking {
		o.found.add("/requirePrivateNetworking", "is not known to v1.0")
	}
	return call[bucketForm](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1CreateExportBucket(ctx, groupID, nil, gen.V1ExportBucketRequest{
			CloudProvider: gen.V1ExportBucketRequestCloudProviderAWS,
			BucketName:    r.BucketName,
			IamRoleID:     r.IAMRoleID,
		})
	})
}

// GetExportBucket is as [Client.GetExportBucket].
func (v *V1) GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*ExportBucket, error) {
	o := v.caller.read("v1GetExportBucket")
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
	op := v.caller.read("v1ListExportBuckets")
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
