//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"atlas-export-gateway/sim"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/term"
)

// terminalSession is a run of the program on a pseudo-terminal.
type terminalSession struct {
	master, tty *os.File
	status      int
	ended       chan struct{} // closed once there is a status

	mu     sync.Mutex
	output strings.Builder
	more   chan struct{} // closed when output grows
}

// openTerminal makes a pseudo-terminal of so many columns, and keeps what is written to it.
func openTerminal(t testing.TB, columns int) *terminalSession {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &terminalSession{master: master, tty: tty, ended: make(chan struct{}), more: make(chan struct{})}
	s.resize(t, columns)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			s.mu.Lock()
			s.output.Write(buffer[:n])
			close(s.more)
			s.more = make(chan struct{})
			s.mu.Unlock()
			if err != nil {
				return // EIO: nobody has the terminal open
			}
		}
	}()
	t.Cleanup(func() {
		tty.Close()
		<-read
		master.Close()
	})
	return s
}

func (s *terminalSession) resize(t testing.TB, columns int) {
	t.Helper()
	if err := pty.Setsize(s.tty, &pty.Winsize{Rows: 24, Cols: uint16(columns)}); err != nil {
		t.Fatal(err)
	}
}

// run runs the program within the test, on a clock of the test's.
func (s *terminalSession) run(t testing.TB, env []string, now func() time.Time, args ...string) {
	a := &app{env: env, stdin: s.tty, stdout: &output{w: s.tty}, stderr: s.tty, now: now}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); <-s.ended })
	go func() {
		defer close(s.ended)
		s.status = a.run(ctx, args)
	}()
}

// start starts the program as a process that the terminal controls.
func (s *terminalSession) start(t testing.TB, env []string, args ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self, args...)
	command.Env = append(env, "RUN_ATLAS_EXPORT=1", "GORACE=atexit_sleep_ms=0")
	s.startCommand(t, command)
}

func (s *terminalSession) startCommand(t testing.TB, command *exec.Cmd) {
	t.Helper()
	command.Stdin, command.Stdout, command.Stderr = s.tty, s.tty, s.tty
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // Ctrl-C reaches it
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); <-s.ended })
	go func() {
		defer close(s.ended)
		command.Wait() // its error is the status
		s.status = command.ProcessState.ExitCode()
	}()
}

func (s *terminalSession) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSuffix(s.output.String(), endMark)
}

// watchdog is for what should take no time to speak of.
const watchdog = 30 * time.Second

// expect waits until what was written fulfils a condition.
func (s *terminalSession) expect(t testing.TB, what string, fulfilled func(output string) bool) {
	t.Helper()
	timeout := time.After(watchdog)
	for {
		s.mu.Lock()
		output, more := s.output.String(), s.more
		s.mu.Unlock()
		if fulfilled(output) {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no %s in %q", what, output)
		}
	}
}

func (s *terminalSession) expectText(t testing.TB, text string) {
	t.Helper()
	s.expect(t, text, func(output string) bool { return strings.Contains(output, text) })
}

func (s *terminalSession) expectFrame(t testing.TB, frame string) {
	t.Helper()
	s.expect(t, "frame "+frame, func(output string) bool { return slices.Contains(frames(output), frame) })
}

func (s *terminalSession) send(t testing.TB, keys string) {
	t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		t.Fatal(err)
	}
}

// mode is how the terminal treats what is typed.
func (s *terminalSession) mode(t testing.TB) *term.State {
	t.Helper()
	state, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// awaitMode waits until the program has changed the mode: a prompt is there a moment before.
func (s *terminalSession) awaitMode(t testing.TB, before *term.State) {
	t.Helper()
	for deadline := time.Now().Add(watchdog); reflect.DeepEqual(s.mode(t), before); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the terminal shows what is typed")
		}
	}
}

// wait returns the exit status, once all that was written has been read.
func (s *terminalSession) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(watchdog):
		t.Fatalf("the program did not end: %q", s.text())
	}
	if _, err := s.tty.WriteString(endMark); err != nil {
		t.Fatal(err)
	}
	s.expectText(t, endMark)
	return s.status
}

// endMark follows what the program wrote.
const endMark = "\x00"

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// frames are the states of the line that is redrawn, each once, without colours.
func frames(output string) (list []string) {
	for frame := range strings.SplitSeq(sgr.ReplaceAllString(output, ""), "\r") {
		if frame, redrawn := strings.CutSuffix(frame, "\x1b[K"); redrawn && frame != "" && (len(list) == 0 || list[len(list)-1] != frame) {
			list = append(list, frame)
		}
	}
	return list
}

