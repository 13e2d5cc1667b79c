package idempotency

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"atlas-export-gateway/internal/objectid"
	"atlas-export-gateway/store"
)

// kind is what is created: how two creates of it are the same, and where what was created is
// found.
type kind struct {
	name string
	// kept says that the key stays taken once the create was answered. A bucket may be deleted and
	// made again, and a snapshot may be taken every day with the same words.
	kept bool
	// shape returns a digest of what a list shows of the thing that a content creates. It is the
	// same for the content of a request and for an item of a list.
	shape func(item map[string]any) string
	// canonical returns all that matters of the content of a request.
	canonical func(content map[string]any) string
	// subject and bucket return what the content names, for operators.
	subject, bucket string
	// lists are where things of this kind are listed, below the group or the cluster.
	lists []string
	// items are the paths, below that of the create, that one thing of this kind may be read at.
	items []string
	// ended reports whether a thing that exists leaves its key free, as a failed export does.
	ended func(item map[string]any) bool
}

// exports are export jobs.
var exports = &kind{
	name: "export",
	kept: true,
	shape: func(item map[string]any) string {
		return digest("export", text(item, "snapshotId"), text(item, "exportBucketId"), pairs(item["customData"]))
	},
	canonical: func(content map[string]any) string {
		return digest(text(content, "snapshotId"), text(content, "exportBucketId"), pairs(content["customData"]))
	},
	subject: "snapshotId",
	bucket:  "exportBucketId",
	lists:   []string{"/backup/exports"},
	items:   []string{"/"},
	ended: func(item map[string]any) bool {
		state := text(item, "state")
		return state == "Failed" || state == "Cancelled"
	},
}

// buckets are export buckets.
var buckets = &kind{
	name: "bucket",
	shape: func(item map[string]any) string {
		provider := text(item, "cloudProvider")
		name := text(item, "bucketName")
		if provider == "AZURE" { // whose bucketName is optional, and part of the URL
			name = text(item, "serviceUrl")
		}
		role := text(item, "roleId")
		if provider == "AWS" {
			role = text(item, "iamRoleId")
		}
		return digest("bucket", provider, name, role)
	},
	canonical: canonical,
	subject:   "bucketName",
	lists:     []string{"/backup/exportBuckets"},
	items:     []string{"/"},
	ended:     func(map[string]any) bool { return false },
}

// snapshots are on-demand snapshots. A list shows neither how many days one is kept nor who asked
// for it.
var snapshots = &kind{
	name: "snapshot",
	shape: func(item map[string]any) string {
		if kind := text(item, "snapshotType"); kind != "" && kind != "onDemand" {
			return digest("another")
		}
		return digest("snapshot", text(item, "description"))
	},
	canonical: canonical,
	lists:     []string{"/backup/snapshots", "/backup/snapshots/shardedClusters"},
	items:     []string{"/", "/shardedCluster/"},
	ended:     func(item map[string]any) bool { return text(item, "status") == "failed" },
}

// Members are the members of contents that the kinds read: a create whose lists can't be compared
// with them could not be found again.
var Members = []string{"snapshotId", "exportBucketId", "customData", "cloudProvider", "bucketName", "serviceUrl", "iamRoleId", "roleId", "description", "snapshotType"}

// kinds are the kinds by the operations that create them.
var kinds = map[string]*kind{
	"createBackupExport":   exports,
	"v1CreateBackupExport": exports,
	"createExportBucket":   buckets,
	"v1CreateExportBucket": buckets,
	"takeSnapshots":        snapshots,
	"v1TakeSnapshots":      snapshots,
}

// byName are the kinds by the name that records have.
var byName = map[string]*kind{exports.name: exports, buckets.name: buckets, snapshots.name: snapshots}

// collections returns the targets of the lists that show what a record has created, in v2, without
// the query.
func (k *kind) collections(r *store.Record) []string {
	base := "/api/atlas/v2/groups/" + r.Group
	if r.Cluster != "" {
		base += "/clusters/" + r.Cluster
	}
	var all []string
	for _, list := range k.lists {
		all = append(all, base+list)
	}
	return all
}

// text returns a member of an object that is a text, or "".
func text(item map[string]any, name string) string {
	value, _ := item[name].(string)
	return value
}

// pairs returns custom data in one form, whatever its order.
func pairs(value any) string {
	list, _ := value.([]any)
	var all []string
	for _, pair := range list {
		if pair, ok := pair.(map[string]any); ok {
			line, _ := json.Marshal([]string{text(pair, "key"), text(pair, "value")})
			all = append(all, string(line))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// idOf returns the id of a thing that Atlas has answered, or "".
func idOf(item map[string]any) string {
	for _, name := range []string{"id", "_id"} {
		if id := text(item, name); objectid.Valid(id) {
			return id
		}
	}
	return ""
}

// createdAt returns when a thing was created, by Atlas's clock: as it says, or else as its id
// says, whose first 8 digits count seconds.
func createdAt(item map[string]any) time.Time {
	if created, err := time.Parse(time.RFC3339, text(item, "createdAt")); err == nil {
		return created
	}
	seconds, err := strconv.ParseInt(idOf(item)[:min(8, len(idOf(item)))], 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
