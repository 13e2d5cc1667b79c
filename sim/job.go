package sim

import "time"

// The states of a job.
const (
	queued     = "Queued"
	inProgress = "InProgress"
	successful = "Successful"
	failed     = "Failed"
	cancelled  = "Cancelled"
)

// Job is an export job, as the simulation keeps it.
type Job struct {
	ID             string       `json:"id"`
	GroupID        string       `json:"groupId"`
	ClusterName    string       `json:"clusterName"`
	SnapshotID     string       `json:"snapshotId"`
	ExportBucketID string       `json:"exportBucketId"`
	Directory      string       `json:"directory"` // the bucket's, below Config.ExportDir
	Prefix         string       `json:"prefix"`
	CustomData     []CustomData `json:"customData"`
	Components     []Component  `json:"components,omitempty"` // only for sharded clusters
	Collections    int          `json:"collections"`

	// State is Queued, InProgress, Successful, Failed or Cancelled. The state file never
	// says InProgress: a job is Queued there until it has ended, and Starts says the rest.
	State string `json:"state"`
	// Created, Starts and Ends are when the job was created, becomes InProgress and
	// ends. Full is when it ends if it succeeds.
	Created time.Time `json:"created"`
	Starts  time.Time `json:"starts"`
	Ends    time.Time `json:"ends"`
	Full    time.Time `json:"full"`
	// Outcome is how the job ends or has ended.
	Outcome Outcome `json:"outcome"`
}

// CustomData is a pair that a job writes into .complete. Nil means left out.
type CustomData struct {
	Key   *string `json:"key,omitempty"`
	Value *string `json:"value,omitempty"`
}

// Component is the part of a job that exports one replica set.
type Component struct {
	ExportID       string `json:"exportId"`
	ReplicaSetName string `json:"replicaSetName"`
}

func (j *Job) ended() bool { return j.State != queued }

// stateAt returns the state at a time. A job that is due stays InProgress until its files
// are written and its end is in the store.
func (j *Job) stateAt(now time.Time) string {
	if !j.ended() && !now.Before(j.Starts) {
		return inProgress
	}
	return j.State
}

// exportedAt returns the counts of exportStatus. Both are 0 while the job is Queued, as
// recorded.
func (j *Job) exportedAt(now time.Time) (exported, total int) {
	if j.stateAt(now) == queued {
		return 0, 0
	}
	if j.ended() && now.After(j.Ends) {
		now = j.Ends
	}
	if j.State == successful {
		return j.Collections, j.Collections
	}
	done := now.Sub(j.Starts).Seconds() / max(j.Full.Sub(j.Starts).Seconds(), 1e-9)
	return int(float64(j.Collections) * min(max(done, 0), 1)), j.Collections
}
