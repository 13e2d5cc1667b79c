package idempotency

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/store"
)

// replay answers a request with what an earlier one created. again says that the key is free: what
// was created has failed, or is gone.
func (c *Creates) replay(ctx context.Context, q *request, r *store.Record) (answer *Answer, again bool, err error) {
	if q.differs(r) {
		return nil, false, &Error{Kind: KeyReused, Outcome: atlas.NotSent}
	}
	stored := r.Answer.Status != 0 && len(r.Answer.Body) > 0
	if q.given && stored {
		return &Answer{Response: wrap(q, r.Answer), Replayed: true}, false, nil
	}
	response, item, err := c.read(ctx, q, r)
	switch found := item != nil && idOf(item) == r.Result; {
	case found && (q.given || !q.kind.ended(item)): // a caller's own key does not become free
		return &Answer{Response: response, Replayed: true}, false, nil
	case !q.given && (found || item != nil && c.shown(r)):
		if err := c.free(r, "what was created has failed or is gone"); err != nil {
			return nil, false, noJournal(err)
		}
		return nil, true, nil
	}
	if stored { // Atlas can't be asked
		return &Answer{Response: wrap(q, r.Answer), Replayed: true}, false, nil
	}
	// What there is can't be shown now. No answer to the question for it says so: each would mean
	// that the create itself was refused, or was not sent.
	if err == nil {
		err = fmt.Errorf("status %d answers the question for %s", response.Status, r.Result)
	}
	return nil, false, open(err)
}

// read reads what a record has created, in the version and the form that a request asks for. The
// item is what Atlas shows of it, or Atlas's error where Atlas says that there is nothing, or nil
// where Atlas's answer tells neither.
func (c *Creates) read(ctx context.Context, q *request, r *store.Record) (response *atlas.Response, item map[string]any, err error) {
	for _, path := range q.kind.items {
		target := strings.TrimSuffix(q.Match.Path, "/") + path + r.Result
		if q.Match.Query != "" {
			target += "?" + q.Match.Query
		}
		out, _, err := c.get(target, q.Version)
		if err != nil {
			return nil, nil, err
		}
		out.Exchanges = q.Exchanges.More()
		_, upstream := c.settings()
		if response, err = upstream.Send(ctx, q.Caller, out); err != nil {
			return nil, nil, err
		}
		status, content := unwrap(response, q.enveloped())
		item = nil
		if json.Unmarshal(content, &item) != nil {
			return response, nil, nil
		}
		_, isError := item["error"].(float64)
		switch {
		case status == http.StatusOK && idOf(item) == r.Result:
			return response, item, nil
		case status != http.StatusNotFound || !isError:
			return response, nil, nil
		}
	}
	return response, item, nil
}

// shown reports whether a record was answered so long ago that Atlas shows what was created if it
// is there.
func (c *Creates) shown(r *store.Record) bool {
	config, _ := c.settings()
	return r.Age-r.Changed.Sub(r.Sent) >= config.Quarantine
}
