package sim

import (
	"fmt"

	"atlas-export-gateway/secret"
)

// world is a seed in maps, for looking things up. It never changes.
type world struct {
	groups   map[string]*group
	ordered  []*group           // as in the seed
	keys     map[string]*caller // by public key
	accounts map[string]*caller // by client id
}

// group is a group of the seed. Its snapshots are in the store.
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
		w.ordered = append(w.ordered, g)
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

// cluster returns a cluster, or nil.
func (w *world) cluster(group, name string) *Cluster {
	if g := w.groups[group]; g != nil {
		return g.clusters[name]
	}
	return nil
}

// countCollections returns how many collections the cluster's databases have together.
func (c *Cluster) countCollections() int {
	n := 0
	for _, database := range c.Databases {
		n += len(database.Collections)
	}
	return n
}
