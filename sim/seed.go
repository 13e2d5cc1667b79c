package sim

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"atlas-export-gateway/internal/strictyaml"
	"atlas-export-gateway/secret"
)

// What the default seed holds, for tests and examples. The keys open the simulation and
// nothing else.
const (
	PublicKey         = "demopubl"
	PrivateKey        = "51a1a7ed-a71a-5000-beef-51a1a7edda7a"
	ReadOnlyPublicKey = "demoread" // with the same private key; may only read, in GroupID alone
	ClientID          = "mdb_sa_id_51a1a7ed00000000000000aa"
	ClientSecret      = "mdb_sa_sk_of_the_simulation_alone"

	OrgID        = "64f0c0ffb3d4e5f60718292f"
	GroupID      = "64f0c1a2b3d4e5f607182930" // has the two clusters
	EmptyGroupID = "64f0c1a2b3d4e5f607182931" // has nothing

	OrdersCluster   = "orders"                   // a replica set of 42 collections
	OrdersSnapshot  = "6a01e0b45be2d84417c09f10" // of OrdersCluster, as the next three
	OrdersSnapshot2 = "6a01e0b45be2d84417c09f11"
	OrdersSnapshot3 = "6a01e0b45be2d84417c09f12"
	FailingSnapshot = "6a01e0b45be2d84417c09f1f" // its exports fail
	EventsCluster   = "events"                   // a sharded cluster of two replica sets
	EventsSnapshot  = "6a01e0b45be2d84417c09f20" // of EventsCluster

	AWSRole          = "65a9d2f4f20b4c7788990001" // any other id is a good role too
	AzureRole        = "65a9d2f4f20b4c7788990002" // has a tenantId
	UnassumableRole  = "65a9d2f4f20b4c77889900fe" // refused with CANNOT_ASSUME_ROLE
	UnauthorizedRole = "65a9d2f4f20b4c77889900ff" // refused with CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED
)

// Seed is the world that a simulation starts with; sim/seed.yaml, the default, shows the
// format.
type Seed struct {
	Groups          []Group          `yaml:"groups"`
	Keys            []Key            `yaml:"keys"`
	ServiceAccounts []ServiceAccount `yaml:"serviceAccounts"`
}

// Group is a group, which Atlas also calls a project.
type Group struct {
	ID   string `yaml:"id"`   // 24 hexadecimal digits
	Name string `yaml:"name"` // for .complete
	Org  Org    `yaml:"org"`
	// NamesInPrefix makes the prefix of exports out of names instead of ids.
	NamesInPrefix bool      `yaml:"namesInPrefix"`
	Clusters      []Cluster `yaml:"clusters"`
	// Buckets exist from the start.
	Buckets []Bucket `yaml:"buckets"`
	// Roles are the cloud-provider roles of which there is more to say than that they
	// exist.
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
	UniqueID string `yaml:"uniqueId"` // 24 hexadecimal digits; the cluster's id, also in .complete
	// StateName is IDLE, also when empty, CREATING, UPDATING, DELETING or REPAIRING.
	StateName string `yaml:"stateName"`
	// Sharded decides whether jobs have components or an exportStatus.
	Sharded bool `yaml:"sharded"`
	// ReplicaSets are their names: one, or one per shard.
	ReplicaSets []string `yaml:"replicaSets"`
	// Labels stand in .complete.
	Labels    []Label    `yaml:"labels"`
	Databases []Database `yaml:"databases"`
	Snapshots []Snapshot `yaml:"snapshots"`
	// PolicyItems are the rules of the backup schedule. Nil means those of a new cluster.
	PolicyItems []PolicyItem `yaml:"policyItems"`
	// AutoExportBucketID, if not empty, is a bucket of the group that can't be deleted
	// since automatic exports use it, as the backup schedule says.
	AutoExportBucketID string `yaml:"autoExportBucketId"`
	// AutoExportFrequency is which of the snapshots those export: the daily, weekly or
	// monthly ones. Empty means monthly.
	AutoExportFrequency string `yaml:"autoExportFrequency"`
}

