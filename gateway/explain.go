package gateway

import (
	"fmt"
	"maps"
	"slices"

	"atlas-export-gateway/contract"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/nearest"
)

// Explain says, for each grant of a caller, whether it allows a request, or why not. It
// refuses a caller that the configuration does not have, an operation that the contract does
// not have, and ids and names that can't exist.
func Explain(parts *config.Parts, caller string, request policy.Request) ([]policy.Explanation, error) {
	p, ok := parts.Policies[caller]
	if !ok {
		return nil, fmt.Errorf("no caller of the configuration has the name %q%s", caller, nearest.Hint(caller, slices.Sorted(maps.Keys(parts.Policies))))
	}
	rules, err := contract.Load()
	if err != nil {
		return nil, err
	}
	if ids := rules.OperationIDs(); !slices.Contains(ids, request.Operation) {
		return nil, fmt.Errorf("the contract has no operation %q%s", request.Operation, nearest.Hint(request.Operation, ids))
	}
	for _, named := range []struct{ parameter, value string }{
		{"groupId", request.Group}, {"clusterName", request.Cluster}, {"exportBucketId", request.ExportBucket},
	} {
		if named.value == "" {
			continue
		}
		if err := rules.CheckParameter(named.parameter, named.value); err != nil {
			return nil, err
		}
	}
	request.Settle()
	return p.Explain(request), nil
}
