package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"atlas-export-gateway/gateway/atlas"
	"atlas-export-gateway/gateway/audit"
	"atlas-export-gateway/gateway/policy"
	"atlas-export-gateway/internal/objectid"
)

// UseAudit has a stream tell who did what, from now on. Where audit.required is true, a change is
// sent only once its record is on stable storage. UseAudit is called before the first request. The
// caller closes the stream once the gateway has ended.
func (g *Gateway) UseAudit(stream *audit.Stream) {
	g.audit = stream
	g.metrics.CountAudit(stream.Counts)
	g.auditConfiguration("started")
}

// auditError says that the record of a change could not be made.
type auditError struct{ error }

func (e *auditError) Unwrap() error { return e.error }

// intend records a change that is about to be carried out. A change whose record must not be
// missing, and can't be made, is refused.
func (g *Gateway) intend(x *exchange) error {
	if g.audit == nil || !x.change {
		return nil
	}
	return g.commitAudit(g.auditRecord(x, audit.Intent))
}

// commitAudit makes a record. It waits for the record, and fails without it, where audit.required
// is true.
func (g *Gateway) commitAudit(record *audit.Record) error {
	if !g.settings.Load().config.Audit.Required {
		g.audit.Add(record)
		return nil
	}
	if err := g.audit.Commit(record); err != nil {
		return &auditError{err}
	}
	return nil
}

// auditExchange records what became of a change, or that the caller's grants did not allow a
// request.
func (g *Gateway) auditExchange(x *exchange) {
	denied, isDenied := errors.AsType[*policy.Refusal](x.cause())
	switch {
	case g.audit == nil:
		return
	case x.authorized && x.change:
		record := g.auditRecord(x, audit.Outcome)
		record.Outcome = string(x.outcome)
		record.Replayed, record.Joined = x.record.Replayed, x.joined
		if x.outcome == atlas.Answered && x.response != nil && x.response.Status < 300 && x.match.Operation.Create() {
			record.Result = createdID(x.response.Body)
		}
		g.audit.Add(record)
	case isDenied:
		record := g.auditRecord(x, audit.Refusal)
		record.Missing = denied.Part
		if x.change {
			record.Outcome = string(x.outcome)
		}
		g.audit.Add(record)
	}
}

// cause returns why the gateway refused; nil where it did not.
func (x *exchange) cause() error {
	if x.refusal == nil {
		return nil
	}
	return x.refusal.cause
}

// auditRecord returns what every record of a request says. Texts that are no ids and names of
// Atlas's are left out.
func (g *Gateway) auditRecord(x *exchange, event audit.Event) *audit.Record {
	r := &audit.Record{
		Event:     event,
		Time:      time.Now(),
		ID:        x.id,
		Remote:    x.source.remote(),
		Proxy:     x.source.proxy(),
		Caller:    x.caller.Name,
		Form:      string(x.caller.Form),
		Key:       x.caller.Key,
		Operation: x.match.Operation.ID,
		Group:     validID(x.match.Parameter("groupId")),
		Snapshot:  validID(x.match.Parameter("snapshotId")),
		Bucket:    validID(x.match.Parameter("exportBucketId")),
		Status:    x.status,
	}
	if name := x.match.Parameter("clusterName"); g.contract.CheckParameter("clusterName", name) == nil {
		r.Cluster = name
	}
	if x.refusal != nil {
		r.Error = x.refusal.name
	}
	body, _ := x.content.(map[string]any)
	takeIDs(r, body)
	if export, ok := body["export"].(map[string]any); ok { // of a backup schedule
		takeIDs(r, export)
	}
	pairs, _ := body["customData"].([]any)
	for _, pair := range pairs {
		if pair, ok := pair.(map[string]any); ok {
			if key, ok := pair["key"].(string); ok {
				r.CustomDataKeys = append(r.CustomDataKeys, key)
			}
		}
	}
	return r
}

// takeIDs adds the ids of an object of a body.
func takeIDs(r *audit.Record, object map[string]any) {
	if id, ok := object["snapshotId"].(string); ok {
		r.Snapshot = validID(id)
	}
	if id, ok := object["exportBucketId"].(string); ok {
		r.Bucket = validID(id)
	}
}

func validID(id string) string {
	if !objectid.Valid(id) {
		return ""
	}
	return id
}

// createdID returns the id of what a create has made, by its answer, maybe in an envelope; ""
// where the answer does not tell it.
func createdID(body []byte) string {
	type created struct {
		ID     string `json:"id"`
		Bucket string `json:"_id"` // of an export bucket, in some versions
	}
	var answer struct {
		created
		Content  created `json:"content"`
		Envelope created `json:"envelope"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	for _, c := range []created{answer.created, answer.Content, answer.Envelope} {
		for _, id := range []string{c.ID, c.Bucket} {
			if objectid.Valid(id) {
				return id
			}
		}
	}
	return ""
}

// auditConfiguration records what became of a configuration.
func (g *Gateway) auditConfiguration(outcome string) {
	if g.audit != nil {
		g.audit.Add(&audit.Record{Event: audit.Configuration, Time: time.Now(), Outcome: outcome})
	}
}

// auditDecision records what an operator decides about a create, before and after it is done.
func (g *Gateway) auditDecision(operation string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if g.audit == nil {
			next(w, r)
			return
		}
		record := audit.Record{Event: audit.Intent, Time: time.Now(), ID: g.ids.next(), Remote: r.RemoteAddr, Operation: operation}
		if create, err := g.creates.Get(r.Context(), r.PathValue("id")); err == nil {
			record.Create, record.Group, record.Cluster = create.ID, create.Group, create.Cluster
			record.Bucket, record.Result = validID(create.Bucket), create.Result
		}
		if err := g.commitAudit(&record); err != nil {
			http.Error(w, "the audit stream can't be written, so nothing was done: the log has the reason", http.StatusServiceUnavailable)
			return
		}
		answer := &statusWriter{ResponseWriter: w, request: r, status: http.StatusOK}
		next(answer, r)
		record.Event, record.Time, record.Status, record.Outcome = audit.Outcome, time.Now(), answer.status, "refused"
		if answer.status == http.StatusOK {
			record.Outcome = "done"
			if create, err := g.creates.Get(r.Context(), record.Create); err == nil {
				record.Result = create.Result
			}
		}
		g.audit.Add(&record)
	}
}
