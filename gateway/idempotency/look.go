package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/store"
)

const (
	minPause = time.Second      // between two looks at Atlas's lists, at first
	maxPause = 15 * time.Second // at last
	lookTime = 10 * time.Minute // for one look; each page has timeouts.upstream
	maxLooks = 8                // at a time, each of another group

	// slack is how much earlier than it was sent a thing may seem to have been created: clocks of
	// Atlas's servers differ, and Atlas counts seconds.
	slack = time.Minute
)

// look looks for what a create has created, until it has been found, or until it is sure enough that
// there is nothing. It is not done where the record has changed.
func (c *Creates) look(f *flight, r *store.Record) (end, bool) {
	config, _ := c.settings()
	began := time.Now()
	// A create that this process sent can no longer be carried out after the quarantine. One that
	// another process had begun may still have been leaving. How long ago it was begun does not count:
	// only the journal's clock tells it, and that may have been set.
	hidden := config.Quarantine
	c.mu.Lock()
	mine := f.sent
	f.looking = true
	c.mu.Unlock()
	if !mine {
		hidden += config.Timeout
	}
	if r.State == store.Sent {
		ctx, cancel := c.call()
		defer cancel()
		if err := c.journal.Unknown(ctx, r.ID, "its answer was not recorded"); err != nil && !errors.Is(err, store.ErrGone) {
			return end{err: c.failed(f, err)}, true
		}
	}
	misses := 0
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		switch found, err := c.find(r); {
		case err != nil:
			misses = 0
			c.log.Warn("a create whose outcome is unknown can't be looked for now", slog.String("id", r.RequestID), slog.Any("error", err))
		case found.busy:
		case len(found.items) == 1:
			item := found.items[0]
			body, _ := json.Marshal(item)
			err := c.answered(config, r, idOf(item), store.Answer{Status: http.StatusOK, MediaType: "application/json", Body: body})
			if err == nil || errors.Is(err, store.ErrGone) {
				return end{}, false // Find tells the rest
			}
		case len(found.items) > 1:
			c.several(r, found.items)
		case time.Since(began) >= hidden:
			if misses++; misses < 2 {
				break
			}
			if err := c.free(r, "Atlas's lists show that it was not carried out"); err != nil {
				break
			}
			if mine {
				return end{err: &Error{Kind: NothingHappened, Outcome: atlas.NotSent, RetryAfter: time.Second}}, true
			}
			return end{}, false // the request that waits is sent now, for the first time
		}
		select {
		case <-time.After(min(pause, max(minPause, hidden-time.Since(began)))):
		case <-c.ctx.Done():
			return end{err: open(errWaited)}, true
		}
		ctx, cancel := c.call()
		current, err := c.journal.Get(ctx, r.ID)
		if cancel(); errors.Is(err, store.ErrGone) || err == nil && (current.State == store.Answered || current.Owner != c.owner) {
			return end{}, false
		}
	}
}

// several notes that it is for a person to say which of several things a create has created.
func (c *Creates) several(r *store.Record, items []map[string]any) {
	ids := ""
	for _, item := range items {
		ids += " " + idOf(item)
	}
	note := fmt.Sprintf("several match, look which is wanted, and release the key:%s", ids)
	if r.Note == note {
		return
	}
	ctx, cancel := c.call()
	defer cancel()
	if c.journal.Unknown(ctx, r.ID, note) == nil {
		r.Note = note
		c.logState(r, string(store.Unknown), note)
	}
}

// findings are what Atlas's lists show.
type findings struct {
	items []map[string]any // that match, and that no other record has
	busy  bool             // another create that would look the same is under way
}

