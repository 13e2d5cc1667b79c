package budget

import (
	"net/http"
	"strings"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/atlas"
)

// Class is how urgent a request is.
type Class int

// The classes, in the order of their turns.
const (
	// Write is a change, or what belongs to one.
	Write Class = iota
	// Read is any other read than a Poll.
	Read
	// Poll is a read of one export job.
	Poll

	classes
)

var classNames = [classes]string{"write", "read", "poll"}

func (c Class) String() string { return classNames[c] }

func classOf(o *contract.Operation) Class {
	switch {
	case o.Method != http.MethodGet:
		return Write
	case strings.HasSuffix(o.Path, "/exports/{exportId}"):
		return Poll
	}
	return Read
}

// key names one of Atlas's buckets.
type key struct {
	group     string // empty for operations without one
	endpoints string
}

// keyOf returns the bucket that Atlas takes a request from. Its documents say that all operations of
// cloud backups share one: snapshots, exports, export buckets and schedules. Of the others it is
// assumed that those below the same word share one: clusters, cloudProviderAccess, groups.
func keyOf(r *atlas.Request) key {
	k := key{r.Group, "groups"}
	if strings.Contains(r.Operation.Path, "/backup/") {
		k.endpoints = "backup"
	} else if _, below, ok := strings.Cut(r.Operation.Path, "/{groupId}/"); ok {
		k.endpoints, _, _ = strings.Cut(below, "/")
	}
	return k
}
