package bearertoken

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"atlas-export-gateway/internal/printable"
	"atlas-export-gateway/secret"
)

// A Command is a program that prints a token, like those that the AWS tools take for their setting
// credential_process. It runs without a shell and without standard input, in a process group of
// its own. On its standard output it writes one JSON object of at most 64 KiB:
//
//	{"Version": 1, "Token": "eyJ...", "Expiration": "2026-01-02T15:04:05Z"}
//
// Expiration, a time as in RFC 3339, may be left out; the token then is used until it is refused.
// Other members do not count. The program runs again shortly before the expiration, or when the
// token is refused. One run is for all requests that wait for it.
type Command struct {
	// Program is a path, or a name to look up in PATH.
	Program string
	// Args are its arguments.
	Args []string
	// Env is its environment, as in exec.Cmd; nil means that of this process.
	Env []string
	// Stderr gets what the program writes to its standard error, up to 16 KiB of each run, in whole
	// lines, one for each call of Write, and with escapes for what is not printable. Nil means that
	// it goes nowhere.
	Stderr io.Writer
	// Timeout bounds one run; 0 means 1 minute. The process group of a program that runs longer is
	// killed, and so it is when nothing waits for the token any more.
	Timeout time.Duration
}

const (
	// commandTimeout is the default of Command.Timeout.
	commandTimeout = time.Minute
	// renewBefore is how long before its expiration a token is renewed. One that is good for less
	// than twice as long is renewed after half of its time.
	renewBefore = time.Minute
	// pipesTimeout is how long a child of the program may keep its output open.
	pipesTimeout = time.Second
)

// Source returns the source of the tokens that the program prints.
func (c Command) Source() *Source {
	s := &Source{name: "the command " + c.Program, now: time.Now}
	s.read = func(ctx context.Context) (*token, error) {
		output, err := c.run(ctx)
		if err == nil {
			var t *token
			if t, err = parse(output, s.now()); err == nil {
				return t, nil
			}
		}
		return nil, fmt.Errorf("the command %s: %w", c.Program, err)
	}
	return s
}

// run runs the program once, and returns what it printed.
func (c Command) run(parent context.Context) ([]byte, error) {
	timeout := cmp.Or(c.Timeout, commandTimeout)
	inTime, cancel := context.WithTimeoutCause(parent, timeout, fmt.Errorf("it did not end within %s, and was killed", timeout))
	defer cancel()
	ctx, end := context.WithCancelCause(inTime)
	defer end(nil)

	output := &bounded{end: end}
	command := exec.CommandContext(ctx, c.Program, c.Args...)
	command.Env, command.Stdout, command.WaitDelay = c.Env, output, pipesTimeout
	kill := ofOwnGroup(command)
	if c.Stderr != nil {
		shown := &lines{w: c.Stderr}
		command.Stderr = shown
		defer shown.flush()
	}
	err := command.Run()
	switch {
	case context.Cause(ctx) != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay):
		kill() // what the program left behind, and has its output open
	case err != nil:
		return nil, startError(err)
	}
	return output.kept, nil
}

// startError returns the error of a program that can't be started, without repeating its name, or
// that of its exit.
func startError(err error) error {
	if failed := (*exec.Error)(nil); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// parse reads what the program printed. Its errors do not quote it.
func parse(output []byte, now time.Time) (*token, error) {
	var content struct {
		Version    *int
		Token      string
		Expiration *string
	}
	if err := json.Unmarshal(output, &content); err != nil || content.Version == nil {
		return nil, errors.New("its output is not one JSON object with Version, Token and Expiration")
	}
	if *content.Version != 1 {
		return nil, fmt.Errorf("the Version of its output is %d; expected 1", *content.Version)
	}
	if err := check(content.Token); err != nil {
		return nil, fmt.Errorf("the Token of its output: %w", err)
	}
	t := &token{value: secret.New(content.Token)}
	if content.Expiration == nil {
		return t, nil
	}
	expires, err := time.Parse(time.RFC3339, *content.Expiration)
	if err != nil {
		return nil, errors.New("the Expiration of its output is not a time such as 2006-01-02T15:04:05Z")
	}
	left := expires.Sub(now)
	if left <= 0 {
		return nil, fmt.Errorf("its token expired at %s", expires.UTC().Format(time.RFC3339))
	}
	t.expires, t.renew = expires, now.Add(max(left-renewBefore, left/2))
	return t, nil
}

// bounded keeps what a program prints, and ends its run where that is too much.
type bounded struct {
	kept []byte
	end  func(error)
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > maxOutput {
		err := fmt.Errorf("it printed more than %d bytes, and was killed", maxOutput)
		b.end(err)
		return 0, err
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// maxShown bounds, in bytes, what is shown of the standard error of one run.
const maxShown = 16 << 10

// lines passes text on in whole printable lines. It drops what is too much.
type lines struct {
	w    io.Writer
	line []byte
	seen int // bytes so far, maxShown at most
	full bool
}

func (l *lines) Write(p []byte) (int, error) {
	taken := p[:min(len(p), maxShown-l.seen)]
	l.seen += len(taken)
	l.line = append(l.line, taken...)
	for {
		line, rest, ok := bytes.Cut(l.line, []byte("\n"))
		if !ok {
			break
		}
		l.show(string(line))
		l.line = rest
	}
	if len(taken) < len(p) && !l.full {
		l.full = true
		l.flush()
		l.show("(the rest is left out)")
	}
	return len(p), nil
}

// flush passes on the last line, which has no end.
func (l *lines) flush() {
	if len(l.line) > 0 {
		l.show(string(l.line))
		l.line = nil
	}
}

func (l *lines) show(line string) {
	io.WriteString(l.w, printable.Escape(strings.TrimSuffix(line, "\r"))+"\n")
}
