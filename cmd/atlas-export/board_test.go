//go:build unix

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"atlas-export-gateway/sim"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// boards returns the states of the lines that are redrawn together, each once, without colours.
func boards(output string) (list []string) {
	for part := range strings.SplitSeq(sgr.ReplaceAllString(output, ""), "\x1b[J") {
		part = part[max(strings.LastIndex(part, "A"+"\r")+1, 0):] // after going up
		state := strings.ReplaceAll(strings.ReplaceAll(part, "\x1b[K", ""), "\r", "")
		if state != "" && (len(list) == 0 || list[len(list)-1] != state) {
			list = append(list, state)
		}
	}
	return list
}

// On a terminal, the clusters have a line each, and these are redrawn together. In the end only
// the summary stands there. By the clock of the test, the export of orders fails.
func TestBoard(t *testing.T) {
	ways(t, sim.Config{Now: started}, func(t *testing.T, w *world) {
		w.must(t, "buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole)
		s := openTerminal(t, 100)
		s.run(t, append(w.environ(w.owner), "LANG=C.UTF-8", "TERM=xterm"), w.atlas.Now,
			"exports", "create", "--cluster", "orders,events,none", "--snapshot", "latest", "--bucket", "acme-exports", "--wait", "--interval", "10ms")
		const none = "none    not created; the reason stands below\n"
		for i, state := range []string{
			"orders  Queued  0s\nevents  Queued  0s  atlas-9x2kqf-shard-0, atlas-9x2kqf-shard-1\n" + none,
			"orders  InProgress  ██████████░░░░░░░░░░░░░░░░░░░░  14/42 collections  4m20s\nevents  InProgress  4m20s  atlas-9x2kqf-shard-0, atlas-9x2kqf-shard-1\n" + none,
			"orders  Failed  ███████████████░░░░░░░░░░░░░░░  21/42 collections  6m15s\nevents  Successful  12m00s  atlas-9x2kqf-shard-0, atlas-9x2kqf-shard-1\n" + none,
		} {
			if i > 0 {
				w.atlas.Advance(time.Duration(i) * 260 * time.Second)
			}
			s.expect(t, "board "+state, func(output string) bool {
				for _, found := range boards(output) {
					if found == state {
						return true
					}
				}
				return false
			})
		}
		if status := s.wait(t); status != exitPartial {
			t.Errorf("exit status %d", status)
		}
		lines := strings.Split(s.text()[strings.LastIndex(s.text(), "\x1b[J"):], "\r\n") // after the lines
		if len(lines) < 6 || !strings.HasPrefix(lines[0], "\x1b[JCLUSTER ") || !strings.HasPrefix(lines[1], "orders    Failed        6m15s  ") ||
			lines[4] != "atlas-export: 2 of 3 clusters failed" {
			t.Errorf("in the end: %q", lines)
		}
	})
}

// A screen with too few rows shows what is under way, and counts the rest. No line is wider
// than the screen.
func TestBoardOnSmallScreen(t *testing.T) {
	seed := sim.DefaultSeed()
	template := seed.Groups[0].Clusters[1]
	for i := range 9 {
		c := template
		c.Name, c.UniqueID = fmt.Sprintf("cluster-%d", i), fmt.Sprintf("64f0c2d1b3d4e5f6071829%d0", i)
		c.Snapshots = []sim.Snapshot{{ID: fmt.Sprintf("6a01e0b45be2d84417c0a0%d0", i), Age: sim.Duration(time.Hour)}}
		seed.Groups[0].Clusters = append(seed.Groups[0].Clusters, c)
	}
	w := direct(t, sim.Config{Now: started, Seed: seed})
	w.must(t, "buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole)
	s := openTerminal(t, 40)
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: 6, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	s.run(t, append(w.environ(w.owner), "NO_COLOR=1", "TERM=xterm"), w.atlas.Now,
		"exports", "create", "--all-clusters", "--snapshot", "latest", "--bucket", "acme-exports", "--wait", "--interval", "10ms")
	for len(w.atlas.Jobs()) < 11 {
		time.Sleep(time.Millisecond)
	}
	w.atlas.Advance(time.Minute)
	for _, job := range w.atlas.Jobs() {
		if job.ClusterName != "cluster-8" && job.ClusterName != "cluster-7" {
			if err := w.atlas.EndJob(job.ID, sim.Outcome{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := "cluster-7  InProgress  1m00s  atlas-9x2\ncluster-8  InProgress  1m00s  atlas-9x2\n"
	s.expect(t, want, func(output string) bool {
		for _, found := range boards(output) {
			if strings.HasPrefix(found, want) && strings.HasSuffix(found, "and 7 others; 9 of 11 have ended\n") {
				return true
			}
		}
		return false
	})
	w.atlas.Advance(time.Hour)
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	output := s.text()
	for _, state := range boards(output[:strings.LastIndex(output, "\x1b[J")]) {
		if rows := strings.Count(state, "\n"); rows > 5 {
			t.Errorf("%d rows: %q", rows, state)
		}
		for line := range strings.Lines(state) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) >= 40 {
				t.Errorf("too wide: %q", line)
			}
		}
	}
	if sgr.MatchString(output) {
		t.Error("colours")
	}
}

// Ctrl-C ends the command and not the exports, and says how to follow each.
func TestBoardInterrupted(t *testing.T) {
	w := direct(t, sim.Config{})
	w.must(t, "buckets", "create", "aws", "--name", "acme-exports", "--role", sim.AWSRole)
	s := openTerminal(t, 100)
	s.start(t, append(w.environ(w.owner), "TERM=xterm"), "exports", "create", "--cluster", "orders,events", "--snapshot", "latest", "--bucket", "acme-exports", "--wait")
	for len(w.atlas.Jobs()) < 2 {
		time.Sleep(time.Millisecond)
	}
	s.expect(t, "two lines", func(output string) bool { return strings.Count(output, "Queued") >= 3 })
	s.send(t, "\x03")
	if status := s.wait(t); status != exitInterrupted {
		t.Errorf("exit status %d: %s", status, s.text())
	}
	for _, job := range w.atlas.Jobs() {
		want := "  " + job.ClusterName + ": interrupted\r\n    hint: the export goes on; follow it with: atlas-export exports watch " + job.ID + " --cluster " + job.ClusterName + "\r\n"
		if !strings.Contains(s.text(), want) {
			t.Errorf("no %q in %q", want, s.text())
		}
	}
}

// Sizes have three digits.
func TestFormatBytes(t *testing.T) {
	got := map[int64]string{}
	want := map[int64]string{-1: "", 0: "", 1: "1 B", 999: "999 B", 1000: "1 kB", 1500: "1.5 kB", 999_499: "999 kB", 999_500: "1 MB", 1_557_864_448: "1.56 GB", 12_345_678_901_234: "12.3 TB", 1<<63 - 1: "9.22 EB"}
	for n := range want {
		got[n] = formatBytes(n)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
