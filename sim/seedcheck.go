package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"atlas-export-gateway/secret"
)

// check looks for the first value in the seed that Atlas could not have. It returns what
// fail makes of the value's path and the message.
func (seed *Seed) check(fail func(path, format string, args ...any) error) error {
	c := seedCheck{fail: fail, seen: map[string]string{}}
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
			c.unique(path+".id", "the role "+role.ID+" of "+group.ID)
			c.oneOf(path+".provider", role.Provider, "", "AWS", "AZURE", "GCP")
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

// seedCheck keeps the first error.
type seedCheck struct {
	fail func(path, format string, args ...any) error
	seen map[string]string // path by what must be unique
	err  error
}

func (c *seedCheck) refuse(path, format string, args ...any) {
	if c.err == nil {
		c.err = c.fail(path, format, args...)
	}
}

func (c *seedCheck) id(path, id string) {
	if !objectID.MatchString(id) {
		c.refuse(path, "%q is not 24 hexadecimal digits in lower case", id)
	}
}

func (c *seedCheck) unique(path, what string) {
	if first, ok := c.seen[what]; ok {
		c.refuse(path, "%s is at %s already", what, first)
	}
	c.seen[what] = path
}

func (c *seedCheck) oneOf(path, value string, values ...string) {
	if !slices.Contains(values, value) {
		c.refuse(path, "%q is not one of %s", value, strings.Join(slices.DeleteFunc(values, func(s string) bool { return s == "" }), ", "))
	}
}

func (c *seedCheck) bucket(path string, bucket Bucket) {
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

func (c *seedCheck) cluster(path string, group Group, cluster Cluster) {
	if !clusterName.MatchString(cluster.Name) || len(cluster.Name) > 64 {
		c.refuse(path+".name", "%q is not a cluster name of letters, digits and hyphens", cluster.Name)
	}
	c.unique(path+".name", "the cluster "+cluster.Name+" of "+group.ID)
	c.id(path+".uniqueId", cluster.UniqueID)
	if n := len(cluster.ReplicaSets); n == 0 || n > 1 && !cluster.Sharded {
		c.refuse(path+".replicaSets", "there are %d; a replica set has one, a sharded cluster at least one", n)
	}
	c.oneOf(path+".stateName", cluster.StateName, "", "IDLE", "CREATING", "UPDATING", "DELETING", "REPAIRING")
	c.oneOf(path+".cloudProvider", cluster.CloudProvider, "", "AWS", "AZURE", "GCP")
	for i, item := range cluster.PolicyItems {
		if member, err := item.check(); err != nil {
			c.refuse(fmt.Sprintf("%s.policyItems[%d].%s", path, i, member), "%w", err)
		}
	}
	for i, snapshot := range cluster.Snapshots {
		path := fmt.Sprintf("%s.snapshots[%d]", path, i)
		c.id(path+".id", snapshot.ID)
		c.unique(path+".id", "the snapshot "+snapshot.ID)
		if member, err := snapshot.check(); err != nil {
			c.refuse(path+"."+member, "%w", err)
		}
	}
	for i, database := range cluster.Databases {
		if database.Name == "" || database.Documents < 0 || slices.Contains(database.Collections, "") {
			c.refuse(fmt.Sprintf("%s.databases[%d]", path, i), "a database needs a name, collections with names, and no negative count of documents")
		}
	}
	if id := cluster.AutoExportBucketID; id != "" && !slices.ContainsFunc(group.Buckets, func(b Bucket) bool { return b.ID == id }) {
		c.refuse(path+".autoExportBucketId", "the group has no bucket %s", id)
	}
	c.oneOf(path+".autoExportFrequency", cluster.AutoExportFrequency, append([]string{""}, frequencies[1:]...)...)
}

func (c *seedCheck) credential(path, id, idName string, secret secret.Secret, secretName string) {
	if id == "" {
		c.refuse(path+"."+idName, "is missing")
	}
	if secret.IsZero() {
		c.refuse(path+"."+secretName, "is missing")
	}
}

func (c *seedCheck) access(path string, seed *Seed, groups, roleNames []string) {
	for i, id := range groups {
		if !slices.ContainsFunc(seed.Groups, func(g Group) bool { return g.ID == id }) {
			c.refuse(fmt.Sprintf("%s.groups[%d]", path, i), "there is no group %s", id)
		}
	}
	for i, name := range roleNames {
		c.oneOf(fmt.Sprintf("%s.roles[%d]", path, i), name, slices.Sorted(maps.Keys(roles))...)
	}
}
