package idempotency

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/store"
)

// send sends the create of a flight. It is not done where the key turned out to have a record, or
// where the answer does not tell what became of the create.
func (c *Creates) send(ctx context.Context, f *flight) (end, bool) {
	config, upstream := c.settings()
	q := f.request
	content, _ := q.Content.(map[string]any)
	r := &store.Record{
		Key: f.key, ID: newID(), Kind: q.kind.name, Request: q.digest, Match: q.shape,
		Caller: q.Caller, RequestID: q.ID,
		Group: q.Match.Parameter("groupId"), Cluster: q.Match.Parameter("clusterName"),
		Subject: text(content, q.kind.subject), Bucket: text(content, q.kind.bucket),
		Owner: c.owner,
	}
	begun := false
	out := q.outbound()
	out.Handed = func() (err error) {
		r.AtlasSent = upstream.Now() // known, since Atlas has just told how to sign
		begun, err = c.begin(ctx, config, r)
		if err == nil && !c.mayLeave(f) {
			err = errNobody
		}
		return err
	}
	response, err := upstream.Send(ctx, q.Caller, out)
	if begun {
		return c.resolve(config, f, r, response, err)
	}
	if errors.Is(err, errHeld) {
		return end{}, false
	}
	if failed, ok := errors.AsType[*Error](err); ok { // of begin
		return end{err: failed}, true
	}
	return end{response: response, err: err}, true
}

// mayLeave notes that the create of a flight leaves now, unless all who waited for it have been
// told that it was not sent.
func (c *Creates) mayLeave(f *flight) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.sent = f.waiting > 0
	return f.sent
}

// begin makes the record of a create, before its first byte leaves. A record may have been begun
// although there is an error.
func (c *Creates) begin(ctx context.Context, config Config, r *store.Record) (begun bool, err error) {
	if !c.holds() {
		return false, noJournal(errLeaseEnded)
	}
	began := time.Now()
	existing, err := c.journal.Begin(ctx, r, config.Quota)
	c.observer.Commit(time.Since(began))
	switch {
	case errors.Is(err, store.ErrQuota):
		return false, &Error{Kind: QuotaReached, Outcome: atlas.NotSent, RetryAfter: 10 * time.Second}
	case err != nil:
		return true, noJournal(err)
	case existing != nil:
		return false, errHeld
	}
	// If the process was stopped meanwhile, another gateway may have taken the record over and found
	// nothing. After this the create may wait for a connection, and leaves before timeouts.upstream
	// is over or not at all: whoever takes the record over waits for longer than that.
	if !c.holds() {
		return true, noJournal(errLeaseEnded)
	}
	c.logState(r, string(store.Sent), "")
	return true, nil
}

// resolve notes what became of a create that has a record. It is not done where that is unknown.
func (c *Creates) resolve(config Config, f *flight, r *store.Record, response *atlas.Response, err error) (end, bool) {
	if failed, ok := errors.AsType[*Error](err); ok { // of begin
		c.release(r, failed.Error())
		return end{err: failed}, true
	}
	if failed, ok := errors.AsType[*atlas.Error](err); ok && failed.Outcome == atlas.NotSent {
		c.release(r, failed.Error())
		return end{err: err}, true
	}
	if err != nil {
		return c.unknown(f, r, err.Error())
	}
	verdict, id, content := judge(f.request, response)
	switch verdict {
	case refused:
		c.release(r, fmt.Sprintf("Atlas refused the create with status %d", response.Status))
		return end{response: response}, true
	case carriedOut:
		// The answer reaches the caller whatever the journal says: the record is reconciled later.
		answer := store.Answer{Status: response.Status, MediaType: f.request.Version.MediaType, Body: content}
		if err := c.answered(config, r, id, answer); err != nil {
			c.log.Error("the journal did not take an answer, which is looked for later", slog.String("id", r.RequestID), slog.String("result", id), slog.Any("error", err))
		}
		// For those who have joined with a request of another form: they must not send theirs.
		r.Result, r.Answer = id, answer
		return end{response: response, record: r}, true
	}
	return c.unknown(f, r, fmt.Sprintf("Atlas answered %d without telling what was created", response.Status))
}

