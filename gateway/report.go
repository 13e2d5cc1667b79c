package gateway

import (
	"slices"
	"strings"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/gateway/policy"
)

// reportOnly returns the callers whose requests may break schemas of the contract.
func reportOnly(c *config.Callers, check string) map[string]bool {
	only := map[string]bool{}
	if c.Anonymous && check == config.Report {
		only[anonymously] = true
	}
	for _, caller := range c.List {
		if caller.RequestsCheck == config.Report || caller.RequestsCheck == "" && check == config.Report {
			only[caller.Name] = true
		}
	}
	return only
}

// anonymously stands for callers without a key in settings.reportOnly: no caller of the list has
// this name.
const anonymously = ""

// mayReport reports whether a request that breaks the contract goes on all the same: if the
// caller's requests are only reported, if there is one way to read the request, and if the gateway
// itself decides nothing by the places where the contract is broken.
func (x *exchange) mayReport(broken *contract.ValidationError) bool {
	name := x.caller.Name
	if x.caller.IsAnonymous() {
		name = anonymously
	}
	return x.settings.reportOnly[name] && broken.OnlySchemas &&
		!slices.ContainsFunc(broken.Violations, func(v contract.Violation) bool { return x.decides(v.Field) })
}

// decides reports whether the gateway decides something by a place of a request. A program that
// ignores case would take another name for it.
func (x *exchange) decides(field string) bool {
	pointer, inBody := strings.CutPrefix(field, "/")
	if !inBody {
		// The form of Atlas's answer depends on envelope. The field is empty for the whole body.
		return field == "" || strings.EqualFold(field, "envelope")
	}
	member, _, _ := strings.Cut(pointer, "/")
	is := func(name string) bool { return strings.EqualFold(name, member) }
	return slices.ContainsFunc(policy.Members, is) || slices.ContainsFunc(idempotency.Members, is) ||
		strings.Contains(strings.ToLower(x.match.Operation.Path), "{"+strings.ToLower(member)+"}")
}

// contentReported reports whether the content of a request that goes on breaks the contract.
func (x *exchange) contentReported() bool {
	return x.reported != nil && slices.ContainsFunc(x.reported.Violations, func(v contract.Violation) bool { return strings.HasPrefix(v.Field, "/") })
}

// queryReported returns the query of a request that goes on although the query breaks the contract,
// and else "".
func (x *exchange) queryReported() string {
	if x.reported != nil && slices.ContainsFunc(x.reported.Violations, func(v contract.Violation) bool { return !strings.HasPrefix(v.Field, "/") }) {
		return x.match.Query
	}
	return ""
}