// show is what a terminal wide enough shows in the end. It knows what the program sends: text,
// carriage return, line feed, and erasing the rest of the line.
func show(output string) string {
	lines, column := [][]rune{nil}, 0
	for _, r := range strings.ReplaceAll(sgr.ReplaceAllString(output, ""), "\x1b[K", "\x1b") {
		line := &lines[len(lines)-1]
		switch r {
		case '\r':
			column = 0
		case '\n':
			lines = append(lines, nil) // behind a carriage return
		case '\x1b':
			*line = (*line)[:min(column, len(*line))]
		default:
			*line = append((*line)[:column], append([]rune{r}, (*line)[min(column+1, len(*line)):]...)...)
			column++
		}
	}
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(string(line))
	}
	return b.String()
}

// On a pseudo-terminal a script has the command terminal, too.
func init() {
	scriptCommands["terminal"] = func(ts *testscript.TestScript, _ bool, args []string) {
		t := ts.Value("test").(testing.TB)
		s := openTerminal(t, 80)
		path, err := exec.LookPath(args[1])
		ts.Check(err)
		command := exec.Command(path, args[2:]...)
		for _, name := range []string{"HOME", "MONGODB_ATLAS_BASE_URL", "MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY", "MONGODB_ATLAS_PROJECT_ID", "TERM", "LANG", "NO_COLOR"} {
			command.Env = append(command.Env, name+"="+ts.Getenv(name))
		}
		s.startCommand(t, command)
		if status := s.wait(t); strconv.Itoa(status) != args[0] {
			ts.Fatalf("exit status %d, want %s: %q", status, args[0], s.text())
		}
		ts.Check(os.WriteFile(ts.MkAbs("screen"), []byte(show(s.text())), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs("frames"), []byte(strings.Join(frames(s.text()), "\n")+"\n"), 0o600))
	}
}

// started is a fixed clock.
var started = time.Date(2026, 8, 10, 3, 28, 25, 0, time.UTC)

