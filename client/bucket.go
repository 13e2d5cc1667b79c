package client

import (
	"cmp"
	"errors"

	"atlas-export-gateway/gen"
)

// CloudProvider is the cloud provider of a bucket. Atlas may have more of them than those named
// here.
type CloudProvider string

// The cloud providers.
const (
	AWS   CloudProvider = "AWS"
	Azure CloudProvider = "AZURE"
	GCP   CloudProvider = "GCP"
)

// BucketRequest is the bucket to register: an [AWSBucket], [AzureBucket] or [GCPBucket]. No type
// of another package implements it.
type BucketRequest interface {
	// Validate checks the request against the contract, as [Client.CreateExportBucket] does
	// before it sends anything. The error is an [*Error] with all violations.
	Validate() error

	// request returns the content of the request, and adds the violations in it.
	request(*violations) (gen.ExportBucketRequest, error)
	// key returns the IdempotencyKey.
	key() string
}

// AWSBucket is an S3 bucket.
type AWSBucket struct {
	BucketName string // 3 to 63 characters
	IAMRoleID  string // Atlas's id of the role that may write to the bucket
	// RequirePrivateNetworking says that Atlas may reach the bucket only over private
	// networking. Only v2 has it.
	RequirePrivateNetworking bool
	IdempotencyKey           string // as [AzureBucket] has it
}

// AzureBucket is a container of Azure Blob Storage.
type AzureBucket struct {
	ServiceURL string // https://ACCOUNT.blob.core.windows.net/CONTAINER
	RoleID     string // Atlas's id of the service principal that may write to the container
	BucketName string // the container's name, 3 to 63 characters; may be empty
	// IdempotencyKey tells this bucket from another with the same name: 1 to 255 visible characters,
	// the first of which is no quotation mark. Empty means a key that is made up for the call. It
	// needs [Config.KeepsKeys].
	IdempotencyKey string
}

// GCPBucket is a bucket of Google Cloud Storage.
type GCPBucket struct {
	BucketName     string // 3 to 63 characters
	RoleID         string // Atlas's id of the service account that may write to the bucket
	IdempotencyKey string // as [AzureBucket] has it
}

// Validate implements [BucketRequest].
func (b AWSBucket) Validate() error { return validate(b) }

// Validate implements [BucketRequest].
func (b AzureBucket) Validate() error { return validate(b) }

// Validate implements [BucketRequest].
func (b GCPBucket) Validate() error { return validate(b) }

func (b AWSBucket) key() string   { return b.IdempotencyKey }
func (b AzureBucket) key() string { return b.IdempotencyKey }
func (b GCPBucket) key() string   { return b.IdempotencyKey }

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

// ExportBucket is a bucket that Atlas exports to. Which fields are set depends on CloudProvider.
// It encodes as JSON in Atlas's form.
type ExportBucket struct {
	ID            string        `json:"_id"`
	CloudProvider CloudProvider `json:"cloudProvider"`
	BucketName    string        `json:"bucketName,omitempty"`

	// IAMRoleID, Region and RequirePrivateNetworking are of AWS buckets. Atlas knows the
	// Region once the bucket exists. RequirePrivateNetworking is nil if Atlas did not say it,
	// as in v1.0.
	IAMRoleID                string `json:"iamRoleId,omitempty"`
	Region                   string `json:"region,omitempty"`
	RequirePrivateNetworking *bool  `json:"requirePrivateNetworking,omitempty"`

	RoleID     string `json:"roleId,omitempty"`     // of Azure and Google Cloud
	ServiceURL string `json:"serviceUrl,omitempty"` // of Azure
	TenantID   string `json:"tenantId,omitempty"`   // of Azure

	// Replayed says that CreateExportBucket returns a bucket that an earlier call, or an earlier try
	// of the call, created with the same IdempotencyKey.
	Replayed  bool   `json:"replayed,omitempty"`
	ProjectID string `json:"projectId,omitempty"` // the group; only in v1.0
}

// bucketForm is a bucket in the form of either generation. The id is called id or _id.
type bucketForm struct {
	ExportBucket
	PlainID string `json:"id"`
}

func (f bucketForm) read() (*ExportBucket, error) {
	f.ID = cmp.Or(f.ID, f.PlainID)
	if f.ID == "" || f.CloudProvider == "" {
		return nil, errors.New("a bucket without an id or a cloud provider")
	}
	f.Replayed = false // which no server says here
	return &f.ExportBucket, nil
}

func (b *ExportBucket) replayed() { b.Replayed = true }

// ExportBucketUpdate is the change to an AWS bucket.
type ExportBucketUpdate struct {
	// RequirePrivateNetworking says that Atlas may reach the bucket only over private
	// networking.
	RequirePrivateNetworking bool
}
