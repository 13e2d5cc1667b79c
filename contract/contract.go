// Package contract decides whether the contract allows a request, from the raw request target to
// the last byte of the body, and whether it allows a response.
//
// The gateway calls it for every request, and the command line for a dry run. There are three
// steps: Match finds the operation that a method and a request target name. Resolve finds the
// version of the operation that Accept asks for. Check reads parameters and body strictly, and
// names all violations at once. The package never changes what it checks. It refuses more than
// kin-openapi does: needless percent escapes and dot segments in paths, unknown, repeated and
// misspelt query parameters, numbers that are not canonical, repeated members, trailing data and
// invalid UTF-8 in bodies.
package contract

import (
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// Contract is a compiled OpenAPI document. It is immutable and safe for concurrent use.
type Contract struct {
	root       *segment
	operations []*Operation
	encoded    []string        // what a path has in front of a parameter that may hold percent escapes
	names      map[string]bool // of parameters, and of the members of requests
}

// Operation is one operation of the contract.
type Operation struct {
	// ID is the operationId, such as createBackupExport or v1GetExportBucket.
	ID string
	// Method is the request method, in upper case.
	Method string
	// Path is the documented path, with its parameters in braces.
	Path string
	// Versions are the versions that Atlas defines, oldest first. An operation of v1.0 has one,
	// without a date.
	Versions []*Version

	segments []string // of Path, without a trailing slash
	path     []*parameter
	encoded  bool // the first of path may hold percent escapes
	query    map[string]*parameter
	names    []string       // of the query parameters, sorted
	fields   []*parameter   // of the header
	refused  map[string]any // sentences by method, of the path
}

// Version is one version of an operation.
type Version struct {
	// Date is the version's name, as YYYY-MM-DD; empty for v1.0.
	Date string
	// MediaType is the value of Accept for exactly this version, and the media type of its
	// content.
	MediaType string
	// Sunset is the day, in UTC, from which on Atlas may remove the version. It is zero if none is
	// announced.
	Sunset time.Time

	request   *openapi3.Schema // nil if a request has no content
	responses map[int]*openapi3.Schema
	failure   *openapi3.Schema // for every other status
}

// HasBody reports whether a request of this version has content.
func (v *Version) HasBody() bool { return v.request != nil }

// Operations returns the operations of the contract in the order of their ids.
func (c *Contract) Operations() []*Operation { return c.operations }

// TakesQuery reports whether the operation has a query parameter of a name.
func (o *Operation) TakesQuery(name string) bool { return o.query[name] != nil }
