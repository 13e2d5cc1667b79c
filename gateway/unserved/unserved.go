// Package unserved names what a caller asks of Atlas and the gateway does not serve, in words that
// may stand in a log and in the label of a metric: a path with placeholders for ids and names.
//
// Package gateway calls it for each request that the contract has no operation for. The words come
// from a closed list, the paths that Atlas documents. Nothing that a caller wrote is among them.
package unserved

import (
	_ "embed"
	"strings"
)

// Other is the Template of a path that is not of Atlas's API.
const Other = "other"

// Path is what Lookup tells of a request's path.
type Path struct {
	// Template is the path with placeholders, such as
	// /api/atlas/v2/groups/{groupId}/databaseUsers. It ends in /* where no documented path goes on
	// as this one does.
	Template string
	// Documented says that Atlas documents the path.
	Documented bool
	// Group and Name are what the path has in the places of {groupId} and {name}: text of the
	// caller, which was not checked. Each is empty where the path has no such place.
	Group, Name string
}

const flexCluster = "/api/atlas/v2/groups/{groupId}/flexClusters/{name}"

// FlexCluster reports whether the path names a flex cluster, and nothing below it.
func (p Path) FlexCluster() bool { return p.Template == flexCluster }

// FlexBackup reports whether the path is of the backups of a flex cluster.
func (p Path) FlexBackup() bool { return strings.HasPrefix(p.Template, flexCluster+"/backup") }

//go:embed paths.txt
var ofAtlas string

// The trees of documented paths, by what stands before them. Atlas had most paths of v2 already in
// v1.0, so the versions share a tree. The paths of private are those that the Atlas CLI logs in
// by.
var (
	atlas   = grow(strings.Split(ofAtlas, "\n")...)
	private = grow("unauth/account/device/authorize", "unauth/account/device/registration", "unauth/account/device/revoke", "unauth/account/device/token")
	oauth   = grow("token", "revoke")
)

// Lookup finds the documented path that the path of a request is one of. The path has neither
// escapes nor empty segments, except for one slash at the end.
func Lookup(path string) Path {
	rest := strings.TrimSuffix(path, "/")
	for _, tree := range []struct {
		prefix string
		root   *node
	}{
		{"/api/atlas/v2", atlas}, {"/api/atlas/v1.0", atlas}, {"/api/atlas/v1.5", atlas},
		{"/api/private", private}, {"/api/oauth", oauth}, {"/api/atlas", &node{}},
	} {
		if below, ok := strings.CutPrefix(rest, tree.prefix); ok && (below == "" || below[0] == '/') {
			return tree.root.lookup(tree.prefix, strings.TrimPrefix(below, "/"))
		}
	}
	return Path{Template: Other}
}

// node is a segment of documented paths.
type node struct {
	literals  map[string]*node
	parameter *node
	name      string // of a parameter, in braces
	path      string // the documented path that ends here, if one does
}

// grow makes the tree of some paths. It leaves out comments and empty lines.
func grow(paths ...string) *node {
	root := &node{}
	for _, path := range paths {
		if path == "" || path[0] == '#' {
			continue
		}
		n := root
		for segment := range strings.SplitSeq(path, "/") {
			n = n.child(segment)
		}
		n.path = path
	}
	return root
}

// child returns the node for a segment below n. It makes the node if there is none.
func (n *node) child(segment string) *node {
	if segment[0] == '{' {
		if n.parameter == nil {
			n.parameter = &node{name: segment}
		}
		return n.parameter
	}
	if n.literals == nil {
		n.literals = map[string]*node{}
	}
	if n.literals[segment] == nil {
		n.literals[segment] = &node{}
	}
	return n.literals[segment]
}

// lookup finds the rest of a path below n, whose own path is the prefix.
func (n *node) lookup(prefix, rest string) Path {
	p := Path{Template: prefix}
	for rest != "" {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		if next := n.literals[segment]; next != nil {
			n = next
			p.Template += "/" + segment
			continue
		}
		if n = n.parameter; n == nil {
			p.Template += "/*"
			return p
		}
		p.Template += "/" + n.name
		switch n.name {
		case "{groupId}":
			p.Group = segment
		case "{name}":
			p.Name = segment
		}
	}
	if n.path != "" { // names its parameters as this path does, which may share a node with another
		p.Template, p.Documented = prefix+"/"+n.path, true
	}
	return p
}
