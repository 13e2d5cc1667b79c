package gateway

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"atlas-export-gateway/gateway/idempotency"
	"atlas-export-gateway/internal/hosts"
	"atlas-export-gateway/internal/objectid"
	"atlas-export-gateway/store"
)

// CreateRecord is a create of the journal, as operators see it.
type CreateRecord struct {
	// ID names the record, and RequestID is the value of Gateway-Request-Id of the request that was
	// sent.
	ID        string `json:"id"`
	RequestID string `json:"requestId"`
	// State is sent, unknown or answered, and Note says why it is unknown.
	State string `json:"state"`
	Note  string `json:"note,omitempty"`
	// Kind is export, bucket or snapshot.
	Kind    string `json:"kind"`
	Caller  string `json:"caller"`
	Group   string `json:"groupId"`
	Cluster string `json:"clusterName,omitempty"`
	// Subject is the id of the snapshot or the name of the bucket.
	Subject string `json:"subject,omitempty"`
	Bucket  string `json:"exportBucketId,omitempty"`
	// Result is the id of what was created, where it is known.
	Result  string    `json:"result,omitempty"`
	Sent    time.Time `json:"sent"`
	Changed time.Time `json:"changed"`
}

// maxRecords bounds the creates of one list.
const maxRecords = 1000

// manageCreates adds what operators see of creates, and may do with them: GET /creates, those
// whose outcome is open; GET /creates?all=true, those that changed last; GET /creates/ID; and,
// over loopback only, POST /creates/ID/release and /settle with a decision.
func (g *Gateway) manageCreates(mux *http.ServeMux) {
	handle := func(pattern string, handler http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if g.creates == nil {
				http.Error(w, "this gateway has no journal: creates.journal is off", http.StatusNotImplemented)
				return
			}
			handler(w, r)
		})
	}
	handle("GET /creates", func(w http.ResponseWriter, r *http.Request) {
		list := g.creates.Open
		if r.URL.Query().Get("all") == "true" {
			list = g.creates.Recent
		}
		records, err := list(r.Context(), maxRecords)
		all := make([]CreateRecord, len(records))
		for i, record := range records {
			all[i] = createRecord(record)
		}
		answerOperator(w, all, err)
	})
	handle("GET /creates/{id}", func(w http.ResponseWriter, r *http.Request) {
		record, err := g.creates.Get(r.Context(), r.PathValue("id"))
		if err != nil {
			answerOperator(w, nil, err)
			return
		}
		answerOperator(w, createRecord(record), nil)
	})
	handle("POST /creates/{id}/release", onLoopback(g.auditDecision("releaseCreate", func(w http.ResponseWriter, r *http.Request) {
		content, ok := decision(w, r)
		if !ok || content.Result != "" || !isReason(content.Reason) {
			http.Error(w, `send {"reason": "why the key is released"}, of 1 to 200 visible characters`, http.StatusBadRequest)
			return
		}
		answerOperator(w, map[string]bool{"released": true}, g.creates.Release(r.Context(), r.PathValue("id"), content.Reason))
	})))
	handle("POST /creates/{id}/settle", onLoopback(g.auditDecision("settleCreate", func(w http.ResponseWriter, r *http.Request) {
		content, ok := decision(w, r)
		if !ok || !objectid.Valid(content.Result) || !isReason(content.Reason) {
			http.Error(w, `send {"result": "the id of what was created", "reason": "how you know"}, the reason of 1 to 200 visible characters`, http.StatusBadRequest)
			return
		}
		answerOperator(w, map[string]bool{"settled": true}, g.creates.Settle(r.Context(), r.PathValue("id"), content.Result, content.Reason))
	})))
}

// decided is what an operator says of a create.
type decided struct {
	Result string `json:"result"`
	Reason string `json:"reason"`
}

func decision(w http.ResponseWriter, r *http.Request) (content decided, ok bool) {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&content)
	return content, err == nil
}

// onLoopback lets only those change something who reach the listener over loopback: it asks for no
// credential, and probes may have it open for other machines.
func onLoopback(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if local == nil || !hosts.LoopbackAddress(local.String()) {
			http.Error(w, "creates are changed only over loopback: run atlas-gateway creates beside the gateway, or forward a port to it", http.StatusForbidden)
			return
		}
		// A listener that is not on loopback has not looked at it, and browsers reach it over loopback too.
		if err := refuseForeign(r, new(url.URL), nil); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

// isReason reports whether a text may go into the log as a reason.
func isReason(text string) bool {
	return strings.TrimSpace(text) != "" && len(text) <= 200 && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

func createRecord(r *store.Record) CreateRecord {
	return CreateRecord{
		ID: r.ID, RequestID: r.RequestID, State: string(r.State), Note: r.Note, Kind: r.Kind, Caller: r.Caller,
		Group: r.Group, Cluster: r.Cluster, Subject: r.Subject, Bucket: r.Bucket, Result: r.Result,
		Sent: r.Sent.UTC(), Changed: r.Changed.UTC(),
	}
}

// answerOperator answers with JSON, or with what went wrong.
func answerOperator(w http.ResponseWriter, value any, err error) {
	switch {
	case errors.Is(err, store.ErrTaken), errors.Is(err, idempotency.ErrSent):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, store.ErrGone):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, "the journal can't be reached: "+err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(value)
	}
}
