package sim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"atlas-export-gateway/internal/strictjson"
)

// endpoint serves one pattern of the control listener. Its errors are answered with 400.
type endpoint struct {
	pattern string
	serve   func(r *http.Request) (any, error)
}

// endpoints are those for requests, settings, faults and the clock.
func (s *Server) endpoints() []endpoint {
	return []endpoint{
		{"GET /requests", func(r *http.Request) (any, error) {
			since, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("since"), "0"), 10, 64)
			if err != nil {
				return nil, errors.New("since is not a number")
			}
			return struct {
				Requests []Request `json:"requests"`
				Dropped  int64     `json:"dropped"`
			}{s.Requests(since), s.droppedRequests()}, nil
		}},
		{"GET /counts", func(*http.Request) (any, error) { return s.Counts(), nil }},
		{"POST /reset", func(*http.Request) (any, error) {
			s.Reset()
			return s.Counts(), nil
		}},
		{"GET /settings", func(*http.Request) (any, error) { return s.Settings(), nil }},
		{"PATCH /settings", func(r *http.Request) (any, error) { return s.changeSettings(r, s.Settings()) }},
		{"PUT /settings", func(r *http.Request) (any, error) { return s.changeSettings(r, Settings{}) }},
		{"DELETE /nonces", func(*http.Request) (any, error) {
			s.ForgetNonces()
			return struct{}{}, nil
		}},
		{"DELETE /keys/{id}", func(r *http.Request) (any, error) {
			return struct{}{}, s.DeleteKey(r.PathValue("id"))
		}},
		{"GET /faults", func(*http.Request) (any, error) { return s.Faults(), nil }},
		{"PUT /faults", func(r *http.Request) (any, error) {
			list, err := readJSON[[]Fault](r)
			if err == nil {
				err = s.SetFaults(list)
			}
			return s.Faults(), err
		}},
		{"DELETE /faults", func(*http.Request) (any, error) {
			err := s.SetFaults(nil)
			return s.Faults(), err
		}},
		{"GET /clock", func(*http.Request) (any, error) { return s.clockState(), nil }},
		{"POST /clock/advance", func(r *http.Request) (any, error) {
			advance, err := readJSON[struct {
				By Duration `json:"by"`
			}](r)
			if err != nil {
				return nil, err
			}
			if advance.By < 0 {
				return nil, errors.New("the clock does not go back")
			}
			s.Advance(advance.By.std())
			return s.clockState(), nil
		}},
	}
}

// backupEndpoints are the endpoints for jobs and snapshots.
func (s *Server) backupEndpoints() []endpoint {
	return []endpoint{
		{"GET /jobs", func(*http.Request) (any, error) { return s.Jobs(), nil }},
		{"POST /jobs/outcomes", func(r *http.Request) (any, error) {
			outcome, err := readJSON[Outcome](r)
			if err == nil {
				err = s.SetOutcome(outcome)
			}
			return outcome, err
		}},
		{"GET /snapshots", func(*http.Request) (any, error) { return s.Snapshots(), nil }},
		{"POST /snapshots", func(r *http.Request) (any, error) {
			snapshot, err := readJSON[Snapshot](r)
			if err == nil {
				snapshot, err = s.AddSnapshot(snapshot)
			}
			return snapshot, err
		}},
		{"POST /snapshots/{id}/end", func(r *http.Request) (any, error) {
			end, err := readJSON[struct {
				Status string `json:"status"`
			}](r)
			if err == nil {
				err = s.EndSnapshot(r.PathValue("id"), end.Status)
			}
			return end, err
		}},
		{"POST /jobs/{id}/end", func(r *http.Request) (any, error) {
			outcome, err := readJSON[Outcome](r)
			if err == nil {
				err = s.EndJob(r.PathValue("id"), outcome)
			}
			return outcome, err
		}},
	}
}

func (s *Server) newControl() http.Handler {
	mux := http.NewServeMux()
	patterns := []string{}
	for _, e := range append(s.endpoints(), s.backupEndpoints()...) {
		patterns = append(patterns, e.pattern)
		mux.HandleFunc(e.pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
			answer, err := e.serve(r)
			if err != nil {
				writeControlError(w, http.StatusBadRequest, err.Error())
				return
			}
			writeControl(w, http.StatusOK, answer)
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeControl(w, http.StatusOK, map[string]any{"api": s.URL(), "endpoints": patterns})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeControlError(w, http.StatusNotFound, fmt.Sprintf("there is no %s %s; GET / lists what there is", r.Method, r.URL.Path))
	})
	return mux
}

func (s *Server) changeSettings(r *http.Request, settings Settings) (Settings, error) {
	// The current settings, which share slices and maps with these, must not change.
	settings.Challenge.Algorithms = slices.Clone(settings.Challenge.Algorithms)
	settings.Removed = maps.Clone(settings.Removed)
	for id, dates := range settings.Removed {
		settings.Removed[id] = slices.Clone(dates)
	}
	err := decodeJSON(r, &settings)
	if err == nil {
		err = s.SetSettings(settings)
	}
	return s.Settings(), err
}

func (s *Server) clockState() any {
	return struct {
		Now time.Time `json:"now"`
	}{s.Now()}
}

func readJSON[T any](r *http.Request) (T, error) {
	var v T
	err := decodeJSON(r, &v)
	return v, err
}

func decodeJSON(r *http.Request, into any) error {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return strictjson.Decode(content, into)
}

func writeControl(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	encoder.Encode(answer)
}

func writeControlError(w http.ResponseWriter, status int, message string) {
	writeControl(w, status, map[string]string{"error": message})
}
