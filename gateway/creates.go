package gateway

import (
	"context"
	"errors"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/gateway/observe"
	"atlas-export-gateway/store"
)

// UseJournal makes creates happen once, from now on: they are recorded in the journal before they
// are sent. From Serve on, the journal also has the tokens that were revoked. UseJournal is called
// before the first request. Serve or Close ends what the journal is used for; the caller closes
// the journal after that.
func (g *Gateway) UseJournal(journal *store.Store) {
	g.journal = journal
	g.creates = idempotency.New(journal, g.contract, g.forCreates, g.log, idempotency.Observer{
		Create: g.metrics.Create,
		Commit: g.metrics.Commit,
	})
	g.metrics.CountCreates(journal.Count)
}

// Close ends the search for creates whose outcome is unknown, and waits until those that were sent
// have been answered, or until the context ends. Creates that come later are refused. It also ends
// the fetching of issuers' keys; requests go on with those that are there. Serve does the same at
// its end; a program that runs the Gateway as an http.Handler calls Close when its server has
// ended.
func (g *Gateway) Close(ctx context.Context) error {
	defer g.lasting.pool.CloseIdleConnections()
	g.lasting.memory.Close()
	if g.creates == nil {
		return nil
	}
	return g.creates.Close(ctx)
}

// forCreates returns what the settings in force say about creates.
func (g *Gateway) forCreates() (idempotency.Config, idempotency.Upstream) {
	s := g.settings.Load()
	c := &s.config.Creates
	return idempotency.Config{
		Keys:       idempotency.Keys(c.Keys),
		Retention:  c.Retention,
		Quarantine: c.Quarantine,
		Wait:       c.Wait,
		Quota:      c.OpenPerCaller,
		Timeout:    s.config.Timeouts.Upstream,
	}, forCreate{g, s}
}

// createOnce gets the answer to a create, which is sent unless an earlier request has created the
// same.
func (g *Gateway) createOnce(x *exchange) error {
	// It may be known from somewhere else than an answer to this gateway: another one has sent the
	// create, or a list shows what it created.
	defer func() {
		if x.outcome != atlas.NotSent {
			g.lasting.reads.Forget(x.match.Parameter("groupId"))
		}
	}()
	answer, err := g.creates.Do(x.ctx, &idempotency.Request{
		Caller:    x.caller.Name,
		ID:        x.id,
		Exchanges: x.span.Exchanges(),
		Key:       x.in.Header["Idempotency-Key"],
		Match:     x.match,
		Version:   x.version,
		Body:      x.body,
		Content:   x.content,
		Outside:   x.contentReported(),
		Query:     x.queryReported(),
	})
	if err == nil {
		x.outcome = atlas.Answered
		x.upstream = observe.Upstream{Status: answer.Status, Duration: answer.Duration}
		x.response = answer.Response
		if answer.Replayed {
			x.record.Replayed, x.joined = true, answer.Joined
			x.out.Header()["Idempotent-Replayed"] = []string{"true"}
		}
		return nil
	}
	if failed, ok := errors.AsType[*idempotency.Error](err); ok {
		x.outcome = failed.Outcome
		return failed
	}
	return x.failed(err)
}

// refuseCreate words why a create has no answer of Atlas's.
func refuseCreate(e *idempotency.Error) *refusal {
	after := seconds(e.RetryAfter)
	switch e.Kind {
	case idempotency.KeyMalformed:
		return refuse(kindKey, nil, "Idempotency-Key must be sent once, as 1 to 255 visible characters of ASCII, with or without quotation marks around them.")
	case idempotency.KeyMissing:
		return refuse(kindKeyMissing, nil, "This gateway takes a create only with the field Idempotency-Key: send a value of its own with each thing that is to be created, and the same value when you repeat the request.")
	case idempotency.KeyReused:
		return refuse(kindKeyReused, nil, "This Idempotency-Key was sent with another request. Send another key for another create.")
	case idempotency.QuotaReached:
		return refuse(kindOpenCreates, nil, "Too many creates of this caller are open. This one was not sent.").with("Retry-After", after)
	case idempotency.NoJournal:
		return refuse(kindJournal, e, "The gateway can't record the create now, so it did not send it. Repeat it.").with("Retry-After", after)
	case idempotency.Released:
		return refuse(kindOpen, e, "It is not known whether the request was carried out. An operator has released its key: repeat the request, which is then sent.").with("Retry-After", after)
	case idempotency.NothingHappened:
		return refuse(kindNotCarriedOut, e, "Atlas did not carry out the create: its lists do not show it. Repeat it.").with("Retry-After", after)
	}
	if e.Outcome == atlas.NotSent {
		return refuse(kindOpen, e, "The gateway did not come to send the create in time. Repeat it.").with("Retry-After", after)
	}
	return refuse(kindOpen, e, "It is not known whether the request was carried out. The gateway goes on looking: repeat the request, which creates nothing twice and gets what was created.").with("Retry-After", after)
}
