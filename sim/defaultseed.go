package sim

import _ "embed"

// What the default seed holds, for tests and examples. The keys are good for the simulation
// only.
const (
	PublicKey         = "demopubl"
	PrivateKey        = "51a1a7ed-a71a-5000-beef-51a1a7edda7a"
	ReadOnlyPublicKey = "demoread" // has the same private key; may only read, and only in GroupID
	ClientID          = "mdb_sa_id_51a1a7ed00000000000000aa"
	ClientSecret      = "mdb_sa_sk_of_the_simulation_alone"

	OrgID        = "64f0c0ffb3d4e5f60718292f"
	GroupID      = "64f0c1a2b3d4e5f607182930" // has the two clusters
	EmptyGroupID = "64f0c1a2b3d4e5f607182931" // has nothing

	OrdersCluster    = "orders"                   // a replica set of 42 collections
	OrdersSnapshot   = "6a01e0b45be2d84417c09f10" // of OrdersCluster, like the next six
	OrdersSnapshot2  = "6a01e0b45be2d84417c09f11"
	OrdersSnapshot3  = "6a01e0b45be2d84417c09f12"
	FailingSnapshot  = "6a01e0b45be2d84417c09f1f" // its exports fail
	LatestSnapshot   = "6a01e0b45be2d84417c09f18" // three hours old when the simulation starts
	FailedSnapshot   = "6a01e0b45be2d84417c09f0f" // was never completed
	FallbackSnapshot = "6a01e0b45be2d84417c09f0e" // can't be exported
	EventsCluster    = "events"                   // a sharded cluster of two replica sets
	EventsSnapshot   = "6a01e0b45be2d84417c09f20" // of EventsCluster, like the next one
	LatestEvents     = "6a01e0b45be2d84417c09f28" // three hours old when the simulation starts

	AWSRole          = "65a9d2f4f20b4c7788990001" // good, like any id that is not listed below
	AzureRole        = "65a9d2f4f20b4c7788990002" // has a tenantId
	GCPRole          = "65a9d2f4f20b4c7788990003"
	UnassumableRole  = "65a9d2f4f20b4c77889900fe" // refused with CANNOT_ASSUME_ROLE
	UnauthorizedRole = "65a9d2f4f20b4c77889900ff" // refused with CLOUD_PROVIDER_ACCESS_ROLE_NOT_AUTHORIZED
)

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
