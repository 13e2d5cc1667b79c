package gateway

import (
	"errors"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/policy"
)

// disclose decides whether the caller may learn what came of the request: Atlas's answer, or the
// error that obtain returned. Authorize has decided it, except where only the answer tells which
// group the request is about. There, a caller who may not see every group gets one refusal for a
// group that it may not see, for a name that no group has, and for whatever else Atlas answers. So
// it does not learn which names exist.
func (g *Gateway) disclose(x *exchange, failed error) error {
	if x.caller.IsAnonymous() || x.match.Parameter("groupId") != "" {
		return failed
	}
	group := ""
	switch refused, ok := errors.AsType[*atlas.Error](failed); {
	case failed == nil && aboutTheMoment(x.response.Status):
		return nil
	case failed == nil && x.response.Status < 300:
		group = groupIn(x.response.Body)
	case ok && refused.Status == http.StatusUnauthorized:
		// Atlas answers so for a group that the gateway's key may not use.
	case failed != nil:
		return failed
	}
	if err := x.settings.policies[x.caller.Name].AllowAnswer(policy.Request{Operation: x.match.Operation.ID}, group); err != nil {
		return err
	}
	return failed
}

// aboutTheMoment reports whether a status says only that Atlas can't answer now.
func aboutTheMoment(status int) bool {
	return status == http.StatusTooManyRequests || status >= 500
}

// groupIn returns the id of the group that an answer is about, maybe in an envelope. It returns ""
// if there is none, or more than one.
func groupIn(body []byte) string {
	type group struct {
		ID string `json:"id"`
	}
	var answer struct {
		ID       string `json:"id"`
		Content  group  `json:"content"`
		Envelope group  `json:"envelope"` // see contract.Version.CheckResponse
	}
	// Unlike encoding/json, this takes no member id for another that is written ID, and no body
	// with two of one name.
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	ids := slices.DeleteFunc([]string{answer.ID, answer.Content.ID, answer.Envelope.ID}, func(id string) bool { return id == "" })
	if ids = slices.Compact(ids); len(ids) != 1 {
		return ""
	}
	return ids[0]
}
