package client

import (
	"errors"
	"time"
)

// SnapshotRequest is the snapshot to take.
type SnapshotRequest struct {
	// Description is noted beside the snapshot; it may be empty.
	Description string
	// RetentionInDays is how many days Atlas keeps the snapshot, 1 or more; 0 leaves it to Atlas.
	RetentionInDays int
	// IdempotencyKey tells this snapshot from another with the same description: 1 to 255 visible
	// characters, the first of which is no quotation mark. Empty means a key that is made up for the
	// call. It needs [Config.KeepsKeys].
	IdempotencyKey string
}

// Validate checks the request against the contract, as [Client.TakeSnapshot] does before it sends
// anything. The error is an [*Error] with all violations.
func (r SnapshotRequest) Validate() error {
	var found violations
	found.snapshot(r)
	return found.err("")
}

// SnapshotStatus is where a snapshot stands. Atlas may have more of them than those named here.
type SnapshotStatus string

// A snapshot is queued, then in progress, and ends as completed or failed. Only a completed one
// can be exported.
const (
	SnapshotQueued     SnapshotStatus = "queued"
	SnapshotInProgress SnapshotStatus = "inProgress"
	SnapshotCompleted  SnapshotStatus = "completed"
	SnapshotFailed     SnapshotStatus = "failed"
)

// Ended reports whether a snapshot with the status s has ended. A status that is not named here
// has not.
func (s SnapshotStatus) Ended() bool { return s == SnapshotCompleted || s == SnapshotFailed }

// Snapshot is a snapshot of a cluster. Which fields are set depends on Type. It encodes as JSON
// in Atlas's form.
type Snapshot struct {
	ID            string         `json:"id"`
	Type          string         `json:"type,omitempty"`         // replicaSet or shardedCluster
	SnapshotType  string         `json:"snapshotType,omitempty"` // onDemand, scheduled or fallback; see [Snapshot.Exportable]
	Status        SnapshotStatus `json:"status,omitempty"`
	FrequencyType string         `json:"frequencyType,omitempty"` // such as daily, or ondemand
	Description   string         `json:"description,omitempty"`   // of an on-demand snapshot
	CreatedAt     time.Time      `json:"createdAt,omitzero"`      // zero while the snapshot is new
	ExpiresAt     time.Time      `json:"expiresAt,omitzero"`      // when Atlas deletes it
	// StorageSizeBytes is 0 until the snapshot is completed.
	StorageSizeBytes int64    `json:"storageSizeBytes,omitempty"`
	MongodVersion    string   `json:"mongodVersion,omitempty"` // empty while the snapshot is new
	MasterKeyUUID    string   `json:"masterKeyUUID,omitempty"` // of a customer's own encryption key
	PolicyItems      []string `json:"policyItems,omitempty"`   // the ids of the schedule's rules that took it

	// CloudProvider, CopyRegions and ReplicaSetName are of replica sets. CloudProvider is empty
	// until it is known.
	CloudProvider  CloudProvider `json:"cloudProvider,omitempty"`
	CopyRegions    []string      `json:"copyRegions,omitempty"`
	ReplicaSetName string        `json:"replicaSetName,omitempty"`

	// ConfigServerType, Members and SnapshotIDs are of sharded clusters. SnapshotIDs has the ids of
	// the Members.
	ConfigServerType string           `json:"configServerType,omitempty"` // EMBEDDED or DEDICATED
	Members          []SnapshotMember `json:"members,omitempty"`
	SnapshotIDs      []string         `json:"snapshotIds,omitempty"`

	// Replayed says that TakeSnapshot returns a snapshot that an earlier call, or an earlier try of
	// the call, took with the same IdempotencyKey.
	Replayed bool `json:"replayed,omitempty"`
}

func (s *Snapshot) replayed() { s.Replayed = true }

// Exportable reports whether the snapshot can be exported: it is completed, and is no fallback.
func (s Snapshot) Exportable() bool {
	return s.Status == SnapshotCompleted && s.SnapshotType != "fallback"
}

// SnapshotMember is the part of a snapshot that is of one replica set of a sharded cluster. It
// can't be exported by itself.
type SnapshotMember struct {
	ID             string        `json:"id,omitempty"`
	CloudProvider  CloudProvider `json:"cloudProvider,omitempty"`
	ReplicaSetName string        `json:"replicaSetName,omitempty"`
}

func (s Snapshot) read() (*Snapshot, error) {
	if s.ID == "" {
		return nil, errors.New("a snapshot without an id")
	}
	s.Replayed = false // which no server says here
	return &s, nil
}
