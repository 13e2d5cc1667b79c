package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// CreateExport is as [Client.CreateExport].
func (v *V1) CreateExport(ctx context.Context, groupID, clusterName string, r ExportRequest) (*ExportJob, error) {
	o := operation{id: "v1CreateBackupExport", key: r.IdempotencyKey, derived: true}
	o.found.inCluster(groupID, clusterName)
	o.found.export(r)
	o.check = about("job", r.started)
	return create[jobForm](ctx, v.caller, v.atlas, o, func(ctx context.Context, atlas *gen.Client) (*http.Response, error) {
		body := gen.V1ExportJobRequest{SnapshotID: r.SnapshotID, ExportBucketID: r.ExportBucketID}
		if len(r.CustomData) > 0 {
			pairs := make([]gen.V1CustomDataRequest, len(r.CustomData))
			for i, pair := range r.CustomData {
				pairs[i] = gen.V1CustomDataRequest(pair)
			}
			body.CustomData = &pairs
		}
		return atlas.V1CreateBackupExport(ctx, groupID, clusterName, nil, body)
	})
}

// GetExport is as [Client.GetExport].
func (v *V1) GetExport(ctx context.Context, groupID, clusterName, exportID string) (*ExportJob, error) {
	return v.getExport(ctx, v.caller.maxRetries, groupID, clusterName, exportID)
}

func (v *V1) getExport(ctx context.Context, retries int, groupID, clusterName, exportID string) (*ExportJob, error) {
	o := operation{id: "v1GetBackupExport", retries: retries}
	o.found.inCluster(groupID, clusterName)
	o.found.id("exportId", exportID)
	o.check = about("job", func(job *ExportJob) bool { return job.ID == exportID })
	return call[jobForm](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1GetBackupExport(ctx, groupID, clusterName, exportID, nil)
	})
}

// ListExports is as [Client.ListExports].
func (v *V1) ListExports(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*ExportJob, error] {
	return pages("v1ListBackupExports", o, func(o ListOptions) (*Page[ExportJob], error) { return v.exports(ctx, groupID, clusterName, o, false) })
}

// ExportsPage is as [Client.ExportsPage].
func (v *V1) ExportsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[ExportJob], error) {
	return v.exports(ctx, groupID, clusterName, o, true)
}

func (v *V1) exports(ctx context.Context, groupID, clusterName string, o ListOptions, count bool) (*Page[ExportJob], error) {
	op := v.caller.resendable("v1ListBackupExports")
	op.found.inCluster(groupID, clusterName)
	op.found.page(o)
	return call[pageForm[jobForm, ExportJob]](ctx, v.caller, op, func(ctx context.Context) (*http.Response, error) {
		return v.atlas.V1ListBackupExports(ctx, groupID, clusterName, &gen.V1ListBackupExportsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// FindExport is as [Client.FindExport].
func (v *V1) FindExport(ctx context.Context, groupID, clusterName, snapshotID string, since time.Time) (*ExportJob, error) {
	return find("v1ListBackupExports", snapshotID, since, v.ListExports(ctx, groupID, clusterName, ListOptions{ItemsPerPage: maxItems}))
}
