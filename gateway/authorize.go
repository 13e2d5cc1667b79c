package gateway

import "atlas-export-gateway/gateway/policy"

// authorize decides whether the caller may do this, by what is in the request only: a
// refusal does not tell whether the thing exists.
func (g *Gateway) authorize(x *exchange) error {
	if x.caller.IsAnonymous() {
		x.authorized = true
		return nil
	}
	request := policy.Request{
		Operation:    x.match.Operation.ID,
		Group:        x.match.Parameter("groupId"),
		Cluster:      x.match.Parameter("clusterName"),
		ExportBucket: x.match.Parameter("exportBucketId"),
	}
	if x.content != nil {
		request.FromBody(x.content)
	}
	err := x.settings.policies[x.caller.Name].Allow(request)
	x.authorized = err == nil
	return err
}
