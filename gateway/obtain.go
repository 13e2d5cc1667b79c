package gateway

import (
	"context"
	"errors"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/observe"
)

// obtain gets the answer to a request from Atlas: the validated bytes and the resolved version are
// sent, and of the caller's header only what the contract declares.
func (g *Gateway) obtain(x *exchange) error {
	if g.creates != nil && x.match.Operation.Create() {
		return g.createOnce(x)
	}
	request := &atlas.Request{
		Operation: x.match.Operation,
		Group:     x.match.Parameter("groupId"),
		Path:      x.match.Path,
		Query:     x.match.Query,
		Fields:    x.match.Operation.Fields(x.in.Header),
		MediaType: x.version.MediaType,
	}
	if x.version.HasBody() {
		request.Body = x.body
	}
	x.outcome = atlas.Unknown // until send says more
	var response *atlas.Response
	var err error
	if x.change {
		response, err = g.change(x.ctx, x.settings, x.caller.Name, request)
	} else {
		response, err = g.answerRead(x, request)
	}
	if failed, ok := errors.AsType[*atlas.Error](err); ok {
		x.outcome = failed.Outcome
		x.upstream = observe.Upstream{Status: failed.Status, Duration: failed.Duration}
		return failed
	}
	if err != nil {
		return err
	}
	x.outcome = atlas.Answered
	x.upstream = observe.Upstream{Status: response.Status, Duration: response.Duration}
	x.response = response
	return nil
}

// send has a request of a caller's answered by Atlas.
func (g *Gateway) send(ctx context.Context, s *settings, caller string, request *atlas.Request) (*atlas.Response, error) {
	return s.atlas.Send(ctx, request)
}
