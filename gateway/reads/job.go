package reads

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"atlas-export-gateway/gateway/atlas"
)

// jobs are the operations that read one export job.
var jobs = map[string]bool{"getBackupExport": true, "v1GetBackupExport": true}

// ended are the states of a job that does not change any more.
var ended = map[string]bool{"Successful": true, "Failed": true, "Cancelled": true}

// lifetime is how long the answer about a job that has ended is used. The job does not change; an
// answer that was wrong, or a group that is gone, must not stay for as long as the process runs.
const lifetime = time.Hour

// lasts returns how old an answer may be for reads that came after Atlas was asked, and for how long
// it is kept. An answer about no one group is not kept: whether it is there would tell those who may
// not see it that somebody else has asked.
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

// stateIn returns the state that an answer shows of a job, and "" for what is no job. It is not ok
// where an envelope holds no success.
func stateIn(q *Request, body []byte) (state string, ok bool) {
	type inside struct {
		State string `json:"state"`
	}
	switch enveloped := strings.Contains("&"+q.Query+"&", "&envelope=true&"); {
	case enveloped:
		var e struct {
			Status   int    `json:"status"`
			Content  inside `json:"content"`
			Envelope inside `json:"envelope"` // see contract.Version.CheckResponse
		}
		if json.Unmarshal(body, &e) != nil || e.Status != http.StatusOK {
			return "", false
		}
		state = e.Content.State + e.Envelope.State
	case jobs[q.Operation.ID]:
		var job inside
		if json.Unmarshal(body, &job) != nil {
			return "", false
		}
		state = job.State
	}
	if !jobs[q.Operation.ID] {
		state = "" // a snapshot or a cluster may have a member of that name
	}
	return state, true
}
