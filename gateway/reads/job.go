package reads

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"atlas-export-gateway/gateway/atlas"
)

// jobs are the operations that read one export job.
var jobs = map[string]bool{"getBackupExport": true, "v1GetBackupExport": true}

// ended are the states of a job that does not change any more.
var ended = map[string]bool{"Successful": true, "Failed": true, "Cancelled": true}

// lifetime is how long the answer about a job that has ended is used. The job does not change; an
// answer that was wrong, or a group that is gone, must not stay for as long as the process runs.
const lifetime = time.Hour

// lasts returns how old an answer may be for reads that came after Atlas was asked, and for how
// long it is kept. An answer about no one group is not kept: whether it is there would tell those
// who may not see it that somebody else has asked.
func (c Config) lasts(q *Request, r *atlas.Response) (lasts, stays time.Duration) {
	if q.Group == "" || r.Status != http.StatusOK || !jobs[q.Operation.ID] && c.StaleIfError == 0 || !q.Relayable(r) {
		return 0, 0
	}
	state, ok := stateIn(q, r.Body)
	switch {
	case !ok:
		return 0, 0
	case ended[state]:
		lasts = lifetime
	case state != "":
		lasts = c.Freshness
	}
	return lasts, max(lasts, c.StaleIfError)
}

// stateIn returns the state that an answer shows of the job that was asked for, and "" for an
// answer about no job. It is not ok where an envelope holds no success, or where the job is
// another one: an answer that belongs to another request must not stay.
func stateIn(q *Request, body []byte) (state string, ok bool) {
	type item struct {
		ID    string `json:"id"`
		State string `json:"state"`
	}
	var shown item
	if strings.Contains("&"+q.Query+"&", "&envelope=true&") {
		var e struct {
			Status   int            `json:"status"`
			Content  jsontext.Value `json:"content"`
			Envelope jsontext.Value `json:"envelope"` // see contract.Version.CheckResponse
		}
		if json.Unmarshal(body, &e) != nil || e.Status != http.StatusOK {
			return "", false
		}
		body = append(e.Content, e.Envelope...)
	}
	if !jobs[q.Operation.ID] {
		return "", true
	}
	path := strings.TrimSuffix(q.Path, "/")
	if json.Unmarshal(body, &shown) != nil || shown.ID != path[strings.LastIndexByte(path, '/')+1:] {
		return "", false
	}
	return shown.State, true
}