// find looks at Atlas's lists once.
func (c *Creates) find(r *store.Record) (found findings, err error) {
	end, ok := c.turns.take(r.Group, c.ctx.Done())
	if !ok {
		return findings{}, errClosed
	}
	defer end()
	ctx, cancel := context.WithTimeout(c.ctx, lookTime)
	defer cancel()
	kind, seen, from := byName[r.Kind], map[string]bool{}, since(r)
	for _, collection := range kind.collections(r) {
		if err := c.list(ctx, r.Caller, collection, from, func(item map[string]any) {
			// An item moves to the next page when one is added.
			if id := idOf(item); id != "" && !seen[id] && kind.shape(item) == r.Match && !createdAt(item).Before(from) {
				seen[id] = true
				found.items = append(found.items, item)
			}
		}); err != nil {
			return findings{}, err
		}
	}
	if len(found.items) == 0 {
		return found, nil
	}
	var ids []string
	for _, item := range found.items {
		ids = append(ids, idOf(item))
	}
	taken, err := c.journal.Taken(ctx, r.Kind, r.ID, ids)
	if err != nil {
		return findings{}, err
	}
	free := found.items[:0]
	for _, item := range found.items {
		if !taken[idOf(item)] {
			free = append(free, item)
		}
	}
	found.items = free
	if len(free) > 0 {
		found.busy, err = c.journal.Leaving(ctx, r)
	}
	return found, err
}

// since returns the time, by Atlas's clock, before which nothing can have been created by a create;
// the zero time where that is not known. The journal's clock does not count, which may have been set.
func since(r *store.Record) time.Time {
	if r.AtlasSent.IsZero() {
		return time.Time{}
	}
	return r.AtlasSent.Add(-slack)
}

// list calls visit for the items of a list of Atlas's: for all that were created since a time, and
// perhaps for others.
func (c *Creates) list(ctx context.Context, caller, collection string, from time.Time, visit func(item map[string]any)) error {
	first, order := "", descending{}
	for page := 1; ; page++ {
		target := fmt.Sprintf("%s?includeCount=false&itemsPerPage=%d&pageNum=%d", collection, itemsPerPage, page)
		if !c.paged(collection) {
			target = collection
		}
		results, err := c.page(ctx, caller, target)
		if err != nil {
			return err
		}
		for _, item := range results {
			visit(item)
			order.add(createdAt(item))
		}
		if len(results) < itemsPerPage || target == collection || order.passed(from) {
			return nil
		}
		if first == idOf(results[0]) {
			return errors.New("the list answers the same page again")
		}
		first = idOf(results[0])
	}
}

// page gets one page of a list.
func (c *Creates) page(ctx context.Context, caller, target string) ([]map[string]any, error) {
	out, _, err := c.get(target, nil)
	if err != nil {
		return nil, err
	}
	_, upstream := c.settings()
	response, err := upstream.Send(ctx, caller, out)
	if err != nil {
		return nil, err
	}
	if response.Status != http.StatusOK {
		return nil, fmt.Errorf("the list was answered with status %d", response.Status)
	}
	var list struct{ Results []map[string]any }
	if err := json.Unmarshal(response.Body, &list); err != nil {
		return nil, fmt.Errorf("the list is not JSON: %w", err)
	}
	if list.Results == nil { // something other than Atlas answers, which says nothing of what there is
		return nil, errors.New("the list has no results")
	}
	return list.Results, nil
}

// descending tells from a list itself whether it has the newest first. Atlas's lists seem to, which
// spares the rest of a long one, but nobody has recorded that they do.
type descending struct {
	newest, last time.Time
	not          bool
}

func (d *descending) add(created time.Time) {
	if d.newest.IsZero() {
		d.newest = created
	} else if created.After(d.last) {
		d.not = true
	}
	d.last = created
}

// passed reports whether what follows was created before a time.
func (d *descending) passed(from time.Time) bool {
	return !d.not && d.last.Before(d.newest) && d.last.Before(from)
}

// itemsPerPage is the largest that Atlas takes.
const itemsPerPage = 500

// paged reports whether a list takes a page number.
func (c *Creates) paged(collection string) bool {
	match, err := c.contract.Match(http.MethodGet, collection)
	return err == nil && match.Operation.TakesQuery("pageNum")
}
