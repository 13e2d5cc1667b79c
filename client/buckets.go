package client

import (
	"context"
	"iter"
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

	isBucketRequest()
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
func (b AWSBucket) Validate() error { return nil }

// Validate implements [BucketRequest].
func (b AzureBucket) Validate() error { return nil }

// Validate implements [BucketRequest].
func (b GCPBucket) Validate() error { return nil }

func (AWSBucket) isBucketRequest()   {}
func (AzureBucket) isBucketRequest() {}
func (GCPBucket) isBucketRequest()   {}

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

// CreateExportBucket grants Atlas a bucket for exports. It is sent once: after an
// [*UnknownOutcomeError], look with [Client.ListExportBuckets] before you call it again,
// since Atlas takes the same bucket twice.
func (c *Client) CreateExportBucket(ctx context.Context, groupID string, r BucketRequest) (*ExportBucket, error) {
	return nil, nil
}

// GetExportBucket returns one bucket.
func (c *Client) GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*ExportBucket, error) {
	return nil, nil
}

// ListExportBuckets yields the buckets of a group, as [Client.ListExports] yields jobs.
func (c *Client) ListExportBuckets(ctx context.Context, groupID string, o ListOptions) iter.Seq2[*ExportBucket, error] {
	return nil
}

// ExportBucketsPage returns one page of the buckets of a group.
func (c *Client) ExportBucketsPage(ctx context.Context, groupID string, o ListOptions) (*Page[ExportBucket], error) {
	return nil, nil
}

// ExportBucketUpdate is the change to an AWS bucket.
type ExportBucketUpdate struct {
	RequirePrivateNetworking bool // whether Atlas must reach the bucket over private networking alone
}

// UpdateExportBucket changes an AWS bucket, and returns it.
func (c *Client) UpdateExportBucket(ctx context.Context, groupID, exportBucketID string, u ExportBucketUpdate) (*ExportBucket, error) {
	return nil, nil
}

// DeleteExportBucket withdraws a bucket from Atlas, which keeps what it holds.
// [ErrConflict] says that it is in use.
func (c *Client) DeleteExportBucket(ctx context.Context, groupID, exportBucketID string) error {
	return nil
}

// CreateExportBucket is as [Client.CreateExportBucket].
func (v *V1) CreateExportBucket(ctx context.Context, groupID string, r AWSBucket) (*ExportBucket, error) {
	return nil, nil
}

// GetExportBucket is as [Client.GetExportBucket].
func (v *V1) GetExportBucket(ctx context.Context, groupID, exportBucketID string) (*ExportBucket, error) {
	return nil, nil
}

// ListExportBuckets is as [Client.ListExportBuckets].
func (v *V1) ListExportBuckets(ctx context.Context, groupID string, o ListOptions) iter.Seq2[*ExportBucket, error] {
	return nil
}

// ExportBucketsPage is as [Client.ExportBucketsPage].
func (v *V1) ExportBucketsPage(ctx context.Context, groupID string, o ListOptions) (*Page[ExportBucket], error) {
	return nil, nil
}

// DeleteExportBucket is as [Client.DeleteExportBucket].
func (v *V1) DeleteExportBucket(ctx context.Context, groupID, exportBucketID string) error {
	return nil
}
