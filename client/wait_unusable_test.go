package client_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atlas-export-gateway/client"
)

// answers that claim success and are not the job, each written by a handler.
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

// Answers that claim success and are not the job end a wait when there were 20 of them. They do not
// end it where one with the job comes between, and other failures do not count.
func TestUnusableAnswersEndWaits(t *testing.T) {
	job := func(state string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) { fmt.Fprintf(w, `{"id":"%s","state":"%s"}`, nobody, state) }
	}
	for name, unusable := range unusableAnswers {
		for _, test := range []struct {
			name   string
			answer func(n int) func(w http.ResponseWriter) // the answer to read n, from 1
			reads  int
			ends   bool // with an error
		}{
			{"for ever", func(int) func(http.ResponseWriter) { return unusable.write }, 20, true},
			{"for ever from the third read on", func(n int) func(http.ResponseWriter) {
				if n < 3 {
					return job("Queued")
				}
				return unusable.write
			}, 22, true},
			{"now and then", func(n int) func(http.ResponseWriter) {
				switch {
				case n == 100:
					return job("Successful")
				case n%20 == 0:
					return job("InProgress")
				}
				return unusable.write
			}, 100, false},
			{"among 503s", func(n int) func(http.ResponseWriter) {
				if n%2 == 0 {
					return func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }
				}
				return unusable.write
			}, 39, true},
			{"after many 503s", func(n int) func(http.ResponseWriter) {
				switch {
				case n == 60:
					return job("Successful")
				case n < 50:
					return func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }
				}
				return unusable.write
			}, 60, false},
		} {
			t.Run(name+" "+test.name, func(t *testing.T) {
				reads := 0
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if reads++; reads > 200 {
						job("Cancelled")(w)
						return
					}
					w.Header().Set("Content-Type", "application/json")
					test.answer(reads)(w)
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
