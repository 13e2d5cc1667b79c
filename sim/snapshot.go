package sim

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The statuses of a snapshot.
const (
	snapshotQueued     = "queued"
	snapshotInProgress = "inProgress"
	snapshotCompleted  = "completed"
	snapshotFailed     = "failed"
)

// The reasons why a snapshot was taken.
const (
	scheduled = "scheduled"
	onDemand  = "onDemand"
	fallback  = "fallback"
)

// onDemandFrequency is the frequencyType of on-demand snapshots, as recorded.
const onDemandFrequency = "ondemand"

// frequencies are the frequency types of scheduled snapshots, most frequent first.
var frequencies = []string{"hourly", "daily", "weekly", "monthly", "yearly"}

// emptySize is the recorded size of a snapshot of a cluster of the smallest size without data.
const emptySize = 1_552_621_568

// defaultMongod is the version of the server of a snapshot, where the seed says nothing else.
const defaultMongod = "8.0.16"

// Snapshot is a cloud-backup snapshot of a cluster, in a seed and as the simulation keeps it.
type Snapshot struct {
	ID string `yaml:"id" json:"id"` // 24 hexadecimal digits
	// GroupID and ClusterName are the cluster. In a seed, the place of the snapshot says them.
	GroupID     string `yaml:"-" json:"groupId"`
	ClusterName string `yaml:"-" json:"clusterName"`
	// CreatedAt is when the snapshot was taken. Age, in its place, is how old it is when the
	// simulation starts, or when AddSnapshot adds it.
	CreatedAt time.Time `yaml:"createdAt" json:"createdAt,omitzero"`
	Age       Duration  `yaml:"age" json:"age,omitzero"`
	// Status is completed or failed; empty means completed. With queued or inProgress, and
	// without CreatedAt and Age, the simulation begins to take the snapshot. The state file never
	// says inProgress: a snapshot is queued there until it has ended, and Starts says the rest.
	Status string `yaml:"status" json:"status"`
	// SnapshotType is scheduled, onDemand or fallback. Empty means scheduled. Fallback snapshots
	// can't be exported.
	SnapshotType string `yaml:"snapshotType" json:"snapshotType"`
	// FrequencyType is hourly, daily, weekly, monthly or yearly. Empty means daily. On-demand
	// snapshots have ondemand.
	FrequencyType string `yaml:"frequencyType" json:"frequencyType"`
	// Description is of an on-demand snapshot.
	Description string `yaml:"description" json:"description,omitempty"`
	// ExpiresAt is when the snapshot is gone. The zero time means ten years after CreatedAt.
	ExpiresAt time.Time `yaml:"expiresAt" json:"expiresAt,omitzero"`
	// StorageSizeBytes is the size. 0 means one that grows with the collections of the cluster.
	// It is answered only for completed snapshots.
	StorageSizeBytes int64 `yaml:"storageSizeBytes" json:"storageSizeBytes"`
	// MongodVersion is the version of the server. Empty means 8.0.16.
	MongodVersion string `yaml:"mongodVersion" json:"mongodVersion"`
	// PolicyItems are the ids of the rules of the schedule that took it.
	PolicyItems []string `yaml:"policyItems" json:"policyItems,omitempty"`
	// Outcome is how exports of this snapshot end; the zero Outcome is success.
	Outcome Outcome `yaml:"outcome" json:"outcome,omitzero"`

	// Starts and Ends are when a snapshot that the simulation takes becomes inProgress and ends.
	// Kept is how long it is kept after that. EndsAs is the status that EndSnapshot gives it.
	Starts time.Time `yaml:"-" json:"starts,omitzero"`
	Ends   time.Time `yaml:"-" json:"ends,omitzero"`
	Kept   Duration  `yaml:"-" json:"kept,omitzero"`
	EndsAs string    `yaml:"-" json:"endsAs,omitempty"`
}

func (sn *Snapshot) ended() bool { return sn.Status != snapshotQueued }

// statusAt returns the status at a time.
func (sn *Snapshot) statusAt(now time.Time) string {
	if !sn.ended() && !now.Before(sn.Starts) {
		return snapshotInProgress
	}
	return sn.Status
}

// knownAt reports whether Atlas tells when the snapshot was taken, of which server and where.
// Recordings have none of it while a snapshot is new. Inferred: it appears halfway.
func (sn *Snapshot) knownAt(now time.Time) bool {
	return sn.ended() || !now.Before(sn.CreatedAt)
}

// goneAt reports whether Atlas has deleted the snapshot.
func (sn *Snapshot) goneAt(now time.Time) bool { return sn.ended() && !now.Before(sn.ExpiresAt) }

