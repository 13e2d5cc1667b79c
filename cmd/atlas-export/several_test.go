package main

import (
	"strings"
	"testing"
	"time"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// Of several creates, those whose outcome is not known are named as such, and are not repeated.
func TestSeveralUnknownOutcomes(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		w.must(t, "buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole)
		args := []string{"exports", "create", "--cluster", "orders,events", "--snapshot", "latest", "--bucket", "acme-exports"}
		for _, test := range []struct {
			count, status int
			want          string
		}{
			{1, exitPartial, "atlas-export: 1 of 2 clusters failed\n  orders: "},
			{0, exitUnknown, "atlas-export: 2 of 2 clusters failed\n  orders: "},
		} {
			if err := w.atlas.SetFaults([]sim.Fault{{Kind: sim.FaultResetAfter, Operation: "createBackupExport", Count: test.count}}); err != nil {
				t.Fatal(err)
			}
			before := w.atlas.Counts().JobsCreated
			got := w.run(t, w.owner, args...)
			if got.Status != test.status || !strings.HasPrefix(got.Stderr, test.want) || !strings.Contains(got.Stderr, "it may have been carried out all the same") ||
				!strings.HasSuffix(got.Stderr, "\nhint: look before you repeat it: atlas-export exports list --cluster orders,events\n") {
				t.Errorf("exit status %d: %s", got.Status, got.Stderr)
			}
			if created := w.atlas.Counts().JobsCreated - before; created != 2 {
				t.Errorf("%d exports were created", created)
			}
			w.atlas.Advance(time.Hour)
		}
	})
}

// How old something may be, and since when.
func TestAges(t *testing.T) {
	now := time.Date(2026, 8, 10, 3, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "24h": 24 * time.Hour, "1d": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute,
		"": 0, "0": 0, "0h": 0, "-1h": 0, "-1d": 0, "d": 0, "1.5d": 0, "7 days": 0, "99999999999d": 0, "36501d": 0, "1w": 0,
	} {
		var a age
		if err := a.Set(text); (err == nil) != (want > 0) || a.Duration != want {
			t.Errorf("age %q: %v, %v", text, a.Duration, err)
		}
		if want == 0 {
			continue
		}
		var s since
		if err := s.Set(text); err != nil || !s.at(now).Equal(now.Add(-want)) {
			t.Errorf("since %q: %v, %v", text, s.at(now), err)
		}
	}
	got := map[string]string{}
	want := map[string]string{"2026-08-10": "2026-08-10T00:00:00Z", "2026-08-10T03:27:12Z": "2026-08-10T03:27:12Z", "2026-08-10T03:27:12+02:00": "2026-08-10T01:27:12Z",
		"2026-8-10": "", "2026-08-10T03:27": "", "yesterday": ""}
	for text := range want {
		var s since
		if s.Set(text) == nil {
			got[text] = formatTime(s.at(now))
		} else {
			got[text] = ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("since (-want +got):\n%s", diff)
	}
}
