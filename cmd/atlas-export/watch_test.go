//go:build unix

package main

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"atlas-export-gateway/sim"

	"github.com/google/go-cmp/cmp"
)

// started is the time of a clock that stands still.
func started() time.Time { return time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC) }

// watch follows an export of the cluster orders, on the clock of the simulation.
func (s *terminalSession) watch(t testing.TB, w *world, export, interval string, env ...string) {
	s.run(t, append(w.environ(w.owner), env...), w.atlas.Now, "exports", "watch", export, "--cluster", "orders", "--interval", interval)
}

// Each frame shows the export at the time of the simulation's clock.
func TestWatchOnTerminal(t *testing.T) {
	ways(t, sim.Config{Now: started}, func(t *testing.T, w *world) {
		_, export := w.prepare(t)
		s := openTerminal(t, 80)
		s.watch(t, w, export, "10ms", "LANG=C.UTF-8", "TERM=xterm")
		want := []string{
			"Queued  0s",
			"InProgress  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0/42 collections  30s",
			"InProgress  ██████░░░░░░░░░░░░░░  14/42 collections  4m20s  3.7/min  7m40s left",
			"InProgress  █████████████░░░░░░░  28/42 collections  8m10s  3.7/min  3m50s left",
			"Successful  ██████████████████████████████  42/42 collections  12m00s",
		}
		for i, frame := range want {
			if i == 1 {
				w.atlas.Advance(30 * time.Second)
			} else if i > 1 {
				w.atlas.Advance(230 * time.Second)
			}
			s.expectFrame(t, frame)
		}
		if status := s.wait(t); status != exitOK {
			t.Errorf("exit status %d", status)
		}
		output := s.text()
		if diff := cmp.Diff("export/"+export+"\n"+want[4]+"\nprefix: exported_snapshots/"+sim.OrgID+"/"+sim.GroupID+"/orders/2026-08-10T0327/1786332505\n", show(output)); diff != "" {
			t.Errorf("on the screen: -want +got:\n%s", diff)
		}
		checkFrames(t, output, 80)
	})
}

// checkFrames checks that no frame wraps, and that frames have only printable characters.
func checkFrames(t *testing.T, output string, columns int) {
	t.Helper()
	for _, frame := range frames(output) {
		if utf8.RuneCountInString(frame) >= columns {
			t.Errorf("the frame %q is too wide for %d columns", frame, columns)
		}
		checkPrintable(t, frame)
	}
}

// The line has as many parts as there is room for, also when the window changes. It is ASCII
// without a UTF-8 locale, and has no colours with NO_COLOR.
func TestWatchResized(t *testing.T) {
	w := direct(t, sim.Config{Now: started})
	_, export := w.prepare(t)
	w.atlas.Advance(30 * time.Second)
	s := openTerminal(t, 120)
	s.watch(t, w, export, "10ms", "NO_COLOR=1", "LC_ALL=C", "LANG=C.UTF-8")
	s.expectFrame(t, "InProgress  ..............................  0/42 collections  30s")
	w.atlas.Advance(230 * time.Second)
	for _, test := range []struct {
		columns int
		frame   string
	}{
		{120, "InProgress  ##########....................  14/42 collections  4m20s  3.7/min  7m40s left"},
		{80, "InProgress  ######..............  14/42 collections  4m20s  3.7/min  7m40s left"},
		{70, "InProgress  ###.......  14/42 collections  4m20s  3.7/min  7m40s left"},
		{65, "InProgress  ####..........  14/42 collections  4m20s  7m40s left"},
		{60, "InProgress  #######..............  14/42 collections  4m20s"},
		{40, "InProgress  14/42 collections  4m20s"},
		{20, "InProgress  14/42 c"},
		{1, ""},
		{0, "InProgress  ######..............  14/42 collections  4m20s  3.7/min  7m40s left"}, // not known
	} {
		before := len(s.text())
		s.resize(t, test.columns)
		s.expect(t, test.frame, func(output string) bool {
			list := frames(output[before:])
			return len(list) > 0 && list[len(list)-1] == test.frame || test.frame == "" && strings.Contains(output[before:], "\r\x1b[K")
		})
	}
	if err := w.atlas.EndJob(export, sim.Outcome{}); err != nil {
		t.Fatal(err)
	}
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if sgr.MatchString(s.text()) {
		t.Errorf("colours: %q", s.text())
	}
}

// The line of a sharded cluster has the replica sets, since Atlas counts no collections of it. A
// failed export has a colour and a reason.
func TestWatchShardedOnTerminal(t *testing.T) {
	w := direct(t, sim.Config{Now: started})
	bucket, _ := w.prepare(t)
	if err := w.atlas.SetOutcome(sim.Outcome{State: "Failed", ErrorCode: "CANNOT_ASSUME_ROLE", Message: "No."}); err != nil {
		t.Fatal(err)
	}
	s := openTerminal(t, 80)
	s.run(t, append(w.environ(w.owner), "TERM=xterm"), w.atlas.Now, "exports", "create", "--cluster", "events", "--snapshot", sim.EventsSnapshot,
		"--bucket", bucket, "--wait", "--interval", "10ms")
	s.expectFrame(t, "Queued  0s  atlas-9x2kqf-shard-0, atlas-9x2kqf-shard-1")
	w.atlas.Advance(90 * time.Second)
	s.expectFrame(t, "InProgress  1m30s  atlas-9x2kqf-shard-0, atlas-9x2kqf-shard-1")
	w.atlas.Advance(12 * time.Minute)
	if status := s.wait(t); status != exitExportFailed {
		t.Errorf("exit status %d", status)
	}
	shown := anyID.ReplaceAllString(show(s.text()), "(id)")
	want := `export/(id)
Failed  6m15s  atlas-9x2kqf-shard-0, atlas-9x2kqf-shard-1
atlas-export: export (id) is Failed: CANNOT_ASSUME_ROLE: No.
hint: ` + codeHints["CANNOT_ASSUME_ROLE"] + `; then create another export of the snapshot
`
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("on the screen: -want +got:\n%s", diff)
	}
	if !strings.Contains(s.text(), "\x1b[31mFailed\x1b[0m") {
		t.Errorf("not in red: %q", s.text())
	}
}

