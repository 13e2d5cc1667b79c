package sim

import (
	"cmp"
	"context"
	"net/http"

	"atlas-export-gateway/gen"
)

// region is the region of every AWS bucket.
const region = "us-east-1"

// createBucket registers a bucket. Both generations of the API call it. As at Atlas, two
// equal requests register two buckets.
func (s *Server) createBucket(ctx context.Context, bucket Bucket) (*Bucket, error) {
	x := exchangeOf(ctx)
	switch role := x.group.roles[cmp.Or(bucket.IamRoleID, bucket.RoleID)]; role.Error {
	case "":
	case "CANNOT_ASSUME_ROLE":
		return nil, failure(http.StatusBadRequest, role.Error, "Atlas cannot assume the role %s.", role.ID)
	default:
		return nil, failure(http.StatusBadRequest, role.Error, "The cloud provider access role %s is not authorized.", role.ID)
	}
	bucket.ID = newID(s.clock.now())
	bucket.GroupID = x.group.ID
	if err := s.writePermissionCheck(bucket.directory()); err != nil {
		return nil, err
	}
	s.store.mu.Lock()
	s.store.addBucket(&bucket)
	s.store.mu.Unlock()
	return &bucket, s.save()
}

func noBucket(id string) error {
	// The double negative is how Atlas words it.
	return failure(http.StatusNotFound, "EXPORT_BUCKET_NOT_FOUND", "No export Bucket with ID %s does not exist.", id)
}

// findBucket returns a bucket of the group.
func (s *Server) findBucket(x *exchange, id string) (*Bucket, error) {
	s.store.mu.RLock()
	bucket := s.store.buckets[id]
	s.store.mu.RUnlock()
	if bucket == nil || bucket.GroupID != x.group.ID {
		return nil, noBucket(id)
	}
	return bucket, nil
}

// awsBucket is findBucket for the versions that know only AWS. Inferred: they answer 404
// for the buckets of other providers.
func (s *Server) awsBucket(x *exchange, id string) (*Bucket, error) {
	bucket, err := s.findBucket(x, id)
	if err == nil && bucket.CloudProvider != "AWS" {
		return nil, noBucket(id)
	}
	return bucket, err
}

// listBuckets returns a page of the group's buckets, oldest first, and how many there are.
func (s *Server) listBuckets(x *exchange, p page, awsOnly bool) ([]*Bucket, int) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	var all []*Bucket
	for _, id := range s.store.bucketsOf[x.group.ID] {
		if bucket := s.store.buckets[id]; !awsOnly || bucket.CloudProvider == "AWS" {
			all = append(all, bucket)
		}
	}
	from, to := p.bounds(len(all))
	return all[from:to], len(all)
}

// deleteBucket removes a bucket, unless an export uses it. Both generations call it.
func (s *Server) deleteBucket(ctx context.Context, id string) error {
	x := exchangeOf(ctx)
	if _, err := s.findBucket(x, id); err != nil {
		return err
	}
	if err := s.removeBucket(x, id); err != nil {
		return err
	}
	return s.save()
}

// removeBucket takes a bucket out of the store, unless an export uses it: a schedule names it, as
// documented, or a job is under way. For the latter the refusal is inferred.
func (s *Server) removeBucket(x *exchange, id string) error {
	inUse := failure(http.StatusBadRequest, "EXPORT_BUCKET_DELETE_FAILED_BUCKET_IN_USE", "Failed to delete export Bucket with ID %s because it is in use.", id) // the sentence is inferred
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	for _, schedule := range s.store.schedules {
		if schedule.exports(id) {
			return inUse
		}
	}
	for job := range s.store.active {
		if s.store.jobs[job].ExportBucketID == id {
			return inUse
		}
	}
	if bucket := s.store.buckets[id]; bucket != nil {
		s.store.removeBucket(bucket)
		return nil
	}
	return noBucket(id) // deleted meanwhile
}

