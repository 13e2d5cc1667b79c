package reads

import (
	"bytes"
	"container/list"
	"net/http"
	"strings"
	"time"

	"atlas-export-gateway/gateway/atlas"
)

// kept is the answers that are kept, the one that was used last in front. A list of the standard
// library does it: the bound is of bytes, and answers are also found by their group, to be
// forgotten, so a library's cache would be a second index over the same entries.
type kept struct {
	entries list.List
	bytes   int
	limit   int
}

// entry is an answer that is kept.
type entry struct {
	target   *target
	response *atlas.Response
	began    time.Time     // before Atlas was asked
	lasts    time.Duration // how old the answer may be
	bytes    int
	element  *list.Element
}

// overhead is about what an entry takes besides its texts, in bytes.
const overhead = 1 << 10

// largest is the share of the limit that one entry may take.
const largest = 8

// Limit bounds the memory that answers are kept in, in bytes. An answer that takes more than an
// eighth of it is not kept.
func (r *Reads) Limit(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept.limit = bytes
	r.evict()
}

// KeptBytes returns how much memory answers are kept in, in bytes.
func (r *Reads) KeptBytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept.bytes
}

// newEntry returns an entry for the answer to a flight. It holds copies, so that it takes no more
// memory than it counts, and no field that tells of the moment.
func newEntry(f *flight) *entry {
	e := &entry{target: f.target, began: f.began, lasts: f.lasts}
	k := &f.target.key
	e.bytes = overhead + len(f.response.Body) + len(k.path) + len(k.query) + len(k.fields)
	header := make(http.Header, len(f.response.Header))
	for name, values := range f.response.Header {
		if ofTheMoment(name) {
			continue
		}
		header[name] = append([]string(nil), values...)
		for _, value := range values {
			e.bytes += len(name) + len(value)
		}
	}
	e.response = &atlas.Response{Status: f.response.Status, Header: header, Body: bytes.Clone(f.response.Body), Exchanges: f.response.Exchanges}
	return e
}

// ofTheMoment reports whether a field of a response says nothing later: what is left of a rate
// limit, and what the response itself did.
func ofTheMoment(name string) bool {
	return strings.HasPrefix(name, "Ratelimit-") || name == "Retry-After" || name == "Set-Cookie"
}

// keep keeps an entry, unless the group was changed since Atlas was asked, or what is kept is
// newer.
func (r *Reads) keep(f *flight, e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := f.target
	switch {
	case r.targets[t.key] != t, e.bytes > r.kept.limit/largest:
		return
	case t.kept != nil && !t.kept.began.Before(e.began):
		return
	}
	r.kept.remove(t.kept)
	t.kept = e
	e.element = r.kept.entries.PushFront(e)
	r.kept.bytes += e.bytes
	r.evict()
}

// evict removes what was not used for longest until the limit holds. The mutex is held.
func (r *Reads) evict() {
	for r.kept.bytes > r.kept.limit {
		e := r.kept.entries.Back().Value.(*entry)
		r.kept.remove(e)
		r.tidy(e.target)
	}
}

// use notes that an entry was used.
func (k *kept) use(e *entry) { k.entries.MoveToFront(e.element) }

// remove removes an entry, which may be nil.
func (k *kept) remove(e *entry) {
	if e == nil {
		return
	}
	k.entries.Remove(e.element)
	k.bytes -= e.bytes
	e.target.kept = nil
}

// answer returns the answer for a read.
func (e *entry) answer(how How) *Answer {
	return &Answer{Response: copied(e.response), How: how, Age: time.Since(e.began)}
}