// Requests that fail are reported above the line, once for each reason, and do not end the
// command.
func TestWatchFailures(t *testing.T) {
	w := direct(t, sim.Config{Now: started})
	_, export := w.prepare(t)
	s := openTerminal(t, 80)
	s.watch(t, w, export, "10ms", "NO_COLOR=1")
	s.expectFrame(t, "Queued  0s")
	setFaults(t, w, sim.Fault{Kind: sim.FaultUnavailable, Count: 3})
	s.expectText(t, "a request failed")
	w.atlas.Advance(12 * time.Minute)
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	lines := strings.Split(show(s.text()), "\n")
	if len(lines) != 5 || !regexp.MustCompile(`^atlas-export: a request failed, the next one is in [0-9]+ms: getBackupExport: 503 `).MatchString(lines[1]) || lines[2] != "Successful  ##############################  42/42 collections  12m00s" {
		t.Errorf("on the screen: %q", lines)
	}
}

// A terminal that can't redraw a line gets plain lines.
func TestWatchOnDumbTerminal(t *testing.T) {
	w := direct(t, sim.Config{Now: started})
	_, export := w.prepare(t)
	w.atlas.Advance(12 * time.Minute)
	s := openTerminal(t, 80)
	s.run(t, append(w.environ(w.owner), "TERM=dumb"), w.atlas.Now, "exports", "watch", export, "--cluster", "orders")
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if want := "export/" + export + "\r\nSuccessful  42/42 collections  12m00s\r\nprefix: "; !strings.HasPrefix(s.text(), want) {
		t.Errorf("got %q, want %q", s.text(), want)
	}
}

// Ctrl-C ends the program and not the export. The command that it then prints follows the export
// further.
func TestInterrupt(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		bucket, _ := w.prepare(t)
		s := openTerminal(t, 80)
		s.start(t, append(w.environ(w.owner), "TERM=xterm"), "exports", "create", "--cluster", "orders", "--snapshot", sim.OrdersSnapshot2, "--bucket", bucket, "--wait", "--interval", "20ms")
		s.expectText(t, "Queued")
		s.send(t, "\x03")
		if status := s.wait(t); status != exitInterrupted {
			t.Errorf("exit status %d", status)
		}
		s.expectText(t, "--cluster orders\r\n")
		shown := regexp.MustCompile(`(?s)^export/([0-9a-f]{24})\n.*\natlas-export: interrupted\nhint: the export goes on; follow it with: atlas-export (exports watch ([0-9a-f]{24}) --cluster orders)\n$`).FindStringSubmatch(show(s.text()))
		if shown == nil || shown[1] != shown[3] {
			t.Fatalf("on the screen: %q", show(s.text()))
		}
		if state := w.atlas.Jobs()[1].State; state != "Queued" {
			t.Errorf("the export is %s", state)
		}
		if err := w.atlas.EndJob(shown[1], sim.Outcome{}); err != nil {
			t.Fatal(err)
		}
		if got := w.run(t, w.owner, strings.Fields(shown[2])...); got.Status != exitOK || !strings.Contains(got.Stdout, "\nSuccessful  42/42 collections  ") {
			t.Errorf("resumed: %+v", got)
		}
	})
}

// The elapsed time on the screen goes on between two requests.
func TestWatchTicks(t *testing.T) {
	w := direct(t, sim.Config{Now: started})
	_, export := w.prepare(t)
	s := openTerminal(t, 80)
	s.watch(t, w, export, "1h", "NO_COLOR=1")
	s.expectFrame(t, "Queued  0s")
	requests := w.atlas.Counts().Requests
	w.atlas.Advance(10 * time.Second)
	s.expectFrame(t, "Queued  10s")
	if n := w.atlas.Counts().Requests - requests; n != 0 {
		t.Errorf("there were %d more requests", n)
	}
}

// The rate does not count collections that were exported before the first request.
func TestWatchBegunLate(t *testing.T) {
	w := direct(t, sim.Config{Now: started})
	_, export := w.prepare(t)
	w.atlas.Advance(260 * time.Second)
	s := openTerminal(t, 80)
	s.watch(t, w, export, "10ms", "NO_COLOR=1")
	s.expectFrame(t, "InProgress  ##########....................  14/42 collections  4m20s")
	w.atlas.Advance(230 * time.Second)
	s.expectFrame(t, "InProgress  #############.......  28/42 collections  8m10s  3.7/min  3m50s left")
}
