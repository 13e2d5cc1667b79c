package idempotency

import (
	"context"
	"encoding/json"
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
	target := strings.TrimSuffix(q.Match.Path, "/") + "/" + r.Result
	if q.Match.Query != "" {
		target += "?" + q.Match.Query
	}
	out, _, err := c.get(target, q.Version)
	if err != nil {
		return nil, false, err
	}
	_, upstream := c.settings()
	response, err := upstream.Send(ctx, out)
	if err == nil {
		status, content := unwrap(response, q.enveloped())
		var item map[string]any
		if json.Unmarshal(content, &item) == nil {
			_, isError := item["error"].(float64)
			gone := status == http.StatusNotFound && isError
			if status == http.StatusOK && idOf(item) == r.Result && !q.kind.ended(item) {
				return &Answer{Response: response, Replayed: true}, false, nil
			}
			if !q.given && (gone || status == http.StatusOK && idOf(item) == r.Result) {
				if err := c.free(r, "what was created has failed or is gone"); err != nil {
					return nil, false, noJournal(err)
				}
				return nil, true, nil
			}
		}
	}
	if stored { // Atlas can't be asked
		return &Answer{Response: wrap(q, r.Answer), Replayed: true}, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return &Answer{Response: response, Replayed: true}, false, nil
}
