package client

import (
	"context"
	"iter"
	"time"
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
func (r ExportRequest) Validate() error { return nil }

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

// ListOptions choose one page of a list, or where the reading of all pages begins.
type ListOptions struct {
	// PageNum is the page, counted from 1; 0 means 1.
	PageNum int
	// ItemsPerPage is how many items make a page, 1 to 500; 0 means 100.
	ItemsPerPage int
}

// Page is one page of a list.
type Page[T any] struct {
	Results    []T `json:"results"`
	TotalCount int `json:"totalCount"` // how many items all pages hold
}

// CreateExport starts an export. It is sent once: after an [*UnknownOutcomeError], look with
// [Client.FindExport] before you call it again. [ErrConflict] says that the snapshot is
// being exported already.
func (c *Client) CreateExport(ctx context.Context, groupID, clusterName string, r ExportRequest) (*ExportJob, error) {
	return nil, nil
}

// GetExport returns one job.
func (c *Client) GetExport(ctx context.Context, groupID, clusterName, exportID string) (*ExportJob, error) {
	return nil, nil
}

// ListExports yields the jobs of a cluster, page by page, in Atlas's order. An error is
// yielded once, and ends the sequence. A job that is created meanwhile may be missed, or
// another yielded twice.
func (c *Client) ListExports(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*ExportJob, error] {
	return nil
}

// ExportsPage returns one page of the jobs of a cluster.
func (c *Client) ExportsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[ExportJob], error) {
	return nil, nil
}

// FindExport returns the newest job that copies the snapshot and was created at since or
// later, by Atlas's clock; otherwise [ErrNotFound]. It answers what became of a create whose
// outcome is unknown: [UnknownOutcomeError.SentAt], less what the clocks may differ, is a
// good since.
func (c *Client) FindExport(ctx context.Context, groupID, clusterName, snapshotID string, since time.Time) (*ExportJob, error) {
	return nil, nil
}

// CreateExport is as [Client.CreateExport].
func (v *V1) CreateExport(ctx context.Context, groupID, clusterName string, r ExportRequest) (*ExportJob, error) {
	return nil, nil
}

// GetExport is as [Client.GetExport].
func (v *V1) GetExport(ctx context.Context, groupID, clusterName, exportID string) (*ExportJob, error) {
	return nil, nil
}

// ListExports is as [Client.ListExports].
func (v *V1) ListExports(ctx context.Context, groupID, clusterName string, o ListOptions) iter.Seq2[*ExportJob, error] {
	return nil
}

// ExportsPage is as [Client.ExportsPage].
func (v *V1) ExportsPage(ctx context.Context, groupID, clusterName string, o ListOptions) (*Page[ExportJob], error) {
	return nil, nil
}

// FindExport is as [Client.FindExport].
func (v *V1) FindExport(ctx context.Context, groupID, clusterName, snapshotID string, since time.Time) (*ExportJob, error) {
	return nil, nil
}
