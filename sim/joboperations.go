package sim

import (
	"context"
	"time"

	"atlas-export-gateway/gen"
)

// CreateBackupExport starts an export.
func (a api) CreateBackupExport(ctx context.Context, request gen.CreateBackupExportRequestObject) (gen.CreateBackupExportResponseObject, error) {
	pairs := []CustomData{}
	if request.Body.CustomData != nil {
		for _, pair := range *request.Body.CustomData {
			pairs = append(pairs, CustomData(pair))
		}
	}
	job, err := a.createJob(ctx, request.ClusterName, request.Body.SnapshotID, request.Body.ExportBucketID, pairs)
	if err != nil {
		return nil, err
	}
	return gen.CreateBackupExport200JSONResponse(job.v2(a.clock.now())), nil
}

// GetBackupExport answers a job.
func (a api) GetBackupExport(ctx context.Context, request gen.GetBackupExportRequestObject) (gen.GetBackupExportResponseObject, error) {
	job, err := a.findJob(ctx, request.ClusterName, request.ExportID)
	if err != nil {
		return nil, err
	}
	return gen.GetBackupExport200JSONResponse(job.v2(a.clock.now())), nil
}

// ListBackupExports answers a page of jobs, newest first.
func (a api) ListBackupExports(ctx context.Context, request gen.ListBackupExportsRequestObject) (gen.ListBackupExportsResponseObject, error) {
	p, err := newPage(request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
	if err != nil {
		return nil, err
	}
	jobs, total, err := a.listJobs(ctx, request.ClusterName, p)
	if err != nil {
		return nil, err
	}
	list := gen.ExportJobList{Results: []gen.ExportJob{}, TotalCount: p.total(total), Links: a.links(exchangeOf(ctx), p, total)}
	now := a.clock.now()
	for _, job := range jobs {
		list.Results = append(list.Results, job.v2(now))
	}
	return gen.ListBackupExports200JSONResponse(list), nil
}

// V1CreateBackupExport starts an export.
func (a api) V1CreateBackupExport(ctx context.Context, request gen.V1CreateBackupExportRequestObject) (gen.V1CreateBackupExportResponseObject, error) {
	pairs := []CustomData{}
	if request.Body.CustomData != nil {
		for _, pair := range *request.Body.CustomData {
			pairs = append(pairs, CustomData{&pair.Key, &pair.Value})
		}
	}
	job, err := a.createJob(ctx, request.ClusterName, request.Body.SnapshotID, request.Body.ExportBucketID, pairs)
	if err != nil {
		return nil, err
	}
	return gen.V1CreateBackupExport200JSONResponse(job.v1(a.clock.now())), nil
}

// V1GetBackupExport answers a job.
func (a api) V1GetBackupExport(ctx context.Context, request gen.V1GetBackupExportRequestObject) (gen.V1GetBackupExportResponseObject, error) {
	job, err := a.findJob(ctx, request.ClusterName, request.ExportID)
	if err != nil {
		return nil, err
	}
	return gen.V1GetBackupExport200JSONResponse(job.v1(a.clock.now())), nil
}

// V1ListBackupExports answers a page of jobs, newest first.
func (a api) V1ListBackupExports(ctx context.Context, request gen.V1ListBackupExportsRequestObject) (gen.V1ListBackupExportsResponseObject, error) {
	p, err := newPage(request.Params.PageNum, request.Params.ItemsPerPage, request.Params.IncludeCount)
	if err != nil {
		return nil, err
	}
	jobs, total, err := a.listJobs(ctx, request.ClusterName, p)
	if err != nil {
		return nil, err
	}
	list := gen.V1ExportJobList{Results: []gen.V1ExportJob{}, TotalCount: p.total(total), Links: a.links(exchangeOf(ctx), p, total)}
	now := a.clock.now()
	for _, job := range jobs {
		list.Results = append(list.Results, job.v1(now))
	}
	return gen.V1ListBackupExports200JSONResponse(list), nil
}

// v2 is the job as v2 answers it: without links, as recorded.
func (j *Job) v2(now time.Time) gen.ExportJob {
	answer := gen.ExportJob{
		ID:             j.ID,
		SnapshotID:     &j.SnapshotID,
		ExportBucketID: &j.ExportBucketID,
		State:          gen.ExportJobState(j.stateAt(now)),
		CreatedAt:      ptr(toSecond(j.Created)),
		CustomData:     j.customData(),
		Prefix:         &j.Prefix,
		Components:     j.components(),
		ExportStatus:   j.exportStatus(now),
	}
	if j.ended() {
		answer.FinishedAt = ptr(toSecond(j.Ends))
	}
	if j.State == failed {
		answer.StateReason = &gen.StateReason{ErrorCode: &j.Outcome.ErrorCode, Message: &j.Outcome.Message}
	}
	return answer
}

// v1 is the job as v1.0 answers it. v1.0 has no state Cancelled. Inferred: it calls a
// cancelled job Failed.
func (j *Job) v1(now time.Time) gen.V1ExportJob {
	answer := gen.V1ExportJob{
		ID:             j.ID,
		SnapshotID:     &j.SnapshotID,
		ExportBucketID: &j.ExportBucketID,
		State:          gen.V1ExportJobState(j.stateAt(now)),
		CreatedAt:      ptr(toSecond(j.Created)),
		CustomData:     j.customData(),
		Prefix:         &j.Prefix,
		Components:     j.components(),
		ExportStatus:   j.exportStatus(now),
	}
	if j.ended() {
		answer.FinishedAt = ptr(toSecond(j.Ends))
	}
	switch j.State {
	case failed:
		answer.ErrMsg = &j.Outcome.Message
	case cancelled:
		answer.State = failed
		answer.ErrMsg = ptr("The export job was cancelled.")
	}
	return answer
}

func (j *Job) customData() *[]gen.CustomData {
	pairs := make([]gen.CustomData, len(j.CustomData))
	for i, pair := range j.CustomData {
		pairs[i] = gen.CustomData(pair)
	}
	return &pairs
}

func (j *Job) components() *[]gen.ExportComponent {
	if j.Components == nil {
		return nil
	}
	parts := make([]gen.ExportComponent, len(j.Components))
	for i := range j.Components {
		parts[i] = gen.ExportComponent{ExportID: &j.Components[i].ExportID, ReplicaSetName: &j.Components[i].ReplicaSetName}
	}
	return &parts
}

func (j *Job) exportStatus(now time.Time) *gen.ExportStatus {
	if j.Components != nil {
		return nil
	}
	exported, total := j.exportedAt(now)
	return &gen.ExportStatus{ExportedCollections: &exported, TotalCollections: &total}
}
