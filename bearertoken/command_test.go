package bearertoken_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atlas-export-gateway/bearertoken"
)

// shell returns a command whose arguments are one script of sh. Its $0 is the folder.
func shell(folder, script string) bearertoken.Command {
	return bearertoken.Command{Program: "/bin/sh", Args: []string{"-c", script, folder}}
}

// printed returns a script that prints a token which expires after a time.
func printed(token string, after time.Duration) string {
	return fmt.Sprintf(`echo '{"Version": 1, "Token": "%s", "Expiration": "%s"}'`+"\n", token, time.Now().Add(after).Format(time.RFC3339))
}

// What a command prints is its token, or an error that does not quote it.
func TestCommandOutput(t *testing.T) {
	t.Parallel()
	const wrong = "its output is not one JSON object with Version, Token and Expiration"
	for name, test := range map[string]struct{ script, want, err string }{
		"good":                       {printed("c4na7y-a", time.Hour), "c4na7y-a", ""},
		"without an expiration":      {`echo '{"Version": 1, "Token": "c4na7y-b"}'`, "c4na7y-b", ""},
		"with members of others":     {`echo '{"Version": 1, "Token": "c4na7y-c", "SessionToken": [1]}'`, "c4na7y-c", ""},
		"with an offset":             {`echo '{"Version": 1, "Token": "c4na7y-d", "Expiration": "2999-01-02T15:04:05.5+02:00"}'`, "c4na7y-d", ""},
		"exit status":                {printed("c4na7y", time.Hour) + "exit 3", "", "exit status 3"},
		"killed":                     {printed("c4na7y", time.Hour) + "kill -9 $$", "", "signal: killed"},
		"nothing":                    {"", "", wrong},
		"text":                       {"echo c4na7y", "", wrong},
		"an array":                   {`echo '["c4na7y"]'`, "", wrong},
		"two objects":                {printed("c4na7y", time.Hour) + printed("c4na7y", time.Hour), "", wrong},
		"no version":                 {`echo '{"Token": "c4na7y"}'`, "", wrong},
		"a version of another type":  {`echo '{"Version": "c4na7y", "Token": "c4na7y"}'`, "", wrong},
		"another version":            {`echo '{"Version": 2, "Token": "c4na7y"}'`, "", "the Version of its output is 2; expected 1"},
		"no token":                   {`echo '{"Version": 1}'`, "", "the Token of its output: holds no token"},
		"a token of two lines":       {`printf '{"Version": 1, "Token": "c4na7y\\nX: y"}'`, "", "the Token of its output: the token holds white space or characters that are not ASCII"},
		"no time":                    {`echo '{"Version": 1, "Token": "c4na7y", "Expiration": "c4na7y"}'`, "", "the Expiration of its output is not a time such as 2006-01-02T15:04:05Z"},
		"expired":                    {`echo '{"Version": 1, "Token": "c4na7y", "Expiration": "2020-01-02T05:04:05+02:00"}'`, "", "its token expired at 2020-01-02T03:04:05Z"},
		"more than the bound":        {"while :; do echo c4na7yc4na7yc4na7yc4na7yc4na7yc4na7yc4na7yc4na7y; done", "", "it printed more than 65536 bytes, and was killed"},
		"more, and heeds no failure": {"trap '' PIPE; while :; do echo c4na7yc4na7yc4na7yc4na7yc4na7yc4na7yc4na7y || :; done 2>/dev/null", "", "it printed more than 65536 bytes, and was killed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := shell("", test.script).Source()
			token, err := source.Token(t.Context())
			if test.err == "" {
				if err != nil || token.Reveal() != test.want {
					t.Fatalf("%v", err)
				}
				return
			}
			if err == nil || err.Error() != "the command /bin/sh: "+test.err {
				t.Errorf("got  %v\nwant %s", err, test.err)
			}
		})
	}
	for program, want := range map[string]string{
		"no-such-program-of-c4na7y": "executable file not found in $PATH",
		"/no/such/program":          "fork/exec /no/such/program: no such file or directory",
		"/":                         "is a directory",
	} {
		if _, err := (bearertoken.Command{Program: program}).Source().Token(t.Context()); err == nil || !strings.HasSuffix(err.Error(), ": "+want) {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// fifo makes a named pipe. The first channel is closed when a process has opened the pipe to
// write, and the second when none has it open any more.
func fifo(t *testing.T, folder string) (opened, closed chan struct{}) {
	t.Helper()
	path := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	opened, closed = make(chan struct{}), make(chan struct{})
	go func() {
		pipe, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer pipe.Close()
		close(opened)
		io.Copy(io.Discard, pipe)
		close(closed)
	}()
	return opened, closed
}

// A command that hangs is killed with its children, when its time is over and when nobody waits
// for it any more.
func TestCommandIsKilled(t *testing.T) {
	t.Parallel()
	const hang = `trap '' HUP INT TERM; exec 3>"$0/fifo"; sleep 1000 & sleep 1000`
	t.Run("time-out", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		opened, closed := fifo(t, folder)
		command := shell(folder, hang)
		command.Timeout = 300 * time.Millisecond
		ended := make(chan error, 1)
		go func() {
			_, err := command.Source().Token(context.Background())
			ended <- err
		}()
		<-opened
		if err := <-ended; err == nil || err.Error() != "the command /bin/sh: it did not end within 300ms, and was killed" {
			t.Errorf("%v", err)
		}
		<-closed
	})
	t.Run("interrupt", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		opened, closed := fifo(t, folder)
		source := shell(folder, hang).Source()
		first, interruptFirst := context.WithCancel(t.Context())
		second, interruptSecond := context.WithCancel(t.Context())
		defer interruptFirst()
		ended := make(chan error)
		for _, ctx := range []context.Context{first, second} {
			go func() {
				_, err := source.Token(ctx)
				ended <- err
			}()
		}
		<-opened
		interruptFirst()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		interruptSecond()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		<-closed
	})
	t.Run("a child stays", func(t *testing.T) {
		t.Parallel()
		folder := t.TempDir()
		_, closed := fifo(t, folder)
		source := shell(folder, `exec 3>"$0/fifo"; sleep 1000 & `+printed("c4na7y", time.Hour)).Source()
		if _, err := source.Token(t.Context()); err != nil {
			t.Error(err)
		}
		<-closed
	})
}

