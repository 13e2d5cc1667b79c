package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"
)

// Answers of 200 that are never an export end watch, and create --wait, with an error. Such answers
// now and then do not.
func TestWatchOfWhatIsNoExport(t *testing.T) {
	job := func(state string) string { return `{"id":"` + unknownID + `","state":"` + state + `"}` }
	for name, content := range map[string]string{
		"HTML":         "<html>Back soon.</html>",
		"no export":    `{"status":"ok"}`,
		"half of JSON": job("Successful")[:40],
	} {
		for _, now := range []bool{false, true} { // and then
			t.Run(fmt.Sprintf("%s, now and then: %t", name, now), func(t *testing.T) {
				reads := 0
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch reads++; {
					case r.Method == http.MethodPost:
						reads = 0
						io.WriteString(w, job("Queued"))
					case now && reads == 95:
						io.WriteString(w, job("Successful"))
					case now && reads%19 == 0:
						io.WriteString(w, job("InProgress"))
					default:
						io.WriteString(w, content)
					}
				}))
				defer server.Close()
				w := &world{url: server.URL}
				for _, test := range []struct {
					args   string
					status int
					stderr string
				}{
					{"exports watch " + unknownID, exitUnavailable, `atlas-export: getBackupExport: 200 OK: the answer is not what the operation promises: .*; it is the last of 20 such answers without the job\n` +
						`hint: atlas-export config show says what base_url is\n`},
					{"exports create --snapshot " + sim.OrdersSnapshot + " --bucket " + unknownID + " --wait", exitNotFollowed,
						`atlas-export: the export was created, and can't be followed: getBackupExport: 200 OK: .*; it is the last of 20 such answers without the job\n` +
							`hint: the export goes on; follow it with: atlas-export exports watch ` + unknownID + ` --cluster orders\n`},
				} {
					want := `^atlas-export: a request failed, the next one is in .*\n` + test.stderr + "$"
					if now {
						test.status, want = exitOK, `^(atlas-export: a request failed, .*\n){5}$`
					}
					reads = 0
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // else it would go on for ever
					var stdout, stderr strings.Builder
					status := run(ctx, append(strings.Fields(test.args), "--cluster", "orders", "--interval", "1ms"), w.environ(w.owner), nil, &stdout, &stderr)
					cancel()
					if status != test.status || !regexp.MustCompile(want).MatchString(stderr.String()) {
						t.Errorf("%s: exit status %d: %s", test.args, status, &stderr)
					}
				}
			})
		}
	}
}
