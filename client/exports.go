package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"atlas-export-gateway/gen"
)

// ExportRequest is the export to start.
type ExportRequest struct {
	// SnapshotID is the snapshot to copy, 24 hexadecimal digits in lower case.
	SnapshotID string
	// ExportBucketID is the bucket to copy it to, in the same form.
	ExportBucketID string
	// CustomData are pairs that Atlas writes to the file .complete beside the export.
	CustomData []CustomData
}

// Validate checks the request against the contract, as [Client.CreateExport] does before it
// sends anything. The error is an [*Error] with every violation.
func (r ExportRequest) Validate() error {
	var found violations
	found.export(r)
	return found.err("")
}

// started reports whether a job may be the one that the request started.
func (r ExportRequest) started(job *ExportJob) bool {
	return (job.SnapshotID == "" || job.SnapshotID == r.SnapshotID) && (job.ExportBucketID == "" || job.ExportBucketID == r.ExportBucketID)
}

// CustomData is one pair in the file .complete.
type CustomData struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// ExportState is where a job stands. Atlas may have more of them than are named here.
type ExportState string

// The states of a job. It goes from Queued over InProgress to one of the others.
const (
	Queued     ExportState = "Queued"
	InProgress ExportState = "InProgress"
	Successful ExportState = "Successful"
	Failed     ExportState = "Failed"
	Cancelled  ExportState = "Cancelled" // v2 alone
)

// Ended reports whether the job stays as it is. Of a state that is not known, it does not.
func (s ExportState) Ended() bool { return s == Successful || s == Failed || s == Cancelled }

// ExportJob is the copying of one snapshot to one export bucket. It encodes as JSON in
// Atlas's form.
type ExportJob struct {
	ID             string       `json:"id"`
	State          ExportState  `json:"state"`
	StateReason    *StateReason `json:"stateReason,omitempty"` // of a failed job; nil if Atlas gives none
	SnapshotID     string       `json:"snapshotId,omitempty"`
	ExportBucketID string       `json:"exportBucketId,omitempty"`
	Prefix         string       `json:"prefix,omitempty"` // the folder within the bucket
	CreatedAt      time.Time    `json:"createdAt,omitzero"`
	FinishedAt     time.Time    `json:"finishedAt,omitzero"` // zero until the job ends

	// Status counts collections. Nil for a sharded cluster, whose Components say instead
	// which replica sets are copied.
	Status     *ExportStatus     `json:"exportStatus,omitempty"`
	Components []ExportComponent `json:"components,omitempty"`
	CustomData []CustomData      `json:"customData,omitempty"`
}

// StateReason is why a job failed.
type StateReason struct {
	ErrorCode string `json:"errorCode,omitempty"` // for programs; empty in v1.0
	Message   string `json:"message,omitempty"`   // for people; v1.0 calls it errMsg
}

// ExportStatus is how far the export of a replica set has come.
type ExportStatus struct {
	ExportedCollections int `json:"exportedCollections"`
	TotalCollections    int `json:"totalCollections"` // 0 while Atlas has not counted them
}

// ExportComponent is the part of an export that copies one replica set of a sharded cluster.
type ExportComponent struct {
	ExportID       string `json:"exportId,omitempty"`
	ReplicaSetName string `json:"replicaSetName,omitempty"`
}

// jobForm is a job as either generation writes it.
type jobForm struct {
	ExportJob
	ErrMsg string `json:"errMsg"` // v1.0's reason
}

func (f jobForm) read() (*ExportJob, error) {
	if f.ID == "" || f.State == "" {
		return nil, errors.New("a job without an id or a state")
	}
	if f.ErrMsg != "" && f.StateReason == nil {
		f.StateReason = &StateReason{Message: f.ErrMsg}
	}
	return &f.ExportJob, nil
}

