package gateway

import (
	"context"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
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
		Exchanges: x.span.Exchanges(),
	}
	if x.version.HasBody() {
		request.Body = x.body
	}
	x.outcome = atlas.Unknown // should send panic
	var response *atlas.Response
	var err error
	if x.change {
		response, err = g.change(x.ctx, x.settings, x.caller.Name, request)
	} else {
		response, err = g.answerRead(x, request)
	}
	if err != nil {
		return x.failed(err)
	}
	x.outcome = atlas.Answered
	x.upstream = observe.Upstream{Status: response.Status, Duration: response.Duration}
	x.response = response
	return nil
}

// failed notes what an error on the way to Atlas says of the request.
func (x *exchange) failed(err error) error {
	x.outcome = atlas.Unknown
	switch e := err.(type) {
	case *atlas.Error:
		x.outcome = e.Outcome
		x.upstream = observe.Upstream{Status: e.Status, Duration: e.Duration}
	case *budget.Error:
		x.outcome = atlas.NotSent
	}
	return err
}

// budgetState returns what the metrics say of Atlas's rate limit.
func (g *Gateway) budgetState() observe.Budget {
	state := g.lasting.budget.State(observe.LeastBuckets)
	shown := observe.Budget{Waiting: state.Waiting, Paused: state.Paused, Out: state.Out}
	for _, b := range state.Least {
		shown.Least = append(shown.Least, observe.Bucket(b))
	}
	return shown
}

// send has a request answered by Atlas, within its rate limit.
func (g *Gateway) send(ctx context.Context, s *settings, caller string, request *atlas.Request) (*atlas.Response, error) {
	return s.way.Send(ctx, caller, request)
}