// One run is for all that wait, and for all that come until its token is due.
func TestCommandRunsOnce(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	source := shell(folder, `echo run >> "$0/runs"; until [ -e "$0/go" ]; do sleep 0.01; done; `+printed("c4na7y", time.Hour)).Source()
	var begun, ended sync.WaitGroup
	for range 64 {
		begun.Add(1)
		ended.Go(func() {
			begun.Done()
			if _, err := source.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	begun.Wait()
	write(t, folder, "go", "")
	ended.Wait()
	if runs := lines(t, folder, "runs"); runs != 1 {
		t.Errorf("%d runs", runs)
	}
}

// A token is renewed shortly before it expires. While that fails, the last one is used as long as
// it is good, and the command runs seldom.
func TestCommandRenews(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	clock := newClock()
	source := shell(folder, `echo run >> "$0/runs"; . "$0/script"`).Source()
	source.UseClock(clock.now)
	expect := func(what, want string, runs int) {
		t.Helper()
		token, err := source.Token(t.Context())
		if token.Reveal() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %v", what, err)
		}
		if got := lines(t, folder, "runs"); got != runs {
			t.Errorf("%s: %d runs, want %d", what, got, runs)
		}
	}
	write(t, folder, "script", printed("c4na7y-a", time.Hour))
	expect("first", "c4na7y-a", 1)
	write(t, folder, "script", "exit 1")
	clock.advance(58 * time.Minute)
	expect("two minutes before the end", "c4na7y-a", 1)
	clock.advance(90 * time.Second)
	expect("the renewal fails", "c4na7y-a", 2)
	expect("at once again", "c4na7y-a", 2)
	clock.advance(time.Second)
	expect("a second later", "c4na7y-a", 3)
	clock.advance(time.Minute)
	expect("expired", "", 4)
	expect("expired, at once again", "", 4)
	write(t, folder, "script", printed("c4na7y-b", time.Hour+75*time.Second)) // by the other clock for 15 s
	clock.advance(4 * time.Second)
	expect("a new one", "c4na7y-b", 5)
	clock.advance(3 * time.Second)
	expect("half of its time is not over", "c4na7y-b", 5)
}

// What a command writes to its standard error is passed on, printable and bounded, and is in no
// error.
func TestCommandStderr(t *testing.T) {
	t.Parallel()
	var shown strings.Builder
	command := shell("", `printf 'open https://login.example.com\r\n\033[2Jcode \302\205 c4na7y\nno end' >&2; exit 1`)
	command.Stderr = &shown
	if _, err := command.Source().Token(t.Context()); err == nil || strings.Contains(err.Error(), "c4na7y") {
		t.Errorf("%v", err)
	}
	if want := "open https://login.example.com\n\\x1b[2Jcode \\u0085 c4na7y\nno end\n"; shown.String() != want {
		t.Errorf("got %q, want %q", shown.String(), want)
	}
	shown.Reset()
	command = shell("", `i=0; while [ $i -lt 3000 ]; do echo 0123456789 >&2; i=$((i+1)); done; `+printed("c4na7y", time.Hour))
	command.Stderr = &shown
	if _, err := command.Source().Token(t.Context()); err != nil {
		t.Error(err)
	}
	if n := shown.Len(); n < 16<<10 || n > 17<<10 || !strings.HasSuffix(shown.String(), "\n(the rest is left out)\n") {
		t.Errorf("%d bytes, the last %q", n, shown.String()[max(n-40, 0):])
	}
}