// CreateExport starts an export. It is sent once: after an [*UnknownOutcomeError], look with
// [Client.FindExport] before you call it again. [ErrConflict] says that the snapshot is
// being exported already.
func (c *Client) CreateExport(ctx context.Context, groupID, clusterName string, r ExportRequest) (*ExportJob, error) {
	o := operation{id: "createBackupExport", create: true}
	o.found.inCluster(groupID, clusterName)
	o.found.export(r)
	o.about = r.started
	return call[jobForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		body := gen.ExportJobRequest{SnapshotID: r.SnapshotID, ExportBucketID: r.ExportBucketID}
		if len(r.CustomData) > 0 {
			pairs := make([]gen.CustomDataRequest, len(r.CustomData))
			for i := range r.CustomData {
				pairs[i] = gen.CustomDataRequest{Key: &r.CustomData[i].Key, Value: &r.CustomData[i].Value}
			}
			body.CustomData = &pairs
		}
		return c.atlas.CreateBackupExport(ctx, groupID, clusterName, nil, body)
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
	o.about = func(job *ExportJob) bool { return job.ID == exportID }
	return call[jobForm](ctx, c.caller, o, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.GetBackupExport(ctx, groupID, clusterName, exportID, nil)
	})
}

// ListExports yields the jobs of a cluster, page by page, in Atlas's order. An error is
// yielded once, and ends the sequence; so does a page that is empty, or as the one before, and
// says that another follows. A job that is created meanwhile may be missed, or
// another yielded twice.
func (c *Client) ListExports(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*ExportJob, error] {
	return pages("listBackupExports", o, func(o ListOptions) (*Page[ExportJob], error) { return c.exports(ctx, groupID, clusterName, o, false) })
}

// ExportsPage returns one page of the jobs of a cluster.
func (c *Client) ExportsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[ExportJob], error) {
	return c.exports(ctx, groupID, clusterName, o, true)
}

func (c *Client) exports(ctx context.Context, groupID, clusterName string, o ListOptions, count bool) (*Page[ExportJob], error) {
	op := c.caller.read("listBackupExports")
	op.found.inCluster(groupID, clusterName)
	op.found.page(o)
	return call[pageForm[jobForm, ExportJob]](ctx, c.caller, op, func(ctx context.Context) (*http.Response, error) {
		return c.atlas.ListBackupExports(ctx, groupID, clusterName, &gen.ListBackupExportsParams{
			PageNum: orNil(o.PageNum), ItemsPerPage: orNil(o.ItemsPerPage), IncludeCount: &count,
		})
	})
}

// FindExport returns the newest job that copies the snapshot and was created at since or
// later, by Atlas's clock and to the second; otherwise [ErrNotFound]. It answers what became of
// a create whose outcome is unknown: [UnknownOutcomeError.SentAt], less what the clocks may
// differ, is a good since. A create that Atlas is still carrying out is not found yet: not to
// find it right after a time-out proves little.
func (c *Client) FindExport(ctx context.Context, groupID, clusterName, snapshotID string, since time.Time) (*ExportJob, error) {
	return find("listBackupExports", snapshotID, since, c.ListExports(ctx, groupID, clusterName, ListOptions{ItemsPerPage: maxItems}))
}

// CreateExport is as [Client.CreateExport].
func (v *V1) CreateExport(ctx context.Context, groupID, clusterName string, r ExportRequest) (*ExportJob, error) {
	o := operation{id: "v1CreateBackupExport", create: true}
	o.found.inCluster(groupID, clusterName)
	o.found.export(r)
	o.about = r.started
	return call[jobForm](ctx, v.caller, o, func(ctx context.Context) (*http.Response, error) {
		body := gen.V1ExportJobRequest{SnapshotID: r.SnapshotID, ExportBucketID: r.ExportBucketID}
		if len(r.CustomData) > 0 {
			pairs := make([]gen.V1CustomDataRequest, len(r.CustomData))
			for i, pair := range r.CustomData {
				pairs[i] = gen.V1CustomDataRequest(pair)
			}
			body.CustomData = &pairs
		}
		return v.atlas.V1CreateBackupExport(ctx, groupID, clusterName, nil, body)
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
	o.about = func(job *ExportJob) bool { return job.ID == exportID }
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
	op := v.caller.read("v1ListBackupExports")
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

// find returns the newest of the snapshot's jobs that was created since.
func find(operation, snapshotID string, since time.Time, jobs iter.Seq2[*ExportJob, error]) (*ExportJob, error) {
	var found violations
	if found.id("snapshotId", snapshotID); len(found) > 0 {
		return nil, found.err(operation)
	}
	since = since.Truncate(time.Second) // as exactly as Atlas tells times
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
