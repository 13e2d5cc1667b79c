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

	"atlas-export-gateway/internal/gatewaytest"

	"github.com/creack/pty"
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
	grown  chan struct{} // closed when output grows
}

// openTerminal opens a pseudo-terminal and keeps what is written to it.
func openTerminal(t testing.TB, columns int) *terminalSession {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &terminalSession{master: master, tty: tty, ended: make(chan struct{}), grown: make(chan struct{})}
	s.resize(t, columns)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			s.mu.Lock()
			s.output.Write(buffer[:n])
			close(s.grown)
			s.grown = make(chan struct{})
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

// run runs the program in the process of the test, on a clock of the test.
func (s *terminalSession) run(t testing.TB, env []string, now func() time.Time, args ...string) {
	a := &app{env: env, stdin: s.tty, stdout: &output{w: s.tty}, stderr: s.tty, now: now}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); <-s.ended })
	go func() {
		defer close(s.ended)
		s.status = a.run(ctx, args)
	}()
}

// start starts the program as a process of its own, which the terminal controls.
func (s *terminalSession) start(t testing.TB, env []string, args ...string) {
	t.Helper()
	gatewaytest.NeedProcess(t)
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

// watchdog bounds the wait for what should happen at once.
const watchdog = 30 * time.Second

// expect waits until the output fulfils a condition.
func (s *terminalSession) expect(t testing.TB, what string, fulfilled func(output string) bool) {
	t.Helper()
	timeout := time.After(watchdog)
	for {
		s.mu.Lock()
		output, grown := s.output.String(), s.grown
		s.mu.Unlock()
		if fulfilled(output) {
			return
		}
		select {
		case <-grown:
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

// mode returns how the terminal treats input.
func (s *terminalSession) mode(t testing.TB) *term.State {
	t.Helper()
	state, err := term.GetState(int(s.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// awaitMode waits until the program has changed the mode, which it does after its prompt.
func (s *terminalSession) awaitMode(t testing.TB, before *term.State) {
	t.Helper()
	for deadline := time.Now().Add(watchdog); reflect.DeepEqual(s.mode(t), before); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the terminal shows what is typed")
		}
	}
}

// wait waits until the program has ended and all its output has been read. It returns the exit
// status.
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

// endMark follows the output of the program.
const endMark = "\x00"

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

// frames returns the states of the line that is redrawn, each once, without colours.
func frames(output string) (list []string) {
	for frame := range strings.SplitSeq(sgr.ReplaceAllString(output, ""), "\r") {
		if frame, redrawn := strings.CutSuffix(frame, "\x1b[K"); redrawn && frame != "" && (len(list) == 0 || list[len(list)-1] != frame) {
			list = append(list, frame)
		}
	}
	return list
}

// show returns what a terminal that is wide enough shows in the end. It understands text,
// carriage return, line feed, and erasing the rest of the line; the program sends nothing else.
func show(output string) string {
	lines, column := [][]rune{nil}, 0
	for _, r := range strings.ReplaceAll(sgr.ReplaceAllString(output, ""), "\x1b[K", "\x1b") {
		line := &lines[len(lines)-1]
		switch r {
		case '\r':
			column = 0
		case '\n':
			lines = append(lines, nil) // follows a carriage return
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

// Scripts have the command terminal on systems with pseudo-terminals.
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
