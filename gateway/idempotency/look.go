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
	maxPages = 20               // of a list
	maxLooks = 4                // at a time: the lists cost requests that callers need as well

	// slack is how much earlier than it was sent a thing may seem to have been created: clocks
	// differ, and Atlas counts seconds.
	slack = time.Minute
)

// look looks for what a create has created, until it has been found, or until it is sure enough that
// there is nothing. It is not done where the record has changed.
func (c *Creates) look(f *flight, r *store.Record) (end, bool) {
	config, _ := c.settings()
	began := time.Now()
	// A create that this process sent can no longer be carried out after the quarantine. One that
	// another process had begun may still have been leaving.
	hidden := config.Quarantine
	c.mu.Lock()
	mine := f.sent
	f.looking = true
	c.mu.Unlock()
	if !mine {
		hidden += max(0, config.Timeout-r.Age)
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
		switch found, err := c.find(r, r.Age+time.Since(began)); {
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

// find looks at Atlas's lists once. age is how long ago the create was sent.
func (c *Creates) find(r *store.Record, age time.Duration) (found findings, err error) {
	select {
	case c.looks <- struct{}{}:
		defer func() { <-c.looks }()
	case <-c.ctx.Done():
		return findings{}, errClosed
	}
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	kind, seen := byName[r.Kind], map[string]bool{} // an item moves to the next page when one is added
	for _, collection := range kind.collections(r) {
		if err := c.list(ctx, collection, func(item map[string]any, now time.Time) {
			if id := idOf(item); id != "" && !seen[id] && kind.shape(item) == r.Match && !createdAt(item).Before(since(r, age, now)) {
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
		found.busy, err = c.journal.Leaving(ctx, r.Kind, r.Match, r.ID)
	}
	return found, err
}

// since returns the time, by Atlas's clock, before which nothing can have been created by a create
// that was sent some time ago. Where the store's clock was set back, that is not known.
func since(r *store.Record, age time.Duration, now time.Time) time.Time {
	if age < 0 || now.IsZero() {
		return time.Time{}
	}
	return now.Add(-age - slack)
}

// list calls visit for every item of a list of Atlas's, with the time by Atlas's clock.
func (c *Creates) list(ctx context.Context, collection string, visit func(item map[string]any, now time.Time)) error {
	for page := 1; page <= maxPages; page++ {
		target := fmt.Sprintf("%s?includeCount=false&itemsPerPage=%d&pageNum=%d", collection, itemsPerPage, page)
		if !c.paged(collection) {
			target = collection
		}
		out, _, err := c.get(target, nil)
		if err != nil {
			return err
		}
		_, upstream := c.settings()
		response, err := upstream.Send(ctx, out)
		if err != nil {
			return err
		}
		var list struct{ Results []map[string]any }
		if response.Status != http.StatusOK {
			return fmt.Errorf("the list was answered with status %d", response.Status)
		}
		if err := json.Unmarshal(response.Body, &list); err != nil {
			return fmt.Errorf("the list is not JSON: %w", err)
		}
		now, _ := http.ParseTime(response.Header.Get("Date"))
		for _, item := range list.Results {
			visit(item, now)
		}
		if len(list.Results) < itemsPerPage || target == collection {
			return nil
		}
	}
	return errors.New("the list has too many pages")
}

// itemsPerPage is the largest that Atlas takes.
const itemsPerPage = 500

// paged reports whether a list takes a page number.
func (c *Creates) paged(collection string) bool {
	match, err := c.contract.Match(http.MethodGet, collection)
	return err == nil && match.Operation.TakesQuery("pageNum")
}
