package policy

import (
	"fmt"
	"slices"

	"atlas-export-gateway/internal/nearest"
)

// Compile checks the grants of a caller and returns the caller's Policy. At is the path of the
// grants in the configuration, such as callers.list[2].grants, and operationIDs are all operations
// of the contract. Each mistake is handed to refuse with its path; after one, the Policy is nil.
func Compile(caller, at string, grants []Grant, operationIDs []string, refuse func(path, format string, args ...any)) *Policy {
	p := &Policy{caller: caller, rules: map[string]rule{}}
	refused := false
	for i, g := range grants {
		p.grants = append(p.grants, g.clone())
		p.grants[i].check(fmt.Sprintf("%s[%d]", at, i), operationIDs, func(path, format string, args ...any) {
			refused = true
			refuse(path, format, args...)
		})
	}
	if refused {
		return nil
	}
	for i := range p.grants {
		p.grants[i].complete()
	}
	for _, id := range operationIDs {
		o := describe(id)
		r := rule{parts: o.parts, scope: o.scope}
		for i := range p.grants {
			if g := &p.grants[i]; g.covers(id) {
				r.grants = append(r.grants, g)
			}
		}
		p.rules[id] = r
	}
	return p
}

// check hands each mistake in a grant to refuse.
func (g *Grant) check(at string, operationIDs []string, refuse func(path, format string, args ...any)) {
	restricted := map[part]bool{operations: true, groups: true} // the parts that matter to the operations
	for _, id := range operationIDs {
		if g.covers(id) {
			for _, p := range describe(id).parts {
				restricted[p] = true
			}
		}
	}
	unknown := false
	for i, name := range g.Operations {
		names := append([]string{read, export, manage, all}, operationIDs...)
		if !slices.Contains(names, name) {
			unknown = true
			refuse(fmt.Sprintf("%s.operations[%d]", at, i), "%q is not an operationId, read, export, manage or *%s", name, nearest.Hint(name, names))
		}
		if slices.Contains(operationIDs, name) && describe(name).scope == everyGroup && len(g.Groups) > 0 && !slices.Contains(g.Groups, all) {
			refuse(fmt.Sprintf("%s.operations[%d]", at, i), `%s shows every group, and the grant is for some; write groups: ["*"], or allow getGroup and getGroupByName instead`, name)
		}
	}
	for p, key := range keys {
		list := g.list(part(p))
		switch {
		case len(list) == 0 && part(p) <= groups:
			refuse(at+"."+key, `is required; write ["*"] to allow all`)
		case len(list) == 0 && list != nil:
			refuse(at+"."+key, "is empty, which allows none; leave it out to allow any")
		case len(list) > 0 && !restricted[part(p)] && !unknown && len(g.Operations) > 0 && !slices.Contains(list, all):
			refuse(at+"."+key, "restricts none of the operations that the grant names")
		}
		if part(p) == operations {
			continue
		}
		for i, pattern := range list {
			if problem := part(p).problem(pattern); problem != "" {
				refuse(fmt.Sprintf("%s.%s[%d]", at, key, i), "%q %s", pattern, problem)
			}
		}
	}
}
