package policy

import (
	"slices"
	"strings"
)

// The sets of operations, and the name of all operations.
const (
	read   = "read"
	export = "export"
	manage = "manage"
	all    = "*"
)

// operation is what the policy knows of an operation of v2 and the same operation of v1.0.
type operation struct {
	set   string // the smallest set that has it
	parts []part // the lists that restrict it, except operations
	scope scope
}

// scope is how an operation says which group it is about.
type scope int

const (
	pathGroup   scope = iota // by an id in the path
	everyGroup               // it is about all groups at once
	answerGroup              // only Atlas's answer tells
)

// known has the operations of v2 by operationId.
var known = map[string]operation{
	"listBackupExports":         {set: read, parts: []part{groups, clusters}},
	"getBackupExport":           {set: read, parts: []part{groups, clusters}},
	"createBackupExport":        {set: export, parts: []part{groups, clusters, exportBuckets}},
	"listBackupSnapshots":       {set: read, parts: []part{groups, clusters}},
	"getClusterBackupSnapshot":  {set: read, parts: []part{groups, clusters}},
	"listBackupShardedClusters": {set: read, parts: []part{groups, clusters}},
	"getBackupShardedCluster":   {set: read, parts: []part{groups, clusters}},
	"takeSnapshots":             {set: export, parts: []part{groups, clusters}},
	"listExportBuckets":         {set: read, parts: []part{groups}},
	"getExportBucket":           {set: read, parts: []part{groups, exportBuckets}},
	"createExportBucket":        {set: manage, parts: []part{groups, cloudProviders, bucketNames, serviceURLs}},
	"updateBackupExportBucket":  {set: manage, parts: []part{groups, exportBuckets}},
	"deleteExportBucket":        {set: manage, parts: []part{groups, exportBuckets}},
	"listClusters":              {set: manage, parts: []part{groups}},
	"getCluster":                {set: read, parts: []part{groups, clusters}},
	"getClusterStatus":          {set: read, parts: []part{groups, clusters}},
	"getBackupSchedule":         {set: manage, parts: []part{groups, clusters}},
	"updateBackupSchedule":      {set: manage, parts: []part{groups, clusters, exportBuckets}},
	"listGroups":                {set: read, parts: []part{groups}, scope: everyGroup},
	"getGroup":                  {set: read, parts: []part{groups}},
	"getGroupByName":            {set: read, scope: answerGroup},
	"listCloudProviderAccess":   {set: read, parts: []part{groups}},
	"getCloudProviderAccess":    {set: read, parts: []part{groups}},
}

// describe returns what the policy knows of an operation of either version. An operation that is
// not known is restricted as much as possible.
func describe(id string) operation {
	if o, ok := known[v2Name(id)]; ok {
		return o
	}
	return operation{set: manage, parts: []part{groups, clusters, exportBuckets, cloudProviders, bucketNames, serviceURLs}}
}

// v2Name returns the operationId in v2 of an operation of either version.
func v2Name(id string) string {
	if name, ok := strings.CutPrefix(id, "v1"); ok && name != "" && 'A' <= name[0] && name[0] <= 'Z' {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return id
}

// covers reports whether a name in the operations of a grant stands for an operation.
func covers(name, id string) bool {
	switch set := describe(id).set; name {
	case all, manage:
		return true
	case export:
		return set == read || set == export
	case read:
		return set == read
	}
	return name == id || name == v2Name(id)
}

func (g *Grant) covers(id string) bool {
	return slices.ContainsFunc(g.Operations, func(name string) bool { return covers(name, id) })
}
