package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/unserved"
)

// match finds the operation of the contract, in the raw request target. Only a target that no path
// of the contract can have is an error. What else the contract does not have is told only to
// callers who are let in, by resolveVersion.
func (g *Gateway) match(x *exchange) error {
	var err error
	if x.match, err = g.contract.Match(x.in.Method, x.target); err == nil {
		return nil
	}
	if _, ok := errors.AsType[*contract.TargetError](err); ok {
		return err
	}
	path, _, _ := strings.Cut(x.target, "?")
	x.unserved = &unservedError{Path: unserved.Lookup(path), method: knownMethod(x.in.Method)}
	if known, ok := errors.AsType[*contract.MethodError](err); ok {
		x.unserved.allow, x.unserved.reason = known.Allow, known.Reason
	}
	x.path = x.unserved.Template
	return nil
}

// refuseUnserved refuses what the contract does not have. The answer is never 404: for Terraform's
// provider a 404 means that the thing was deleted, and the next plan makes it again.
func (g *Gateway) refuseUnserved(x *exchange) error {
	switch u := x.unserved; {
	case u.FlexBackup(), u.FlexCluster() && (u.method == http.MethodGet || u.method == http.MethodHead):
		// The Atlas CLI asks for a flex cluster first, and goes on to other clusters only after
		// this answer. After any other error its "snapshots watch" ends with success. The answer
		// is the same whatever exists and whoever asks: what the caller may do decides the next
		// request.
		return flexError(u.Name)
	case u.allow == "" && !u.Documented:
		u.near = g.contract.Nearest(x.target)
	}
	return x.unserved
}

// unservedError is an operation that the contract does not have.
type unservedError struct {
	unserved.Path
	method string // of knownMethod
	allow  string // the methods of the path, where the contract has the path
	reason string // a sentence that says why the path lacks the method, where the contract says so
	near   string // the path of the contract that may be meant; empty where none is near
}

func (e *unservedError) Error() string { return "the contract has no such operation" }

// detail names the operation, in words of the gateway's own.
func (e *unservedError) detail() string {
	operation := e.method + " " + e.Template
	if e.method == otherMethod {
		operation = "this method of " + e.Template
	}
	switch {
	case e.allow != "":
		detail := fmt.Sprintf("This gateway does not serve %s; it serves %s of this path.", operation, e.allow)
		if e.reason != "" {
			detail += " " + e.reason
		}
		return detail
	case strings.HasPrefix(e.Template, "/api/oauth/"):
		return fmt.Sprintf("This gateway does not serve %s as it was asked: it gives out tokens where its configuration lists callers, and at this path without a query.", operation)
	case e.Template == unserved.Other && e.near == "":
		return "This gateway serves the part of Atlas's API that snapshot exports need, below /api/atlas. The path is not one of Atlas's API: look at the base URL."
	case e.Template == unserved.Other:
		operation = "this path"
	}
	detail := fmt.Sprintf("This gateway does not serve %s; it serves the part of Atlas's API that snapshot exports need.", operation)
	if e.near != "" {
		detail += " Did you mean " + e.near + "?"
	}
	return detail
}

// flexError is a request for a flex cluster, by the name that it gave.
type flexError string

func (e flexError) Error() string { return "no cluster that can be exported is a flex cluster" }

// name returns the name of the cluster. A longer one than names may be is cut.
func (e flexError) name() string {
	const longest = 64
	return string(e[:min(len(e), longest)])
}