// exportable returns why Atlas does not export the snapshot, or nil.
func (sn *Snapshot) exportable(now time.Time) error {
	switch {
	case sn.SnapshotType == fallback: // documented; the error is inferred
		return failure(400, "VALIDATION_ERROR", "The request content produced the validation error: %s.", "a fallback snapshot cannot be exported")
	case sn.statusAt(now) != snapshotCompleted: // documented; the error is inferred
		return failure(409, "CANNOT_START_RESTORE_JOB_FOR_INCOMPLETE_CLUSTER_SNAPSHOT", "Cannot start restore job for incomplete cluster snapshot.")
	}
	return nil
}

// members are the parts of a sharded cluster's snapshot, one for each replica set. Their ids are
// the snapshot's own, counted on.
func (sn *Snapshot) members(c *Cluster) []string {
	id, err := hex.DecodeString(sn.ID)
	if err != nil {
		return nil // no id passes the checks that does not decode
	}
	ids := make([]string, len(c.ReplicaSets))
	for i := range ids {
		id[len(id)-1]++
		ids[i] = hex.EncodeToString(id)
	}
	return ids
}

// complete fills in what a seed or AddSnapshot left out.
func (s *Server) complete(sn *Snapshot, c *Cluster) {
	now := toSecond(s.clock.now())
	switch {
	case !sn.Starts.IsZero(): // it has begun already
	case sn.Status == snapshotQueued || sn.Status == snapshotInProgress:
		s.begin(sn, now, 24*time.Hour)
	case sn.CreatedAt.IsZero():
		sn.CreatedAt = now.Add(-sn.Age.std())
	}
	sn.Age = 0
	sn.Status = cmp.Or(sn.Status, snapshotCompleted)
	sn.SnapshotType = cmp.Or(sn.SnapshotType, scheduled)
	if sn.SnapshotType == onDemand {
		sn.FrequencyType = onDemandFrequency
	}
	sn.FrequencyType = cmp.Or(sn.FrequencyType, "daily")
	sn.MongodVersion = cmp.Or(sn.MongodVersion, defaultMongod)
	sn.StorageSizeBytes = cmp.Or(sn.StorageSizeBytes, emptySize+int64(c.countCollections())<<20)
	if sn.ExpiresAt.IsZero() {
		sn.ExpiresAt = sn.CreatedAt.AddDate(10, 0, 0)
	}
}

// begin makes a snapshot one that the simulation takes, from a time on. Until it has ended, it
// expires by the time of its request, as recorded.
func (s *Server) begin(sn *Snapshot, at time.Time, kept time.Duration) {
	if sn.Status != snapshotInProgress {
		sn.Starts = at.Add(s.scaled(s.cfg.SnapshotQueueTime))
	} else {
		sn.Starts = at
	}
	sn.Status = snapshotQueued
	sn.Ends = sn.Starts.Add(s.scaled(s.cfg.SnapshotRunTime))
	sn.CreatedAt = sn.Starts.Add(sn.Ends.Sub(sn.Starts) / 2)
	sn.Kept = Duration(kept)
	sn.ExpiresAt = at.Add(kept)
}

// check refuses what Atlas could not have. The error names the member.
func (sn *Snapshot) check() (member string, err error) {
	begun := sn.Status == snapshotQueued || sn.Status == snapshotInProgress
	switch {
	case !slices.Contains([]string{"", snapshotQueued, snapshotInProgress, snapshotCompleted, snapshotFailed}, sn.Status):
		return "status", fmt.Errorf("%q is not one of queued, inProgress, completed, failed", sn.Status)
	case sn.Age < 0:
		return "age", errors.New("must not be negative")
	case begun && (!sn.CreatedAt.IsZero() || sn.Age != 0):
		return "status", fmt.Errorf("a snapshot that is %s has neither createdAt nor age", sn.Status)
	case !begun && sn.CreatedAt.IsZero() && sn.Age == 0:
		return "createdAt", errors.New("is missing, and so is age")
	case !sn.CreatedAt.IsZero() && sn.Age != 0:
		return "age", errors.New("stands beside createdAt; one of them is enough")
	case !slices.Contains([]string{"", scheduled, onDemand, fallback}, sn.SnapshotType):
		return "snapshotType", fmt.Errorf("%q is not one of scheduled, onDemand, fallback", sn.SnapshotType)
	case sn.FrequencyType != "" && sn.FrequencyType != onDemandFrequency && !slices.Contains(frequencies, sn.FrequencyType):
		return "frequencyType", fmt.Errorf("%q is not one of hourly, daily, weekly, monthly, yearly", sn.FrequencyType)
	case sn.StorageSizeBytes < 0:
		return "storageSizeBytes", errors.New("must not be negative")
	}
	return "outcome", sn.Outcome.check()
}
