package client

import (
	"errors"
	"time"
)

// ExportRequest is the export to start.
type ExportRequest struct {
	// SnapshotID is the snapshot to copy, 24 hexadecimal digits in lower case.
	SnapshotID string
	// ExportBucketID is the bucket to copy it to, in the same form.
	ExportBucketID string
	// CustomData are the pairs that Atlas writes to the file .complete, next to the export.
	CustomData []CustomData
	// IdempotencyKey tells this export from another of the same snapshot to the same bucket with the
	// same pairs: 1 to 255 visible characters, the first of which is no quotation mark. The same key
	// gets the same job, also if that has failed. It needs [Config.KeepsKeys]. Empty means the key
	// that the gateway derives, with [DerivedKeys], or else one that is made up for the call.
	IdempotencyKey string
}

// Validate checks the request against the contract, as [Client.CreateExport] does before it
// sends anything. The error is an [*Error] with all violations.
func (r ExportRequest) Validate() error {
	var found violations
	found.export(r)
	return found.err("")
}

// started reports whether a job may be the one that the request started: it is not if Atlas
// says that it exports another snapshot, or to another bucket.
func (r ExportRequest) started(job *ExportJob) bool {
	return (job.SnapshotID == "" || job.SnapshotID == r.SnapshotID) && (job.ExportBucketID == "" || job.ExportBucketID == r.ExportBucketID)
}

// CustomData is one pair in the file .complete.
type CustomData struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// ExportState is the state of a job. Atlas may have more states than those named here.
type ExportState string

// The states of a job. A job is Queued, then InProgress, and ends in one of the others.
const (
	Queued     ExportState = "Queued"
	InProgress ExportState = "InProgress"
	Successful ExportState = "Successful"
	Failed     ExportState = "Failed"
	Cancelled  ExportState = "Cancelled" // only in v2
)

// Ended reports whether a job in the state s has ended. A state that is not named here has not.
func (s ExportState) Ended() bool { return s == Successful || s == Failed || s == Cancelled }

// ExportJob is the export of one snapshot to one export bucket. It encodes as JSON in Atlas's
// form, with Replayed beside it.
type ExportJob struct {
	ID             string       `json:"id"`
	State          ExportState  `json:"state"`
	StateReason    *StateReason `json:"stateReason,omitempty"` // of a failed job, if any
	SnapshotID     string       `json:"snapshotId,omitempty"`
	ExportBucketID string       `json:"exportBucketId,omitempty"`
	Prefix         string       `json:"prefix,omitempty"` // the folder within the bucket
	CreatedAt      time.Time    `json:"createdAt,omitzero"`
	FinishedAt     time.Time    `json:"finishedAt,omitzero"` // zero until the job ends

	// Status counts collections. It is nil for a sharded cluster; Components then lists the
	// replica sets that are exported.
	Status     *ExportStatus     `json:"exportStatus,omitempty"`
	Components []ExportComponent `json:"components,omitempty"`
	CustomData []CustomData      `json:"customData,omitempty"`

	// Replayed says that CreateExport returns a job that was created before: by an earlier call, by
	// somebody else, or by an earlier try of the call whose answer was lost. With an IdempotencyKey,
	// State may be that of the time when the job was created.
	Replayed bool `json:"replayed,omitempty"`
}

func (j *ExportJob) replayed() { j.Replayed = true }

// StateReason is why a job failed.
type StateReason struct {
	ErrorCode string `json:"errorCode,omitempty"` // for programs; empty in v1.0
	Message   string `json:"message,omitempty"`   // for people; v1.0 calls it errMsg
}

// ExportStatus is the progress of the export of a replica set.
type ExportStatus struct {
	ExportedCollections int `json:"exportedCollections"`
	TotalCollections    int `json:"totalCollections"` // 0 while Atlas has not counted them
}

// ExportComponent is the part of an export that is about one replica set of a sharded cluster.
type ExportComponent struct {
	ExportID       string `json:"exportId,omitempty"`
	ReplicaSetName string `json:"replicaSetName,omitempty"`
}

// jobForm is a job in the form of either generation.
type jobForm struct {
	ExportJob
	ErrMsg string `json:"errMsg"` // what v1.0 has for stateReason
}

func (f jobForm) read() (*ExportJob, error) {
	if f.ID == "" || f.State == "" {
		return nil, errors.New("a job without an id or a state")
	}
	if f.ErrMsg != "" && f.StateReason == nil {
		f.StateReason = &StateReason{Message: f.ErrMsg}
	}
	f.Replayed = false // which no server says here
	return &f.ExportJob, nil
}
