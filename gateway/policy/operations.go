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

// operation is what the policy knows of an operation and its twin of v1.0.
type operation struct {
	set   string // the least set that it belongs to
	parts []part // what restricts it, apart from operations
}

var known = map[string]operation{
	"listBackupExports":        {read, []part{groups, clusters}},
	"getBackupExport":          {read, []part{groups, clusters}},
	"createBackupExport":       {export, []part{groups, clusters, exportBuckets}},
	"listExportBuckets":        {read, []part{groups}},
	"getExportBucket":          {read, []part{groups, exportBuckets}},
	"createExportBucket":       {manage, []part{groups, cloudProviders, bucketNames, serviceURLs}},
	"updateBackupExportBucket": {manage, []part{groups, exportBuckets}},
	"deleteExportBucket":       {manage, []part{groups, exportBuckets}},
	"listClusters":             {manage, []part{groups}},
	"getBackupSchedule":        {manage, []part{groups, clusters}},
}

func describe(id string) operation {
	if o, ok := known[twin(id)]; ok {
		return o
	}
	return operation{manage, []part{groups, clusters, exportBuckets, cloudProviders, bucketNames, serviceURLs}}
}

// twin returns the name in v2 of an operation of either generation.
func twin(id string) string {
	if name, ok := strings.CutPrefix(id, "v1"); ok && name != "" && 'A' <= name[0] && name[0] <= 'Z' {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return id
}

// covers reports whether a name in a grant stands for an operation.
func covers(name, id string) bool {
	switch set := describe(id).set; name {
	case all, manage:
		return true
	case export:
		return set == read || set == export
	case read:
		return set == read
	}
	return name == id || name == twin(id)
}

func (g *Grant) covers(id string) bool {
	return slices.ContainsFunc(g.Operations, func(name string) bool { return covers(name, id) })
}