// answered notes the answer to a create.
func (c *Creates) answered(config Config, r *store.Record, id string, answer store.Answer) error {
	keep := config.Retention
	if !byName[r.Kind].kept && derived(r) {
		keep = time.Minute // for those who wait, also at other gateways
	}
	ctx, cancel := c.call()
	defer cancel()
	err := c.journal.Answered(ctx, r.ID, id, answer, keep)
	if err == nil {
		c.logState(r, string(store.Answered), id)
	}
	return err
}

// release removes the record of a create that was not carried out. If the journal fails, the
// record is looked for later, as any whose outcome is unknown.
func (c *Creates) release(r *store.Record, reason string) {
	if err := c.free(r, reason); err != nil {
		c.log.Error("the journal did not free a key, which is done later", slog.String("id", r.RequestID), slog.Any("error", err))
	}
}

// unknown notes that no answer tells what became of a create. The flight then looks for it.
func (c *Creates) unknown(f *flight, r *store.Record, note string) (end, bool) {
	c.set(func() { f.looking = true })
	ctx, cancel := c.call()
	defer cancel()
	if err := c.journal.Unknown(ctx, r.ID, note); err != nil && !errors.Is(err, store.ErrGone) {
		// The caller is told the truth, and the record is found open later.
		return end{err: open(err)}, true
	}
	c.logState(r, string(store.Unknown), note)
	return end{}, false
}

// verdict is what an answer tells of a create.
type verdict int

const (
	nothing    verdict = iota // it does not tell
	carriedOut                // it names what was created
	refused                   // Atlas itself refused the create
)

// judge decides what Atlas's answer tells of a create. An intermediary may answer as well, so only
// what has Atlas's form counts. It returns the id of what was created, and the content without the
// envelope.
func judge(q *request, response *atlas.Response) (verdict, string, []byte) {
	status, content := unwrap(response, q.enveloped())
	var item map[string]any
	if json.Unmarshal(content, &item) != nil {
		return nothing, "", nil
	}
	switch {
	case status >= 200 && status <= 299:
		if id := idOf(item); id != "" {
			return carriedOut, id, content
		}
	case status >= 400 && status <= 499:
		if code, ok := item["error"].(float64); ok && int(code) == status {
			return refused, "", nil
		}
	}
	return nothing, "", nil
}

// enveloped reports whether the request asks for an envelope.
func (r *Request) enveloped() bool {
	for pair := range strings.SplitSeq(r.Match.Query, "&") {
		if pair == "envelope=true" {
			return true
		}
	}
	return false
}

// unwrap returns the status and the content of a response. Which HTTP status an enveloped answer
// has is not recorded, so the envelope's counts.
func unwrap(response *atlas.Response, enveloped bool) (status int, content []byte) {
	var envelope struct {
		Status            int
		Content, Envelope json.RawMessage // one document of Atlas calls the second member so
	}
	if enveloped && json.Unmarshal(response.Body, &envelope) == nil && envelope.Status != 0 {
		if inside := cmp.Or(string(envelope.Content), string(envelope.Envelope)); inside != "" {
			return envelope.Status, []byte(inside)
		}
		return envelope.Status, response.Body
	}
	return response.Status, response.Body
}

// wrap returns a response with a content that was stored, in the form that the request asks for.
func wrap(q *request, answer store.Answer) *atlas.Response {
	body := answer.Body
	if q.enveloped() {
		body = fmt.Appendf(nil, `{"status":%d,"content":%s}`, answer.Status, bytes.TrimSpace(body))
	}
	return &atlas.Response{Status: answer.Status, Header: http.Header{"Content-Type": {q.Version.MediaType}}, Body: body}
}
