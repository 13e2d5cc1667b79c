package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/internal/gatewaytest"
	"atlas-export-gateway/sim"
)

// The clock of the machine, which is the journal's as well, is set while creates are known, unknown
// and under way, and put right while the gateway is down: nothing is created twice, and nothing is
// lost.
func TestSetClockOfCreates(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-10 * time.Hour, time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			atlas := sim.Start(t, sim.Config{Settings: sim.Settings{RateLimit: sim.RateLimit{Off: true}, ParallelExports: true}})
			p, c := serveWithClock(t, "upstream:\n  base_url: "+atlas.URL()+"\n  credentials: [{public_key_env: PUBLIC, private_key_env: PRIVATE}]\n"+withJournal,
				"PUBLIC="+sim.PublicKey, "PRIVATE="+sim.PrivateKey)
			j := &journaled{process: p, atlas: atlas}
			j.bucket = idOf(t, j.post(t, buckets, bucket, nil))
			known := idOf(t, j.post(t, exports, j.export("known"), nil))
			answer := j.sends(t, "under way")
			c.set(t, by)
			underWay := idOf(t, answer())
			ids := map[string]string{"known": known, "under way": underWay}

			// Its answer is lost, and it can't be looked for before the clock is put right.
			unavailable := sim.Fault{Kind: sim.FaultUnavailable, Operation: "listBackupExports"}
			if err := atlas.SetFaults([]sim.Fault{{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}, unavailable}); err != nil {
				t.Fatal(err)
			}
			done := make(chan gatewaytest.Response, 1)
			body := j.export("unknown")
			go func() { done <- j.post(t, exports, body, nil) }()
			gatewaytest.WaitFor(t, "the job", func() bool { return len(atlas.Jobs()) == 3 })
			c.set(t, -by)
			if err := atlas.SetFaults(nil); err != nil {
				t.Fatal(err)
			}
			ids["unknown"] = idOf(t, gatewaytest.Receive(t, "the answer to the create", done))
			c.set(t, by)
			for purpose, id := range ids {
				if again := idOf(t, j.post(t, exports, j.export(purpose), nil)); again != id {
					t.Errorf("%s: %s, want %s", purpose, again, id)
				}
			}

			// One whose answer is lost as well, and whose gateway is killed then.
			if err := atlas.SetFaults([]sim.Fault{{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: 1}, unavailable}); err != nil {
				t.Fatal(err)
			}
			request, _ := http.NewRequest(http.MethodPost, j.Listener+exports, strings.NewReader(j.export("killed")))
			request.Header.Set("Accept", "application/vnd.atlas.2025-03-12+json")
			request.Header.Set("Content-Type", "application/json")
			go http.DefaultClient.Do(request)
			gatewaytest.WaitFor(t, "the job", func() bool { return len(atlas.Jobs()) == 4 })
			j.kill(t)
			if err := atlas.SetFaults(nil); err != nil {
				t.Fatal(err)
			}
			ids["killed"] = atlas.Jobs()[3].ID
			j.recovers(t, "after", ids)
			j.stop(t)
		})
	}
}
