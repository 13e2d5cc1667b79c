package sim

import (
	"fmt"
	"os"

	"atlas-export-gateway/internal/strictyaml"
	"atlas-export-gateway/secret"
)

// Seed is the world that a simulation starts with. The default, sim/seed.yaml, shows the
// format.
type Seed struct {
	Groups          []Group          `yaml:"groups"`
	Keys            []Key            `yaml:"keys"`
	ServiceAccounts []ServiceAccount `yaml:"serviceAccounts"`
}

// Group is a group, which Atlas also calls a project.
type Group struct {
	ID   string `yaml:"id"` // 24 hexadecimal digits
	Name string `yaml:"name"`
	Org  Org    `yaml:"org"`
	// NamesInPrefix puts names into the prefix of exports, instead of ids. It is what the backup
	// schedule of each cluster says at first.
	NamesInPrefix bool      `yaml:"namesInPrefix"`
	Clusters      []Cluster `yaml:"clusters"`
	// Buckets exist from the start.
	Buckets []Bucket `yaml:"buckets"`
	// Roles are the cloud-provider roles that can be listed. Any other id is a good role, too.
	Roles []CloudRole `yaml:"roles"`
}

// Org is an organization.
type Org struct {
	ID   string `yaml:"id"`   // 24 hexadecimal digits
	Name string `yaml:"name"` // for .complete
}

// Cluster is a replica set or a sharded cluster.
type Cluster struct {
	Name     string `yaml:"name"`
	UniqueID string `yaml:"uniqueId"` // 24 hexadecimal digits; the cluster's id, also for .complete
	// StateName is IDLE, CREATING, UPDATING, DELETING or REPAIRING. Empty means IDLE.
	StateName string `yaml:"stateName"`
	// Sharded clusters have jobs with components and snapshots with members.
	Sharded bool `yaml:"sharded"`
	// CloudProvider is AWS, AZURE or GCP. Empty means AWS.
	CloudProvider string `yaml:"cloudProvider"`
	// ReplicaSets are the names of the replica sets: one, or one per shard.
	ReplicaSets []string `yaml:"replicaSets"`
	// Labels are written into .complete.
	Labels    []Label    `yaml:"labels"`
	Databases []Database `yaml:"databases"`
	Snapshots []Snapshot `yaml:"snapshots"`
	// PolicyItems are the rules of the backup schedule. Nil means those of a new cluster.
	PolicyItems []PolicyItem `yaml:"policyItems"`
	// AutoExportBucketID, if not empty, is a bucket of the group that automatic exports use.
	// The backup schedule names it, and it can't be deleted.
	AutoExportBucketID string `yaml:"autoExportBucketId"`
	// AutoExportFrequency says which snapshots the automatic exports export: daily, weekly,
	// monthly or yearly. Empty means monthly.
	AutoExportFrequency string `yaml:"autoExportFrequency"`
}

// Label is a label of a cluster.
type Label struct {
	Key   string `yaml:"key" json:"key"`
	Value string `yaml:"value" json:"value"`
}

// Database is a database. All its collections have the same number of documents.
type Database struct {
	Name        string   `yaml:"name"`
	Collections []string `yaml:"collections"`
	Documents   int      `yaml:"documents"` // in each collection
}

// Outcome is how a job ends.
type Outcome struct {
	// State is Successful, Failed or Cancelled. Empty means Successful.
	State string `yaml:"state" json:"state,omitempty"`
	// ErrorCode and Message are the reason of a Failed job.
	ErrorCode string `yaml:"errorCode" json:"errorCode,omitempty"`
	Message   string `yaml:"message" json:"message,omitempty"`
	// SnapshotID, if not empty, restricts an outcome to jobs of that snapshot. It has a
	// meaning only in outcomes that are set for the next job; see [Server.SetOutcome].
	SnapshotID string `yaml:"-" json:"snapshotId,omitempty"`
}

// Bucket is an export bucket. Which fields it has depends on its provider.
type Bucket struct {
	ID            string `yaml:"id" json:"id"` // 24 hexadecimal digits
	GroupID       string `yaml:"-" json:"groupId"`
	CloudProvider string `yaml:"cloudProvider" json:"cloudProvider"` // AWS, AZURE or GCP
	BucketName    string `yaml:"bucketName" json:"bucketName,omitempty"`
	IamRoleID     string `yaml:"iamRoleId" json:"iamRoleId,omitempty"`   // AWS
	RoleID        string `yaml:"roleId" json:"roleId,omitempty"`         // AZURE, GCP
	ServiceURL    string `yaml:"serviceUrl" json:"serviceUrl,omitempty"` // AZURE
	// RequirePrivateNetworking is an attribute of AWS buckets.
	RequirePrivateNetworking bool `yaml:"requirePrivateNetworking" json:"requirePrivateNetworking,omitempty"`
}

// CloudRole is a role at a cloud provider that Atlas may assume.
type CloudRole struct {
	ID string `yaml:"id"` // 24 hexadecimal digits
	// Provider is AWS, AZURE or GCP. Empty means AZURE for a role with a TenantID, otherwise AWS.
	Provider string `yaml:"provider"`
	TenantID string `yaml:"tenantId"` // of an Azure service principal
	// ARN is the role at AWS that Atlas assumes. Empty means one that is made from the ID.
	ARN string `yaml:"arn"`
	// Error, if not empty, refuses buckets with this role: CANNOT_ASSUME_ROLE or
	// CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED.
	Error string `yaml:"error"`
}

// Key is a programmatic API key.
type Key struct {
	PublicKey  string        `yaml:"publicKey"`
	PrivateKey secret.Secret `yaml:"privateKey"`
	// Groups are the ids of the groups that the key has access to; none means all.
	Groups []string `yaml:"groups"`
	// Roles are any of Project Owner, Project Atlas Admin, Project Backup Export
	// Operator, Project Backup Manager and Project Read Only; none means Project Owner.
	Roles []string `yaml:"roles"`
}

// ServiceAccount is a client that calls with bearer tokens. Groups and Roles mean what
// they mean in a Key.
type ServiceAccount struct {
	ClientID     string        `yaml:"clientId"`
	ClientSecret secret.Secret `yaml:"clientSecret"`
	Groups       []string      `yaml:"groups"`
	Roles        []string      `yaml:"roles"`
}

// ParseSeed reads a seed; name is the file's name for errors. Unknown keys are errors, and
// so are ids and names that Atlas would not have. An error names the file and the line.
func ParseSeed(name string, data []byte) (*Seed, error) {
	seed := new(Seed)
	document, err := strictyaml.Decode(name, data, seed)
	if err != nil {
		return nil, err
	}
	return seed, seed.check(document.Errorf)
}

// ReadSeed reads the seed in a file. See ParseSeed.
func ReadSeed(file string) (*Seed, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the seed: %w", err)
	}
	return ParseSeed(file, data)
}
