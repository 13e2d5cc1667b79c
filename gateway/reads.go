package gateway

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/budget"
	"atlas-export-gateway/gateway/config"
	"atlas-export-gateway/gateway/reads"
)

// forReads returns what a configuration says about reads.
func forReads(c *config.Config) reads.Config {
	return reads.Config{Freshness: c.Reads.Freshness, StaleIfError: c.Reads.StaleIfError, Timeout: c.Timeouts.Upstream}
}

// keptBytes returns how much memory answers to reads are kept in.
func keptBytes(c *config.Config) int {
	if c.Reads.Share == config.Off {
		return 0
	}
	return c.Reads.KeptBytes
}

// answerRead has a read answered, by Atlas or by what another one has got. It was decided before
// that the caller may make it.
func (g *Gateway) answerRead(x *exchange, request *atlas.Request) (*atlas.Response, error) {
	// What others wait for as well goes on when the exchange has ended, so it keeps no part of it.
	s, caller, version := x.settings, x.caller.Name, x.version
	fetch := func(ctx context.Context) (*atlas.Response, error) { return g.send(ctx, s, caller, request) }
	if s.config.Reads.Share == config.Off {
		x.record.Read = string(reads.Sent)
		return fetch(x.ctx)
	}
	answer, err := g.lasting.reads.Do(x.ctx, forReads(s.config), &reads.Request{
		Request:  request,
		Identity: s.atlas.Identity(request.Group),
		Control:  reads.ControlOf(x.in.Header),
		Waits:    x.ticket.finish, // a thousand who wait for one answer are no work
		Relayable: func(r *atlas.Response) bool {
			return relayable(version, http.MethodGet, r) == nil && !(s.config.Responses.Check == "enforce" && version.CheckResponse(r.Status, r.Body, setsTrue(request.Query, "envelope")) != nil)
		},
	}, fetch)
	x.record.Read = string(answer.How)
	// RFC 9111, section 5.1: an answer that was not made for the request says how old it is.
	if age := answer.Age / time.Second; age > 0 || answer.How == reads.Kept || answer.How == reads.Stale {
		x.age = strconv.FormatInt(int64(age), 10)
	}
	return answer.Response, err
}

// change has a change carried out. A read that begins once the change has left, or once it is
// known what became of it, gets nothing that Atlas was asked about the group before.
func (g *Gateway) change(ctx context.Context, s *settings, caller string, request *atlas.Request) (response *atlas.Response, err error) {
	forgetting := *request
	forgetting.Handed = func() error {
		if request.Handed != nil {
			if err := request.Handed(); err != nil {
				return err
			}
		}
		g.lasting.reads.Forget(request.Group)
		return nil
	}
	defer func() {
		if failed, ok := errors.AsType[*atlas.Error](err); !ok || failed.Outcome != atlas.NotSent {
			g.lasting.reads.Forget(request.Group)
		}
	}()
	return g.send(ctx, s, caller, &forgetting)
}

// forCreate is the way to Atlas of package idempotency.
type forCreate struct {
	gateway  *Gateway
	settings *settings
}

// Send sends a create, or a read that looks for what became of one, which is not shared: it must
// not be answered with what was there before.
func (f forCreate) Send(ctx context.Context, caller string, request *atlas.Request) (*atlas.Response, error) {
	if request.Operation.Create() {
		return f.gateway.change(ctx, f.settings, caller, request)
	}
	return budget.ForCreates{Way: f.settings.way}.Send(ctx, caller, request)
}

// Now returns the time by Atlas's clock, or the zero time as long as Atlas has not answered.
func (f forCreate) Now() time.Time { return f.settings.atlas.Now() }
