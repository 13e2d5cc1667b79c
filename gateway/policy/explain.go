package policy

import (
	"fmt"
	"slices"
)

// Explanation is what one grant says to a request.
type Explanation struct {
	// Grant is the grant's place in the caller's list, from 0.
	Grant int
	// Allows reports whether the grant allows the request. One grant is enough.
	Allows bool
	// Lines are the grant's lists that matter to the operation and the provider. If the grant does
	// not name the operation, the only line is that of operations.
	Lines []Line
}

// Line is what one list of a grant says to a request.
type Line struct {
	// Part is the list's key.
	Part string
	// Value is the value of the request that the list restricts. It may be empty.
	Value string
	// Allows reports whether the list allows the value.
	Allows bool
	// By is the entry that allows the value. It is empty if the list was left out.
	By string
	// Entries are the entries of the list.
	Entries []string
}

// Explain says for each grant which parts of it allow the request, or why the grant does not allow
// it. The request is allowed if one grant allows it. For getGroupByName, Group is the group whose
// name it is, and Explain says what AllowAnswer says.
func (p *Policy) Explain(request Request) []Explanation {
	if p == nil {
		return nil
	}
	r, exists := p.rules[request.Operation]
	explanations := make([]Explanation, len(p.grants))
	for i := range p.grants {
		g, e := &p.grants[i], &explanations[i]
		line := Line{Part: keys[operations], Value: request.Operation, Entries: slices.Clone(g.Operations)}
		if at := slices.IndexFunc(g.Operations, func(name string) bool { return covers(name, request.Operation) }); exists && at >= 0 {
			line.Allows, line.By = true, g.Operations[at]
		}
		*e = Explanation{Grant: i, Allows: line.Allows, Lines: []Line{line}}
		if !line.Allows {
			continue
		}
		parts := r.parts
		if r.scope == answerGroup {
			parts = []part{groups} // which AllowAnswer compares
		}
		for _, p := range parts {
			if !request.concerns(p) {
				continue
			}
			list := g.list(p)
			line := Line{Part: keys[p], Value: r.value(p, &request), Allows: list == nil, Entries: slices.Clone(list)}
			if list != nil {
				line.By, line.Allows = p.firstMatch(list, line.Value)
			}
			e.Allows = e.Allows && line.Allows
			e.Lines = append(e.Lines, line)
		}
	}
	return explanations
}

// String returns the explanation for an operator: a line for the grant and an indented line for
// each of its lists.
func (e Explanation) String() string {
	verdict := "does not allow it"
	if e.Allows {
		verdict = "allows it"
	}
	text := fmt.Sprintf("grants[%d] %s", e.Grant, verdict)
	for _, line := range e.Lines {
		text += "\n  " + line.String()
	}
	return text
}

// String returns the line without the grant.
func (l Line) String() string {
	switch {
	case l.Allows && l.By == "":
		return fmt.Sprintf("yes %s: any", l.Part)
	case l.Allows:
		return fmt.Sprintf("yes %s: %s by %s", l.Part, legible(l.Value), legible(l.By))
	case len(l.Entries) == 0:
		return fmt.Sprintf("no  %s: the grant allows none", l.Part)
	case l.Value == "":
		return fmt.Sprintf("no  %s: none is given, and it must be in %s", l.Part, entries(l.Entries))
	default:
		return fmt.Sprintf("no  %s: %s is not in %s", l.Part, legible(l.Value), entries(l.Entries))
	}
}
