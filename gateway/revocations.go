package gateway

import "context"

// followRevocations learns which tokens the journal has as revoked, and where others share it, goes
// on to learn what they revoke until stop is called.
func (g *Gateway) followRevocations(ctx context.Context) (stop func(), err error) {
	if g.journal == nil {
		return func() {}, nil
	}
	if err := g.lasting.memory.Share(ctx, g.journal); err != nil || !g.journal.Shared() {
		return func() {}, err
	}
	following, cancel := context.WithCancel(context.WithoutCancel(ctx)) // also while it drains
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.lasting.memory.Follow(following, func(err error) {
			if err != nil {
				g.log.Error("tokens that other gateways revoke stay good here meanwhile", "cause", err.Error())
				return
			}
			g.log.Info("what other gateways have revoked is known again")
		})
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}
