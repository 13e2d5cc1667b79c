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
	parts  []part   // the lists that restrict the operation
	grants []*Grant // the grants that name the operation
}

// refusedBy returns the first part of a grant that does not allow the request.
func (r *rule) refusedBy(g *Grant, request *Request) (p part, refused bool) {
	for _, p := range r.parts {
		if list := g.list(p); list != nil && request.concerns(p) {
			if _, ok := p.firstMatch(list, request.value(p)); !ok {
				return p, true
			}
		}
	}
	return 0, false
}

// Allow returns nil if the policy allows the request. Otherwise the error is a *[Refusal].
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

// refusal finds the grants that come closest to allowing the request, the part at which they fail,
// and what they allow there.
func (p *Policy) refusal(request Request, r *rule) *Refusal {
	closest := operations
	for _, g := range r.grants {
		at, _ := r.refusedBy(g, &request)
		closest = max(closest, at)
	}
	var allowed []string
	add := func(g *Grant) {
		for _, entry := range g.list(closest) {
			if !slices.Contains(allowed, entry) {
				allowed = append(allowed, entry)
			}
		}
	}
	if closest == operations {
		for i := range p.grants {
			add(&p.grants[i])
		}
	}
	for _, g := range r.grants {
		if at, _ := r.refusedBy(g, &request); at == closest {
			add(g)
		}
	}
	return &Refusal{Caller: p.caller, Request: request, Part: keys[closest], Allowed: allowed}
}