// Label is a label of a cluster.
type Label struct {
	Key   string `yaml:"key" json:"key"`
	Value string `yaml:"value" json:"value"`
}

// Database is a database, of which each collection holds the same number of documents.
type Database struct {
	Name        string   `yaml:"name"`
	Collections []string `yaml:"collections"`
	Documents   int      `yaml:"documents"` // in each collection
}

// Snapshot is a cloud-backup snapshot of a cluster.
type Snapshot struct {
	ID        string    `yaml:"id"` // 24 hexadecimal digits
	CreatedAt time.Time `yaml:"createdAt"`
	// Outcome is how exports of this snapshot end; the zero Outcome is success.
	Outcome Outcome `yaml:"outcome"`
}

// Outcome is how a job ends.
type Outcome struct {
	// State is Successful, also when empty, Failed or Cancelled.
	State string `yaml:"state" json:"state"`
	// ErrorCode and Message are the reason of a Failed job.
	ErrorCode string `yaml:"errorCode" json:"errorCode,omitempty"`
	Message   string `yaml:"message" json:"message,omitempty"`
	// SnapshotID, if not empty, restricts an outcome set for the next job to jobs of
	// that snapshot. Without meaning elsewhere.
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
	// RequirePrivateNetworking is nil where nobody ever said.
	RequirePrivateNetworking *bool `yaml:"requirePrivateNetworking" json:"requirePrivateNetworking,omitempty"`
}

// CloudRole is a role at a cloud provider that Atlas may take on.
type CloudRole struct {
	ID       string `yaml:"id"`       // 24 hexadecimal digits
	TenantID string `yaml:"tenantId"` // of an Azure service principal
	// Error, if not empty, refuses buckets with this role: CANNOT_ASSUME_ROLE or
	// CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED.
	Error string `yaml:"error"`
}

// Key is a programmatic API key.
type Key struct {
	PublicKey  string        `yaml:"publicKey"`
	PrivateKey secret.Secret `yaml:"privateKey"`
	// Groups are the ids of those it has access to; none means all.
	Groups []string `yaml:"groups"`
	// Roles are some of Project Owner, Project Atlas Admin, Project Backup Export
	// Operator, Project Backup Manager and Project Read Only; none means Project Owner.
	Roles []string `yaml:"roles"`
}

// ServiceAccount is a client that calls with bearer tokens. Groups and Roles are as
// those of a Key.
type ServiceAccount struct {
	ClientID     string        `yaml:"clientId"`
	ClientSecret secret.Secret `yaml:"clientSecret"`
	Groups       []string      `yaml:"groups"`
	Roles        []string      `yaml:"roles"`
}

//go:embed seed.yaml
var defaultSeed []byte

// DefaultSeed returns the seed of the zero Config, which the caller may change.
func DefaultSeed() *Seed {
	seed, err := ParseSeed("sim/seed.yaml", defaultSeed)
	if err != nil {
		panic(err) // the tests parse it
	}
	return seed
}

// ParseSeed reads a seed. Unknown keys are errors, as are ids and names that Atlas
// would not have; an error names the file and the line.
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