// A session of watch on the simulation's own clock: every frame is as it must be at that time.
func TestWatchOnTerminal(t *testing.T) {
	ways(t, sim.Config{Now: func() time.Time { return started }}, func(t *testing.T, w *world) {
		_, export := w.prepare(t)
		s := openTerminal(t, 80)
		s.run(t, append(w.environ(w.owner), "LANG=C.UTF-8", "TERM=xterm"), w.atlas.Now, "exports", "watch", export, "--cluster", "orders", "--interval", "10ms")
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

// checkFrames looks for frames that would wrap, and for what only text should be in.
func checkFrames(t *testing.T, output string, columns int) {
	t.Helper()
	for _, frame := range frames(output) {
		if utf8.RuneCountInString(frame) >= columns {
			t.Errorf("the frame %q is too wide for %d columns", frame, columns)
		}
		checkPrintable(t, frame)
	}
}

// The line has what there is room for, also when the window changes; without a UTF-8 locale
// it is of ASCII, and with NO_COLOR of one colour.
func TestWatchResized(t *testing.T) {
	w := direct(t, sim.Config{Now: func() time.Time { return started }})
	_, export := w.prepare(t)
	w.atlas.Advance(30 * time.Second)
	s := openTerminal(t, 120)
	s.run(t, append(w.environ(w.owner), "NO_COLOR=1", "LC_ALL=C", "LANG=C.UTF-8"), w.atlas.Now, "exports", "watch", export, "--cluster", "orders", "--interval", "10ms")
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

// A sharded cluster has no counts: its line has the replica sets. What failed has a colour
// and a reason.
func TestWatchShardedOnTerminal(t *testing.T) {
	w := direct(t, sim.Config{Now: func() time.Time { return started }})
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
hint: once its cause is mended, create another export of the snapshot
`
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("on the screen: -want +got:\n%s", diff)
	}
	if !strings.Contains(s.text(), "\x1b[31mFailed\x1b[0m") {
		t.Errorf("not in red: %q", s.text())
	}
}

// Looks that fail are told above the line, once for each reason, and end nothing.
func TestWatchTrouble(t *testing.T) {
	w := direct(t, sim.Config{Now: func() time.Time { return started }})
	_, export := w.prepare(t)
	s := openTerminal(t, 80)
	s.run(t, append(w.environ(w.owner), "NO_COLOR=1"), w.atlas.Now, "exports", "watch", export, "--cluster", "orders", "--interval", "10ms")
	s.expectFrame(t, "Queued  0s")
	setFaults(t, w, sim.Fault{Kind: sim.FaultUnavailable, Count: 3})
	s.expectText(t, "a look failed")
	w.atlas.Advance(12 * time.Minute)
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	lines := strings.Split(show(s.text()), "\n")
	if len(lines) != 5 || !regexp.MustCompile(`^atlas-export: a look failed, the next one is in [0-9]+ms: getBackupExport: 503 `).MatchString(lines[1]) || lines[2] != "Successful  ##############################  42/42 collections  12m00s" {
		t.Errorf("on the screen: %q", lines)
	}
}

// A terminal that can't redraw a line gets plain ones.
func TestWatchOnDumbTerminal(t *testing.T) {
	w := direct(t, sim.Config{Now: func() time.Time { return started }})
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

// Ctrl-C ends the program and not the export, and what it says then goes on with it.
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

// A secret that is nowhere else is asked for, and not shown.
func TestSecretPrompt(t *testing.T) {
	w := direct(t, sim.Config{})
	s := openTerminal(t, 80)
	env := []string{"ATLAS_EXPORT_CONFIG=" + os.DevNull, "ATLAS_EXPORT_BASE_URL=" + w.url, "ATLAS_EXPORT_GROUP=" + sim.GroupID, "ATLAS_EXPORT_PUBLIC_KEY=" + w.owner.public}
	before := s.mode(t)
	s.run(t, env, time.Now, "buckets", "list", "-o", "json")
	s.expectText(t, "private key of "+w.owner.public+": ")
	s.awaitMode(t, before)
	s.send(t, w.owner.private+"\n")
	if status := s.wait(t); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	s.expectText(t, `"totalCount": 0`)
	if strings.Contains(s.text(), w.owner.private) {
		t.Errorf("the secret is on the screen: %q", s.text())
	}
}

// Ctrl-C while a secret is asked for leaves a terminal that shows what is typed.
func TestInterruptedPrompt(t *testing.T) {
	s := openTerminal(t, 80)
	before := s.mode(t)
	s.start(t, []string{"ATLAS_EXPORT_CONFIG=" + os.DevNull, "ATLAS_EXPORT_GROUP=" + sim.GroupID, "ATLAS_EXPORT_PUBLIC_KEY=a"}, "buckets", "list")
	s.expectText(t, "private key of a: ")
	s.awaitMode(t, before)
	s.send(t, "\x03")
	if status := s.wait(t); status != exitInterrupted {
		t.Errorf("exit status %d", status)
	}
	s.send(t, "typed")
	s.expectText(t, "typed")
}

// A deletion is asked about, with what it is that goes; only yes is yes.
func TestConfirmDelete(t *testing.T) {
	ways(t, sim.Config{}, func(t *testing.T, w *world) {
		for _, test := range []struct {
			answer string
			status int
		}{{"\n", exitFailed}, {"no\n", exitFailed}, {"yess\n", exitFailed}, {"\x04", exitFailed}, {"y\n", exitOK}, {"YES\n", exitOK}} {
			id := strings.TrimPrefix(w.must(t, "buckets", "create", "gcp", "--name", "acme-archive", "--role", sim.AWSRole, "-o", "name"), "bucket/")
			s := openTerminal(t, 80)
			s.run(t, w.environ(w.owner), time.Now, "buckets", "delete", id)
			s.expectText(t, "Delete GCP bucket acme-archive ("+id+") of group "+sim.GroupID+"? [y/N] ")
			s.send(t, test.answer)
			if status := s.wait(t); status != test.status {
				t.Errorf("%q: exit status %d, want %d: %q", test.answer, status, test.status, s.text())
			}
			want := "bucket/" + id + " deleted\r\n"
			if test.status != exitOK {
				want = "atlas-export: not deleted\r\n"
				w.must(t, "buckets", "delete", id, "--yes") // it is there
			}
			s.expectText(t, want)
		}
	})
}

// Time goes by on the screen between two looks, too.
func TestWatchTicks(t *testing.T) {
	w := direct(t, sim.Config{Now: func() time.Time { return started }})
	_, export := w.prepare(t)
	s := openTerminal(t, 80)
	s.run(t, append(w.environ(w.owner), "NO_COLOR=1"), w.atlas.Now, "exports", "watch", export, "--cluster", "orders", "--interval", "1h")
	s.expectFrame(t, "Queued  0s")
	requests := w.atlas.Counts().Requests
	w.atlas.Advance(10 * time.Second)
	s.expectFrame(t, "Queued  10s")
	if n := w.atlas.Counts().Requests - requests; n != 0 {
		t.Errorf("there were %d more looks", n)
	}
}

// The rate is that of what was seen: a watch that begins late doesn't count what was exported
// before.
func TestWatchBegunLate(t *testing.T) {
	w := direct(t, sim.Config{Now: func() time.Time { return started }})
	_, export := w.prepare(t)
	w.atlas.Advance(260 * time.Second)
	s := openTerminal(t, 80)
	s.run(t, append(w.environ(w.owner), "NO_COLOR=1"), w.atlas.Now, "exports", "watch", export, "--cluster", "orders", "--interval", "10ms")
	s.expectFrame(t, "InProgress  ##########....................  14/42 collections  4m20s")
	w.atlas.Advance(230 * time.Second)
	s.expectFrame(t, "InProgress  #############.......  28/42 collections  8m10s  3.7/min  3m50s left")
}
