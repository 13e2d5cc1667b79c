package client_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atlas-export-gateway/client"
)

// unusableAnswers claim success and are not the job.
var unusableAnswers = map[string]struct {
	write func(w http.ResponseWriter)
	why   string
}{
	"HTML": {func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Back soon.</html>")
	}, "invalid character '<'"},
	"no content":         {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, "unexpected end of JSON input"},
	"JSON without a job": {func(w http.ResponseWriter) { fmt.Fprint(w, `{"status":"ok"}`) }, "a job without an id or a state"},
	"another job":        {func(w http.ResponseWriter) { fmt.Fprint(w, `{"id":"`+group+`","state":"Successful"}`) }, "it is about another job"},
	"half of JSON":       {func(w http.ResponseWriter) { fmt.Fprint(w, `{"id":"`+nobody+`","state":"Succ`) }, "unexpected end of JSON input"},
	"half of an answer": {func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, `{"id":"`+nobody+`","state":"Succ`)
	}, "unexpected EOF"},
}

// asJob writes the job in a state.
func asJob(state string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) { fmt.Fprintf(w, `{"id":"%s","state":"%s"}`, nobody, state) }
}

func unavailable(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }

// unusableSequences are when there are unusable answers: each returns the answer to read n, from 1,
// or nil for one that is unusable.
var unusableSequences = []struct {
	name   string
	answer func(n int) func(w http.ResponseWriter)
	reads  int
	ends   bool // the wait, with an error
}{
	{"for ever", func(int) func(http.ResponseWriter) { return nil }, 20, true},
	{"for ever from the third read on", func(n int) func(http.ResponseWriter) {
		if n < 3 {
			return asJob("Queued")
		}
		return nil
	}, 22, true},
	{"now and then", func(n int) func(http.ResponseWriter) {
		switch {
		case n == 100:
			return asJob("Successful")
		case n%20 == 0:
			return asJob("InProgress")
		}
		return nil
	}, 100, false},
	{"among 503s", func(n int) func(http.ResponseWriter) {
		if n%2 == 0 {
			return unavailable
		}
		return nil
	}, 39, true},
	{"after many 503s", func(n int) func(http.ResponseWriter) {
		switch {
		case n == 60:
			return asJob("Successful")
		case n < 50:
			return unavailable
		}
		return nil
	}, 60, false},
}

// Answers that claim success and are not the job end a wait when there were 20 of them. They do not
// end it where one with the job comes between, and other failures do not count.
func TestUnusableAnswersEndWaits(t *testing.T) {
	t.Parallel() // it waits most of the time
	for name, unusable := range unusableAnswers {
		for _, test := range unusableSequences {
			t.Run(name+" "+test.name, func(t *testing.T) {
				reads := 0
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					reads++
					answer := test.answer(reads)
					switch {
					case reads > 200: // the wait would go on for ever
						answer = asJob("Cancelled")
					case answer == nil:
						answer = unusable.write
					}
					answer(w)
				}))
				defer server.Close()
				c := newClient(t, client.Config{BaseURL: server.URL})
				for generation, wait := range map[string]waitFunc{"v2": c.WaitForExport, "v1.0": c.V1().WaitForExport} {
					reads = 0
					got, err := wait(t.Context(), group, cluster, nobody, quickly)
					if reads != test.reads {
						t.Errorf("%s: %d reads, want %d", generation, reads, test.reads)
					}
					if !test.ends {
						if err != nil || got.State != client.Successful {
							t.Errorf("%s: %+v, %v", generation, got, err)
						}
						continue
					}
					if err == nil || kindOf(t, err) != "" || !strings.Contains(err.Error(), unusable.why) || !strings.HasSuffix(err.Error(), "; it is the last of 20 such answers without the job") {
						t.Errorf("%s: %+v, %v", generation, got, err)
					} else if e := asError(t, err); e.Status/100 != 2 {
						t.Errorf("%s: status %d", generation, e.Status)
					}
				}
			})
		}
	}
}