// check looks for the first thing in the seed that could not be at Atlas. It calls fail
// with the path of the culprit.
func (seed *Seed) check(fail func(path, format string, args ...any) error) error {
	c := checker{fail: fail, seen: map[string]string{}}
	for i, group := range seed.Groups {
		path := fmt.Sprintf("groups[%d]", i)
		c.id(path+".id", group.ID)
		c.unique(path+".id", "the group "+group.ID)
		c.id(path+".org.id", group.Org.ID)
		for j, bucket := range group.Buckets {
			c.bucket(fmt.Sprintf("%s.buckets[%d]", path, j), bucket)
		}
		for j, role := range group.Roles {
			path := fmt.Sprintf("%s.roles[%d]", path, j)
			c.id(path+".id", role.ID)
			c.oneOf(path+".error", role.Error, "", "CANNOT_ASSUME_ROLE", "CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED")
		}
		for j, cluster := range group.Clusters {
			c.cluster(fmt.Sprintf("%s.clusters[%d]", path, j), group, cluster)
		}
	}
	for i, key := range seed.Keys {
		path := fmt.Sprintf("keys[%d]", i)
		c.unique(path+".publicKey", "the key "+key.PublicKey)
		c.credential(path, key.PublicKey, "publicKey", key.PrivateKey, "privateKey")
		c.access(path, seed, key.Groups, key.Roles)
	}
	for i, account := range seed.ServiceAccounts {
		path := fmt.Sprintf("serviceAccounts[%d]", i)
		c.unique(path+".clientId", "the service account "+account.ClientID)
		c.credential(path, account.ClientID, "clientId", account.ClientSecret, "clientSecret")
		c.access(path, seed, account.Groups, account.Roles)
	}
	return c.err
}

// checker keeps the first error.
type checker struct {
	fail func(path, format string, args ...any) error
	seen map[string]string
	err  error
}

func (c *checker) refuse(path, format string, args ...any) {
	if c.err == nil {
		c.err = c.fail(path, format, args...)
	}
}

func (c *checker) id(path, id string) {
	if !objectID.MatchString(id) {
		c.refuse(path, "%q is not 24 hexadecimal digits in lower case", id)
	}
}

func (c *checker) unique(path, what string) {
	if first, ok := c.seen[what]; ok {
		c.refuse(path, "%s is at %s already", what, first)
	}
	c.seen[what] = path
}

func (c *checker) oneOf(path, value string, values ...string) {
	if !slices.Contains(values, value) {
		c.refuse(path, "%q is not one of %s", value, strings.Join(slices.DeleteFunc(values, func(s string) bool { return s == "" }), ", "))
	}
}

func (c *checker) bucket(path string, bucket Bucket) {
	c.id(path+".id", bucket.ID)
	c.unique(path+".id", "the bucket "+bucket.ID)
	c.oneOf(path+".cloudProvider", bucket.CloudProvider, "AWS", "AZURE", "GCP")
	if !bucketName.MatchString(bucket.BucketName) && (bucket.CloudProvider != "AZURE" || bucket.BucketName != "") {
		c.refuse(path+".bucketName", "%q is not the name of a bucket", bucket.BucketName)
	}
	switch bucket.CloudProvider {
	case "AWS":
		c.id(path+".iamRoleId", bucket.IamRoleID)
	case "AZURE":
		if container(bucket.ServiceURL) == "" {
			c.refuse(path+".serviceUrl", "%q names no container", bucket.ServiceURL)
		}
		fallthrough
	default:
		c.id(path+".roleId", bucket.RoleID)
	}
}

func (c *checker) cluster(path string, group Group, cluster Cluster) {
	if !clusterName.MatchString(cluster.Name) || len(cluster.Name) > 64 {
		c.refuse(path+".name", "%q is not a cluster name of letters, digits and hyphens", cluster.Name)
	}
	c.unique(path+".name", "the cluster "+cluster.Name+" of "+group.ID)
	c.id(path+".uniqueId", cluster.UniqueID)
	if n := len(cluster.ReplicaSets); n == 0 || n > 1 && !cluster.Sharded {
		c.refuse(path+".replicaSets", "there are %d; a replica set has one, a sharded cluster at least one", n)
	}
	c.oneOf(path+".stateName", cluster.StateName, "", "IDLE", "CREATING", "UPDATING", "DELETING", "REPAIRING")
	for i, item := range cluster.PolicyItems {
		c.oneOf(fmt.Sprintf("%s.policyItems[%d].frequencyType", path, i), item.FrequencyType, "hourly", "daily", "weekly", "monthly", "yearly")
	}
	for i, snapshot := range cluster.Snapshots {
		path := fmt.Sprintf("%s.snapshots[%d]", path, i)
		c.id(path+".id", snapshot.ID)
		c.unique(path+".id", "the snapshot "+snapshot.ID)
		if snapshot.CreatedAt.IsZero() {
			c.refuse(path+".createdAt", "is missing")
		}
		c.oneOf(path+".outcome.state", snapshot.Outcome.State, "", successful, failedState, cancelled)
	}
	for i, database := range cluster.Databases {
		if database.Name == "" || database.Documents < 0 || slices.Contains(database.Collections, "") {
			c.refuse(fmt.Sprintf("%s.databases[%d]", path, i), "a database needs a name, collections with names, and no negative count of documents")
		}
	}
	if id := cluster.AutoExportBucketID; id != "" && !slices.ContainsFunc(group.Buckets, func(b Bucket) bool { return b.ID == id }) {
		c.refuse(path+".autoExportBucketId", "the group has no bucket %s", id)
	}
	c.oneOf(path+".autoExportFrequency", cluster.AutoExportFrequency, "", "daily", "weekly", "monthly")
}