// CreateExportBucket registers a bucket of any provider.
func (a api) CreateExportBucket(ctx context.Context, request gen.CreateExportBucketRequestObject) (gen.CreateExportBucketResponseObject, error) {
	content, err := request.Body.ValueByDiscriminator()
	if err != nil {
		return nil, err
	}
	var bucket Bucket
	switch content := content.(type) {
	case gen.AWSExportBucketRequest:
		bucket = Bucket{CloudProvider: "AWS", BucketName: content.BucketName, IamRoleID: content.IamRoleID,
			RequirePrivateNetworking: content.RequirePrivateNetworking != nil && *content.RequirePrivateNetworking}
	case gen.AzureExportBucketRequest:
		bucket = Bucket{CloudProvider: "AZURE", RoleID: content.RoleID, ServiceURL: content.ServiceURL}
		if content.BucketName != nil {
			bucket.BucketName = *content.BucketName
		}
	case gen.GCPExportBucketRequest:
		bucket = Bucket{CloudProvider: "GCP", BucketName: content.BucketName, RoleID: content.RoleID}
	}
	created, err := a.createBucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return gen.CreateExportBucket200JSONResponse(created.v2(exchangeOf(ctx))), nil
}

// GetExportBucket answers a bucket.
func (a api) GetExportBucket(ctx context.Context, request gen.GetExportBucketRequestObject) (gen.GetExportBucketResponseObject, error) {
	x := exchangeOf(ctx)
	find := a.findBucket
	if x.version == v20230101.date {
		find = a.awsBucket
	}
	bucket, err := find(x, request.ExportBucketID)
	if err != nil {
		return nil, err
	}
	return gen.GetExportBucket200JSONResponse(bucket.v2Read(x)), nil
}

