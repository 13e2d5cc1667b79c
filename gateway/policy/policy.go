package policy

import "slices"

// Policy is what one caller may do. It is immutable and safe for concurrent use. A nil
// Policy allows nothing.
type Policy struct {
	caller string
	grants []Grant
	rules  map[string]rule // by operationId
}

// rule is the part of a policy for one operation.
type rule struct {
	parts  []part // the lists that restrict the operation
	scope  scope
	grants []*Grant // the grants that name the operation
}

// refusedBy returns the first part of a grant that does not allow the request.
func (r *rule) refusedBy(g *Grant, request *Request) (p part, refused bool) {
	for _, p := range r.parts {
		if list := g.list(p); list != nil && request.concerns(p) {
			if _, ok := p.firstMatch(list, r.value(p, request)); !ok {
				return p, true
			}
		}
	}
	return 0, false
}

// value returns what a list has to allow.
func (r *rule) value(p part, request *Request) string {
	if p == groups && r.scope == everyGroup {
		return all
	}
	return request.value(p)
}

// Allow returns nil if the policy allows the request. Otherwise the error is a *[Refusal]. It
// allows getGroupByName whatever the group, since only Atlas knows whose name it is: AllowAnswer
// then decides on the answer.
func (p *Policy) Allow(request Request) error {
	if p == nil {
		return &Refusal{Request: request, Part: keys[operations]}
	}
	r := p.rules[request.Operation]
	for _, g := range r.grants {
		if _, refused := r.refusedBy(g, &request); !refused {
			return nil
		}
	}
	return p.refusal(request, &r)
}

// AllowAnswer returns nil if the caller may see Atlas's answer to a request that Allow allowed.
// It matters where only the answer tells which group the operation is about. group is the id in
// the answer, or "" if the answer tells none. Otherwise the error is a *[Refusal], which is the
// same for every group that the caller has no grant for, and for none.
func (p *Policy) AllowAnswer(request Request, group string) error {
	if p == nil {
		return &Refusal{Request: request, Part: keys[operations]}
	}
	r := p.rules[request.Operation]
	if r.scope != answerGroup {
		return nil
	}
	var allowed []string
	for _, g := range r.grants {
		if _, ok := groups.firstMatch(g.Groups, group); ok || slices.Contains(g.Groups, all) {
			return nil
		}
		allowed = appendNew(allowed, g.Groups)
	}
	return &Refusal{Caller: p.caller, Request: request, Part: keys[groups], Allowed: allowed}
}

// refusal finds the grants that come closest to allowing the request, the part at which they fail,
// and what they allow there.
func (p *Policy) refusal(request Request, r *rule) *Refusal {
	closest := operations
	for _, g := range r.grants {
		at, _ := r.refusedBy(g, &request)
		closest = max(closest, at)
	}
	var allowed []string
	if closest == operations {
		for i := range p.grants {
			allowed = appendNew(allowed, p.grants[i].Operations)
		}
	}
	for _, g := range r.grants {
		if at, _ := r.refusedBy(g, &request); at == closest {
			allowed = appendNew(allowed, g.list(closest))
		}
	}
	return &Refusal{Caller: p.caller, Request: request, Part: keys[closest], Allowed: allowed}
}

// appendNew appends the entries that the list does not have yet.
func appendNew(list, entries []string) []string {
	for _, entry := range entries {
		if !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	return list
}