func (c *checker) credential(path, id, idName string, secret secret.Secret, secretName string) {
	if id == "" {
		c.refuse(path+"."+idName, "is missing")
	}
	if secret.IsZero() {
		c.refuse(path+"."+secretName, "is missing")
	}
}

func (c *checker) access(path string, seed *Seed, groups, roleNames []string) {
	for i, id := range groups {
		if !slices.ContainsFunc(seed.Groups, func(g Group) bool { return g.ID == id }) {
			c.refuse(fmt.Sprintf("%s.groups[%d]", path, i), "there is no group %s", id)
		}
	}
	for i, name := range roleNames {
		c.oneOf(fmt.Sprintf("%s.roles[%d]", path, i), name, slices.Sorted(maps.Keys(roles))...)
	}
}

// world is a seed, ready to be looked things up in. It never changes.
type world struct {
	groups   map[string]*group
	keys     map[string]*caller // by public key
	accounts map[string]*caller // by client id
}

type group struct {
	Group
	clusters map[string]*Cluster
	roles    map[string]CloudRole
}

func newWorld(seed *Seed) (*world, error) {
	err := seed.check(func(path, format string, args ...any) error {
		return fmt.Errorf("the seed: %s: %w", path, fmt.Errorf(format, args...))
	})
	if err != nil {
		return nil, err
	}
	w := &world{groups: map[string]*group{}, keys: map[string]*caller{}, accounts: map[string]*caller{}}
	for _, seeded := range seed.Groups {
		g := &group{Group: seeded, clusters: map[string]*Cluster{}, roles: map[string]CloudRole{}}
		for i := range seeded.Clusters {
			g.clusters[seeded.Clusters[i].Name] = &seeded.Clusters[i]
		}
		for _, role := range seeded.Roles {
			g.roles[role.ID] = role
		}
		w.groups[g.ID] = g
	}
	for _, key := range seed.Keys {
		w.keys[key.PublicKey] = newCaller(key.PublicKey, key.PrivateKey, key.Groups, key.Roles)
	}
	for _, account := range seed.ServiceAccounts {
		w.accounts[account.ClientID] = newCaller(account.ClientID, account.ClientSecret, account.Groups, account.Roles)
	}
	return w, nil
}

func newCaller(id string, secret secret.Secret, groups, roleNames []string) *caller {
	c := &caller{id: id, secret: secret, groups: groups}
	for _, name := range roleNames {
		c.rights |= roles[name]
	}
	if len(roleNames) == 0 {
		c.rights = roles["Project Owner"]
	}
	return c
}

// snapshot returns the cluster's snapshot of that id, or nil.
func (c *Cluster) snapshot(id string) *Snapshot {
	for i := range c.Snapshots {
		if c.Snapshots[i].ID == id {
			return &c.Snapshots[i]
		}
	}
	return nil
}

// collections counts those of all databases.
func (c *Cluster) collections() int {
	n := 0
	for _, database := range c.Databases {
		n += len(database.Collections)
	}
	return n
}