// ListExportBuckets answers a page of the group's buckets.
func (a api) ListExportBuckets(ctx context.Context, request gen.ListExportBucketsRequestObject) (gen.ListExportBucketsResponseObject, error) {
	p, err := newPage(request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
	if err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	buckets, total := a.listBuckets(x, p, x.version == v20230101.date)
	list := gen.ExportBucketList{Results: []gen.ExportBucket{}, TotalCount: p.total(total), Links: a.links(x, p, total)}
	for _, bucket := range buckets {
		list.Results = append(list.Results, bucket.v2(x))
	}
	return gen.ListExportBuckets200JSONResponse(list), nil
}

// DeleteExportBucket removes a bucket of any provider. The operation has only the version
// 2023-01-01, whose other operations know only AWS.
func (a api) DeleteExportBucket(ctx context.Context, request gen.DeleteExportBucketRequestObject) (gen.DeleteExportBucketResponseObject, error) {
	if err := a.deleteBucket(ctx, request.ExportBucketID); err != nil {
		return nil, err
	}
	return gen.DeleteExportBucket204Response{}, nil
}

// UpdateBackupExportBucket sets requirePrivateNetworking of an AWS bucket. Inferred: the
// buckets of other providers don't have the attribute.
func (a api) UpdateBackupExportBucket(ctx context.Context, request gen.UpdateBackupExportBucketRequestObject) (gen.UpdateBackupExportBucketResponseObject, error) {
	x := exchangeOf(ctx)
	bucket, err := a.findBucket(x, request.ExportBucketID)
	if err != nil {
		return nil, err
	}
	if bucket.CloudProvider != "AWS" {
		return nil, invalidAttribute("requirePrivateNetworking")
	}
	a.store.mu.Lock()
	if a.store.buckets[bucket.ID] == nil { // deleted meanwhile
		a.store.mu.Unlock()
		return nil, noBucket(bucket.ID)
	}
	changed := *bucket
	changed.RequirePrivateNetworking = request.Body.RequirePrivateNetworking
	a.store.buckets[bucket.ID] = &changed
	a.store.generation++
	a.store.mu.Unlock()
	if err := a.save(); err != nil {
		return nil, err
	}
	return gen.UpdateBackupExportBucket200JSONResponse(changed.v2Read(x)), nil
}

// V1CreateExportBucket registers an S3 bucket.
func (a api) V1CreateExportBucket(ctx context.Context, request gen.V1CreateExportBucketRequestObject) (gen.V1CreateExportBucketResponseObject, error) {
	bucket, err := a.createBucket(ctx, Bucket{CloudProvider: "AWS", BucketName: request.Body.BucketName, IamRoleID: request.Body.IamRoleID})
	if err != nil {
		return nil, err
	}
	return gen.V1CreateExportBucket200JSONResponse(bucket.v1()), nil
}

// V1GetExportBucket answers an S3 bucket.
func (a api) V1GetExportBucket(ctx context.Context, request gen.V1GetExportBucketRequestObject) (gen.V1GetExportBucketResponseObject, error) {
	bucket, err := a.awsBucket(exchangeOf(ctx), request.ExportBucketID)
	if err != nil {
		return nil, err
	}
	return gen.V1GetExportBucket200JSONResponse(bucket.v1Read()), nil
}

// V1ListExportBuckets answers a page of the group's S3 buckets.
func (a api) V1ListExportBuckets(ctx context.Context, request gen.V1ListExportBucketsRequestObject) (gen.V1ListExportBucketsResponseObject, error) {
	p, err := newPage(request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
	if err != nil {
		return nil, err
	}
	x := exchangeOf(ctx)
	buckets, total := a.listBuckets(x, p, true)
	list := gen.V1ExportBucketList{Results: []gen.V1ExportBucket{}, TotalCount: p.total(total), Links: a.links(x, p, total)}
	for _, bucket := range buckets {
		list.Results = append(list.Results, bucket.v1())
	}
	return gen.V1ListExportBuckets200JSONResponse(list), nil
}

// V1DeleteExportBucket removes a bucket of any provider.
func (a api) V1DeleteExportBucket(ctx context.Context, request gen.V1DeleteExportBucketRequestObject) (gen.V1DeleteExportBucketResponseObject, error) {
	if err := a.deleteBucket(ctx, request.ExportBucketID); err != nil {
		return nil, err
	}
	if a.settings.Load().V1DeleteContent {
		return nil, exchangeOf(ctx).reply(struct{}{})
	}
	return gen.V1DeleteExportBucket204Response{}, nil
}

// v2 is the bucket as the answer to its creation has it, and a list: without region and links,
// as recorded. An AWS bucket has requirePrivateNetworking, also where no request has set it;
// the version 2023-01-01 doesn't know that attribute.
func (b *Bucket) v2(x *exchange) gen.ExportBucket {
	answer := gen.ExportBucket{
		ID:            &b.ID,
		CloudProvider: gen.CloudProvider(b.CloudProvider),
		BucketName:    present(b.BucketName),
		IamRoleID:     present(b.IamRoleID),
		RoleID:        present(b.RoleID),
		ServiceURL:    present(b.ServiceURL),
	}
	if b.CloudProvider == "AZURE" {
		answer.TenantID = present(x.group.roles[b.RoleID].TenantID)
	}
	if b.CloudProvider == "AWS" && x.version != v20230101.date {
		answer.RequirePrivateNetworking = &b.RequirePrivateNetworking
	}
	return answer
}

// v2Read is the bucket as the answer to a request for this bucket has it. Inferred: the answer
// to its change has it the same way.
func (b *Bucket) v2Read(x *exchange) gen.ExportBucket {
	answer := b.v2(x)
	if b.CloudProvider == "AWS" {
		answer.Region = ptr(region)
	}
	return answer
}

// v1 is the bucket as the answer to its creation in v1.0 has it, and a list: without region.
func (b *Bucket) v1() gen.V1ExportBucket {
	return gen.V1ExportBucket{
		ID:            &b.ID,
		ProjectID:     &b.GroupID,
		CloudProvider: gen.CloudProvider(b.CloudProvider),
		BucketName:    &b.BucketName,
		IamRoleID:     &b.IamRoleID,
	}
}

// v1Read is the bucket as the answer to a request for this bucket has it in v1.0. Inferred
// from v2.
func (b *Bucket) v1Read() gen.V1ExportBucket {
	answer := b.v1()
	answer.Region = ptr(region)
	return answer
}

// present returns a pointer to s, or nil for the empty string.
func present(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
